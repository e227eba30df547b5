"""The contract of every task in the registry, a new one too: texts of its `example` in, fabricated outputs of its head, answers out.

What a task reads out of rows and how it scores them are tested for each by itself, as in test_pair.py.
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from edgebert.errors import RequestError
from edgebert.modeling.heads import HEADS
from edgebert.tasks import TASKS, Task, find_task, task_options
from edgebert.types import Feature, Outputs, Row
from tests.conftest import make_tokenizer

NAMES = list(TASKS.all())
MAX_LENGTH = 32
WIDTH = 8  # of an axis that is neither the sequence nor the labels
HEAVY = {"torch", "transformers", "datasets", "accelerate"}
EXAMPLES = {"ner": ["O", "B-CITY", "I-CITY"], "other": ["no", "yes"]}


def labels_of(task: Task) -> tuple[str, ...]:
    """The task's labels where it knows them without rows, else some."""
    if not HEADS.get(task.head).has_labels:
        return ()
    return task.labels([]) if len(task.labels([])) > 1 else tuple(EXAMPLES["ner" if task.reads_words else "other"])


def encoded(task: Task, *texts: str) -> tuple[list[Row], list[Feature]]:
    rows = [task.read_texts(*texts)]
    return rows, task.encode(rows, make_tokenizer(), labels_of(task), MAX_LENGTH)


def fabricated(task: Task, features: Sequence[Feature], labels: Sequence[str], seed: int = 0) -> list[Outputs]:
    """Outputs of random numbers, with the axes that the task's head declares."""
    rng = np.random.default_rng(seed)

    def size(axis: str, feature: Feature) -> int:
        return {"sequence": len(feature.input_ids), "labels": len(labels)}.get(axis, WIDTH)

    return [
        {
            spec.name: rng.normal(size=[size(axis, feature) for axis in spec.axes[1:]]).astype(np.float32)
            for spec in HEADS.get(task.head).outputs
        }
        for feature in features
    ]


@pytest.mark.parametrize("name", NAMES)
def test_declaration(name: str) -> None:
    task = find_task(name)
    assert (task.name, task.title[:1].isupper()) == (name, False), "the title stands within sentences"
    assert len(task.example) == len(task.inputs) == len(set(task.inputs))
    assert "text" in task.columns
    assert all(names and all(names) for names in task.columns.values())
    assert all(find_task(alias).name == name for alias in task.aliases)
    called = Counter(item for other in TASKS.all().values() for item in (other.name, *other.aliases))
    assert all(called[item] == 1 for item in (name, *task.aliases)), "no name stands for two tasks"


@pytest.mark.parametrize("name", NAMES)
def test_nothing_heavy_is_imported(name: str) -> None:
    """`edgebert predict` runs where torch is not installed."""
    path = inspect.getsourcefile(type(find_task(name)))
    assert path is not None
    nodes = [*ast.walk(ast.parse(Path(path).read_text(encoding="utf-8")))]
    imported = {item.name.split(".")[0] for node in nodes if isinstance(node, ast.Import) for item in node.names}
    imported |= {str(node.module).split(".")[0] for node in nodes if isinstance(node, ast.ImportFrom)}
    assert not imported & HEAVY


@pytest.mark.parametrize("name", NAMES)
def test_options_are_described_and_come_back(name: str) -> None:
    task = find_task(name)
    assert task.options() == {}, "each stands at its default"
    for option in task_options(task):
        assert option.metadata.get("help"), option.name
        value = getattr(task, option.name)
        assert task.configured({option.name: value}) == task
        if str(option.type).startswith("bool"):
            other = task.configured({option.name: str(not value).lower()})
            assert other.options() == json.loads(json.dumps({option.name: not value}))
            assert task.configured(other.options()) == other
    with pytest.raises(RequestError, match=f"unknown option of {name} 'no-such'"):
        task.configured({"no-such": "1"})


@pytest.mark.parametrize("name", NAMES)
def test_windows(name: str) -> None:
    """Of the example, and of texts forty times as long."""
    task = find_task(name)
    for times in (1, 40):
        _, features = encoded(task, *(" ".join([text] * times) for text in task.example))
        assert features and {feature.row for feature in features} == {0}
        for feature in features:
            assert 0 < len(feature.input_ids) == len(feature.type_ids) <= MAX_LENGTH
            assert {len(feature.words), len(feature.labels), len(feature.spans)} <= {0, len(feature.input_ids)}
        if task.cuts:
            assert len(features) == (2 if task.paired else 1)
    (row,), alone = encoded(task, *task.example)
    both = task.encode([row, row], make_tokenizer(), labels_of(task), MAX_LENGTH)
    assert [feature.row for feature in both] == [0] * len(alone) + [1] * len(alone)


@pytest.mark.parametrize("name", NAMES)
def test_answers(name: str) -> None:
    """One prediction a row, the same of the same outputs; what a user reads is JSON."""
    task, seen = find_task(name), set()
    for seed in range(8):
        labels = labels_of(task)
        rows, features = encoded(task, *task.example)
        outputs = fabricated(task, features, labels, seed)
        predictions = task.decode(rows, features, outputs, labels)
        assert len(predictions) == 1
        again = task.decode(rows, features, outputs, labels)
        assert all(task.same(predictions[0], again[0]))
        answer = task.answer(rows[0], predictions[0])
        text = json.dumps(answer, allow_nan=False, sort_keys=True)
        assert text == json.dumps(task.answer(rows[0], again[0]), allow_nan=False, sort_keys=True)
        assert json.loads(text) == answer, "lists, not tuples; names that are text"
        seen.add(text)
    assert len(seen) > 1, "the answer depends on the outputs"


@pytest.mark.parametrize("name", NAMES)
def test_windows_of_a_long_text_come_together(name: str) -> None:
    task = find_task(name)
    labels = labels_of(task)
    rows, features = encoded(task, *(" ".join([text] * 40) for text in task.example))
    predictions = task.decode(rows, features, fabricated(task, features, labels), labels)
    assert len(predictions) == 1
    json.dumps(task.answer(rows[0], predictions[0]), allow_nan=False)


CONTRACT = tuple(
    function for name, function in vars(sys.modules[__name__]).items() if name.startswith("test_")
)  # that test_examples.py holds the guide's task to
