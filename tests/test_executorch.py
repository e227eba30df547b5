"""ExecuTorch files against torch: heads, families, precisions, what they say of themselves, and what must be refused.

Lowering takes some ten seconds a file, so files are shared."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgebert.errors import EdgebertError, RequestError
from edgebert.runtime.session import Source
from edgebert.types import Artifact
from edgebert.verify.contents import contents_failures
from tests.families import HEADS
from tests.test_onnx import LABELS, batch, source
from tests.test_onnx import worst as worst_of

pytest.importorskip("executorch", reason='needs pip install "edgebert[executorch]"')

from edgebert.converters import _executorch_lower as lower
from edgebert.converters._facts import FACTS
from edgebert.converters.executorch import CONVERTER, ExecutorchSession, Pool

INT8 = CONVERTER.precisions["int8"].variants[0]
WORDS = "model.bert.embeddings.word_embeddings.weight"


worst = partial(worst_of, opened=ExecutorchSession)


@pytest.fixture(scope="module")
def bert() -> Source:
    return source()


@pytest.fixture(scope="module")
def exported(bert: Source, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return CONVERTER.export(bert, tmp_path_factory.mktemp("executorch"))


@pytest.fixture(scope="module")
def reduced(bert: Source, exported: Artifact, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    return {
        name: CONVERTER.reduce(bert, exported, name, precision.variants[0], tmp_path_factory.mktemp(name))
        for name, precision in CONVERTER.precisions.items()
    }


def table_of(ours: Source) -> np.ndarray:
    table: np.ndarray = ours.graph.get_parameter(WORDS).detach().numpy()
    return table


def looked_up(created: Artifact, ours: Source) -> np.ndarray:
    """The word table that a file holds."""
    found = CONVERTER.contents(created.path)  # type: ignore[misc]
    (table,) = (item for item in found.weights.values() if item.shape == table_of(ours).shape)
    return table


def test_a_file_equals_torch_on_lengths_that_the_exporter_did_not_see(bert: Source, exported: Artifact) -> None:
    assert [path.name for path in exported.path.parent.iterdir()] == ["model.pte"]
    for rows in (batch(1, 1), batch(1, 2), batch(4, 9), batch(1, 80)):
        assert worst(bert, exported.path, rows) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("head", [head for head in HEADS if head != "token-classification"])
def test_other_heads_equal_torch(head: str, tmp_path: Path) -> None:
    ours = source(head=head)
    created = CONVERTER.export(ours, tmp_path)
    for rows in (batch(1, 1), batch(4, 9)):
        assert worst(ours, created.path, rows) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("family", ["albert", "distilbert", "mobilebert", "modernbert", "deberta-v2"])
def test_other_families_equal_torch(family: str, tmp_path: Path) -> None:
    ours = source(family)
    created = CONVERTER.export(ours, tmp_path)
    assert worst(ours, created.path, batch(3, 21)) < 1e-4


@pytest.mark.slow
def test_parts_that_would_wait_for_one_another_are_lowered_one_by_one(tmp_path: Path) -> None:
    ours = source("nomic_bert")
    (tmp_path / "int8").mkdir()
    created = CONVERTER.reduce(ours, CONVERTER.export(ours, tmp_path), "int8", INT8, tmp_path / "int8")
    assert 0 < worst(ours, created.path, batch(3, 21)) < 0.03


def test_a_family_whose_steps_depend_on_the_length_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EdgebertError, match=r"torch.export does not take rows of any length: Not all values of seq"):
        CONVERTER.export(source("xlnet"), tmp_path)


@pytest.mark.parametrize(("precision", "limit"), [("int8", 0.02), ("int4-embedding", 0.1)])
def test_a_reduced_file_is_near_torch_and_holds_the_same_weights(
    precision: str, limit: float, bert: Source, exported: Artifact, reduced: dict[str, Artifact]
) -> None:
    created = reduced[precision]
    assert 0 < worst(bert, created.path, batch(3, 21)) < limit
    origin, found = (CONVERTER.contents(item.path) for item in (exported, created))  # type: ignore[misc]
    assert origin.weights.keys() == found.weights.keys()
    tables = {WORDS: table_of(bert)}
    assert contents_failures(found, CONVERTER.precisions[precision], origin=origin, tables=tables) == []
    assert contents_failures(origin, None, origin=None, tables=tables) == []
    assert created.size_bytes < 0.55 * exported.size_bytes
    assert ExecutorchSession(created.path, 1).metadata == {"precision": precision, "pad_id": 0, "max_length": 80}


def test_what_a_weight_stands_for_by_hand(bert: Source, exported: Artifact, reduced: dict[str, Artifact]) -> None:
    """A row of the word table in 8 bits: steps of its largest number over 127. In 4 bits: 15 steps over its range."""
    theirs = table_of(bert)
    assert np.array_equal(looked_up(exported, bert), theirs)
    steps = np.maximum(np.abs(theirs).max(axis=1, keepdims=True), 1e-9) / 127  # the row of padding is zero
    assert np.allclose(looked_up(reduced["int8"], bert), np.rint(theirs / steps) * steps, atol=1e-7)
    four = looked_up(reduced["int4-embedding"], bert)
    assert max(len(np.unique(row.round(5))) for row in four) == 16
    assert np.abs(four - theirs).max() < np.ptp(theirs, axis=1).max() / 15


@pytest.mark.parametrize("change", ["zero", "flip"])
@pytest.mark.parametrize("what", ["table", "product"])
def test_a_damaged_weight_is_found(
    what: str, change: str, bert: Source, exported: Artifact, reduced: dict[str, Artifact], tmp_path: Path
) -> None:
    created = reduced["int8"]
    if what == "table":
        theirs = table_of(bert)
    else:
        theirs = bert.graph.get_parameter("model.bert.encoder.layer.1.intermediate.dense.weight").detach().numpy()
    codes = (
        np.rint(theirs * 127 / np.maximum(np.abs(theirs).max(axis=1, keepdims=True), 1e-9)).astype(np.int8).tobytes()
    )
    row = codes[5 * 32 : 6 * 32]
    data = created.path.read_bytes()
    assert data.count(row) == 1
    path = tmp_path / "model.pte"
    path.write_bytes(data.replace(row, bytes(32) if change == "zero" else bytes(byte ^ 0x40 for byte in row)))
    origin, found = (CONVERTER.contents(item) for item in (exported.path, path))  # type: ignore[misc]
    failures = contents_failures(found, CONVERTER.precisions["int8"], origin=origin, tables={WORDS: table_of(bert)})
    assert failures and "x32, number" in failures[0]


def test_what_the_file_says_of_itself(exported: Artifact) -> None:
    session = ExecutorchSession(exported.path, 1)
    assert (session.labels, session.metadata["max_length"]) == (LABELS, 80)
    inputs, outputs = session.signature()
    names = ["input_ids", "attention_mask", "token_type_ids"]
    assert inputs == [{"name": name, "type": "int64", "shape": [1, "seq"]} for name in names]
    assert outputs == [{"name": "logits", "type": "float32", "shape": [1, "seq", 5]}]
    assert CONVERTER.accelerator_fallbacks(exported.path) == {"native_layer_norm": 5}


def test_attention_and_reshapes_stay_inside_xnnpack(reduced: dict[str, Artifact]) -> None:
    """What torch decomposes its own attention into, outside XNNPACK, made a file of 3 layers 2.3 times as slow."""
    operators = CONVERTER.contents(reduced["int8"].path).operators  # type: ignore[misc]
    kinds = " ".join(operator.kind for operator in operators)
    assert kinds.count("XNNBatchMatrixMultiply") == 4 and kinds.count("XNNSoftmax") == 2
    assert not {"expand_copy", "where", "logical_not", "bmm", "_softmax"} & set(kinds.replace("::", " ").split())


def test_results_of_an_earlier_call_stay_and_threads_may_change(bert: Source, exported: Artifact) -> None:
    """The threads are the process's: a session whose number another one changed loads its file again."""
    one, two = ExecutorchSession(exported.path, 1), ExecutorchSession(exported.path, 2)
    first = one.run(batch(1, 8))["logits"]
    kept, changes = first.copy(), Pool.changes
    for _ in range(2):
        assert np.allclose(two.run(batch(1, 8))["logits"], kept, atol=1e-6)
        assert np.array_equal(one.run(batch(1, 8))["logits"], kept)
    assert Pool.changes == changes + 4
    one.run(batch(1, 8, seed=5))
    assert np.array_equal(first, kept)


@pytest.mark.slow
def test_the_same_model_gives_the_same_bytes(bert: Source, exported: Artifact, tmp_path: Path) -> None:
    assert CONVERTER.export(bert, tmp_path).sha256 == exported.sha256


# ---------------------------------------------------------------- attention, by hand


def test_attention_is_torchs_own() -> None:
    import torch

    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 4, 6, 8) for _ in range(3))
    mask = torch.rand(2, 1, 6, 6) > 0.3
    mask[..., 0] = True
    own = torch.nn.functional.scaled_dot_product_attention
    cases: list[dict[str, Any]] = [
        {}, {"attn_mask": mask}, {"attn_mask": (~mask).float() * -1e4}, {"is_causal": True}, {"scale": 0.25},
    ]  # fmt: skip
    for case in cases:
        expected = own(query, key, value, **case)
        with lower.Formulas():
            assert torch.allclose(
                torch.nn.functional.scaled_dot_product_attention(query, key, value, **case), expected, atol=1e-6
            )
    few = key[:, :2], value[:, :2]
    expected = own(query, *few, enable_gqa=True)
    with lower.Formulas():
        assert torch.allclose(own(query, *few, enable_gqa=True), expected, atol=1e-6)


def test_gelu_by_tanh_is_its_formula_and_gelu_by_the_error_function_stays() -> None:
    """ExecuTorch 1.5.1 lets XNNPACK compute both by the error function; tests/test_parity.py converts a model with each."""
    import torch

    x, gelu = torch.linspace(-6, 6, 401), torch.nn.functional.gelu
    expected = {how: gelu(x, approximate=how) for how in ("none", "tanh")}
    with lower.Formulas():
        for how, values in expected.items():
            assert torch.allclose(gelu(x, approximate=how), values, atol=1e-6)
        graph = str(torch.export.export(torch.nn.GELU("tanh"), (x,)).graph)
    assert "aten.gelu" not in graph and "aten.tanh" in graph
    assert (expected["none"] - expected["tanh"]).abs().max() > 4e-4


# ---------------------------------------------------------------- what is refused


def test_too_many_tokens_are_an_error(exported: Artifact) -> None:
    session = ExecutorchSession(exported.path, 1)
    with pytest.raises(EdgebertError, match="the batch has 81 tokens, the model takes 80"):
        session.run(batch(1, 81))
    assert session.run(batch(1, 80))["logits"].shape == (1, 80, 5)


@pytest.mark.slow
def test_a_product_that_xnnpack_does_not_take_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answers would be the same, and the time tens of times as long."""
    from executorch.backends.xnnpack.partition import xnnpack_partitioner

    whole = xnnpack_partitioner.XnnpackPartitioner
    kept = [config for config in xnnpack_partitioner.ALL_PARTITIONER_CONFIGS if config.__name__ != "BMMConfig"]
    monkeypatch.setattr(xnnpack_partitioner, "XnnpackPartitioner", lambda **_: whole(configs=kept))
    with pytest.raises(EdgebertError, match=r"XNNPACK does not take bmm \(2 times\), which the portable kernels"):
        CONVERTER.export(source(num_hidden_layers=1), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_precision_is_refused(bert: Source, exported: Artifact, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="unknown ExecuTorch precision 'int3'"):
        CONVERTER.reduce(bert, exported, "int3", INT8, tmp_path)


def facts_of(path: Path) -> bytes:
    from executorch.runtime import Runtime

    program = Runtime.get().load_program(path)
    return str(program.load_method(FACTS).execute([])[0]).encode()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"max_length": 80', '"max_length": 81', "it says that logits has an entry a token, of 81"),
        ('"max_length": 80', '"max_length": -1', "the max_length in its metadata is -1"),
        ('"input_ids"', '"inputsids"', "it takes inputsids; the inputs of a text are"),
        ('"labels": [', '"labels" :[[', "the file does not say what it is"),
        ('"labels": ["O"', '"labels": [ 1 ', "the labels in its metadata are no list of texts"),
        ('"outputs": {"', '"outputz": {"', "it does not name each of its inputs and outputs"),
    ],
)
def test_what_a_file_says_wrongly_is_one_clear_error(
    old: str, new: str, message: str, exported: Artifact, tmp_path: Path
) -> None:
    data, facts = exported.path.read_bytes(), facts_of(exported.path)
    assert json.loads(facts)["max_length"] == 80 and data.count(facts) == 1 and facts.count(old.encode()) >= 1
    changed = facts.replace(old.encode(), new.encode(), 1)
    path = tmp_path / "model.pte"
    path.write_bytes(data.replace(facts, changed.ljust(len(facts))[: len(facts)]))
    with pytest.raises(EdgebertError, match=message):
        ExecutorchSession(path, 1)


@pytest.mark.parametrize("content", [b"", b"\0" * 400, b"no program at all, but a text of some length" * 20])
def test_what_is_no_file_of_executorch_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.pte"
    with pytest.raises(EdgebertError, match="there is no such file"):
        ExecutorchSession(path, 1)
    path.write_bytes(content)
    with pytest.raises(EdgebertError, match="ExecuTorch refuses the file"):
        ExecutorchSession(path, 1)
    with pytest.raises(EdgebertError, match="ExecuTorch cannot read the file"):
        CONVERTER.contents(path)  # type: ignore[misc]
