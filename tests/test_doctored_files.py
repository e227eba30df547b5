"""The attack on the gate: which changes it makes to each format, and what its page says of them."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

from benchmarks.reliability.doctored_files import HARMLESS, IN_BUNDLES, MODULES, Judged, page

KINDS = ("mask", "positions", "words", "layer", "attention", "norm", "activation", "weights", "outputs", "head", "pooling",
         "inputs", "labels", "metadata")  # fmt: skip


@pytest.mark.parametrize("format", MODULES)
def test_each_format_is_changed_in_sixty_ways_of_every_kind(format: str) -> None:
    changes = importlib.import_module(f"benchmarks.reliability.{MODULES[format]}").CHANGES
    assert len(changes) >= 60
    assert {name.split(":")[0] for name in changes} >= {*KINDS, "segments"}
    assert all(callable(change) for change in changes.values())


def test_what_lies_beside_a_model_is_changed_as_its_name_says(tmp_path: Path) -> None:
    words = {"[PAD]": 0, "a": 1, "b": 2, "c": 3}
    state = {"model": {"vocab": words}, "normalizer": {"lowercase": True}, "added_tokens": [{"content": "[PAD]"}]}
    model = tmp_path / "model.onnx"

    def after(change: str) -> dict:
        (tmp_path / "tokenizer.json").write_text(json.dumps(state))
        (tmp_path / "labels.json").write_text('["x", "y", "z"]')
        model.write_bytes(bytes(1000))
        IN_BUNDLES[change](tmp_path, model)
        return json.loads((tmp_path / "tokenizer.json").read_text())

    shifted = after("bundle: the tokenizer's vocabulary shifted by one")["model"]["vocab"]
    assert shifted == {"[PAD]": 1, "a": 2, "b": 3, "c": 0}
    assert after("bundle: another model's tokenizer")["model"]["vocab"] == {"[PAD]": 0, "a": 3, "b": 2, "c": 1}
    assert after("bundle: the tokenizer keeps cases")["normalizer"] == {"lowercase": False}
    after("bundle: two labels change places")
    assert json.loads((tmp_path / "labels.json").read_text()) == ["y", "x", "z"]
    sizes = []
    for change in ("the second half of the model lost", "the last 100 bytes of the model lost", "an empty model"):
        after(f"bundle: {change}")
        sizes.append(model.stat().st_size)
    assert sizes == [500, 900, 0]


def test_the_page_counts_what_was_accepted_and_what_does_no_harm() -> None:
    harmless = next(iter(HARMLESS))
    judged = [
        Judged("onnx", "binary", "fp32", "", 0.0, 0.0, [], [], ""),
        Judged("tflite", "binary", "int8", "", 0.1, 0.1, ["far"], []),
        Judged("onnx", "binary", "int8", "mask: ignored", 0.5, 0.6, ["an output differs | by 1"], []),
        Judged("onnx", "binary", "int8", harmless, 0.0, 0.0, [], [], ""),
        Judged("onnx", "binary", "int8", "labels: none", 0.0, 0.0, [], [], "check: the labels are others"),
        Judged("onnx", "binary", "fp32", "norm: epsilon 1e-2", 0.0, 0.0, [], [], ""),
    ]
    text = page(judged, "python -m x")
    assert "- Sound files: 1 of 2 accepted by the gate and by `check`." in text
    assert "- onnx, int8: 0 of 3 doctored files accepted, besides 1 that do no harm." in text
    assert "- onnx, fp32: 1 of 1 doctored files accepted." in text
    assert "| mask: ignored | onnx | binary | int8 | 0.500 | 0.600 | rows | an output differs / by 1 |" in text
    assert "| labels: none | onnx | binary | int8 | 0.000 | 0.000 | check | check: the labels are others |" in text
    assert "- norm: epsilon 1e-2, onnx, binary, fp32: not explained" in text
    assert f"- {harmless}, onnx, binary, int8: {HARMLESS[harmless]}" in text
    assert "| tflite | binary | int8 | 0.100 | 0.100 | **refused**: far |" in text
