"""Text without labels, one a line: what students learn from beside the labelled rows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgebert.data.contents import exists, read_bytes
from edgebert.data.text import check_encoding, lines
from edgebert.errors import DataError
from edgebert.types import Row

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from edgebert.tasks import Task


@dataclass(frozen=True)
class Unlabelled:
    rows: tuple[Row, ...] = ()
    sha256: str = ""  # over the bytes of every file, in order
    notes: tuple[str, ...] = ()


def read_unlabelled(paths: Sequence[str], task: Task, tokenizer: Tokenizer, *, encoding: str = "utf-8") -> Unlabelled:
    """A row for each line, without those that are empty, stand there before, or give the tokenizer nothing to read.

    A task of two texts takes both from one line, with a tab between them.

    Raises:
        DataError: no such file, bytes of another encoding, a line without its second text, or nothing left to read.
    """
    if not paths:
        return Unlabelled()
    check_encoding(encoding)
    found: dict[str, str] = {}  # line -> where it first stood
    digest, n_lines = hashlib.sha256(), 0
    for path in map(Path, paths):
        if not exists(path):
            hint = "--unlabelled takes files of a text a line."
            raise DataError("no such file", where=str(path), hint=hint)
        content = read_bytes(path, str(path))
        digest.update(content)
        for number, line in enumerate(lines(content, str(path), encoding), 1):
            if line.strip():
                n_lines += 1
                found.setdefault(line, f"{path}:{number}")
    rows = [_row(line, place, task) for line, place in found.items()]
    kept = [row for row in rows if _reads(row, tokenizer)]
    if not kept:
        what = f"none of {n_lines} lines gives the tokenizer anything to read"
        raise DataError(what, where=", ".join(paths), hint="One text a line, of a language that the teacher knows.")
    notes = [f"{len(kept)} unlabelled texts"]
    if n_lines > len(found):
        notes.append(f"{n_lines - len(found)} lines left out that stood there before")
    if len(rows) > len(kept):
        notes.append(f"{len(rows) - len(kept)} left out that the tokenizer cannot read")
    return Unlabelled(tuple(kept), digest.hexdigest(), (", ".join(notes),))


def _row(line: str, place: str, task: Task) -> Row:
    texts = line.split("\t") if len(task.inputs) > 1 else [line]
    if len(texts) != len(task.inputs):
        what = f"{len(texts)} texts where {task.name} reads {len(task.inputs)} ({', '.join(task.inputs)})"
        raise DataError(what, where=place, hint="Put a tab between them.")
    return task.read_texts(*texts)


def _reads(row: Row, tokenizer: Tokenizer) -> bool:
    """Whether any piece of the row's text is a known one."""
    text = " ".join(row.words) if row.words else f"{row.text or ''} {row.second or ''}"
    unknown = {"[UNK]", "<unk>"}
    return any(token not in unknown for token in tokenizer.encode(text, add_special_tokens=False).tokens)
