"""Methods that change the architecture: every format that they declare can express the students that they make."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from edgebert.converters import CONVERTERS, usable_converter
from edgebert.errors import RequestError
from edgebert.methods import METHODS, Method
from edgebert.modeling.graph import TorchSession, make_source
from edgebert.runtime.session import Session
from edgebert.types import Row, Student
from edgebert.verify.edges import edge_batches
from edgebert.verify.parity import compare
from edgebert.verify.reference import make_reference, row_batches
from tests.toy_methods import applied, encoded

LENGTH = 32
QUICK = {
    ("tflite", "albert"),
    ("openvino", "albert"),
}  # of the formats that take long, one method each in make test
UNCHANGED = next(field.default for field in dataclasses.fields(Method) if field.name == "reshape")


def cases() -> list[object]:
    """(method, format) of every method that changes the architecture."""
    results = [
        (format, name)
        for name, method in sorted(METHODS.all().items())
        for format in method.formats or CONVERTERS.all()
        if method.stage == "shape" or (method.stage == "train" and method.reshape is not UNCHANGED)
    ]
    return [
        pytest.param(name, format, marks=() if format == "onnx" or (format, name) in QUICK else pytest.mark.slow)
        for format, name in results
    ]


def enlarged(student: Student) -> Student:
    """Matrices three times as large: near 0 every layer is nothing, and a wrong one would not show."""
    with torch.no_grad():
        for parameter in student.model.parameters():
            if parameter.dim() >= 2:
                parameter.mul_(3.0)
    return student


@pytest.mark.parametrize(("name", "format"), cases())
def test_students_convert_to_each_declared_format(
    name: str, format: str, teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    """float32 through the parity gate; int8 near and finite: predictions of random weights have thin margins."""
    try:
        converter = usable_converter(format)
    except RequestError as error:
        pytest.skip(str(error))
    student = enlarged(applied(name, teacher, toy_rows, toy_labels, tmp_path / "work"))
    pad = student.model.config.pad_token_id
    rows = row_batches(encoded(student, toy_rows[:16], toy_labels), pad)
    edges = edge_batches(student.model.config.vocab_size, LENGTH, pad, student.tokenizer)
    reference = make_reference(TorchSession(student.model), rows, edges, toy_labels)
    source = make_source(student.model, lengths=(LENGTH,), labels=toy_labels, calibration=rows)

    def failures(session: Session, kind: str) -> list[str]:
        compared, _ = compare(session, reference, kind)
        return [failure for failure in compared.failures if kind == "fp32" or "the model was decided on" not in failure]

    for folder in ("fp32", "int8"):
        (tmp_path / folder).mkdir()
    exported = converter.export(source, tmp_path / "fp32")
    assert failures(converter.open(exported.path, 1), "fp32") == []
    variant = converter.precisions["int8"].variants[0]
    reduced = converter.reduce(source, exported, "int8", variant, tmp_path / "int8")
    assert failures(converter.open(reduced.path, 1), "int8") == []
