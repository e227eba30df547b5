"""Parallel text: sentences and their translations, from tab-separated files or from two files that go line by line."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from edgebert.data.contents import read_bytes
from edgebert.data.files import missing
from edgebert.data.text import lines
from edgebert.errors import DataError
from edgebert.files import exists

HINT = "Write SOURCE, a tab and TARGET on each line, or name two files as SOURCE:TARGET."


@dataclass(frozen=True)
class Parallel:
    """Translations of each other, at the same place of both.

    Attributes:
        n_one_sided: lines left out, since one side of them is empty.
    """

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    n_one_sided: int


def read_parallel(spec: str) -> Parallel:
    """The sentences of every corpus that `spec` names, in order; lines of which both sides are empty are skipped.

    Args:
        spec: corpora with commas between them. One is a file with a tab between a sentence and its translation, or two files
            with a colon between them, of which line k of the second translates line k of the first. UTF-8; .gz, .bz2 and .xz
            are unpacked.

    Raises:
        DataError: no such file, bytes that are not UTF-8, a line with another number of tabs, files of unequal length, no
            sentence: each with file and line.
    """
    names = [
        [Path(part.strip()).expanduser() for part in corpus.split(":")] for corpus in spec.split(",") if corpus.strip()
    ]
    for path in (path for corpus in names for path in corpus):
        if not exists(path):
            raise missing(path)
    stamps = tuple((path.stat().st_size, path.stat().st_mtime_ns) for corpus in names for path in corpus)
    return _read(tuple(map(tuple, names)), stamps)


@lru_cache(maxsize=1)
def _read(names: tuple[tuple[Path, ...], ...], stamps: tuple[tuple[int, int], ...]) -> Parallel:
    """A plan asks for each shape of a student: files that are as they were are read once."""
    sides = [side for corpus in names for side in (_pairs(corpus) if len(corpus) > 1 else _tabbed(corpus[0]))]
    whole = [(source, target) for source, target in sides if source and target]
    if not whole:
        where = ", ".join(str(path) for corpus in names for path in corpus)
        raise DataError("there is no sentence with its translation", where=where, hint=HINT)
    n_empty = sum(not source and not target for source, target in sides)
    sources, targets = zip(*whole, strict=True)
    return Parallel(sources, targets, len(sides) - len(whole) - n_empty)


def _tabbed(path: Path) -> list[tuple[str, str]]:
    results = []
    for number, line in enumerate(_lines(path), 1):
        parts = [part.strip() for part in line.split("\t")] if line.strip() else ["", ""]
        if len(parts) != 2:
            what = f"{len(parts)} columns, where a sentence and its translation are needed"
            raise DataError(what, where=f"{path}:{number}", hint=HINT)
        results.append((parts[0], parts[1]))
    return results


def _pairs(corpus: tuple[Path, ...]) -> list[tuple[str, str]]:
    if len(corpus) > 2:
        what = f"{len(corpus)} files are joined by colons, where two are needed"
        raise DataError(what, where=":".join(map(str, corpus)), hint="Put commas between corpora.")
    first, second = (_lines(path) for path in corpus)
    if len(first) != len(second):
        longer, shorter = corpus if len(first) > len(second) else corpus[::-1]
        most, fewest = max(len(first), len(second)), min(len(first), len(second))
        what = f"{most} lines, and {shorter} has {fewest}: from this line on there is no translation"
        hint = "Line k of one file must be the translation of line k of the other: look for a line that is missing or broken."
        raise DataError(what, where=f"{longer}:{fewest + 1}", hint=hint)
    return [(source.strip(), target.strip()) for source, target in zip(first, second, strict=True)]


def _lines(path: Path) -> list[str]:
    """The file's lines; what follows the last line's end is none."""
    try:
        results = lines(read_bytes(path, str(path)), str(path), "utf-8")
    except DataError as error:
        if error.hint and "--encoding" in error.hint:  # which is of the labelled rows
            raise DataError(error.what, where=error.where, hint="Save the file as UTF-8.") from None
        raise
    return results[:-1] if results and not results[-1] else results
