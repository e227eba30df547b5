"""Files and folders: which reader reads a file, and which split it is."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from edgebert.data.brat import is_brat, read_brat
from edgebert.data.columns import LABEL_ROLES, USUAL_NAMES
from edgebert.data.conll import CONLLU_COLUMNS, read_atis, read_conll, read_conllu
from edgebert.data.contents import bare_name, read_bytes
from edgebert.data.json_rows import parse_whole, records_of
from edgebert.data.label_folders import read_label_folders
from edgebert.data.labelled_lines import are_labelled
from edgebert.data.layout import is_tagged, plain_name
from edgebert.data.nested import is_splits, is_squad, row_records, squad_records
from edgebert.data.parts import DataFiles, Part, role
from edgebert.data.shapes import Shape, rows_of, split_tables
from edgebert.data.tables import read_csv, read_json, read_labelled_lines, read_lines, read_parquet, read_tsv
from edgebert.data.text import decode
from edgebert.data.webanno import MARK as WEBANNO_MARK
from edgebert.data.webanno import read_webanno
from edgebert.errors import DataError
from edgebert.files import exists
from edgebert.types import SPLITS, Record, Split

Reader = Callable[[bytes, str, str, list[str]], list[Record]]  # (content, place, encoding, notes to add to)
READERS: dict[str, Reader] = {
    "conll": read_conll,
    "conllu": read_conllu,
    "webanno": read_webanno,
    "lines": read_lines,
    "labelled lines": read_labelled_lines,
    "tsv": read_tsv,
    "atis": read_atis,
    "json": read_json,
    "csv": read_csv,
    "parquet": read_parquet,
}
_TABLES = {".json": "json", ".jsonl": "json", ".ndjson": "json", ".csv": "csv", ".parquet": "parquet"}
LABELLED = frozenset(LABEL_ROLES)  # roles that a line of plain text cannot play
SUFFIXES = frozenset({*_TABLES, ".conll", ".txt", ".bio", ".bio2", ".iob", ".iob2", ".tsv", ".annotated", ".conllu"})
_SPLIT_COLUMNS = ("split", "splits", "partition", "subset", "set", "fold", "datasplit", "semevalset")
SNIFFED, SNIFFED_BYTES = 20, 100_000  # lines
WORD_NAMES = frozenset({"word", "words", "token", "tokens", "tag", "tags"})  # in the header of a file of tagged words
_PAPERS = ("readme", "license", "licence", "copying", "notice", "citation")


def from_file(path: Path, split: Split | None, encoding: str, roles: Collection[str] | None = None) -> DataFiles:
    """One file. Raises DataError when it is missing, unreadable or without rows.

    Args:
        roles: what the task reads, where the file alone does not tell what it is; None where no task is known.
    """
    if path.is_dir() and is_brat(path):
        return read_brat(path, encoding, split)
    if path.suffix == ".ann":
        what = "this file holds brat's annotations of one document, whose text stands in another file"
        raise DataError(what, where=str(path), hint=f"Name the folder that holds it and its text: {path.parent}")
    parts, notes = read_parts(path, split, str(path), encoding, roles=roles)
    return DataFiles(path.name, "not stated", str(path), parts, notes)


def read_parts(
    path: Path,
    split: Split | None,
    place: str,
    encoding: str,
    *,
    reader: str | None = None,
    roles: Collection[str] | None = None,
) -> tuple[tuple[Part, ...], tuple[str, ...]]:
    """The parts of a file, of which a JSON file of splits has several, and notes on what was left aside."""
    if not exists(path):
        raise missing(path)
    content = read_bytes(path, place)
    reader = reader or _sniff(bare_name(path), _beginning(content, encoding), place, roles)
    nested = _nested(content, place, encoding) if reader == "json" else None
    if nested is not None:
        return _nested_parts(nested, split, place, content)
    notes: list[str] = []  # what the reader guessed from what, and what it left out
    records = READERS[reader](content, place, encoding, notes)
    part = _part(records, split, place, content)
    parts = _by_column(part, notes) if split is None else (part,)
    return parts, tuple(f"{path.name}: {note}" for note in notes)


def _by_column(part: Part, notes: list[str]) -> tuple[Part, ...]:
    """Parts by the column that names the split of each row, where there is one; else the part as it is."""
    names = {plain_name(str(column)): column for column in part.records[0].columns}
    for column in (names[name] for name in _SPLIT_COLUMNS if name in names):
        note = [role(str(record.columns.get(column))) for record in part.records]
        results: list[Split] = [split for split in SPLITS if split in note]
        if None in note or "train" not in results or len(results) < 2:
            continue
        counts = ", ".join(f"{note.count(split)} {split}" for split in results)
        notes.append(f"the column '{column}' tells the split of each row: {counts}")
        return tuple(
            replace(
                part,
                split=split,
                records=tuple(record for record, own in zip(part.records, note, strict=True) if own == split),
                content=part.content if split == "train" else b"",  # hashed once
            )
            for split in results
        )
    return (part,)


def _part(records: Sequence[Record], split: Split | None, place: str, content: bytes) -> Part:
    if not records:
        what = "the file holds no rows" if content.strip() else "the file is empty"
        hint = "Check that this is the file you meant and that it was written to its end."
        raise DataError(what, where=place, hint=hint)
    return Part(split, place, tuple(records), content)


def _nested(content: bytes, place: str, encoding: str) -> Mapping[str, object] | None:
    """The value of a file that is one JSON object of SQuAD's articles, or of splits by name; None for any other."""
    text = decode(content, place, encoding)
    if not text.lstrip().startswith("{"):
        return None
    value = parse_whole(text, [])
    known = is_squad(value) or split_tables(value) or (is_splits(value) and not rows_of(value))
    return value if known and isinstance(value, Mapping) else None


def _nested_parts(
    value: Mapping[str, Any], split: Split | None, place: str, content: bytes
) -> tuple[tuple[Part, ...], tuple[str, ...]]:
    if is_squad(value):
        return (_part(squad_records(value, place), split, place, content),), ()
    tables = split_tables(value) or {name: Shape(value[name]) for name in value}
    taken = {name: result for name in tables if (result := role(name)) and split in (None, result)}
    if not taken:
        hint = "Keys such as train, val and test hold the rows of a split each."
        raise DataError(
            f"no key of the object names {f'the split {split}' if split else 'a split'}: {', '.join(value)}",
            where=place,
            hint=hint,
        )
    parts = [
        _part(_split_records(tables[name].rows, f"{place}:{name}"), results, f"{place}:{name}", b"")
        for name, results in taken.items()
    ]
    parts[0] = replace(parts[0], content=content)  # hashed once
    notes = [f"{name}: {note}" for name in taken for note in tables[name].notes]
    aside = [name for name in value if name not in taken]
    return tuple(parts), (*notes, *([f"keys left aside: {', '.join(aside)}"] if aside else []))


def _split_records(rows: Sequence[object], place: str) -> list[Record]:
    return row_records(rows, place) if rows and isinstance(rows[0], list) else records_of(rows, place)


def missing(path: Path) -> DataError:
    """The error for a path that is not there, with the nearest names beside it."""
    if os.path.islink(path):  # noqa: PTH114 - False for a name that cannot be one
        hint = "The link leads to no file: name the file itself."
        return DataError("this link leads to nothing, or to itself", where=str(path), hint=hint)
    if not exists(path.parent):
        return DataError("no such file", where=str(path), hint=f"The folder {path.parent} does not exist either.")
    near = near_files(path)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"Nothing in {path.parent} has a name like it."
    return DataError("no such file", where=str(path), hint=hint)


def near_files(path: Path) -> list[str]:
    names = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
    return [str(path.parent / name) for name in get_close_matches(path.name, names, n=3, cutoff=0.6)]


def from_folder(folder: Path, encoding: str, roles: Collection[str] | None = None) -> DataFiles:
    """Every data file of a folder, matched to splits by its name; one that no name tells is a file without a split."""
    if is_brat(folder):
        return read_brat(folder, encoding)
    files = [path for path in sorted(folder.iterdir()) if _is_data(path)]
    named = [(path, role(path.name)) for path in files]
    taken: list[tuple[Path, Split | None]] = [(path, split) for path, split in named if split]
    if not taken and (roles is None or "label" in roles) and (result := read_label_folders(folder, encoding)):
        return result
    if len(named) == 1:  # alone it is all there is, whatever its name says
        taken = [(files[0], None)]
    if not taken:
        raise _no_splits(folder, files)
    taken, notes = _one_format(folder, taken, roles)
    read = [read_parts(path, split, str(path), encoding, roles=roles) for path, split in taken]
    parts = tuple(part for some, _ in read for part in some)
    message = [note for _, some in read for note in some]
    aside = [path.name for path, split in named if split is None and (path, None) not in taken]
    if aside:
        message.append(f"files left aside, their names tell no split: {', '.join(aside)}")
    return DataFiles(folder.resolve().name, "not stated", str(folder), parts, (*notes, *message))


def _is_data(path: Path) -> bool:
    name = path.name.lower()
    if not exists(path) or not path.is_file() or name.startswith((".", *_PAPERS)):
        return False
    suffix = bare_name(path).suffix.lower()
    return suffix in SUFFIXES or role(suffix) is not None or (not suffix and role(name) is not None)


def _no_splits(folder: Path, files: list[Path]) -> DataError:
    if not files:
        known = " ".join(sorted(SUFFIXES))
        return DataError("the folder holds no data file", where=str(folder), hint=f"Known endings: {known}")
    names = ", ".join(path.name for path in files[:8])
    return DataError(
        f"the folder holds {len(files)} files and no name tells its split: {names}",
        where=str(folder),
        hint=f"Say which is which, for example: --data train={files[0]} --data test={files[-1]}",
    )


def _one_format(
    folder: Path, taken: list[tuple[Path, Split | None]], roles: Collection[str] | None
) -> tuple[list[tuple[Path, Split | None]], tuple[str, ...]]:
    """The files of one format: where the same splits stand in two, the one that the task reads. Raises DataError where
    that does not decide."""
    formats: dict[str, list[tuple[Path, Split | None]]] = {}
    for path, split in taken:
        formats.setdefault(_TABLES.get(bare_name(path).suffix.lower(), "conll"), []).append((path, split))
    if len(formats) == 1:
        return taken, ()
    wanted = {"conll"} & formats.keys() if "words" in (roles or ()) else formats.keys() - {"conll"}
    if len(wanted) != 1 or roles is None:
        choice = " ".join(f"--data {split}={path}" for path, split in next(iter(formats.values())))
        what = f"the folder holds the same splits in several formats: {', '.join(formats)}"
        raise DataError(what, where=str(folder), hint=f"Name the files to read, for example: {choice}")
    (chosen,) = wanted
    return formats[chosen], (f"of the formats {', '.join(formats)}, {chosen} was read, which fits the task",)


def _beginning(content: bytes, encoding: str) -> bytes:
    """The first lines in UTF-8; no byte is lost on the way where the file is in UTF-8 or has no text at all."""
    head = content[:SNIFFED_BYTES]
    if encoding.casefold().replace("_", "-") in ("utf-8", "utf8"):
        return head
    return head.decode(encoding, "ignore").removeprefix("\ufeff").encode("utf-8", "surrogatepass")


def _sniff(path: Path, content: bytes, place: str, roles: Collection[str] | None) -> str:
    """A reader's name: by the ending, else by the first lines, else by what the task reads."""
    suffix = path.suffix.lower()
    if suffix in _TABLES:
        return _TABLES[suffix]
    if content.startswith(b"PAR1"):
        return "parquet"
    if content.removeprefix(b"\xef\xbb\xbf").startswith(WEBANNO_MARK.encode()):
        return "webanno"
    head = [line for line in content.split(b"\n" if b"\n" in content else b"\r")[:SNIFFED] if line.strip()]
    if not head:
        return "conll"
    if b" <=> " in head[0]:
        return "atis"
    words = [line.split(b"\t") for line in head if not line.startswith(b"#")]
    if suffix == ".conllu" or (words and all(map(_is_conllu, words))):
        return "conllu"
    wordy, whole = roles is None or "words" in roles, roles is None or "words" not in roles
    if whole and (result := _of_whole_texts(suffix, head, roles)):
        return result
    if _is_table(words):
        texts = [[cell.decode(errors="replace") for cell in cells] for cells in words]
        return "conll" if wordy and is_tagged(texts) else "tsv"
    if _starts_json(head[0]):
        return "json"
    if wordy:
        return "conll"
    hint = "Rows are: label, a tab, text; __label__LABEL text; a CSV with a header; or JSON lines. Tagged words: --task ner"
    raise DataError("the file holds lines of text, in which no labels are found", where=place, hint=hint)


def _of_whole_texts(suffix: str, head: Sequence[bytes], roles: Collection[str] | None) -> str | None:
    """The reader of files of one text a row, where that is surely what the first lines are."""
    cells = {cell.decode(errors="replace").strip().casefold() for cell in head[0].split(b"\t")}
    if b"\t" in head[0] and (roles is not None or (suffix == ".tsv" and cells <= USUAL_NAMES - WORD_NAMES)):
        return "tsv"
    names = {name.strip().casefold() for name in head[0].decode(errors="replace").split(",")}
    if len(names) > 1 and names <= USUAL_NAMES - WORD_NAMES:
        return "csv"
    if are_labelled([line.decode(errors="replace").rstrip("\r") for line in head[:-1] or head]):
        return "labelled lines"
    if roles is not None and not LABELLED & set(roles) and not _starts_json(head[0]):
        return "lines"
    return None


def _is_conllu(cells: Sequence[bytes]) -> bool:
    return len(cells) == CONLLU_COLUMNS and cells[0][:1].isdigit()


def _starts_json(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _is_table(lines: Sequence[Sequence[bytes]]) -> bool:
    """Cells between tabs of which some hold several words; a line of CoNLL has one word a cell."""
    return (
        len(lines) > 1
        and len(lines[0]) > 1
        and all(len(cells) == len(lines[0]) for cells in lines)
        and any(b" " in cell.strip() for cells in lines for cell in cells)
    )
