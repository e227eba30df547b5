"""The model's outputs to answers: one function a kind of task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .windows import Window
from .words import Span

Outputs = Mapping[str, np.ndarray]
Settings = Mapping[str, Any]  # of a task, or of one of its heads, as edgebert.json has them

_CONTINUES = frozenset("IMEL")
_STAYS_OPEN = frozenset("BIM")


class Row(NamedTuple):
    """What is asked: a text, or two; and the words of the first where they are tagged."""

    text: str
    second: str | None = None
    words: Sequence[Span] = ()


# ---------------------------------------------------------------- a tag a word


def _tags(task: Settings, row: Row, windows: Sequence[Window], outputs: Sequence[Outputs], default: str) -> list[str]:
    """The best label of each word's first token; `default` for a word without tokens."""
    labels, tags = task["labels"], [default] * len(row.words)
    for window, output in zip(windows, outputs, strict=True):
        best = output["logits"].argmax(axis=-1).tolist()
        for word, label in zip(window.words, best, strict=True):
            if word >= 0:
                tags[word] = labels[label]
    return tags


def _ner(task: Settings, row: Row, windows: Sequence[Window], outputs: Sequence[Outputs]) -> list[dict[str, object]]:
    """Entities of tags in BIO; an I that continues no entity of its type begins one."""
    entities: list[tuple[str, int, int]] = []
    open_type: str | None = None
    for i, tag in enumerate(_tags(task, row, windows, outputs, "O")):
        letter, _, kind = tag.partition("-")
        if tag != "O":
            begins = not (letter in _CONTINUES and kind == open_type)
            start = row.words[i][0] if begins else entities.pop()[1]
            entities.append((kind, start, row.words[i][1]))
        open_type = kind if letter in _STAYS_OPEN else None
    return [{"text": row.text[start:end], "type": kind, "start": start, "end": end} for kind, start, end in entities]


def _tag(task: Settings, row: Row, windows: Sequence[Window], outputs: Sequence[Outputs]) -> list[dict[str, object]]:
    tags = _tags(task, row, windows, outputs, task["labels"][0])
    return [
        {"text": row.text[start:end], "tag": tag, "start": start, "end": end}
        for (start, end), tag in zip(row.words, tags, strict=True)
    ]


# ---------------------------------------------------------------- labels of a text


def _softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits.astype(np.float64) - logits.max())
    return shifted / shifted.sum()


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0.0, -logits.astype(np.float64)))


def _ranked(probabilities: np.ndarray) -> list[tuple[int, float]]:
    """Numbers of labels with their probabilities, the likeliest first; of equals, as they stand."""
    return sorted(enumerate(probabilities.tolist()), key=lambda pair: -pair[1])


def _named(task: Settings, ranking: Sequence[tuple[int, float]]) -> list[dict[str, object]]:
    return [{"label": task["labels"][label], "score": round(score, 4)} for label, score in ranking]


def _classify(
    task: Settings, row: Row, windows: Sequence[Window], outputs: Sequence[Outputs]
) -> list[dict[str, object]]:
    """The likeliest labels; before them, where the text is rejected, the one that says so. Where a text may have several
    labels, those that reach the threshold."""
    logits, threshold = outputs[0]["logits"], task["threshold"]
    if task["multi_label"]:
        return _named(task, [item for item in _ranked(_sigmoid(logits)) if item[1] >= threshold])
    ranking, outside = _ranked(_softmax(logits)), set(task["outside"])
    inside = [item for item in ranking if item[0] not in outside]
    doubt = sum(score for label, score in ranking if label in outside)
    best = inside[0][1]
    labels = _named(task, inside[: task["kept"]])
    if best >= max(doubt, threshold):
        return labels
    return [{"label": task["outside_label"], "score": round(1 - best, 4)}, *labels]


def _pair(task: Settings, row: Row, windows: Sequence[Window], outputs: Sequence[Outputs]) -> list[dict[str, object]]:
    return _named(task, _ranked(_softmax(outputs[0]["logits"]))[: task["kept"]])


# ---------------------------------------------------------------- vectors


def _embed(task: Settings, row: Row, windows: Sequence[Window], outputs: Sequence[Outputs]) -> dict[str, object]:
    vector = outputs[0]["sentence_embedding"]
    scale = float(np.abs(vector).max()) / 127 or 1.0
    int8 = {"values": np.round(vector / scale).astype(np.int8).tolist(), "scale": round(scale, 9)}
    return {"vector": [round(float(value), 6) for value in vector], "int8": int8}


def _similarity(task: Settings, row: Row, windows: Sequence[Window], outputs: Sequence[Outputs]) -> dict[str, object]:
    a, b = (output["sentence_embedding"].astype(np.float64) for output in outputs)
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    return {"similarity": round(float(a @ b) / norms if norms else 0.0, 6)}


# ---------------------------------------------------------------- a span of a context


class _Found(NamedTuple):
    start: int
    end: int
    score: float


def _qa(task: Settings, row: Row, windows: Sequence[Window], outputs: Sequence[Outputs]) -> dict[str, object]:
    """The best spans over all windows; "not here" is the span of the first token alone, and over windows the least."""
    absent, found = float("inf"), []
    for window, output in zip(windows, outputs, strict=True):
        start, end = output["start_logits"], output["end_logits"]
        absent = min(absent, float(start[0] + end[0]))
        found += _spans(window, start, end, task["max_answer_tokens"], task["shortlist"])
    best: dict[Span, _Found] = {}
    for span in sorted(found, key=lambda item: -item.score):  # windows overlap: one span, its best score
        best.setdefault((span.start, span.end), span)
    spans = list(best.values())[: task["n_best"]]
    none, margin = _Found(-1, -1, absent), task["no_answer"]
    if not spans:
        spans = [none]
    elif margin is not None:
        spans = [none, *spans] if absent - spans[0].score > margin else [*spans, none]
    return _shared(row.second or "", spans)


def _spans(window: Window, start: np.ndarray, end: np.ndarray, most: int, shortlist: int) -> list[_Found]:
    """The best spans of a window, at most `shortlist`."""
    readable = np.array([i for i, (a, b) in enumerate(window.spans) if b > a], np.int64)
    if not len(readable):
        return []
    firsts, lasts = (readable[np.argsort(-side[readable], kind="stable")[:shortlist]] for side in (start, end))
    length = lasts[None, :] - firsts[:, None]
    scores = np.where((length >= 0) & (length < most), start[firsts][:, None] + end[lasts][None, :], -np.inf)
    results = []
    for flat in np.argsort(-scores, axis=None, kind="stable")[:shortlist].tolist():
        i, j = divmod(flat, len(lasts))
        if np.isfinite(scores[i, j]):
            a, b = window.spans[int(firsts[i])][0], window.spans[int(lasts[j])][1]
            results.append(_Found(a, b, float(scores[i, j])))
    return results


def _shared(context: str, spans: Sequence[_Found]) -> dict[str, object]:
    """Each span with its share among them."""
    scores = np.array([span.score for span in spans])
    shares = np.exp(scores - scores.max())
    candidates: list[dict[str, object]] = []
    for span, share in zip(spans, shares / shares.sum(), strict=True):
        here = span.start >= 0
        text, start, end = (context[span.start : span.end], span.start, span.end) if here else ("", None, None)
        candidates.append({"text": text, "start": start, "end": end, "score": round(float(share), 4)})
    return {**candidates[0], "candidates": candidates}


# ---------------------------------------------------------------- all


Decoder = Callable[[Settings, Row, Sequence[Window], Sequence[Outputs]], Any]
DECODERS: Mapping[str, Decoder] = {
    "ner": _ner,
    "tag": _tag,
    "classify": _classify,
    "pair": _pair,
    "embed": _embed,
    "similarity": _similarity,
    "qa": _qa,
}
