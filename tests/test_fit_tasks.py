"""Every task through every stage, on a toy teacher: fit, parity, bundle, check, predict."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import edgebert
from edgebert.bundle import check_bundle
from edgebert.results import FitResult
from tests.conftest import CITIES, conll, sentence

QUICK: dict[str, Any] = {
    "formats": ("onnx",), "effort": "quick", "candidates": 1, "epochs": 3, "teacher_epochs": 4, "max_length": 32,
    "learning_rate": 3e-3, "max_drop": 100, "params": {"trim-vocab.floor": 60, "drop-layers.n_layers": 2},
}  # fmt: skip


def texts(n: int, seed: int) -> Iterator[tuple[str, str]]:
    """A text, and whether it is about going."""
    rng = random.Random(seed)
    for _ in range(n):
        words, _ = sentence(rng)
        yield " ".join(words), "go" if words[0] in ("fly", "leave") else "tell"


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def classify(n: int, seed: int) -> list[dict[str, Any]]:
    rows = [{"utterance": text, "intent": label} for text, label in texts(n, seed)]
    return [*rows, *({"utterance": f"zebra quartz {i}", "intent": "oos"} for i in range(n // 8))]


def several_labels(n: int, seed: int) -> list[dict[str, Any]]:
    return [{"text": text, "labels": [label, *(["short"] if len(text) < 20 else [])]} for text, label in texts(n, seed)]


def pair(n: int, seed: int) -> list[dict[str, Any]]:
    item, other = list(texts(n, seed)), list(texts(n, seed + 50))
    return [
        {"premise": a, "hypothesis": b, "label": str(la == lb)} for (a, la), (b, lb) in zip(item, other, strict=True)
    ]


def similarity(n: int, seed: int) -> list[dict[str, Any]]:
    rows = pair(n, seed)
    return [
        {"sentence1": r["premise"], "sentence2": r["hypothesis"], "score": 5.0 * (r["label"] == "True")} for r in rows
    ]


def embed(n: int, seed: int) -> list[dict[str, Any]]:
    return [{"text": text} for text, _ in texts(n, seed)]


def qa(n: int, seed: int) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    rows = []
    for _ in range(n):
        city, other = rng.sample(CITIES, 2)
        context = f"is {other} far i like new {city} a lot"
        rows.append(
            {"question": "like", "context": context, "answers": {"text": [city], "answer_start": [context.index(city)]}}
        )
    return [*rows, *({"question": "show", "context": "is it far", "answers": []} for _ in range(n // 8))]


MAKERS: dict[str, Callable[[int, int], list[dict[str, Any]]]] = {
    "classify": classify, "multi": several_labels, "pair": pair, "similarity": similarity, "small": similarity,
    "embed": embed, "qa": qa,
}  # fmt: skip
SPECS = {
    "multi": ("classify", {"classify.multi_label": "true"}),
    "small": ("similarity", {"similarity.dimension": "16"}),
}


def fitted(kind: str, toy_checkpoint: Path, folder: Path) -> FitResult:
    for split, n, seed in (("train", 120, 1), ("dev", 40, 2), ("test", 40, 3)):
        write(folder / f"{split}.jsonl", MAKERS[kind](n, seed))
    task, params = SPECS.get(kind, (kind, {}))
    options = QUICK | {"params": QUICK["params"] | params}
    return edgebert.fit(
        "pixel6", task, teacher=str(toy_checkpoint), data=str(folder), run=str(folder / "run"), **options
    )


ASKED: dict[str, tuple[str, ...]] = {
    "pair": ("fly to dham", "leave dham on monday"),
    "similarity": ("fly to dham", "leave dham on monday"),
    "small": ("fly to dham", "leave dham on monday"),
    "qa": ("like", "is bton far i like new dham a lot"),
}


# In `make test` a task of vectors and one of spans; tests/test_fit.py has labels.
@pytest.mark.parametrize("kind", [
    kind if kind in ("embed", "qa") else pytest.param(kind, marks=pytest.mark.slow)
    for kind in MAKERS
])  # fmt: skip
def test_a_task_goes_all_the_way(kind: str, toy_checkpoint: Path, pooled_checkpoint: Path, tmp_path: Path) -> None:
    result = fitted(kind, pooled_checkpoint if kind == "multi" else toy_checkpoint, tmp_path)
    assert result.bundle is not None, result.report.failures
    (student,) = result.report.students
    for artifact in student.artifacts:
        assert artifact.parity.failures == ()
        assert artifact.parity.score.n > 0 and 0 < artifact.parity.score.value <= 1.0 + 1e-9
    check_bundle(result.bundle)
    (answer,) = edgebert.predict(result.run, [ASKED.get(kind, ("fly from dham to new bton",))])
    CHECKS[kind](answer, student.artifacts[-1].parity.score)
    if kind in ("classify", "qa"):  # what was tuned is in the bundle
        options = json.loads((result.bundle / "manifest.json").read_text())["task_options"]
        assert set(options) == ({"threshold", "out_of_scope"} if kind == "classify" else {"no_answer"})


def _is_labels(answer: Any, score: Any) -> None:
    assert {item["label"] for item in answer} >= {"go", "tell"} and "out-of-scope AUROC" in score.more


def _is_some_labels(answer: Any, score: Any) -> None:
    assert {item["label"] for item in answer} <= {"go", "tell", "short"} and score.metric == "micro F1"


def _is_pair(answer: Any, score: Any) -> None:
    assert sum(item["score"] for item in answer) == pytest.approx(1, abs=1e-3)
    assert {"macro F1", "Matthews correlation", "F1 of True"} == score.more.keys()


def _is_similarity(answer: Any, score: Any) -> None:
    assert -1 <= answer["similarity"] <= 1 and "Spearman, int8 vectors" in score.more


def _is_vector(answer: Any, score: Any) -> None:
    assert sum(value * value for value in answer["vector"]) == pytest.approx(1, abs=1e-3)
    again = [value * answer["int8"]["scale"] for value in answer["int8"]["values"]]
    assert again == pytest.approx(answer["vector"], abs=0.6 * answer["int8"]["scale"])


def _is_answer(answer: Any, score: Any) -> None:
    context = ASKED["qa"][1]
    assert answer["text"] == ("" if answer["start"] is None else context[answer["start"] : answer["end"]])
    assert score.more["exact match"] > 0


CHECKS = {
    "classify": _is_labels, "multi": _is_some_labels, "pair": _is_pair, "similarity": _is_similarity,
    "small": _is_similarity, "embed": _is_vector, "qa": _is_answer,
}  # fmt: skip


@pytest.mark.slow
def test_two_heads_go_all_the_way(toy_checkpoint: Path, tmp_path: Path) -> None:
    for split, n, seed in (("train", 120, 1), ("dev", 40, 2), ("test", 40, 3)):
        (tmp_path / f"{split}.conll").write_text(conll(n, seed), encoding="utf-8")
        write(tmp_path / f"{split}.jsonl", [{"text": text, "label": label} for text, label in texts(n, seed)])
    result = edgebert.fit(
        "pixel6", "slots=ner,intent=classify", teacher=str(toy_checkpoint), run=str(tmp_path / "run"),
        data=(f"slots={tmp_path}", f"intent={tmp_path}"), baselines=True, **QUICK,
    )  # fmt: skip
    assert result.bundle is not None, result.report.failures
    score = result.report.students[0].artifacts[-1].parity.score
    assert set(score.parts) == {"slots", "intent"}
    assert score.value == pytest.approx(sum(part.value for part in score.parts.values()) / 2)
    assert {part.n for part in score.parts.values()} == {40}
    manifest = json.loads((result.bundle / "manifest.json").read_text())
    assert [output["name"] for output in manifest["outputs"]] == ["slots_logits", "intent_logits"]
    check_bundle(result.bundle)
    (answer,) = edgebert.predict(result.run, ["fly from dham to new bton"])
    assert set(answer) == {"slots", "intent"}
    baselines = result.report.baselines
    assert {name: (baseline.score.metric, baseline.score.n) for name, baseline in baselines.items()} == {
        "slots": ("strict entity F1", 40), "intent": ("accuracy", 40)
    }  # fmt: skip
    assert all(
        baseline.size_bytes > 0 and (tmp_path / f"run-{name}" / "bundle").is_dir()
        for name, baseline in baselines.items()
    )
    page = (result.run / "report" / "index.html").read_text(encoding="utf-8")
    assert "slots: strict entity F1" in page and "intent: accuracy" in page
