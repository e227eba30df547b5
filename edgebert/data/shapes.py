"""JSON values that hold a table: as pandas writes one in each of its orients, as dicts of columns, under a key, or by
label."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgebert.data.delimited import distinct
from edgebert.data.parts import role

WRAPPERS = ("data", "rows", "examples", "common_examples", "items", "records", "samples", "instances", "utterances")
_ROW_TEXTS = ("text", "sentence", "question", "query", "utterance", "content", "premise", "sentence1")
_INTENTS = (("tag", "patterns"), ("intent", "examples"), ("name", "utterances"))  # of chatbots: a label, its texts


@dataclass(frozen=True)
class Shape:
    """Rows that a JSON value holds, and notes on how they were told and what was left aside."""

    rows: Sequence[object]
    notes: list[str] = field(default_factory=list)


def rows_of(value: object) -> Shape | None:
    """The rows of an object that is a table; None where it is a row itself, or holds none that can be told."""
    if not isinstance(value, Mapping) or not value:
        return None
    for read in (_split, _texts_with_spans, _wrapped, _of_objects, _of_columns, _by_label):
        if result := read(value):
            return result
    return None


def split_tables(value: object) -> dict[str, Shape] | None:
    """Split name -> its rows, where every key of an object names a split whose value is a table or a list of rows."""
    if not isinstance(value, Mapping) or not value or not all(role(str(name)) for name in value):
        return None
    shapes = {
        str(name): Shape(list(own)) if isinstance(own, list) else rows_of(own)
        for name, own in value.items()
        if own not in ([], {})
    }
    return {name: shape for name, shape in shapes.items() if shape} if shapes and all(shapes.values()) else None


def _split(value: Mapping[str, object]) -> Shape | None:
    """{"columns": [...], "index": [...], "data": [[...]]}: pandas' orient `split`, and `tight`."""
    columns, data = value.get("columns"), value.get("data")
    if not isinstance(columns, list) or not isinstance(data, list) or not all(isinstance(row, list) for row in data):
        return None
    notes: list[str] = []
    names = distinct([str(column) for column in columns], notes)
    if any(len(row) != len(names) for row in data):
        return None
    return Shape([dict(zip(names, row, strict=True)) for row in data], notes)


def _texts_with_spans(value: Mapping[str, object]) -> Shape | None:
    """{"classes": [...], "annotations": [["text", {"entities": [...]}], null]}, as annotators for spaCy save it."""
    rows = value.get("annotations")
    if not isinstance(rows, list) or not any(rows):
        return None
    pairs = [row for row in rows if row is not None]
    if not all(
        isinstance(r, list) and len(r) == 2 and isinstance(r[0], str) and isinstance(r[1], Mapping) for r in pairs
    ):
        return None
    n = len(rows) - len(pairs)
    return Shape(pairs, [f"{n} annotations that are null left out"] if n else [])


def _wrapped(value: Mapping[str, Any]) -> Shape | None:
    """{"data": [{...}]}, {"rows": [{"row": {...}}]}, {"rasa_nlu_data": {"common_examples": [...]}}, {"intents": [...]}."""
    if any(isinstance(value.get(name), str) for name in _ROW_TEXTS):
        return None  # a row that has a list too
    if len(value) == 1 and isinstance(only := next(iter(value.values())), Mapping) and _key_of_rows(only):
        return _wrapped(only)
    key = _key_of_rows(value)
    if key is None:
        return _intents(value)
    rows = value[key]
    schema = value.get("schema")
    if isinstance(schema, Mapping) and key == "data":  # pandas' orient `table`
        index = schema.get("primaryKey")
        names = index if isinstance(index, list) else ["index"]
        return Shape(
            [{k: v for k, v in row.items() if k not in names} if isinstance(row, Mapping) else row for row in rows]
        )
    if all(isinstance(row, Mapping) and isinstance(row.get("row"), Mapping) for row in rows):  # the hub's viewer
        rows = [row["row"] for row in rows]
    aside = [str(name) for name in value if name != key]
    more = f"; left aside: {', '.join(aside[:5])}" if aside else ""
    return Shape(list(rows), [f"the rows are what '{key}' holds{more}"])


def _key_of_rows(value: Mapping[str, object]) -> str | None:
    def holds(rows: object) -> bool:
        return isinstance(rows, list) and bool(rows) and isinstance(rows[0], Mapping)

    return next((name for name in WRAPPERS if holds(value.get(name))), None)


def _intents(value: Mapping[str, object]) -> Shape | None:
    """{"intents": [{"tag": "greet", "patterns": ["hi", "hello"]}]}, as chatbots have it."""
    intents = value.get("intents")
    if not isinstance(intents, list) or not intents or not all(isinstance(intent, Mapping) for intent in intents):
        return None
    for label, texts in _INTENTS:
        if all(isinstance(intent.get(label), str) and isinstance(intent.get(texts), list) for intent in intents):
            rows = [
                {"text": text.get("text") if isinstance(text, Mapping) else text, "label": intent[label]}
                for intent in intents
                for text in intent[texts]
            ]
            return Shape(rows, [f"each of '{texts}' is a text, and '{label}' its label"])
    return None


def _of_objects(value: Mapping[str, Any]) -> Shape | None:
    """{"text": {"0": …}}: pandas' orient `columns`; {"0": {"text": …}}: `index`."""
    inner = list(value.values())
    if not all(isinstance(item, Mapping) and item for item in inner):
        return None
    keys = list(inner[0])
    if _numbers(keys) and not _numbers(value):
        union = dict.fromkeys(key for item in inner for key in item)
        rows = [{name: item.get(key) for name, item in value.items()} for key in union]
        return Shape(rows, ["the file holds a column an object, as pandas writes it"])
    if len(inner) > 1 and all(item.keys() == inner[0].keys() for item in inner):
        return Shape(inner, ["the file holds a row an object under its index or id, which is left aside"])
    return None


def _numbers(keys: Iterable[object]) -> bool:
    return all(str(key).isdecimal() for key in keys)


def _of_columns(value: Mapping[str, Any]) -> Shape | None:
    """{"text": ["…", "…"], "label": [0, 1]}; one row of words and tags looks the same, but has no list of texts."""
    columns = list(value.values())
    if not all(isinstance(column, list) for column in columns) or len({len(column) for column in columns}) != 1:
        return None
    texts = any(str(name).casefold() in _ROW_TEXTS for name in value)
    if not texts and not all(isinstance(cell, list) for column in columns[:1] for cell in column):
        return None
    if not columns[0] or any(role(str(name)) for name in value):
        return None
    rows = [dict(zip(value, cells, strict=True)) for cells in zip(*columns, strict=True)]
    return Shape(rows, ["the file holds a list a column"])


def _by_label(value: Mapping[str, Any]) -> Shape | None:
    """{"greet": ["hi", "hello"], "bye": ["see you"]}: texts under their label."""
    if len(value) < 2 or {"words", "tokens", "tags", "ner_tags"} & value.keys():
        return None
    if not all(
        isinstance(texts, list) and texts and all(isinstance(t, str) for t in texts) for texts in value.values()
    ):
        return None
    rows = [{"text": text, "label": label} for label, texts in value.items() for text in texts]
    return Shape(rows, [f"the {len(value)} keys are read as labels, and what each holds as its texts"])


def is_row_lists(rows: Sequence[object]) -> bool:
    """Whether rows are lists of cells: pandas' orient `values`."""
    return bool(rows) and all(isinstance(row, list) for row in rows)
