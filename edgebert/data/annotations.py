"""What annotation tools export, as plain columns: `text` with `entities`, or with `label`; or `words` with `tags`.

Read are Label Studio (JSON, JSON-MIN, CSV), doccano, Prodigy, spaCy (tuples, documents, training JSON), Argilla, GLiNER,
and others whose spans have usual names. Rows that somebody rejected, skipped or has not finished are left out and
counted: their labels are no truth.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from edgebert.data.parts import DataFiles, Part
from edgebert.data.spans import is_span, listed
from edgebert.errors import DataError
from edgebert.types import Record

_REJECTED = frozenset(
    ("reject", "rejected", "ignore", "ignored", "discard", "discarded", "skip", "skipped", "cancelled", "canceled")
)
_OPEN = frozenset(("pending", "draft", "todo", "new", "in progress", "unlabeled", "unlabelled", "default"))
_DONE = frozenset(
    [*("accept", "accepted", "approved", "validated", "submitted"), *("completed", "done", "finished", "annotated")]
)
_STATES = ("answer", "annotation_status", "review_status", "response_status")
_LOOSE_STATES = ("status", "state")  # which may say something of the text too
_FLAGS = ("was_cancelled", "cancelled", "skipped", "is_skipped", "rejected", "is_rejected", "ignored", "discarded")
_CONFIRMED = ("is_confirmed", "confirmed", "isConfirmed")
_ANNOTATED = ("label", "labels", "accept", "annotations", "annotation", "intent", "category", "cats", "words", "tokens")
_SPANS = ("entities", "spans", "ents", "annotations", "annotation", "labels", "label", "ner", "ner_tags", "tags")
_NO_SPANS = ("tokens", "words", "text", "sents", "relations")
_TEXTS = (
    *("content", "data", "document", "sentence", "source", "raw", "textContent", "doc", "body", "tweet"),
    *("utterance", "query"),
)


def plain(result: DataFiles) -> DataFiles:
    """The data with the records of annotation tools as plain ones, and notes on what was read and left out."""
    parts: list[Part] = []
    notes: dict[str, None] = {}
    for part in result.parts:
        records, message = plain_records(part.records)
        if not records:
            hint = "Accept or finish some of them in the tool that wrote the file, and export it again."
            raise DataError(f"no row is left: {'; '.join(message)}", where=part.place, hint=hint)
        parts.append(part if records is part.records else replace(part, records=tuple(records)))
        name = part.place.rpartition("/")[2]
        notes.update(dict.fromkeys(f"{name}: {note}" for note in message))
    return replace(result, parts=tuple(parts), notes=(*result.notes, *notes))


def plain_records(records: Sequence[Record]) -> tuple[Sequence[Record], list[str]]:
    """Records of a file as plain ones (the same object where there is nothing to do), and notes.

    Raises DataError with the place of a record that its tool would not have written.
    """
    notes: list[str] = []
    for step in (_pairs, _documents, _tasks, _accepted, _choices, _gliner, _lifted, _with_entities):
        read = step(records, notes) if records else None
        records = records if read is None else read
    return records, notes


# A step gives None where the records are nothing of its kind.


def _all(records: Sequence[Record], holds: Callable[[Mapping[str, object]], bool]) -> bool:
    return all(holds(record.columns) for record in records)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


# ---------------------------------------------------------------- spaCy


def _pairs(records: Sequence[Record], notes: list[str]) -> Sequence[Record] | None:
    """["text", {"entities": [[0, 4, "PER"]]}], which a reader of lists calls column1 and column2."""

    def is_pair(columns: Mapping[str, object]) -> bool:
        return (
            len(columns) == 2 and isinstance(columns.get("column1"), str) and isinstance(columns.get("column2"), dict)
        )

    if not _all(records, is_pair):
        return None
    return [replace(r, columns={**r.columns["column2"], "text": r.columns["column1"]}) for r in records]


def _documents(records: Sequence[Record], notes: list[str]) -> Sequence[Record] | None:
    """Documents of spaCy's training JSON: paragraphs of raw text with entities, or of sentences of tokens."""
    if not _all(records, lambda columns: isinstance(columns.get("paragraphs"), list)):
        return None
    results: list[Record] = []
    missing = 0
    for record in records:
        for number, paragraph in enumerate(record.columns["paragraphs"], 1):
            where = f"{record.where}, paragraph {number}"
            if not isinstance(paragraph, Mapping) or not {"raw", "sentences"} & paragraph.keys():
                return None
            if isinstance(paragraph.get("raw"), str) and isinstance(paragraph.get("entities"), list):
                results.append(Record({"text": paragraph["raw"], "entities": paragraph["entities"]}, where))
                continue
            for sentence in _list(paragraph.get("sentences")):
                tokens = sentence.get("tokens") if isinstance(sentence, Mapping) else None
                if not isinstance(tokens, list) or not all(isinstance(t, Mapping) and "orth" in t for t in tokens):
                    raise DataError(
                        "a sentence has no 'tokens' that each have an 'orth', which is the word", where=where
                    )
                tags = [token.get("ner", "-") for token in tokens]
                missing += tags.count("-")
                words = [token["orth"] for token in tokens]
                results.append(Record({"words": words, "tags": ["O" if tag == "-" else tag for tag in tags]}, where))
    if missing:
        notes.append(f"{missing} tokens whose entity nobody has said ('-') are read as O")
    return results


# ---------------------------------------------------------------- Label Studio


def _tasks(records: Sequence[Record], notes: list[str]) -> Sequence[Record] | None:
    """Tasks of Label Studio's JSON: each has `data`, and `annotations` (once `completions`) with a `result`."""

    def is_task(columns: Mapping[str, object]) -> bool:
        lists = (columns.get("annotations"), columns.get("completions"), columns.get("predictions"))
        return isinstance(columns.get("data"), Mapping) and any(isinstance(item, list) for item in lists)

    if not _all(records, is_task):
        return None
    counts: Counter[str] = Counter()
    read = [_task(record, counts) for record in records]
    notes += [f"{n} {what}" for what, n in counts.items()]
    return [record for record in read if record is not None]


def _task(record: Record, counts: Counter[str]) -> Record | None:
    columns = record.columns
    listed = _list(columns.get("annotations")) or _list(columns.get("completions"))
    listed = [item for item in listed if isinstance(item, Mapping)]
    valid = [item for item in listed if not (item.get("was_cancelled") or item.get("skipped"))]
    if not valid:
        counts["tasks left out that were skipped" if listed else "tasks left out that nobody has annotated"] += 1
        return None
    if len(valid) > 1:
        counts["tasks have several annotations: the one marked as ground truth is read, else the first"] += 1
    chosen = next((item for item in valid if item.get("ground_truth")), valid[0])
    data = {name: value for name, value in columns["data"].items() if isinstance(value, str | int | float)}
    if not isinstance(data.get("text"), str):
        texts = [name for name in (*_TEXTS, *data) if isinstance(data.get(name), str)]
        if not texts:
            raise DataError("the 'data' of this task holds no text", where=record.where)
        counts[f"tasks' text is read from '{texts[0]}'"] += 1
        data["text"] = data[texts[0]]
    entities, choices = [], []
    for region in _list(chosen.get("result")):
        value = region.get("value") if isinstance(region, Mapping) else None
        if isinstance(value, Mapping) and isinstance(value.get("choices"), list):
            choices += value["choices"]
        elif isinstance(value, Mapping) and ("start" in value or "globalOffsets" in value):
            entities.append(_region(value))
        else:
            kind = region.get("type") if isinstance(region, Mapping) else None
            counts[f"results of the kind '{kind}' left aside"] += 1
    results: dict[str, object] = {**data, "entities": entities}
    if choices:
        results["label"] = choices[0] if len(choices) == 1 else choices
    return Record(results, record.where)


def _region(value: Mapping[str, object]) -> dict[str, object]:
    """A region as a span; the labels stand under the name of its kind."""
    inner = value.get("globalOffsets")
    places = inner if isinstance(inner, Mapping) else value
    labels = value.get("labels") or value.get("hypertextlabels") or []
    return {"start": places.get("start"), "end": places.get("end"), "labels": labels, "text": value.get("text")}


# ---------------------------------------------------------------- rows that are not true


def _accepted(records: Sequence[Record], notes: list[str]) -> Sequence[Record] | None:
    """Without rows that were rejected, skipped or not finished."""
    columns = {name for record in records for name in record.columns}
    states = (*_STATES, *(_LOOSE_STATES if "annotation" in columns or _spans_of(records) else ()))
    marks = [
        *((name, _state) for name in states if name in columns and _holds_states(records, name)),
        *((name, _flag) for name in _FLAGS if name in columns and _holds_flags(records, name)),
    ]
    confirmed = [name for name in _CONFIRMED if name in columns and _holds_flags(records, name)]
    for name in confirmed:  # where nobody confirms, nothing is said by it
        if any(record.columns.get(name) for record in records):
            marks.append((name, _unconfirmed))
        else:
            notes.append(f"no row is '{name}': all are read")
    if not marks or not _annotated(records, [name for name, _ in marks]):
        return None
    kept: list[Record] = []
    left: Counter[str] = Counter()
    for record in records:
        why = next((why for name, tell in marks if (why := tell(name, record.columns.get(name)))), None)
        if why is None:
            kept.append(record)
        else:
            left[why] += 1
    notes += [f"{n} rows left out whose {why}" for why, n in left.items()]
    return kept


def _holds_states(records: Sequence[Record], name: str) -> bool:
    values = [record.columns.get(name) for record in records]
    known = _REJECTED | _OPEN | _DONE
    return any(values) and all(v is None or (isinstance(v, str) and v.casefold() in known | {""}) for v in values)


def _holds_flags(records: Sequence[Record], name: str) -> bool:
    return all(record.columns.get(name) in (None, True, False, "true", "false", "True", "False") for record in records)


def _annotated(records: Sequence[Record], marks: Sequence[str]) -> bool:
    """Whether rows have another annotation beside their marks, which might else be the labels."""
    columns = {name for record in records[:100] for name in record.columns if name not in marks}
    return any(name in columns for name in (*_ANNOTATED, *_SPANS))


def _state(name: str, value: object) -> str | None:
    state = value.casefold() if isinstance(value, str) else ""
    return f"'{name}' is '{value}'" if state in _REJECTED | _OPEN else None


def _flag(name: str, value: object) -> str | None:
    return f"'{name}' is true" if str(value).casefold() == "true" else None


def _unconfirmed(name: str, value: object) -> str | None:
    return None if str(value).casefold() == "true" else f"'{name}' is not true"


# ---------------------------------------------------------------- labels of a text


def _choices(records: Sequence[Record], notes: list[str]) -> Sequence[Record] | None:
    """`label` from Prodigy's `accept`, of `options`, or from spaCy's `cats`."""
    if _all(records, lambda columns: isinstance(columns.get("accept"), list)):
        name, chosen = "accept", [record.columns["accept"] for record in records]
    elif _all(records, lambda columns: isinstance(columns.get("cats"), Mapping) and bool(columns["cats"])):
        name = "cats"
        chosen = [[label for label, value in r.columns[name].items() if _is_given(value)] for r in records]
    else:
        return _unwrapped(records)
    if any("label" in record.columns for record in records):
        return None
    notes.append(f"label: read from '{name}'")
    several = any(len(labels) > 1 for labels in chosen)
    if several:
        return [replace(r, columns={**r.columns, "label": labels}) for r, labels in zip(records, chosen, strict=True)]
    kept = [
        replace(r, columns={**r.columns, "label": labels[0]})
        for r, labels in zip(records, chosen, strict=True)
        if labels
    ]
    if len(kept) < len(records):
        notes.append(f"{len(records) - len(kept)} rows left out where '{name}' names no label")
    return kept


def _unwrapped(records: Sequence[Record]) -> Sequence[Record] | None:
    """{"choices": ["a", "b"]}, as Label Studio's JSON-MIN has several choices, as the list."""
    results = [
        {n: v["choices"] for n, v in r.columns.items() if isinstance(v, Mapping) and isinstance(v.get("choices"), list)}
        for r in records
    ]
    if not any(results):
        return None
    return [replace(r, columns={**r.columns, **own}) for r, own in zip(records, results, strict=True)]


def _is_given(value: object) -> bool:
    return isinstance(value, bool | int | float) and value >= 0.5


# ---------------------------------------------------------------- spans


def _gliner(records: Sequence[Record], notes: list[str]) -> Sequence[Record] | None:
    """GLiNER's rows: `tokenized_text`, and `ner` as [first word, last word, type]."""
    if not _all(records, lambda columns: isinstance(columns.get("tokenized_text"), list) and "ner" in columns):
        return None
    notes.append("words and spans are read from 'tokenized_text' and 'ner', whose ends are the last word")
    return [
        replace(
            r,
            columns={
                "words": r.columns["tokenized_text"],
                "entities": [_one_further(s, r) for s in _list(r.columns["ner"])],
            },
        )
        for r in records
    ]


def _one_further(span: object, record: Record) -> list[object]:
    if not isinstance(span, list) or not is_span(span) or type(span[1]) is not int:
        hint = 'GLiNER\'s form: "ner": [[0, 1, "person"]], the first and the last word.'
        raise DataError(f"{str(span)[:80]} is no span of words", where=record.where, hint=hint)
    return [span[0], span[1] + 1, span[2]]


def _lifted(records: Sequence[Record], notes: list[str]) -> Sequence[Record] | None:
    """{"annotations": {"entities": [...]}}, as SageMaker Ground Truth and writers of spaCy's data have it."""

    def inner(value: object, depth: int = 0) -> object:
        if not isinstance(value, Mapping) or depth > 2:
            return value if depth and isinstance(value, list) else None
        return next((result for name in _SPANS if (result := inner(value.get(name), depth + 1)) is not None), None)

    if any("entities" in record.columns for record in records):
        return None
    names = dict.fromkeys(n for record in records for n, v in record.columns.items() if isinstance(v, Mapping))
    lifted = {
        n: [replace(r, columns={**r.columns, "entities": inner(r.columns.get(n))}) for r in records] for n in names
    }
    return next((own for own in lifted.values() if _are_spans(own, "entities")), None)


def _with_entities(records: Sequence[Record], notes: list[str]) -> Sequence[Record] | None:
    """`entities` and `text` where spans and text stand under other names."""
    holding = _spans_of(records)
    if not holding:
        return None
    columns = list(dict.fromkeys(name for record in records for name in record.columns))
    chosen, *aside = holding
    if aside:
        notes.append(f"spans of the columns {', '.join(aside)} left aside: those of '{chosen}' are read")
    role = chosen if chosen in ("entities", "spans") else "entities"
    added: dict[str, str] = {role: chosen}
    if role != chosen:
        notes.append(f"entities: read from the column '{chosen}'")
    if not {"words", "tokens"} & set(columns) and not any(
        isinstance(record.columns.get("text"), str) for record in records
    ):
        texts = [c for c in columns if all(isinstance(record.columns.get(c), str) for record in records)]
        if texts:
            longest = max(texts, key=lambda c: sum(len(record.columns[c]) for record in records))
            added["text"] = next((c for c in _TEXTS if c in texts), longest)
            notes.append(f"text: read from the column '{added['text']}'")
    if all(name == column for name, column in added.items()) and all(role in record.columns for record in records):
        return None
    return [replace(r, columns={**r.columns, **{n: r.columns.get(c) for n, c in added.items()}}) for r in records]


def _spans_of(records: Sequence[Record]) -> list[str]:
    """The columns that hold spans, the likeliest first."""
    columns = dict.fromkeys(name for record in records for name in record.columns)
    holding = [name for name in columns if name not in _NO_SPANS and _are_spans(records, name)]
    return sorted(holding, key=lambda name: _SPANS.index(name) if name in _SPANS else len(_SPANS))


def _are_spans(records: Sequence[Record], name: str) -> bool:
    """Whether a column holds lists of spans, some not empty; they may be written as text."""
    some = False
    for record in records:
        value = record.columns.get(name)
        if isinstance(value, Mapping) or (isinstance(value, str) and value[:2] in ("[{", "[[", "[(", "[]")):
            value = listed(value)
        if value is None or value in ("", [], {}):
            continue
        if not isinstance(value, list | tuple) or not all(map(is_span, value)):
            return False
        some = True
    return some
