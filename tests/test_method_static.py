"""The static student: its vectors and their mean by hand, students for every head of texts, and their files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgebert.converters import CONVERTERS
from edgebert.cost.analytic import predict_bytes
from edgebert.cost.calibration import terms
from edgebert.errors import RequestError
from edgebert.methods import METHODS
from edgebert.methods._prediction import prediction_objective
from edgebert.methods._static_table import _frame, _states, principal, scaled, token_table, token_vectors, token_weights
from edgebert.modeling.checkpoint import build_model, copy_student, load_model, load_tokenizer
from edgebert.modeling.families.static import StaticConfig, StaticModel
from edgebert.modeling.graph import TorchSession, make_source
from edgebert.modeling.heads import HEADS
from edgebert.modeling.operators import operators
from edgebert.modeling.rebuild import config_like, read_pooled
from edgebert.tasks import find_task
from edgebert.training.context import MethodContext
from edgebert.training.loop import collate
from edgebert.training.run import read_rows
from edgebert.types import Feature, Row, Student, TrainSettings
from edgebert.verify.edges import edge_batches
from edgebert.workflows.recipe import check_methods, read_recipe
from tests.families import tiny

METHOD = METHODS.get("static")
TEXT_HEADS = ("sequence-classification", "sentence-embedding")


def window(*ids: int) -> Feature:
    return Feature(0, ids, (0,) * len(ids))


# ---------------------------------------------------------------- vectors by hand


def test_a_tokens_vector_is_its_mean_over_contexts_with_its_state_alone_as_a_prior() -> None:
    """Twice in the text with the sum (2, 4), and (1, 1) alone, which counts twice: (2 + 2, 4 + 2) / 4. Never: alone."""
    sums, counts = torch.tensor([[2.0, 4.0], [0.0, 0.0]]), torch.tensor([2.0, 0.0])
    alone = torch.tensor([[1.0, 1.0], [3.0, 5.0]])
    assert token_vectors(sums, counts, alone, prior=2.0).tolist() == [[1.0, 1.5], [3.0, 5.0]]


def test_principal_axes_of_a_small_matrix() -> None:
    """Around (1, 1): ±5 along (3, 4) / 5, and ±1 across it along (4, -3) / 5. The longer axis comes first."""
    along, across = torch.tensor([3.0, 4.0]), torch.tensor([0.8, -0.6])
    vectors = 1.0 + torch.stack([along, -along, across, -across])
    (item,) = principal(vectors, 1).T
    assert torch.allclose(item * item[0].sign(), torch.tensor([5.0, -5.0, 0.0, 0.0]), atol=1e-5)
    both = principal(vectors, 2)
    assert torch.allclose(both.abs(), torch.tensor([[5.0, 0.0], [5.0, 0.0], [0.0, 1.0], [0.0, 1.0]]), atol=1e-5)


def test_frequent_tokens_weigh_less() -> None:
    """a = 1/4; shares 0, 1/4, 3/4."""
    assert token_weights(torch.tensor([0.0, 1.0, 3.0]), a=0.25).tolist() == [1.0, 0.5, 0.25]


def test_the_table_is_scaled_by_the_means_of_texts() -> None:
    """Means (1, 0) and (2, 2): their mean square is 9/4, so the table is divided by 3/2."""
    table = torch.tensor([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0]])
    assert torch.allclose(scaled(table, [window(1, 0), window(2, 2, 2)]), table / 1.5)


def test_what_stands_around_a_text(toy_checkpoint: Path) -> None:
    tokenizer = load_tokenizer(toy_checkpoint)
    tokenizer.enable_padding(length=9)
    ids = [tokenizer.token_to_id(name) for name in ("[CLS]", "[SEP]")]
    assert _frame(tokenizer) == ([ids[0]], [ids[1]])
    tokenizer.post_processor = None
    assert _frame(tokenizer) == ([], [])


# ---------------------------------------------------------------- the mean by hand


def model_of(head: str, table: torch.Tensor, **changes: Any) -> Any:
    """A static model with a head, in eval mode, with these vectors."""
    base = tiny("bert", head, vocab_size=len(table))
    base.config.architectures = [type(base).__name__]
    torch.manual_seed(0)
    config = read_pooled(config_like(base.config, "static", hidden_size=table.shape[1], **changes), "mean")
    model = build_model(config, "HeadedEncoder").eval()
    with torch.no_grad():
        model.get_input_embeddings().weight.copy_(table)
    return model


TABLE = torch.tensor([[9.0, 9.0], [3.0, 0.0], [0.0, 4.0], [1.0, 1.0]])  # of padding too: it must not count
PADDED = {
    "input_ids": torch.tensor([[1, 2, 0, 0], [3, 1, 2, 0]]),
    "attention_mask": torch.tensor([[1, 1, 0, 0], [1, 1, 1, 0]]),
}


def test_a_sentence_vector_is_the_mean_of_real_tokens() -> None:
    """(3, 4) / 2 and (4, 5) / 3, of length 1."""
    vectors = model_of("sentence-embedding", TABLE)(**PADDED).sentence_embedding
    expected = torch.tensor([[0.6, 0.8], [4 / 41**0.5, 5 / 41**0.5]])
    assert torch.allclose(vectors, expected, atol=1e-6)


def test_a_label_is_told_from_the_mean_of_real_tokens() -> None:
    model = model_of("sequence-classification", TABLE)
    head = model.heads["head"]
    means = torch.tensor([[1.5, 2.0], [4 / 3, 5 / 3]])
    expected = head.classifier(torch.tanh(head.dense(means)))
    assert torch.allclose(model(**PADDED).logits, expected, atol=1e-6)
    alone = model(input_ids=torch.tensor([[1, 2]]), attention_mask=torch.ones(1, 2, dtype=torch.long)).logits
    assert torch.allclose(alone, expected[:1], atol=1e-6)
    whole = model(input_ids=torch.tensor([[1, 2]])).logits
    assert torch.allclose(whole, alone)


def test_tokens_are_left_out_whole_in_training_alone() -> None:
    model = StaticModel(StaticConfig(vocab_size=4, hidden_size=2, token_dropout_prob=0.5))
    model.embeddings.weight.data.copy_(TABLE)
    ids = torch.tensor([[1, 2, 3] * 200])
    torch.manual_seed(0)
    states = model.train()(ids).last_hidden_state
    doubled = 2 * TABLE[ids]
    left = (states == 0).all(-1)
    assert torch.allclose(states[~left], doubled[~left]) and 0.4 < left.float().mean() < 0.6
    assert torch.equal(model.eval()(ids).last_hidden_state, TABLE[ids])


# ---------------------------------------------------------------- the method


def text_rows(head: str, toy_rows: list[Row]) -> dict[str, list[Row]]:
    """Rows of 48 made-up texts by task."""
    texts = [" ".join(row.words) for row in toy_rows[:48]]
    if head == "sentence-embedding":
        pairs = zip(texts, texts[1:] + texts[:1], strict=True)
        scored = [Row(text=a, second=b, score=len({*a.split()} & {*b.split()}) / 8) for a, b in pairs]
        return {"embed": [Row(text=text) for text in texts], "similarity": scored}
    kinds = ["far" if "far" in text else "leave" if "leave" in text else "go" for text in texts]
    alike = [
        Row(text=a, second=b, labels=(str(a[:3] == b[:3]),)) for a, b in zip(texts, texts[1:] + texts[:1], strict=True)
    ]
    return {"classify": [Row(text=t, labels=(k,)) for t, k in zip(texts, kinds, strict=True)], "pair": alike}


def shop_of(name: str, rows: list[Row], checkpoint: Path, work: Path) -> tuple[Student, MethodContext]:
    task = find_task(name)
    labels = task.labels(rows)
    model, _ = load_model(checkpoint, HEADS.get(task.head).auto_model, labels or None)
    model.config.architectures = [type(model).__name__]
    teacher = Student(model, load_tokenizer(checkpoint))
    settings = TrainSettings(epochs=1, batch_size=16, learning_rate=1e-3, max_length=32)
    context = MethodContext(model, task, labels, rows, rows, settings, work, teacher_tokenizer=teacher.tokenizer)
    if name == "embed":
        context = replace(context, dev=task.with_teacher_labels(rows, *read_rows(teacher, task, labels, rows, 32)))
    return teacher, context


@pytest.mark.parametrize("name", ["classify", "pair", "similarity", "embed"])
def test_every_task_of_texts_gets_a_student_that_nears_its_teacher(
    name: str, toy_checkpoint: Path, toy_rows: list[Row], tmp_path: Path
) -> None:
    head = find_task(name).head
    teacher, context = shop_of(name, text_rows(head, toy_rows)[name], toy_checkpoint, tmp_path)
    batch = collate(context.task.encode(context.train, teacher.tokenizer, context.labels, 32))

    def far(epochs: float, **changes: Any) -> float:
        torch.manual_seed(0)
        student = replace(copy_student(teacher.model, teacher.tokenizer), **changes)
        params = METHOD.read_params(
            METHOD.toy | {"epochs": epochs, "hard_label_weight": 0.0, "augment": 0, "rate": 5e-3}
        )
        created = METHOD.apply(student, replace(context, work=tmp_path / f"{epochs}{len(changes)}"), **params)
        assert created.model.config.model_type == "static" and created.notes[-1].startswith("vectors:")
        assert ("its own word table" in created.notes[-1]) == bool(changes)
        with torch.no_grad():
            return (
                prediction_objective(replace(created, own_tokenizer=False), context, hard_label_weight=0.0)
                .eval()(**batch)["loss"]
                .item()
            )

    assert far(8) < far(0.01)
    if name == "classify":
        assert far(8, own_tokenizer=True) < far(0.01, own_tokenizer=True)


def test_a_trimmed_vocabulary_reads_the_teachers_states_of_its_own_tokens(
    toy_checkpoint: Path, toy_rows: list[Row], tmp_path: Path
) -> None:
    """The student's token i is the teacher's n - 1 - i: what the teacher says of it does not change."""
    teacher, context = shop_of(
        "classify", text_rows("sequence-classification", toy_rows)["classify"], toy_checkpoint, tmp_path
    )
    plain = copy_student(teacher.model, teacher.tokenizer)
    n = plain.tokenizer.get_vocab_size()
    windows = context.task.encode(context.train, plain.tokenizer, context.labels, 32)
    turned = replace(plain, teacher_ids=tuple(reversed(range(n))))
    theirs = [replace(item, input_ids=tuple(n - 1 - i for i in item.input_ids)) for item in windows]
    sums, counts, _ = _states(plain, context, windows)
    other_sums, other_counts, _ = _states(turned, context, theirs)
    assert torch.equal(counts, other_counts.flip(0)) and counts.sum() == sum(len(item.input_ids) for item in windows)
    assert torch.allclose(sums, other_sums.flip(0), atol=1e-4)
    table, note = token_table(plain, context, context.train, 8)
    assert table.shape == (n, 8) and f"{int((counts > 0).sum())} tokens in 48 rows and of {n} alone" in note


def test_states_are_the_teachers_at_real_tokens(toy_checkpoint: Path, toy_rows: list[Row], tmp_path: Path) -> None:
    teacher, context = shop_of(
        "classify", text_rows("sequence-classification", toy_rows)["classify"], toy_checkpoint, tmp_path
    )
    short, long = window(5, 6), window(5, 7, 8, 9)
    sums, counts, alone = _states(teacher, context, [short, long])

    def states(*ids: int) -> torch.Tensor:
        with torch.inference_mode():
            return teacher.model.bert(input_ids=torch.tensor([ids])).last_hidden_state[0]

    assert counts[[0, 5, 6, 7]].tolist() == [0, 2, 1, 1]
    assert torch.allclose(sums[5], states(5, 6)[0] + states(5, 7, 8, 9)[0], atol=1e-4)
    with torch.no_grad():
        teacher.model.bert.embeddings.word_embeddings.weight[9] = float("nan")
    broken, left, _ = _states(teacher, context, [short, long])  # of the second row nothing is a number
    assert left[[5, 6, 7]].tolist() == [1, 1, 0] and bool(broken.isfinite().all())
    cls, sep = (teacher.tokenizer.token_to_id(name) for name in ("[CLS]", "[SEP]"))
    assert torch.allclose(alone[7], states(cls, 7, sep)[1], atol=1e-4)


@pytest.mark.parametrize(
    ("given", "where", "message"),
    [({"width": 33}, "static.width", "33 numbers cannot be made of a teacher's 32"),
     ({"token_dropout": 1.0}, "static.token_dropout", "above 0.9")],
)  # fmt: skip
def test_what_cannot_be_is_refused(given: dict[str, Any], where: str, message: str, teacher: Student) -> None:
    config = teacher.model.config
    with pytest.raises(RequestError, match=message) as caught:
        METHOD.check(config, config, **METHOD.read_params(given))
    assert caught.value.where == where


@pytest.mark.parametrize("head", ["token-classification", "question-answering"])
def test_it_is_refused_where_a_state_must_have_read_its_neighbours(head: str) -> None:
    recipe, _ = read_recipe("trim-vocab+static")
    with pytest.raises(RequestError, match="static serves sequence-classification and sentence-embedding heads"):
        check_methods(recipe, head)


# ---------------------------------------------------------------- cost


def test_operators_by_hand() -> None:
    """Ten tokens of 16 numbers, one dense layer and 5 labels for the text; no layer, so nothing else."""
    model = model_of("sequence-classification", torch.randn(100, 16))
    results = {operator.name: operator for operator in operators(model.config, 10)}
    assert results["embedding gather"].activations == 2 * 160 and results["mean"].flops == 160
    assert results["pooled dense"].flops == 2 * 16 * 16 and results["head"].flops == 2 * 16 * 5
    weights = sum(item.count * item.weights for item in results.values())
    assert weights == sum(p.numel() for p in model.parameters() if p.dim() > 1) - 100 * 16
    counted = terms(model.config, 10, "int8")
    assert counted["dense multiply-adds"] == 16 * 16 + 16 * 5 and counted["dense runs"] == 2


# ---------------------------------------------------------------- formats


@pytest.mark.parametrize("head", TEXT_HEADS)
@pytest.mark.parametrize(("fmt", "extra"), [("onnx", "onnx"), ("tflite", "litert_torch"), ("coreml", "coremltools")])
def test_files_equal_torch_in_each_format(head: str, fmt: str, extra: str, tmp_path: Path) -> None:
    pytest.importorskip(extra)
    torch.manual_seed(1)
    model, converter = model_of(head, torch.randn(100, 64)), CONVERTERS.get(fmt)
    length = 80 if fmt == "onnx" else 8
    rows = [edge_batches(100, 5 + i, 0, None)["full length"] for i in range(4)]
    source = make_source(model, labels=("O", "A", "B", "C", "D"), lengths=(8,), calibration=rows)

    def worst(session: Any) -> float:
        """Largest difference from torch on the edge rows, over the largest output."""
        gaps = []
        for batch in edge_batches(100, length, 0, None).values():
            expected, got = TorchSession(model, 1).run(batch), session.run(batch)
            gaps += [float(np.abs(value - got[name]).max() / np.abs(value).max()) for name, value in expected.items()]
        return max(gaps)

    created = converter.export(source, tmp_path)
    assert worst(converter.open(created.path, 1)) < 1e-5
    (tmp_path / "int8").mkdir()
    precision = converter.precisions["int8"]
    int8 = converter.reduce(source, created, "int8", precision.variants[0], tmp_path / "int8")
    assert worst(converter.open(int8.path, 1)) < 0.1
    if fmt == "onnx":
        big = model_of(head, torch.randn(8000, 128))
        assert predict_bytes(big.config, "HeadedEncoder", precision) == pytest.approx(8000 * 132 + 21_000, rel=0.03)
