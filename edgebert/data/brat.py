"""Folders of brat: a text file and a file of annotations a document. https://brat.nlplab.org/standoff.html

A row is a line of a text, as brat shows it; lines that a span joins are one row. Spans of several parts are joined where
nothing but whitespace is between them, else left aside and counted, as are relations, events, attributes,
normalisations and notes.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter, deque
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from edgebert.data.contents import read_bytes
from edgebert.data.parts import DataFiles, Part, role
from edgebert.data.spans import Span
from edgebert.data.text import decode, lines
from edgebert.errors import DataError
from edgebert.types import Record, Split

_KINDS = {
    "R": "relations", "*": "equivalences", "E": "events (their triggers are read as entities)", "A": "attributes",
    "M": "attributes", "N": "normalisations", "#": "notes",
}  # fmt: skip
_BOUND = re.compile(r"(T\S*)\t(\S+) (\d{1,9} \d{1,9}(?:;\d{1,9} \d{1,9})*)(?:\t(.*))?")
_PATTERNS = ("*.ann", "*/*.ann")


def is_brat(folder: Path) -> bool:
    return any(next(folder.glob(pattern), None) for pattern in _PATTERNS)


def read_brat(folder: Path, encoding: str, split: Split | None = None) -> DataFiles:
    """The documents of a folder and of those in it, which are splits where their names say so.

    Raises DataError with file:line for a line that is no annotation, and for annotations without their text.
    """
    counts: Counter[str] = Counter()
    records: dict[Split | None, list[Record]] = {}
    contents: dict[Split | None, bytes] = {}
    n_documents = 0
    for path in sorted(path for pattern in _PATTERNS for path in folder.glob(pattern)):
        inner = path.relative_to(folder).parts[:-1]
        own = split or next((result for name in inner if (result := role(name))), None)
        text_file = path.with_suffix(".txt")
        if not text_file.is_file():
            hint = "A document of brat is two files, for example doc1.ann and doc1.txt."
            raise DataError(f"there is no {text_file.name} beside it", where=str(path), hint=hint)
        content, annotations = (read_bytes(item, str(item)) for item in (text_file, path))
        text = decode(content, str(text_file), encoding)
        spans = list(_spans(text, lines(annotations, str(path), encoding), str(path), counts))
        records.setdefault(own, []).extend(_rows(text, spans, str(text_file)))
        contents[own] = contents.get(own, b"") + content + annotations
        n_documents += 1
    n = sum(map(len, records.values()))
    if not n:
        raise DataError(f"the {n_documents} documents of brat are empty", where=str(folder), hint="Export them again.")
    texts = [path for pattern in _PATTERNS for path in folder.glob(pattern.replace(".ann", ".txt"))]
    bare = [path for path in texts if not path.with_suffix(".ann").exists()]
    notes = [f"{n_documents} documents of brat are read as {n} rows: a line is one, unless a span goes on in the next"]
    notes += [f"{len(bare)} texts without a file of annotations left out"] if bare else []
    notes += [f"{n} {what} left aside" for what, n in counts.items()]
    parts = tuple(Part(own, str(folder), tuple(rows), contents[own]) for own, rows in records.items())
    return DataFiles(folder.resolve().name, "not stated", str(folder), parts, tuple(notes))


def _spans(text: str, annotations: list[str], place: str, counts: Counter[str]) -> Iterator[Span]:
    for number, line in enumerate(annotations, 1):
        if not line.strip():
            continue
        if line[0] in _KINDS:
            counts[_KINDS[line[0]]] += 1
            continue
        match = _BOUND.fullmatch(line)
        if match is None:
            hint = "A line of an entity reads: T1, a tab, TYPE START END, a tab, and what the text says there."
            raise DataError(f"no annotation of brat: {line[:60]!r}", where=f"{place}:{number}", hint=hint)
        _, label, places, description = match.groups()
        pairs = [tuple(map(int, pair.split())) for pair in places.split(";")]
        start, end = pairs[0][0], pairs[-1][1]
        if any(text[a:b].strip() for (_, a), (b, _) in pairwise(pairs)):
            counts["spans of several parts"] += 1
            continue
        if not start < end <= len(text):
            what = f"the span {start}–{end} ({label}) is not in the text of {len(text)} characters"
            raise DataError(what, where=f"{place}:{number}", hint="The text may have been changed since.")
        yield Span(start, end, label, description)


def _rows(text: str, spans: list[Span], place: str) -> Iterator[Record]:
    """A record a line, with its spans moved to its start."""
    crossed = [(span.start, span.end) for span in spans if "\n" in text[span.start : span.end]]
    breaks = [0, *(match.end() for match in re.finditer("\n", text))]
    joined = {start for a, b in crossed for start in breaks[bisect_right(breaks, a) : bisect_left(breaks, b)]}
    starts = [start for start in breaks if start not in joined]
    ordered = deque(sorted(spans, key=lambda span: span.start))
    for start, end in zip(starts, [*starts[1:], len(text) + 1], strict=True):
        own = []
        while ordered and ordered[0].start < end:
            span = ordered.popleft()
            own.append({**vars(span), "start": span.start - start, "end": span.end - start})
        line = text[start:end].rstrip("\r\n")
        if line.strip():
            yield Record({"text": line, "entities": own}, f"{place}:{bisect_right(breaks, start)}")
