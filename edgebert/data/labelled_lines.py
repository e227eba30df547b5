"""A text a line: alone, or behind its label as fastText, TREC and the Stanford sentiment files write it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from edgebert.data.text import lines
from edgebert.types import Record

FASTTEXT = "__label__"
_TREC = re.compile(r"([A-Z]{2,}:\w+) +(\S.*)")
_DIGIT = re.compile(r"(\d) +(\S.*)")


def read_lines(content: bytes, place: str, encoding: str = "utf-8", notes: list[str] | None = None) -> list[Record]:
    """One record a line that is not blank: its `text`."""
    return [Record({"text": line}, where) for where, line in _filled(content, place, encoding)]


def read_labelled_lines(
    content: bytes, place: str, encoding: str = "utf-8", notes: list[str] | None = None
) -> list[Record]:
    """One record a line that is not blank: its `text` and `label`, which is a list where a line of fastText has several,
    and None where a line has none."""
    filled = _filled(content, place, encoding)
    if any(line.startswith(FASTTEXT) for _, line in filled[:1000]):
        return _fasttext(filled, notes)
    pattern = _TREC if filled and _TREC.fullmatch(filled[0][1]) else _DIGIT
    results = [(where, line, pattern.fullmatch(line)) for where, line in filled]
    if notes is not None and results:
        notes.append(f"the label is what stands before the first space: '{results[0][1].split(' ')[0]}'")
    return [
        Record({"text": match[2] if match else line, "label": match[1] if match else None}, where)
        for where, line, match in results
    ]


def _fasttext(filled: Sequence[tuple[str, str]], notes: list[str] | None) -> list[Record]:
    parted = []
    for where, line in filled:
        words = line.split()
        labels = [word.removeprefix(FASTTEXT) for word in words if word.startswith(FASTTEXT)]
        parted.append((where, labels, " ".join(word for word in words if not word.startswith(FASTTEXT))))
    several = any(len(labels) > 1 for _, labels, _ in parted)
    if notes is not None:
        notes.append(f"labels are the words that begin with {FASTTEXT}, as fastText writes them")
    return [
        Record({"text": text, "label": labels if several else (labels[0] if labels else None)}, where)
        for where, labels, text in parted
    ]


def are_labelled(head: Sequence[str]) -> bool:
    """Whether the first lines of a file are texts behind their labels."""
    if not head:
        return False
    if sum(line.startswith(FASTTEXT) for line in head) > len(head) / 2:
        return True
    if all(map(_TREC.fullmatch, head)):
        return True
    widths = {len(line.split()) for line in head}  # a sentence of CoNLL has one width
    return all(map(_DIGIT.fullmatch, head)) and max(widths) > 2 and (len(widths) > 1 or len(head) == 1)


def _filled(content: bytes, place: str, encoding: str) -> list[tuple[str, str]]:
    """(place, line) of each line that is not blank."""
    numbered = enumerate(lines(content, place, encoding), 1)
    return [(f"{place}:{number}", line) for number, line in numbered if line.strip()]
