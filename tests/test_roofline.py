"""The counts of the roofline's page, by hand on small shapes."""

from __future__ import annotations

import pytest

from benchmarks.roofline import REST, _node, counted, floor_ms
from tests.families import tiny


def told(kind: str, reads: list[dict[str, list[int]]], gives: list[dict[str, list[int]]]) -> dict[str, object]:
    return {"op_name": kind, "input_type_shape": reads, "output_type_shape": gives}


def test_products_and_bytes_of_a_node() -> None:
    dynamic = told(
        "DynamicQuantizeMatMul", [{"float": [1, 4, 3]}, {"float": [5]}, {"int8": [5]}], [{"float": [1, 4, 5]}]
    )
    # Read are 12 floats, 5 scales and 5 zero points, and 15 packed weights that the profile leaves out; 20 floats are written.
    assert _node(dynamic, 2.0) == {"group": "int8 products", "s": 2.0, "products": 60, "bytes": 48 + 20 + 5 + 15 + 80}
    merged = told("Attention", 3 * [{"float": [2, 4, 6]}] + [{"float": [2, 1, 4, 4]}], [{"float": [2, 4, 6]}])
    # Each of 2 rows: 4 queries by 4 keys over 6 numbers, and as many for the values.
    assert _node(merged, 1.0) == {
        "group": "attention",
        "s": 1.0,
        "products": 2 * 2 * 4 * 4 * 6,
        "bytes": 4 * (4 * 48 + 32),
    }
    lookup = told("Gather", [{"int8": [1000, 6]}, {"int64": [1, 4]}], [{"int8": [1, 4, 6]}])
    assert _node(lookup, 1.0) == {"group": REST, "s": 1.0, "products": 0, "bytes": 2 * 24}


def test_multiply_adds_that_a_model_asks_for() -> None:
    config = tiny("bert", "token-classification", hidden_size=32, intermediate_size=64, num_hidden_layers=2).config
    layer = 10 * (4 * 32 * 32 + 2 * 32 * 64)
    assert counted(config, 10) == {"int8": 2 * layer + 10 * 32 * config.num_labels, "f32": 2 * 2 * 10 * 10 * 32}


def test_the_floor_is_the_time_at_the_larger_peak() -> None:
    peaks = {"a": {"u8s8": 100.0, "s8s8": 1.0, "f32": 20.0}, "b": {"u8s8": 200.0, "s8s8": 1.0, "f32": 10.0}}
    entry = {"peaks": peaks, "lengths": {"8": {"counted": {"int8": 400e6, "f32": 10e6}}}}
    assert floor_ms(entry, 8) == pytest.approx(2.0 + 0.5)
