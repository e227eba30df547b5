"""What the gate says of each kind of head: sound rounding passes and a file that is wrong in one thing does not."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.reliability.doctoring import CHANGES
from edgebert.converters import CONVERTERS, Contents, Operator
from edgebert.modeling.graph import TorchSession, make_source
from edgebert.tasks.classify import Classify
from edgebert.types import Artifact, OutputComparison
from edgebert.verify.answers import Answer, answers_of
from edgebert.verify.contents import contents_failures, file_failures
from edgebert.verify.edges import batch_of, edge_batches, edges_of
from edgebert.verify.parity import _by_task, compare
from edgebert.verify.reference import Reference, make_reference
from tests.families import tiny

DRAWN = np.random.default_rng(0)


class Fixed:
    """A session that answers from a list."""

    runtime, runtime_version = "fixed", "1"

    def __init__(self, outputs: list[dict[str, np.ndarray]], labels: tuple[str, ...]) -> None:
        self.outputs, self.labels = list(outputs), labels

    def run(self, batch: Any) -> dict[str, np.ndarray]:
        return self.outputs.pop(0)


def judged(ours: np.ndarray, theirs: np.ndarray, answer: Answer, kind: str = "int8") -> OutputComparison:
    """Of (rows, columns), one row each."""
    name, labels = answer.outputs[0], ()
    rows = [batch_of([5, 6]) for _ in theirs]
    sides = [[{name: row[None].astype(np.float32)} for row in side] for side in (ours, theirs)]
    reference = Reference(rows, sides[1], {}, {}, labels, [answer])
    return compare(Fixed(sides[0], labels), reference, kind)[0]  # type: ignore[arg-type]


# ---------------------------------------------------------------- kinds of answers, by hand

LABEL, LABELS, SCORES = (Answer(kind, ("logits",)) for kind in ("label", "labels", "scores"))  # type: ignore[arg-type]
VECTOR = Answer("vector", ("sentence_embedding",))


def binary(n: int = 200) -> np.ndarray:
    """Logits (z, -z) of texts from certain to undecided."""
    z = np.linspace(-4, 4, n)
    return np.stack([z, -z], 1)


def test_a_binary_classifier_passes_though_rows_at_the_boundary_turn_over() -> None:
    theirs = binary()
    noise = DRAWN.normal(0, 0.1, (len(theirs), 1)) * np.array([[1, -1]])
    ours = theirs + noise
    ours[99] = -theirs[99]  # whose cosine is -1
    result = judged(ours, theirs, LABEL)
    assert result.failures == () and result.equal_predictions < 1
    assert 0.03 < result.nrmse < 0.06  # 0.1 over a deviation of 2.32


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda z: 2 * z, "logits has 2.000 times the model's scale"),
        (lambda z: 0.5 * z, "logits has 0.500 times the model's scale"),
        (lambda z: z + 1, "logits is shifted by 0.43 of its deviation"),
        (lambda z: z * [1, 0], "logits differs by 0.71 of its deviation"),
        (lambda z: -z, "0.00 % of the answers that the model was decided on are equal"),
        (lambda z: z[::-1], "0.00 % of the answers"),
    ],
)
def test_a_wrong_binary_classifier_is_refused(change: Any, reason: str) -> None:
    assert any(reason in failure for failure in judged(change(binary()), binary(), LABEL).failures)


def test_undecided_answers_may_change_and_decided_ones_not() -> None:
    theirs = np.concatenate([np.tile([[3.0, -3.0], [-3.0, 3.0]], (45, 1)), np.full((10, 2), [0.01, -0.01])])
    ours = theirs.copy()
    ours[90:] = [-0.01, 0.01]  # a tenth of all answers, none of which the model was sure of
    assert judged(ours, theirs, LABEL).failures == ()
    assert judged(ours, theirs, LABEL).equal_predictions == 0.9
    ours[:5] *= -1
    assert any(
        "94.44 % of the answers that the model was decided on" in f for f in judged(ours, theirs, LABEL).failures
    )


def test_scores_are_judged_by_their_spread_and_order() -> None:
    theirs = DRAWN.normal(0, 1, (200, 1))
    near = judged(theirs + DRAWN.normal(0, 0.05, theirs.shape), theirs, SCORES)
    assert near.failures == () and near.equal_predictions == 1.0  # scores have no answer to be equal
    assert near.rank_correlation is not None and 0.99 < near.rank_correlation < 1
    off = judged(theirs + theirs.std(), theirs, SCORES)
    assert any("shifted by 1 of its deviation" in failure for failure in off.failures)
    assert off.rank_correlation == pytest.approx(1)
    mixed = judged(theirs[DRAWN.permutation(200)], theirs, SCORES)
    assert any("orders rows otherwise" in failure for failure in mixed.failures)
    turned = theirs.copy()
    turned[np.abs(turned).argmin()] *= -1  # one score that changes its sign
    assert judged(turned, theirs, SCORES).failures == ()


def test_multi_label_sets_are_compared_at_the_threshold() -> None:
    theirs = DRAWN.normal((0, 0, 0, 6), 2, (200, 4))  # the last label is always the best one
    result = judged(theirs * [1, 1, -1, 1], theirs, LABELS)
    assert (theirs.argmax(1) == (theirs * [1, 1, -1, 1]).argmax(1)).mean() > 0.9  # the best label says nothing
    assert result.equal_predictions < 0.1
    assert any("answers that the model was decided on" in failure for failure in result.failures)
    rows = [batch_of([5])] * 2
    logits = [{"logits": np.array([[-1.0, 2.0]])}, {"logits": np.array([[-3.0, 2.0]])}]
    assert LABELS.same(*logits, rows[0]) == [True]  # type: ignore[call-arg]
    low = _by_task(LABELS, Classify(multi_label=True, threshold=0.2))  # a logit of -1.39
    assert low.same(*logits, rows[0]) == [False]  # type: ignore[call-arg]


def test_a_span_is_the_best_pair_whose_end_is_not_before_its_start() -> None:
    answer, batch = Answer("span", ("start_logits", "end_logits")), batch_of([1, 2, 3])

    def side(start: list[float], end: list[float]) -> dict[str, np.ndarray]:
        return {"start_logits": np.array([start]), "end_logits": np.array([end])}

    theirs = side([0, 5, 1], [4, 3, 0])  # the best end alone would be the first token, before the best start
    assert answer.margins(theirs, batch) == [3.0]  # 5 + 3 over 5 + 0
    assert answer.same(side([0, 5, 1], [9, 3, 0]), theirs, batch) == [False]  # (0, 0) has 9
    assert answer.same(side([1, 6, 2], [6, 5, 2]), theirs, batch) == [True]


def test_vectors_are_judged_by_difference_and_neighbours() -> None:
    theirs = DRAWN.normal(0, 1, (60, 16))
    theirs /= np.linalg.norm(theirs, axis=1, keepdims=True)
    near = judged(theirs + DRAWN.normal(0, 0.01, theirs.shape), theirs, VECTOR)
    assert near.failures == () and near.rank_correlation is not None and near.rank_correlation > 0.98
    dead = theirs.copy()
    dead[:, 3] = 0
    assert any("in column 3 by" in f or "deviation" in f for f in judged(dead, theirs, VECTOR).failures)
    assert judged(theirs[:, ::-1], theirs, VECTOR).rank_correlation == pytest.approx(1)  # neighbours stay
    assert judged(theirs[:, ::-1], theirs, VECTOR).failures  # and the vectors do not


@pytest.mark.parametrize(
    ("head", "changes", "kind"),
    [
        ("sequence-classification", {}, "label"),
        ("sequence-classification", {"problem_type": "multi_label_classification"}, "labels"),
        ("sequence-classification", {"problem_type": "regression"}, "scores"),
        ("sequence-classification", {"n_labels": 1}, "scores"),
        ("token-classification", {}, "tags"),
        ("question-answering", {}, "span"),
        ("sentence-embedding", {}, "vector"),
    ],
)
def test_a_model_says_what_its_head_answers(head: str, changes: dict[str, Any], kind: str) -> None:
    session = TorchSession(tiny("bert", head, **changes))
    assert [answer.kind for answer in answers_of(session.parts)] == [kind]


# ---------------------------------------------------------------- edge rows of real ones


def test_edge_rows_are_made_of_real_rows() -> None:
    rows = [batch_of([1, 5 + i, 6, 7, 2]) for i in range(4)]
    created = edges_of(rows, 50, 16, 0)
    padded, hidden = created["padded rows"][0], created["text under the mask"][0]
    assert padded["input_ids"][0].tolist() == [1, 5, 6, 7, 2] + [0] * 11
    assert hidden["input_ids"][0].tolist() == [1, 5, 6, 7, 2, 1, 6, 6, 7, 2, 1, 6, 6, 7, 2, 1]
    assert padded["attention_mask"][0].tolist() == hidden["attention_mask"][0].tolist() == [1] * 5 + [0] * 11
    assert all(item["input_ids"].shape == (1, 16) for item in created["joined rows"])
    fresh = created["words of other rows"][0]["input_ids"][0].tolist()
    assert (fresh[0], *fresh[2:]) == (1, 6, 7, 2)  # which stand in all rows, as [CLS] and [SEP] do
    assert fresh[1] not in {0, 1, 2, 5, 6, 7, 8}
    assert edges_of([], 50, 16, 0) == {}


# ---------------------------------------------------------------- files with one mistake


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Reference, dict[str, Artifact]]:
    """A model of three layers, its float32 file and its int8 one."""
    model = tiny(
        "bert", "sequence-classification", num_hidden_layers=3, hidden_size=64, num_attention_heads=2, vocab_size=400,
        hidden_act="gelu",
    )  # fmt: skip
    drawn = np.random.default_rng(1)
    rows = [batch_of(drawn.integers(5, 200, n).tolist()) for n in drawn.integers(4, 40, 40)]
    labels = tuple("abcde")
    reference = make_reference(TorchSession(model), rows, edge_batches(400, 64, 0, None), labels)
    source, converter = make_source(model, lengths=(64,), labels=labels), CONVERTERS.get("onnx")
    place = tmp_path_factory.mktemp("files")
    created: dict[str, Artifact] = {}
    for precision in ("fp32", "int8"):
        (place / precision).mkdir()
    created["fp32"] = converter.export(source, place / "fp32")
    variant = converter.precisions["int8"].variants[0]
    created["int8"] = converter.reduce(source, created["fp32"], "int8", variant, place / "int8")
    return reference, created


def refused(files: tuple[Reference, dict[str, Artifact]], artifact: Artifact) -> list[str]:
    reference, created = files
    converter = CONVERTERS.get("onnx")
    inside = file_failures(converter, artifact, created["fp32"], reference.tables)
    kind = "fp32" if artifact.precision == "fp32" else "int8"
    return [*inside, *compare(converter.open(artifact.path, 1), reference, kind)[0].failures]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_sound_files_pass(files: tuple[Reference, dict[str, Artifact]], precision: str) -> None:
    assert refused(files, files[1][precision]) == []


@pytest.mark.parametrize(
    "change",
    [
        "mask: ignored", "mask: inverted", "mask: left out in one layer", "positions: zero from 48 on",
        "positions: two change places", "segments: second one zero", "words: two rare rows change places",
        "words: NaN in rows that no text reads", "words: infinity in a rare row", "words: shifted by one",
        "layer: feed-forward of the last zero", "layer: one is skipped", "attention: twice as many heads", "attention: no scaling by the root of the width",
        "attention: two heads change places", "attention: value bias zero", "norm: epsilon 1e-2",
        "activation: GELU by sigmoid", "weights: all scales +5 %", "weights: scales of one +30 %",
        "weights: a bit of one byte in a thousand turned", "weights: products rounded to 3 bits",
        "weights: zero points shifted by 3", "outputs: doubled", "outputs: a column zero",
        "outputs: two columns change places", "head: bias zero", "head: pooler's tanh left out", "labels: one renamed",
    ],
)  # fmt: skip
def test_a_doctored_int8_file_is_refused(
    files: tuple[Reference, dict[str, Artifact]], change: str, tmp_path: Path
) -> None:
    import onnx

    valid = files[1]["int8"]
    model = copy.deepcopy(onnx.load(str(valid.path)))
    CHANGES[change](model)
    onnx.save(model, str(tmp_path / "model.onnx"))
    assert refused(files, Artifact("onnx-int8", "onnx", "int8", tmp_path / "model.onnx", 1, ""))


def test_float32_rows_of_a_table_that_no_text_reads(
    files: tuple[Reference, dict[str, Artifact]], tmp_path: Path
) -> None:
    import onnx

    for change, reason in (
        ("words: NaN in rows that no text reads", "holds NaN or infinity"),
        ("words: two rare rows change places", "differs in 2 rows, the first is 388"),
    ):
        model = onnx.load(str(files[1]["fp32"].path))
        CHANGES[change](model)
        onnx.save(model, str(tmp_path / "model.onnx"))
        result = refused(files, Artifact("onnx-fp32", "onnx", "fp32", tmp_path / "model.onnx", 1, ""))
        assert any(reason in failure for failure in result), (change, result)


def test_operators_by_hand() -> None:
    """Products may be replaced, and nothing else: neither what leads to the output nor what reads what."""

    def contents(*operators: tuple[str, str, str]) -> Contents:
        created = [Operator(kind, tuple(read.split()), (to,)) for kind, read, to in operators]
        return Contents({}, created, ("y",))

    int8 = CONVERTERS.get("onnx").precisions["int8"]
    origin = contents(("Norm", "x", "a"), ("", "a", "b"), ("Tanh", "b", "y"))
    cases = {
        (("Norm", "x", "a"), ("", "a", "q"), ("", "q", "b"), ("Tanh", "b", "y")): [],
        (("Norm", "x", "a"), ("Tanh", "x", "y")): ["0 operators Norm lead to the outputs, 1 do in the float32 file"],
        (("Tanh", "x", "a"), ("", "a", "b"), ("Norm", "b", "y")): [
            "its operators read one another otherwise than the float32 file's do"
        ],
    }
    for operators, expected in cases.items():
        assert contents_failures(contents(*operators), int8, origin=origin, tables={}) == expected
