"""Core ML files of a student that was trained in 8 bits: they compute by its scales, and the gate sees another one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgebert.converters import CONVERTERS
from edgebert.errors import EdgebertError
from edgebert.quantization import QuantSpec, TensorSpec
from edgebert.types import Row
from tests.test_method_q8bert import Files
from tests.test_methods_by_family import teacher_of
from tests.toy_methods import applied

pytest.importorskip("coremltools")

COREML = CONVERTERS.get("coreml")
STATIC = "int8-static"
QUERY = "bert.encoder.layer.0.attention.self.query"
KEY = "bert.encoder.layer.1.attention.self.key"


@pytest.fixture(scope="module")
def files(toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path_factory: Any) -> Files:
    student = applied("q8bert", teacher_of("bert", toy_labels), toy_rows, toy_labels, tmp_path_factory.mktemp("work"))
    return Files(student, toy_rows, toy_labels, tmp_path_factory.mktemp("files"), COREML)


def spec_of(files: Files) -> QuantSpec:
    assert files.student.quantization is not None
    return files.student.quantization


def scaled(how: TensorSpec) -> TensorSpec:
    """With its last scale 1 % larger, in a number of float16."""
    return replace(how, scale=(*how.scale[:-1], float(np.float16(1.01 * how.scale[-1]))))


def test_in_float32_a_program_computes_what_was_trained(files: Files) -> None:
    """The graph and its scales are right, then, and float16 is all that stands between a file and torch."""
    session, reference = COREML.open(files.reduced(STATIC, compute="float32").path, 1), files.reference.quantized
    assert reference is not None
    for batch, theirs in zip(reference.batches, reference.outputs, strict=True):
        np.testing.assert_allclose(session.run(batch)["logits"], theirs["logits"], atol=1e-5)


def test_a_file_has_exactly_the_scales_of_the_spec(files: Files) -> None:
    artifact = files.reduced(STATIC)
    assert files.failures(artifact) == []
    assert COREML.contents is not None
    found = COREML.contents(artifact.path)
    assert found.fixed_scales == {how.scale[0] for how in spec_of(files).activations.values()}
    weights = dict(files.student.model.named_parameters())
    names = [f"{name}.weight" for name in spec_of(files).activations] + ["bert.embeddings.word_embeddings.weight"]
    for name in names:  # whole numbers times scales, which a program in float16 multiplies out
        expected = weights[name].detach().half().float().numpy()
        assert np.array_equal(found.weights[f"model_{name.replace('.', '_')}"], expected)


def test_the_gate_sees_scales_that_are_one_percent_off(files: Files) -> None:
    reads, weights = spec_of(files).activations, spec_of(files).weights
    other = QuantSpec(
        {**weights, f"{KEY}.weight": scaled(weights[f"{KEY}.weight"])}, {**reads, QUERY: scaled(reads[QUERY])}
    )
    failures = files.failures(files.reduced(STATIC, other))
    assert any("1 scales that the model was not trained with" in failure for failure in failures), failures
    assert any(KEY.replace(".", "_") in failure and "its bits explain" in failure for failure in failures), failures


def test_ranges_that_core_ml_does_not_round_to_are_refused(files: Files) -> None:
    reads = {**spec_of(files).activations, QUERY: TensorSpec(8, "tensor", False, (0.1,), (3,))}
    with pytest.raises(EdgebertError, match=r"what bert.* reads has not 8 symmetric bits"):
        files.reduced(STATIC, replace(spec_of(files), activations=reads))
    assert not [name for name in files.source.graph.state_dict() if "_COREML_" in name]
