"""How a model is quantized, as a value: ranges worked by hand, kept with a checkpoint, handed to converters."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgebert.errors import TeacherError
from edgebert.modeling.checkpoint import load_student, save_checkpoint
from edgebert.modeling.graph import make_source
from edgebert.modeling.source import find_teacher
from edgebert.quantization import QuantSpec, TensorSpec, read_spec, write_spec
from edgebert.quantization.spec import FILE

SPEC = QuantSpec(
    weights={"bert.embeddings.word_embeddings.weight": TensorSpec(4, "group", scale=(0.5, 0.25), group=32)},
    activations={"classifier": TensorSpec(8, "tensor", symmetric=False, scale=(0.02,), zero_point=(131,))},
)


@pytest.mark.parametrize(
    ("spec", "low", "high"),
    [
        (TensorSpec(8), -127, 127),
        (TensorSpec(8, symmetric=False), 0, 255),
        (TensorSpec(4), -7, 7),
        (TensorSpec(2), -1, 1),
    ],
)
def test_ranges_by_hand(spec: TensorSpec, low: int, high: int) -> None:
    assert spec.range == (low, high)


def test_a_spec_is_kept_with_the_checkpoint_and_reaches_the_converters(toy_checkpoint: Path, tmp_path: Path) -> None:
    student = load_student(toy_checkpoint)
    assert student.quantization is None
    save_checkpoint(tmp_path, replace(student, quantization=SPEC), toy_checkpoint)
    again = load_student(tmp_path)
    assert again.quantization == SPEC
    assert make_source(again.model, quantization=again.quantization).quantization == SPEC


def test_other_scales_are_another_teacher(toy_checkpoint: Path, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, load_student(toy_checkpoint), toy_checkpoint)
    plain = find_teacher(str(tmp_path)).key
    write_spec(tmp_path, SPEC)
    assert find_teacher(str(tmp_path)).key != plain


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"bits": 1}, "bits is 1, and must be 2 to 16"),
        ({"bits": 8.0}, "bits is 8.0"),
        ({"granularity": "row"}, "granularity is 'row'"),
        ({"group": 32}, "group is set"),
        ({"scale": [0.0]}, "above 0"),
        ({"scale": [float("nan")]}, "finite"),
        ({"zero_point": [3]}, "no zero point"),
        ({"symmetric": False, "scale": [0.1]}, "1 scales have 0 zero points"),
        ({"width": 3}, "unexpected keyword argument 'width'"),
    ],
)
def test_what_cannot_be_is_refused_with_its_file(fields: dict[str, object], message: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(json.dumps({"schema": 1, "weights": {"a": fields}}))
    with pytest.raises(TeacherError, match=message) as caught:
        read_spec(tmp_path)
    assert caught.value.where == str(tmp_path / FILE)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema": 2}', '{"schema": 1, "weights": 3}', '{"schema": 1, "x": {}}']
)
def test_a_damaged_file_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(TeacherError, match="no quantization that can be read"):
        read_spec(tmp_path)


@given(
    st.dictionaries(
        st.text(min_size=1),
        st.builds(
            TensorSpec,
            bits=st.integers(2, 16),
            granularity=st.sampled_from(["tensor", "channel"]),
            scale=st.lists(st.floats(1e-30, 1e30), max_size=4).map(tuple),
        ),
        max_size=4,
    )
)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, weights: dict[str, TensorSpec]) -> None:
    folder = tmp_path_factory.mktemp("spec")
    write_spec(folder, QuantSpec(weights=weights))
    assert read_spec(folder) == QuantSpec(weights=weights)
