"""WebAnno TSV 3, which INCEpTION and WebAnno export: a token a line, its annotations in columns that the head declares.

https://webanno.github.io/webanno/releases/3.6.11/docs/user-guide.html#sect_webannotsv
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from edgebert.data.conll import LINES
from edgebert.data.text import lines
from edgebert.errors import DataError
from edgebert.types import Record

MARK = "#FORMAT=WebAnno TSV 3"
_FIRST = 3  # columns before those of the layers: sentence-token, offsets, token
_VALUE = re.compile(r"(?P<label>.*?)(?:\[(?P<id>\d+)\])?")
_ID = re.compile(r"\d+-\d+(?P<part>\.\d+)?")


@dataclass(frozen=True)
class Layer:
    name: str  # the last part of the type's name
    features: tuple[str, ...]
    column: int  # of its first feature


def read_webanno(content: bytes, place: str, encoding: str = "utf-8", notes: list[str] | None = None) -> list[Record]:
    """One record a sentence: tokens, and the tags of the layer of named entities, else of the first layer of spans.

    Annotations of parts of tokens, and all but the first where several stand on one token, are left aside and counted.
    Raises DataError with file:line where the head declares no layer of spans, or a line has too few columns.
    """
    text = lines(content, place, encoding)
    layer, column, others = _chosen(_layers(text), place)
    counts: Counter[str] = Counter()
    records: list[Record] = []
    sentence: list[tuple[int, str, str]] = []
    open_id: str | None = None
    for number, line in enumerate([*text, ""], 1):
        cells = line.split("\t")
        match = _ID.fullmatch(cells[0])
        if not match:
            if sentence and not line.strip():
                numbers, words, tags = (list(own) for own in zip(*sentence, strict=True))
                records.append(Record({"words": words, "tags": tags, LINES: numbers}, f"{place}:{numbers[0]}"))
                sentence = []
                open_id = None
            continue
        if len(cells) <= column:
            what = f"{len(cells)} columns, where the layer {layer.name} stands in column {column + 1}"
            raise DataError(what, where=f"{place}:{number}", hint="Export the file again.")
        if match["part"]:
            counts["annotations of parts of tokens left aside"] += cells[column] != "_"
            continue
        label, own_id = _label(cells[column], counts)
        tag = "O" if label is None else f"{'I' if own_id is not None and own_id == open_id else 'B'}-{label}"
        open_id = own_id
        sentence.append((number, cells[2], tag))
    if notes is not None:
        more = f"; layers left aside: {', '.join(others)}" if others else ""
        notes.append(f"tags are read from the layer {layer.name}{more}")
        notes += [f"{n} {what}" for what, n in counts.items() if n]
    return records


def _layers(text: list[str]) -> list[Layer]:
    results, column = [], _FIRST
    for line in text:
        kind, mark, declared = line.partition("=")
        if kind in ("#T_SP", "#T_CH", "#T_RL") and mark:
            name, *features = declared.split("|")
            if kind == "#T_SP":
                results.append(Layer(name.rpartition(".")[2], tuple(features), column))
            column += max(1, len(features))
    return results


def _chosen(layers: list[Layer], place: str) -> tuple[Layer, int, list[str]]:
    """The layer to read, the column of its label, and the names of the others."""
    if not layers:
        hint = "The head has a line '#T_SP=…' for each layer of spans: export the file with its layers."
        raise DataError("the file declares no layer of spans", where=f"{place}:1", hint=hint)
    layer = next((item for item in layers if "entity" in item.name.casefold()), layers[0])
    usual = [i for i, name in enumerate(layer.features) if name.casefold() in ("value", "label", "category", "type")]
    return layer, layer.column + (usual[0] if usual else 0), [item.name for item in layers if item is not layer]


def _label(cell: str, counts: Counter[str]) -> tuple[str | None, str | None]:
    """The label of a cell, and the number that tokens of one annotation share; None for none."""
    if cell in ("_", ""):
        return None, None
    first, *more = re.split(r"(?<!\\)\|", cell)
    counts["annotations left aside that stand on one token with another"] += len(more)
    match = _VALUE.fullmatch(first)
    label = match["label"] if match else first
    label = re.sub(r"\\(.)", r"\1", label)
    return "ENTITY" if label in ("*", "") else label, match["id"] if match else None
