"""The gate itself: files that compute something else, each with one mistake in it, must not pass."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgebert.converters import CONVERTERS, usable_converter
from edgebert.errors import EdgebertError
from edgebert.modeling.graph import MASKED, Graph, TorchSession, make_source
from edgebert.runtime.session import Source
from edgebert.types import OutputComparison
from edgebert.verify.answers import Answer
from edgebert.verify.edges import batch_of, edge_batches
from edgebert.verify.parity import TOLERANCES, compare
from edgebert.verify.reference import Reference, make_reference
from tests.families import tiny

LABELS = ("O", "B-city", "I-city", "B-day", "I-day")
FORMATS = [
    pytest.param(name, marks=[] if name == "onnx" else pytest.mark.slow) for name in CONVERTERS.all()
]  # onnx is quick; a mistake in the graph reaches every format alike, so the others are proven in make test-slow


def model() -> Any:
    """Its activations read values of a trained model's size; near 0 every GELU is the same."""
    bert = tiny("bert", hidden_act="gelu", vocab_size=200)
    for layer in bert.bert.encoder.layer:
        layer.intermediate.dense.weight.data.mul_(4)
    return bert


def source_of(bert: Any, **changes: Any) -> Source:
    return replace(make_source(bert, lengths=(16, 32), labels=LABELS), **changes)


@pytest.fixture(scope="module")
def reference() -> Reference:
    """40 rows of 4 to 24 tokens and the edge rows, read by the sound model."""
    drawn = np.random.default_rng(1)
    rows = [batch_of(drawn.integers(5, 200, n).tolist()) for n in drawn.integers(4, 25, 40)]
    return make_reference(TorchSession(model()), rows, edge_batches(200, 32, 0, None), LABELS)


def judged(
    source: Source, reference: Reference, folder: Path, format: str = "onnx", precision: str = "fp32"
) -> OutputComparison:
    converter = usable_converter(format)
    (folder / "fp32").mkdir()
    artifact = converter.export(source, folder / "fp32")
    if precision != "fp32":
        (folder / precision).mkdir()
        variant = converter.precisions[precision].variants[0]
        artifact = converter.reduce(source, artifact, precision, variant, folder / precision)
    compared, _ = compare(converter.open(artifact.path, 1), reference, precision)
    return compared


# ---------------------------------------------------------------- mutants: model -> mutated model


def zeroed_layer(bert: Any) -> Any:
    layer = bert.bert.encoder.layer[1]
    for parameter in (*layer.attention.output.dense.parameters(), *layer.output.dense.parameters()):
        parameter.data.zero_()
    return bert


def swapped_heads(bert: Any) -> Any:
    """The value weights of heads 0 and 1 change places; queries, keys and the output stay."""
    value = bert.bert.encoder.layer[0].attention.self.value
    for tensor in (value.weight.data, value.bias.data):
        tensor[:16] = torch.cat([tensor[8:16], tensor[:8]]).clone()
    return bert


def no_positions(bert: Any) -> Any:
    bert.bert.embeddings.position_embeddings.weight.data.zero_()
    return bert


def shifted_positions(bert: Any) -> Any:
    table = bert.bert.embeddings.position_embeddings.weight
    table.data = table.data.roll(1, 0)
    return bert


def tanh_gelu(bert: Any) -> Any:
    from transformers.activations import ACT2FN

    for layer in bert.bert.encoder.layer:
        layer.intermediate.intermediate_act_fn = ACT2FN["gelu_pytorch_tanh"]
    return bert


def scaled_output(bert: Any) -> Any:
    for parameter in bert.classifier.parameters():
        parameter.data.mul_(1.01)
    return bert


def permuted_outputs(bert: Any) -> Any:
    for parameter in bert.classifier.parameters():
        parameter.data = parameter.data.roll(1, 0)
    return bert


def missing_token_types(bert: Any) -> Any:
    bert.bert.embeddings.token_type_embeddings.weight.data.zero_()
    return bert


def constant_output(bert: Any) -> Any:
    bert.classifier.weight.data.zero_()
    return bert


MUTANTS: tuple[Callable[[Any], Any], ...] = (
    zeroed_layer, swapped_heads, no_positions, shifted_positions, tanh_gelu, scaled_output, permuted_outputs,
    missing_token_types, constant_output,
)  # fmt: skip


@pytest.mark.parametrize("format", FORMATS)
def test_the_sound_file_passes(reference: Reference, tmp_path: Path, format: str) -> None:
    compared = judged(source_of(model()), reference, tmp_path, format)
    assert compared.failures == ()
    assert compared.max_logit_difference < 1e-5
    drawn, made_of_rows = {"one token", "full length", "half padding", "all padding but one"}, {"padded rows"}
    made_of_rows |= {"text under the mask", "joined rows", "words of other rows"}
    assert set(compared.edges) == drawn | made_of_rows


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("mutate", MUTANTS, ids=lambda mutate: mutate.__name__)
def test_a_mutant_is_rejected(mutate: Callable[[Any], Any], reference: Reference, tmp_path: Path, format: str) -> None:
    compared = judged(source_of(mutate(model())), reference, tmp_path, format)
    assert compared.failures
    if mutate is constant_output:
        assert "logits is the same for every row" in compared.failures


@pytest.mark.parametrize("format", FORMATS)
def test_a_permuted_label_map_is_rejected(reference: Reference, tmp_path: Path, format: str) -> None:
    """The numbers are right and the answers would be wrong: only the file's own labels show it."""
    wrong = (LABELS[0], LABELS[3], *LABELS[2:3], LABELS[1], LABELS[4])
    compared = judged(source_of(model(), labels=wrong), reference, tmp_path, format)
    assert compared.max_logit_difference < 1e-5
    assert [failure for failure in compared.failures if "labels in the file" in failure and "number 1" in failure]


class WrongMask(Graph):
    """The padding bias with its sign turned: padding is all that is read."""

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        named = dict(zip(self.inputs, tensors, strict=True))
        named["attention_mask"] = (1.0 - named["attention_mask"].float())[:, None, None, :] * -MASKED
        return (self.model(**named).logits,)


def test_a_mask_with_a_wrong_sign_is_rejected_on_padding_alone(reference: Reference, tmp_path: Path) -> None:
    """Real rows run one at a time have no padding: there the mask adds nothing, and only edge rows tell."""
    graph = WrongMask(model(), masks="additive").eval()
    compared = judged(source_of(model(), graph=graph), reference, tmp_path)
    assert compared.max_logit_difference < 1e-5
    assert compared.edges["half padding"] > 1e-2
    assert any("half padding" in failure for failure in compared.failures)


@pytest.mark.parametrize(
    "mutate", [zeroed_layer, no_positions, permuted_outputs, constant_output], ids=lambda m: m.__name__
)
def test_a_reduced_mutant_is_rejected_too(mutate: Callable[[Any], Any], reference: Reference, tmp_path: Path) -> None:
    """Made from a wrong float32 file, which the pipeline would have stopped before."""
    assert judged(source_of(mutate(model())), reference, tmp_path, precision="int8").failures


def test_what_int8_alone_cannot_see(reference: Reference, tmp_path: Path) -> None:
    """1 % of scale and GELU by tanh, and in a model this small two heads that change places, alter next to no answer and
    less than int8's own rounding does, so the int8 row of the table passes them; the float32 file that every int8 file
    is made from is where they are caught."""
    valid = judged(source_of(model()), reference, _made(tmp_path / "a"), precision="int8")
    for name, mutate in (("b", scaled_output), ("c", tanh_gelu), ("d", swapped_heads)):
        mutant = judged(source_of(mutate(model())), reference, _made(tmp_path / name), precision="int8")
        assert not mutant.failures
        assert mutant.max_logit_difference < valid.max_logit_difference + 0.1


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


# ---------------------------------------------------------------- the measures, by hand


class Fixed:
    """A session that answers from a list."""

    runtime, runtime_version, labels = "fixed", "1", ("a", "b")

    def __init__(self, outputs: list[np.ndarray]) -> None:
        self.outputs = list(outputs)

    def run(self, batch: Any) -> dict[str, np.ndarray]:
        return {"logits": self.outputs.pop(0)}


def by_hand(ours: list[list[list[float]]], theirs: list[list[list[float]]], kind: str = "int8") -> OutputComparison:
    batches = [batch_of([5] * len(row)) for row in theirs]
    expected = [{"logits": np.array([row])} for row in theirs]
    reference = Reference(batches, expected, {}, {}, ("a", "b"))
    return compare(Fixed([np.array([row]) for row in ours]), reference, kind)[0]  # type: ignore[arg-type]


def test_difference_and_share_by_hand() -> None:
    """Outputs (1, 0), (0.5, 2) and (4, 3): column deviations 1.5456 and 1.2472, each the unit of its differences."""
    compared = by_hand([[[1.0, 0.0], [0.0, 2.0]], [[3.0, 4.0]]], [[[1.0, 0.0], [0.5, 2.0]], [[4.0, 3.0]]])
    assert compared.max_logit_difference == 1.0
    assert compared.nrmse == pytest.approx(np.sqrt(((0.5**2 + 1) / 1.5456**2 + 1 / 1.2472**2) / 6), abs=1e-4)
    assert compared.equal_predictions == pytest.approx(2 / 3)
    assert compared.rank_correlation is None
    assert compared.failures == (
        "logits differs by 0.44 of its deviation over the rows, 0.25 is allowed in int8",
        "logits is shifted by 0.32 of its deviation over the rows, 0.25 is allowed in int8",
    )


@pytest.mark.parametrize(("magnitude", "difference", "passes"), [
    (5.0, 9e-5, True), (5.0, 1.1e-4, False), (48.7, 4.8e-4, True), (48.7, 5e-4, False),
])  # fmt: skip
def test_rounding_in_float32_grows_with_the_outputs(magnitude: float, difference: float, passes: bool) -> None:
    """1e-4 up to outputs of 10, then 1e-5 of the largest: of 48.7 it is 4.87e-4."""
    theirs = [[[magnitude, 0.0], [0.0, magnitude]], [[magnitude, 1.0]]]
    ours = [[[magnitude, difference], [0.0, magnitude]], [[magnitude, 1.0]]]
    failures = by_hand(ours, theirs, "fp32").failures
    assert failures == () if passes else "on a real row" in failures[0]


def test_nan_is_a_failure_whatever_the_precision() -> None:
    theirs = [[[1.0, 0.0]], [[0.0, 1.0]]]
    compared = by_hand([[[1.0, 0.0]], [[float("nan"), 1.0]]], theirs, "int4")
    assert "some outputs are NaN or infinite" in compared.failures


def test_nan_on_an_edge_row_alone_is_a_failure() -> None:
    row, edge = batch_of([5]), batch_of([6])
    valid, broken = np.array([[[1.0, 0.0]]]), np.array([[[np.nan, 0.0]]])
    reference = Reference(
        [row], [{"logits": valid}], {"full length": edge}, {"full length": {"logits": valid}}, ("a", "b")
    )
    compared, _ = compare(Fixed([valid, broken]), reference, "int8")  # type: ignore[arg-type]
    assert compared.failures == ("an output is NaN or infinite on full length",)


def test_a_model_that_gives_nan_itself_is_no_reference() -> None:
    bert = model()
    bert.bert.encoder.layer[0].output.LayerNorm.weight.data[3] = float("nan")
    with pytest.raises(EdgebertError, match="NaN"):
        make_reference(TorchSession(bert), [batch_of([5, 6])], {}, LABELS)


def test_a_model_that_cannot_read_an_edge_row_says_which() -> None:
    """Funnel pools along the row and fails on one token, in torch itself."""
    short = {"one token": batch_of([5])}
    with pytest.raises(EdgebertError, match="cannot read the edge row 'one token'"):
        make_reference(TorchSession(tiny("funnel")), [batch_of(list(range(5, 17)))], short, LABELS)


def test_padding_is_nobodys_answer() -> None:
    batch = batch_of([5, 5, 0], n_real=2)
    ours, theirs = np.array([[[1.0, 0.0], [0.0, 1.0], [9.0, 0.0]]]), np.array([[[1.0, 0.0], [0.0, 1.0], [0.0, 9.0]]])
    assert Answer("tags", ("logits",)).same({"logits": ours}, {"logits": theirs}, batch) == [True, True]


def test_another_shape_is_a_failure_and_no_crash() -> None:
    compared = by_hand([[[1.0, 0.0, 0.0]], [[1.0, 0.0, 0.0]]], [[[1.0, 0.0]], [[0.0, 1.0]]])
    assert compared.max_logit_difference == 1e9  # which a report can hold
    assert "logits has another shape than the model's" in compared.failures


def test_every_precision_has_a_row_in_the_table() -> None:
    kinds = {p.kind for c in CONVERTERS.all().values() for p in c.precisions.values()}
    assert kinds <= set(TOLERANCES)


def test_edge_rows() -> None:
    rows = edge_batches(50, 24, 7, None)
    assert rows["full length"]["input_ids"].shape == (1, 24)
    assert rows["one token"]["input_ids"].shape == (1, 1)
    alone = rows["all padding but one"]
    assert alone["attention_mask"].tolist() == [[1] + [0] * 15]
    assert set(alone["input_ids"][0, 1:].tolist()) == {7}
    again = edge_batches(50, 24, 7, None)
    assert all(np.array_equal(rows[name]["input_ids"], again[name]["input_ids"]) for name in rows)


def test_the_mutants_leave_the_sound_model_alone() -> None:
    """Each test builds its own: a mutant must not leak into the next."""
    a, b = model(), model()
    scaled_output(a)
    assert torch.equal(copy.deepcopy(b).classifier.weight, model().classifier.weight)
    assert json.dumps(b.config.to_dict(), default=str) == json.dumps(model().config.to_dict(), default=str)
