"""One encoder with several heads: encoding, training, saving, files, scores."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from edgebert.converters import CONVERTERS, usable_converter
from edgebert.errors import RequestError
from edgebert.modeling.checkpoint import load_model, load_student, save_checkpoint
from edgebert.modeling.graph import TorchSession, make_source
from edgebert.modeling.headed import HeadedEncoder
from edgebert.runtime.batching import run_features
from edgebert.tasks import find_task
from edgebert.training.heads import forget, hard_loss, soft_loss
from edgebert.training.loop import Objective, collate
from edgebert.types import Feature, Row, Student
from tests.conftest import make_tokenizer, sentence

SPEC = "slots=ner,intent=classify"


def rows_of(n: int, seed: int = 0) -> list[Row]:
    """Half with tags, half with an intent: going or telling."""
    rng = random.Random(seed)
    created = []
    for i in range(n):
        words, tags = sentence(rng)
        if i % 2:
            intent = "go" if words[0] in ("fly", "leave") else "tell"
            created.append(Row(text=" ".join(words), labels=(intent,), head="intent"))
        else:
            created.append(Row(tuple(words), tuple(tags), head="slots"))
    return created


@pytest.fixture(scope="module")
def task():
    return find_task(SPEC)


@pytest.fixture(scope="module")
def labels(task):
    return task.labels(rows_of(80))


@pytest.fixture(scope="module")
def student(task, labels, toy_checkpoint) -> Student:
    torch.manual_seed(0)
    model, whole = load_model(toy_checkpoint, "HeadedEncoder", labels, settings=task.model_settings(labels))
    assert not whole
    return Student(model, make_tokenizer())


def test_labels_say_their_head(labels: tuple[str, ...]) -> None:
    assert labels == (
        "slots/O", "slots/B-CITY", "slots/I-CITY", "slots/B-DAY", "slots/I-DAY", "intent/go", "intent/tell"
    )  # fmt: skip


def test_each_row_has_its_own_heads_targets(task, labels) -> None:
    rows = [
        Row(("leave", "dham"), ("O", "B-CITY"), head="slots"),
        Row(text="leave dham", labels=("go",), head="intent"),
    ]
    slots, intent = task.encode(rows, make_tokenizer(), labels, 16)
    assert slots.input_ids == intent.input_ids  # one text, one encoding, whatever the head
    assert (slots.head, slots.labels, slots.targets) == ("slots", (-100, 0, 1, -100), {})
    assert (intent.head, intent.labels, intent.targets) == ("intent", (), {"labels": 0})
    batch = collate([slots, intent])
    assert batch["slots_labels"].tolist() == [[-100, 0, 1, -100], [-100] * 4]
    assert batch["intent_labels"].tolist() == [-100, 0]


def test_a_users_text_is_run_once_for_all_heads(task, labels) -> None:
    row = task.read_texts("fly to dham")
    (feature,) = task.encode([row], make_tokenizer(), labels, 16)
    outputs = {
        "slots_logits": np.eye(5)[[0, 0, 0, 1, 0]],
        "intent_logits": np.array([3.0, 0.0]),
    }
    (prediction,) = task.decode([row], [feature], [outputs], labels)
    answer = task.answer(row, prediction)
    assert answer["slots"] == [{"text": "dham", "type": "CITY", "start": 7, "end": 11}]
    assert answer["intent"][0]["label"] == "go" and answer["intent"][0]["score"] == pytest.approx(0.9526, abs=1e-4)


def test_a_long_text_gets_one_intent_and_all_its_slots(task, labels) -> None:
    row = task.read_texts(" ".join(["fly to dham"] * 12))
    features = task.encode([row], make_tokenizer(), labels, 16)
    assert len(features) > 2
    outputs = [
        {"slots_logits": np.tile([1.0, 0, 0, 0, 0], (len(f.input_ids), 1)), "intent_logits": np.array([i == 0, i > 0])}
        for i, f in enumerate(features)
    ]
    (prediction,) = task.decode([row], features, outputs, labels)
    assert len(prediction["slots"]) == 36 and prediction["intent"].labels == ("go",)


@pytest.mark.parametrize("spec", ["intent=classify,same=pair", "vector=embed,same=pair"])
def test_a_head_of_one_text_reads_the_first_of_two_alone(spec: str) -> None:
    task, tokenizer = find_task(spec), make_tokenizer()
    row = task.read_texts("fly to boston", "leave on monday")
    first, both = task.encode([row], tokenizer, ("intent/go", "same/no", "same/yes"), 32)
    alone = tokenizer.encode("fly to boston")
    assert (first.head, list(first.input_ids)) == ("", alone.ids)
    assert (both.head, list(both.input_ids)) == ("same", tokenizer.encode("fly to boston", "leave on monday").ids)


def test_the_score_is_the_mean_of_the_heads(task) -> None:
    rows = [
        Row(("dham",), ("B-CITY",), head="slots"),
        Row(text="fly", labels=("go",), head="intent"),
        Row(text="is it far", labels=("tell",), head="intent"),
    ]
    own = dict(task.heads)
    from edgebert.tasks.classify import Prediction

    go = Prediction(("go",), (("go", 0.9), ("tell", 0.1)))
    score = task.score(rows, [{"slots": ("B-CITY",)}, {"intent": go}, {"intent": go}], "test")
    assert score.value == pytest.approx(0.75)
    assert {name: part.value for name, part in score.parts.items()} == {"slots": 1.0, "intent": 0.5}
    assert score.metric == f"mean of slots's {own['slots'].metric} and intent's accuracy"


def test_the_loss_is_the_sum_of_the_heads_losses(task, labels, student: Student) -> None:
    rows = rows_of(12)
    batch = collate(task.encode(rows, student.tokenizer, labels, 32))
    objective = Objective(student.model)
    answers = objective.answer(batch)
    expected = torch.nn.functional.cross_entropy(
        answers["slots_logits"].flatten(0, 1), batch["slots_labels"].flatten()
    ) + torch.nn.functional.cross_entropy(answers["intent_logits"], batch["intent_labels"])
    assert float(objective.loss(batch)) == pytest.approx(float(expected), rel=1e-5)
    assert float(soft_loss(student.model, answers, answers, batch, 1.0)) > 0


def test_changed_rows_lose_their_targets() -> None:
    batch = {
        "input_ids": torch.ones(2, 3, dtype=torch.long),
        "labels": torch.tensor([[1, 2, 3], [4, 5, 6]]),
        "intent_labels": torch.tensor([1, 2]),
        "score": torch.tensor([0.5, 0.25]),
    }
    left = forget(batch, torch.tensor([[True], [False]]))
    assert left["input_ids"].tolist() == [[1] * 3] * 2
    assert left["labels"].tolist() == [[-100] * 3, [4, 5, 6]]
    assert left["intent_labels"].tolist() == [-100, 2]
    assert torch.isnan(left["score"]).tolist() == [True, False]


def test_collate_fills_what_a_row_does_not_have() -> None:
    rows = [Feature(0, (1, 2), (0, 0), targets={"score": 0.5}), Feature(1, (1,), (0,))]
    batch = collate([tuple(rows)])
    assert batch["input_ids"].tolist() == [[1, 2], [1, 0]]
    assert batch["score"][0] == 0.5 and torch.isnan(batch["score"][1])


def test_a_batch_without_targets_trains_nothing(student: Student) -> None:
    batch = collate([Feature(0, (2, 5, 3), (0, 0, 0))])
    objective = Objective(student.model)
    loss = objective.loss(batch)
    assert float(loss) == 0.0 and loss.requires_grad


def test_saved_and_loaded_it_gives_the_same(student: Student, task, labels, tmp_path: Path, toy_checkpoint) -> None:
    save_checkpoint(tmp_path, student, toy_checkpoint)
    loaded = load_student(tmp_path)
    assert isinstance(loaded.model, HeadedEncoder)
    features = task.encode(rows_of(6), student.tokenizer, labels, 32)
    for a, b in zip(*(run_features(TorchSession(s.model), features) for s in (student, loaded)), strict=True):
        assert a.keys() == {"slots_logits", "intent_logits"}
        assert all(np.array_equal(a[name], b[name]) for name in a)
    written = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert "architectures" not in written, "the class is none of transformers', where optimum looks for it"
    assert loaded.model.config.architectures == ["HeadedEncoder"]
    (tmp_path / "config.json").write_text(json.dumps(written | {"architectures": ["HeadedEncoder"]}), encoding="utf-8")
    old = run_features(TorchSession(load_student(tmp_path).model), features)  # as it was written before
    again = run_features(TorchSession(loaded.model), features)
    assert all(np.array_equal(a[name], b[name]) for a, b in zip(old, again, strict=True) for name in a)
    other = find_task("slots=ner,intent=classify,more=tag")
    model, whole = load_model(
        tmp_path, "HeadedEncoder", (*labels, "more/X"), settings=other.model_settings((*labels, "more/X"))
    )
    assert not whole and len(model.parts) == 3


def test_one_onnx_file_gives_every_heads_output(student: Student, task, labels, tmp_path: Path) -> None:
    converter = CONVERTERS.get("onnx")
    artifact = converter.export(make_source(student.model, labels=labels), tmp_path)
    session = converter.open(artifact.path, 1)
    assert tuple(session.labels) == labels
    _, outputs = session.signature()
    assert [(o["name"], o["shape"]) for o in outputs] == [
        ("slots_logits", ["batch", "seq", 5]), ("intent_logits", ["batch", 2])
    ]  # fmt: skip
    features = task.encode(rows_of(6), student.tokenizer, labels, 32)
    for a, b in zip(run_features(session, features), run_features(TorchSession(student.model), features), strict=True):
        assert all(np.abs(a[name] - b[name]).max() < 1e-4 for name in b)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("ner,ner", "two heads are named 'ner'"),
        ("a=ner,a=classify", "two heads are named 'a'"),
        ("a=nothing,b=ner", "unknown task 'nothing'"),
        ("A_b=ner,c=ner", "'A_b' cannot name a head"),
        ("my-start=qa,c=ner", "'my-start' cannot name a head"),
    ],
)
def test_bad_heads_are_refused(spec: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        find_task(spec)


def test_options_go_to_their_head(task) -> None:
    changed = task.configured({"intent.threshold": "0.5"})
    assert changed.by_name["intent"].threshold == 0.5
    assert changed.options() == {"intent.threshold": 0.5}
    with pytest.raises(RequestError, match="unknown head 'other'"):
        task.configured({"other.threshold": 1})


def test_tuning_reaches_the_head_that_wants_it(labels) -> None:
    task = find_task(SPEC).configured({"intent.out_of_scope": "none"})
    rows = [
        Row(text="fly", labels=("go",), head="intent"),
        Row(text="zebra", labels=("none",), head="intent"),
    ]
    features = task.encode(rows, make_tokenizer(), labels, 16)
    outputs = [{"intent_logits": np.array(item)} for item in ([4.0, 0.0], [0.2, 0.0])]
    tuned = task.tuned(rows, features, outputs, labels)
    threshold = tuned.by_name["intent"].threshold
    assert 1 / (1 + np.exp(-0.2)) < threshold < 1 / (1 + np.exp(-4))


def test_the_hard_loss_needs_no_weights_of_other_heads(student: Student, task, labels) -> None:
    batch = collate(task.encode([replace(row) for row in rows_of(4)], student.tokenizer, labels, 32))
    assert torch.isfinite(hard_loss(student.model, Objective(student.model).answer(batch), batch))


@pytest.mark.slow
@pytest.mark.parametrize("format", ["tflite", "coreml"])
def test_the_other_formats_give_every_heads_output(format: str, student: Student, task, labels, tmp_path: Path) -> None:
    converter = usable_converter(format)
    source = make_source(student.model, lengths=(16, 32), labels=labels)
    exported = converter.export(source, tmp_path)
    features = task.encode(rows_of(6), student.tokenizer, labels, 32)
    expected = run_features(TorchSession(student.model), features)
    for path, limit in ((exported.path, 1e-4), (_int8(converter, source, exported, tmp_path), 0.2)):
        session = converter.open(path, 1)
        assert tuple(session.labels) == labels
        for a, b in zip(run_features(session, features), expected, strict=True):
            assert a.keys() == b.keys() and all(np.abs(a[name] - b[name]).max() < limit for name in b)


def _int8(converter, source, exported, folder: Path) -> Path:
    place = folder / "int8"
    place.mkdir()
    return converter.reduce(source, exported, "int8", converter.precisions["int8"].variants[0], place).path


@pytest.mark.parametrize("width", [0, 8])
def test_a_sentence_vector_has_its_own_width_and_unit_length(width: int, toy_checkpoint: Path) -> None:
    """Whatever padding stands beside the tokens."""
    task = find_task("similarity").configured({"dimension": width, "pooling": "cls" if width else None})
    torch.manual_seed(0)
    model, _ = load_model(toy_checkpoint, "HeadedEncoder" if width else "AutoModel", settings=task.model_settings(()))
    row = {"input_ids": np.array([[2, 60, 68, 3]]), "attention_mask": np.ones((1, 4), np.int64)}
    row["token_type_ids"] = row["input_ids"] * 0
    padded = {name: np.pad(values, ((0, 0), (0, 3))) for name, values in row.items()}
    session = TorchSession(model)
    (alone,), (beside,) = (session.run(item)["sentence_embedding"] for item in (row, padded))
    assert len(alone) == (width or 32) and np.linalg.norm(alone) == pytest.approx(1, abs=1e-5)
    assert np.abs(alone - beside).max() < 1e-5
    ids = {name: torch.from_numpy(values) for name, values in row.items()}
    encoder = model.encoder if width else model
    states = encoder(**ids).last_hidden_state[0]
    expected = (model.heads["head"].projection(states[0]) if width else states.mean(0)).detach().numpy()
    assert np.abs(alone - expected / np.linalg.norm(expected)).max() < 1e-5


def test_a_head_that_asks_the_teacher_is_taught() -> None:
    task = find_task("vector=embed,intent=classify")
    rows = [Row(text=text, head="vector") for text in ("fly", "show", "leave", "fly to")]
    rows.append(Row(text="fly", labels=("go",), head="intent"))
    features = task.encode(rows, make_tokenizer(), ("intent/go", "intent/tell"), 16)
    drawn = np.random.default_rng(0).normal(size=(5, 3))
    outputs = [{"vector_sentence_embedding": item, "intent_logits": np.array([1.0, 0.0])} for item in drawn]
    with_teacher_labels = task.with_teacher_labels(rows, features, outputs)
    assert [len(row.gold) for row in with_teacher_labels] == [3, 3, 3, 3, 0] and task.asks_teacher
    score = task.score(
        with_teacher_labels, task.decode(with_teacher_labels, features, outputs, ("intent/go", "intent/tell")), "dev"
    )
    assert {name: part.value for name, part in score.parts.items()} == {"vector": 1.0, "intent": 1.0}
