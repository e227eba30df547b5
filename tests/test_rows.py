"""What each row adds to a score: the tallies of every task give the score and the F1 of each label."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgebert.results import RowOutcomes
from edgebert.tasks import TASKS, Task, find_task
from edgebert.tasks.classify import Prediction
from edgebert.tasks.qa import Span
from edgebert.types import Row
from edgebert.verify.rows import read_lines, read_outcomes, score_of, write_answers, write_rows

TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
TOPICS = ("art", "law", "war")


def made(kind: str, rng: random.Random, n: int = 40) -> tuple[list[Row], list[Any]]:
    """Random rows and predictions of a kind."""
    numbers = np.random.default_rng(rng.randrange(1000))
    words = [tuple(rng.choice("abc") for _ in range(rng.randint(1, 7))) for _ in range(n)]
    if kind in ("ner", "tag"):
        rows = [Row(words=w, tags=tuple(rng.choice(TAGS) for _ in w)) for w in words]
        return rows, [tuple(tag if rng.random() < 0.6 else rng.choice(TAGS) for tag in row.tags) for row in rows]
    texts = [f"{i} {' '.join(w)}" for i, w in enumerate(words)]
    if kind == "several":
        rows = [Row(text=t, labels=tuple(rng.sample(TOPICS, rng.randint(0, 3)))) for t in texts]
        return rows, [Prediction(tuple(rng.sample(TOPICS, rng.randint(0, 3))), ()) for _ in rows]
    if kind == "classify":
        rows = [Row(text=t, labels=(rng.choice((*TOPICS, "oos")),)) for t in texts]
        return rows, [Prediction(() if rng.random() < 0.2 else (rng.choice(TOPICS),), (("art", 0.5),)) for _ in rows]
    if kind == "pair":
        rows = [Row(text=t, second=t, labels=(rng.choice(TOPICS),)) for t in texts]
        return rows, [((rng.choice(TOPICS), 0.7), ("war", 0.3)) for _ in rows]
    if kind == "similarity":
        return [Row(text=t, second=t, score=rng.choice((0.0, 0.4, 1.0))) for t in texts], [
            (rng.uniform(-1, 1), 0.0) for _ in texts
        ]
    if kind == "qa":
        rows = [Row(text="who", second=t, answers=((t[:3], 0),) if rng.random() < 0.8 else ()) for t in texts]
        return rows, [(Span(rng.choice((t[:3], t, "")), 0, 3, 1.0),) for t in texts]
    assert kind == "embed"
    near = [tuple(rng.sample([j for j in range(n) if j != i], 10)) for i in range(n)]
    return [Row(text=t, gold=g) for t, g in zip(texts, near, strict=True)], list(numbers.normal(size=(n, 8)))


SPECS: dict[str, tuple[str, dict[str, object]]] = {"several": ("classify", {"multi_label": True})}
KINDS = [*TASKS.all(), "several"]


def task_of(kind: str) -> Task:
    name, options = SPECS.get(kind, (kind, {}))
    return find_task(name).configured(options)


def outcomes_of(task: Task, rows: Sequence[Row], predictions: Sequence[Any]) -> RowOutcomes:
    return RowOutcomes(task.metric, "test", "", len(rows), task.outcomes(rows, predictions))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(5))
def test_tallies_give_the_score_and_each_labels_f1(kind: str, seed: int) -> None:
    task = task_of(kind)
    rows, predictions = made(kind, random.Random(seed))
    score = task.score(rows, predictions, "test")
    outcomes = outcomes_of(task, rows, predictions)
    assert score_of(outcomes) == pytest.approx(score.value, abs=1e-9)
    (part,) = outcomes.parts
    assert set(part.labels) == {item.name for item in score.per_type if item.support or item.name in part.labels}
    for item in score.per_type:
        _, a, b = part.labels[item.name]
        assert sum(a) / sum(b) == pytest.approx(item.f1, abs=1e-9), item.name


def test_entities_by_hand() -> None:
    """Gold: a PER of two words and a LOC. Predicted: the PER one word short, the LOC right, a LOC too many."""
    row = Row(words=("a", "b", "c", "d"), tags=("B-PER", "I-PER", "B-LOC", "O"))
    (tally,) = find_task("ner").tallies([row], [("B-PER", "O", "B-LOC", "B-LOC")])
    assert tally == {"": (2.0, 5.0), "PER": (0.0, 2.0), "LOC": (2.0, 3.0)}


def test_heads_are_told_apart() -> None:
    task = find_task("slots=ner,topic=classify")
    rows = [Row(words=("a", "b"), tags=("B-X", "O"), head="slots"), Row(text="c", labels=("art",), head="topic")]
    tags, topic = ("B-X", "B-X"), Prediction(("art",), ())
    predictions = [{"slots": tags, "topic": topic}] * 2
    outcomes = outcomes_of(task, rows, predictions)
    assert [(part.head, part.rows, part.whole) for part in outcomes.parts] == [
        ("slots", (0,), ((2.0,), (3.0,))),
        ("topic", (1,), ((1.0,), (1.0,))),
    ]
    assert score_of(outcomes) == pytest.approx((2 / 3 + 1) / 2) == task.score(rows, predictions, "test").value


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_read_back(kind: str, tmp_path: Path) -> None:
    task = task_of(kind)
    rows, predictions = made(kind, random.Random(1), 12)
    score = task.score(rows, predictions, "test")
    write_rows(tmp_path, task, rows)
    assert write_answers(tmp_path, "onnx-int8", task, rows, predictions, score)
    outcomes = read_outcomes(tmp_path, "onnx-int8")
    assert outcomes is not None and outcomes.parts == task.outcomes(rows, predictions)
    assert (outcomes.n, outcomes.metric, outcomes.split) == (12, task.metric, "test")
    lines, answers = read_lines(tmp_path / "rows.jsonl"), read_lines(tmp_path / "answers" / "onnx-int8.jsonl")
    assert len(lines) == len(answers) == 12 and lines[0]["texts"]
    assert json.loads(json.dumps(lines)) == lines
    assert read_outcomes(tmp_path, "no-such-file") is None


def test_of_ranked_labels_only_those_given_are_kept() -> None:
    row, ranking = Row(text="a", second="b", labels=("war",)), (("art", 0.7), ("war", 0.3))
    assert find_task("pair").shown(row, ranking) == [{"label": "art", "score": 0.7}]
    assert find_task("classify").shown(row, Prediction(("art",), ranking)) == [{"label": "art", "score": 0.7}]
    several = find_task("classify").configured({"multi_label": True})
    assert several.shown(row, Prediction(("art", "war"), ranking)) == several.answer(
        row, Prediction(("art", "war"), ranking)
    )


def test_a_line_break_of_unicode_ends_no_line(tmp_path: Path) -> None:
    rows = [Row(text=f"a{mark}b", second="c", labels=("war",)) for mark in ("\u2028", "\x85", "\x0b", "\n")]
    write_rows(tmp_path, find_task("pair"), rows)
    assert [line["texts"][0] for line in read_lines(tmp_path / "rows.jsonl")] == [row.text for row in rows]


def test_a_task_whose_tallies_are_not_its_score_has_no_outcomes(tmp_path: Path) -> None:
    rows, predictions = made("pair", random.Random(3), 9)
    task = find_task("pair")
    score = task.score(rows, predictions, "test")
    wrong = replace(score, value=score.value + 0.01)
    assert not write_answers(tmp_path, "onnx-int8", task, rows, predictions, wrong)
    assert read_outcomes(tmp_path, "onnx-int8") is None
