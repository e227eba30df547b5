"""Whole texts that annotation tools labelled: Prodigy, Label Studio, doccano, spaCy. Their rows become text and label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from edgebert.types import Record

ANSWERS = frozenset({"accept", "reject", "ignore"})  # what an annotator of Prodigy says of a row
HALF = 0.5  # from which on a category of spaCy counts as given


def read_exports(records: Sequence[Record]) -> tuple[list[Record], list[str]]:
    """Records whose label stands in the column `label` where a tool wrote it elsewhere, without the rows that annotators
    rejected, and notes on both."""
    notes: list[str] = []
    kept = _judged(list(records), notes)
    if not kept:
        return kept, notes
    first = kept[0].columns
    if isinstance(first.get("data"), Mapping) and isinstance(_annotations(first), list):
        kept = _label_studio(kept, notes)
    elif isinstance(first.get("accept"), list) and "label" not in first:
        kept = [_with_label(record, record.columns.get("accept")) for record in kept]
        notes.append("label: read from the column 'accept', as Prodigy writes choices")
    elif isinstance(first.get("cats"), Mapping) and "label" not in first:
        kept = [_with_label(record, _given(record.columns.get("cats"))) for record in kept]
        notes.append("label: read from the column 'cats', as spaCy writes categories")
    return [_plain_choices(record) for record in kept], notes


def _judged(records: list[Record], notes: list[str]) -> list[Record]:
    """Without what an annotator rejected or ignored."""
    answers = Counter(one if isinstance(one := r.columns.get("answer"), str) else None for r in records)
    if not set(answers) <= {*ANSWERS, None} or not set(answers) & ANSWERS:
        return records
    for answer in ("reject", "ignore"):
        if n := answers[answer]:
            notes.append(f"{n} rows whose answer is '{answer}' left out")
    return [record for record in records if record.columns.get("answer") not in ("reject", "ignore")]


def _with_label(record: Record, label: Any) -> Record:
    return replace(record, columns={**record.columns, "label": label})


def _given(cats: Any) -> list[str]:
    if not isinstance(cats, Mapping):
        return []
    return [name for name, value in cats.items() if isinstance(value, int | float) and value >= HALF]


def _plain_choices(record: Record) -> Record:
    """{"choices": ["a"]}, as Label Studio's JSON_MIN has several choices, as the list."""
    choices = {
        name: value["choices"]
        for name, value in record.columns.items()
        if isinstance(value, Mapping) and isinstance(value.get("choices"), list)
    }
    return replace(record, columns={**record.columns, **choices}) if choices else record


# ---------------------------------------------------------------- Label Studio


def _annotations(columns: Mapping[str, Any]) -> Any:
    return columns.get("annotations", columns.get("completions"))


def _label_studio(records: Sequence[Record], notes: list[str]) -> list[Record]:
    """The texts of `data`, and the choices of the first annotation that was not cancelled."""
    found, without, more = [], 0, 0
    for record in records:
        data, annotations = record.columns.get("data"), _annotations(record.columns)
        listed = annotations if isinstance(annotations, list) else []
        valid = [one for one in listed if isinstance(one, Mapping) and not one.get("was_cancelled")]
        without += not valid
        more += len(valid) > 1
        if not valid:
            continue
        labels = _choices(valid[0].get("result"))
        columns = dict(data) if isinstance(data, Mapping) else {}
        found.append(replace(record, columns={**columns, "label": labels}))
    if without:
        notes.append(f"{without} rows that nobody has annotated, or whose annotation was cancelled, left out")
    if more:
        notes.append(f"{more} rows have several annotations, of which the first is read")
    return found


def _choices(result: Any) -> list[Any]:
    values = [one.get("value") for one in result if isinstance(one, Mapping)] if isinstance(result, list) else []
    return [
        choice
        for value in values
        if isinstance(value, Mapping) and isinstance(value.get("choices"), list)
        for choice in value["choices"]
    ]
