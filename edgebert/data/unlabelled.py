"""Text without labels: what students learn from beside the labelled rows. A text is a line, or a paragraph of wrapped lines."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from edgebert.data.contents import bare_name, read_bytes
from edgebert.data.files import missing
from edgebert.data.reader import RowReader
from edgebert.data.text import check_encoding, lines
from edgebert.data.text_contents import check_plain_text, strangeness
from edgebert.errors import DataError
from edgebert.files import exists
from edgebert.types import Row, Split

if TYPE_CHECKING:
    from tokenizers import Tokenizer

ENDINGS = (".txt", ".text")  # of the files of a folder that are read, also compressed
MAX_FILES = 100_000  # of a folder
MAX_TOTAL_BYTES = 2 * 2**30  # of all files, unpacked
WIDEST = 100  # characters of a line that a program has wrapped
WRAPPED_LINES = 20  # that tell whether lines are wrapped
FILLED = 0.7  # of the longest line: what a wrapped line reaches where its paragraph goes on

Text = tuple[str, str]  # a text, and its place as file:line


@dataclass(frozen=True)
class Unlabelled:
    rows: tuple[Row, ...] = ()
    sha256: str = ""  # over the bytes of every file, in order
    notes: tuple[str, ...] = ()


def read_unlabelled(
    paths: Sequence[str],
    task: RowReader,
    tokenizer: Tokenizer,
    *,
    encoding: str = "utf-8",
    labelled: Mapping[Split, Sequence[Row]] | None = None,
    labels: Sequence[str] = (),
) -> Unlabelled:
    """A row for each text, without those that are empty, stand there before, or give the tokenizer nothing to read.

    A task of two texts takes both from one line, with a tab between them.

    Args:
        paths: files, or folders whose .txt files are read, also those of folders in them.
        labelled: rows of each split: their texts are left out here, and those to train on tell whether the language is theirs.
        labels: of the task, to tell labels in the text.

    Raises:
        DataError: no such file, bytes of another encoding, text with labels, a line without its second text, more than
            memory should hold, or nothing left to read.
    """
    if not paths:
        return Unlabelled()
    check_encoding(encoding)
    files, skipped = _files(paths)
    read = _read(files, task, labels, encoding)
    rows = [_row(text, place, task) for text, place in read.found.items()]
    known = {row.identity for some in (labelled or {}).values() for row in some}
    new = [row for row in rows if row.identity not in known]
    if rows and not new:
        what = f"each of the {len(rows)} unlabelled texts is that of a labelled row"
        raise DataError(
            what, where=", ".join(paths), hint="Give text beside the labelled rows, or leave --unlabelled out."
        )
    kept = [row for row in new if _reads(row, tokenizer)]
    if not kept:
        what = f"none of {read.n_texts} lines gives the tokenizer anything to read"
        raise DataError(what, where=", ".join(paths), hint="One text a line, of a language that the teacher knows.")
    note = [f"{len(kept)} unlabelled texts" + (f" of {len(files)} files" if len(files) > 1 else "")]
    if read.n_texts > len(rows):
        note.append(f"{read.n_texts - len(rows)} lines left out that stood there before")
    if len(rows) > len(new):
        note.append(f"{len(rows) - len(new)} left out that labelled rows have, of whatever split")
    if len(new) > len(kept):
        note.append(f"{len(new) - len(kept)} left out that the tokenizer cannot read")
    if skipped:
        note.append(f"{len(skipped)} files left aside that do not end in .txt, the first {skipped[0]}")
    notes = [*read.notes, *strangeness(kept, (labelled or {}).get("train", ()), tokenizer)]
    return Unlabelled(tuple(kept), read.sha256, (", ".join(note), *_few(notes)))


@dataclass(frozen=True)
class _Read:
    found: dict[str, str]  # text -> where it first stood
    n_texts: int  # with those that stood there before
    sha256: str
    notes: list[str]


def _read(files: Sequence[Path], task: RowReader, labels: Sequence[str], encoding: str) -> _Read:
    results: dict[str, str] = {}
    digest, n_texts, n_bytes, notes = hashlib.sha256(), 0, 0, list[str]()
    for path in files:
        content = read_bytes(path, str(path))
        n_bytes += len(content)
        if n_bytes > MAX_TOTAL_BYTES:
            what = f"the unlabelled files hold more than {MAX_TOTAL_BYTES // 2**20} MB"
            raise DataError(what, where=str(path), hint="Give a sample of them: they are held in memory.")
        digest.update(content)
        all_lines = lines(content, str(path), encoding)
        notes += check_plain_text(path, all_lines, len(task.inputs), labels)
        wrapped = len(task.inputs) == 1 and are_wrapped(all_lines)
        if wrapped:
            notes.append(f"{path.name}: its lines are wrapped, so each paragraph is read as a text")
        for text, line in _texts(all_lines, wrapped):
            n_texts += 1
            results.setdefault(text, f"{path}:{line}")
    return _Read(results, n_texts, digest.hexdigest(), notes)


def _few(notes: Sequence[str], most: int = 5) -> tuple[str, ...]:
    more = len(notes) - most
    return (*notes[:most], f"{more} more notes of this kind") if more > 1 else tuple(notes)


def _files(paths: Sequence[str]) -> tuple[list[Path], list[str]]:
    """The files to read, each once, and what a folder holds beside them."""
    files: list[Path] = []
    skipped: list[str] = []
    for path in map(Path, paths):
        if not path.is_dir():
            if not exists(path):
                raise missing(path)
            files.append(path)
            continue
        inside = [item for item in _inside(path) if not item.name.startswith(".")]
        texts = [item for item in inside if bare_name(item).suffix.lower() in ENDINGS]
        if not texts:
            what = f"the folder holds no file that ends in .txt ({len(inside)} others)"
            raise DataError(what, where=str(path), hint="Plain text, one text a line, in files named .txt.")
        files += texts
        skipped += [str(item) for item in inside if item not in set(texts)]
    once: dict[Path, Path] = {}
    for path in files:
        once.setdefault(path.resolve(), path)
    return list(once.values()), skipped


def _inside(folder: Path) -> Iterator[Path]:
    """The files of a folder by their names, then those of the folders in it.

    Raises DataError for a link that leads out of the folder, and for more than MAX_FILES files.
    """
    root, n_files = folder.resolve(), 0
    for place, folders, names in os.walk(folder, onerror=_refused):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted([*names, *(item for item in folders if (Path(place) / item).is_symlink())]):
            path = Path(place) / name
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                what = "this link leads out of the folder"
                raise DataError(what, where=str(path), hint="Name what it leads to by another --unlabelled.")
            n_files += 1
            if n_files > MAX_FILES:
                hint = "Join them: one text a line."
                raise DataError(f"the folder holds more than {MAX_FILES:,} files", where=str(folder), hint=hint)
            if not path.is_dir():
                yield path


def _refused(error: OSError) -> None:
    raise error


def are_wrapped(all_lines: Sequence[str]) -> bool:
    """Whether the lines are paragraphs that a program has wrapped: short, with blank lines between them, and nearly all
    that another line follows as long as fits."""
    filled = [len(line.rstrip()) for line in all_lines if line.strip()]
    if len(filled) < WRAPPED_LINES or max(filled) > WIDEST:
        return False
    pairs = [(line.rstrip(), after.strip()) for line, after in pairwise(all_lines)]
    goes_on = [len(line) for line, after in pairs if line and after]
    if not any(after and not line for line, after in pairs):
        return False
    long = sum(length >= FILLED * max(filled) for length in goes_on)
    return len(goes_on) > len(filled) / 2 and long > 0.9 * len(goes_on)


def _texts(all_lines: Sequence[str], wrapped: bool) -> Iterator[tuple[str, int]]:
    """(text, line) of each line that is not blank, or of each paragraph."""
    paragraph: list[str] = []
    for number, line in enumerate([*all_lines, ""], 1):
        if not wrapped and line.strip():
            yield line, number
        elif line.strip():
            paragraph.append(line.strip())
        elif paragraph:
            yield " ".join(paragraph), number - len(paragraph)
            paragraph = []


def _row(text: str, place: str, task: RowReader) -> Row:
    texts = text.split("\t") if len(task.inputs) > 1 else [text]
    if len(texts) != len(task.inputs):
        what = f"{len(texts)} texts where {task.name} reads {len(task.inputs)} ({', '.join(task.inputs)})"
        raise DataError(what, where=place, hint="Put a tab between them.")
    return task.read_texts(*texts)


def _reads(row: Row, tokenizer: Tokenizer) -> bool:
    """Whether any token of the row's text is a known one."""
    text = " ".join(row.words) if row.words else f"{row.text or ''} {row.second or ''}"
    unknown = {"[UNK]", "<unk>"}
    return any(token not in unknown for token in tokenizer.encode(text, add_special_tokens=False).tokens)
