"""Folders of texts, a file each, under a folder a label: `train/pos/1.txt`, or `pos/1.txt`, as sklearn's `load_files`
reads them and IMDb's reviews come."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from edgebert.data.contents import MAX_BYTES, MAX_ROWS, read_bytes, too_large
from edgebert.data.parts import DataFiles, Part, role
from edgebert.data.text import decode
from edgebert.types import Record, Split

_WITHOUT_LABEL = frozenset({"unsup", "unsupervised", "unlabelled", "unlabeled"})


def read_label_folders(folder: Path, encoding: str) -> DataFiles | None:
    """A row a file, labelled by the name of its folder; None where there are not at least two such folders.

    Raises DataError for a file that is not text.
    """
    named: list[tuple[Path, Split | None]] = [(sub, role(sub.name)) for sub in _folders(folder)]
    splits: list[tuple[Path, Split | None]] = [(sub, split) for sub, split in named if split] or [(folder, None)]
    labelled = {
        sub: [own for own in _folders(sub) if own.name not in _WITHOUT_LABEL and _texts(own)] for sub, _ in splits
    }
    if len({own.name for some in labelled.values() for own in some}) < 2:
        return None
    parts: list[Part] = []
    counts: Counter[str] = Counter()
    for sub, split in splits:
        if labelled[sub]:
            parts.append(_part(sub, split, labelled[sub], encoding, counts))
    names = sorted({own.name for some in labelled.values() for own in some})
    aside = sorted({own.name for sub, _ in splits for own in _folders(sub) if own not in labelled[sub]})
    notes = [f"each file is read as a text, the name of its folder as the label: {', '.join(names[:10])}"]
    notes += [f"folders left aside: {', '.join(aside)}"] if aside else []
    notes += [f"{n} {what}" for what, n in counts.items() if n]
    return DataFiles(folder.resolve().name, "not stated", str(folder), tuple(parts), tuple(notes))


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _texts(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and path.suffix.lower() in ("", ".txt"))


def _part(folder: Path, split: Split | None, labels: list[Path], encoding: str, counts: Counter[str]) -> Part:
    files = [(path, label.name) for label in labels for path in _texts(label)]
    if len(files) > MAX_ROWS:
        raise too_large(f"more than {MAX_ROWS:,} files", str(folder))
    counts["files of another ending than .txt left aside"] += sum(
        path.is_file() and not path.name.startswith(".") for label in labels for path in label.iterdir()
    ) - len(files)
    records, contents = [], bytearray()
    for path, label in files:
        content = read_bytes(path, str(path))
        contents += content
        if len(contents) > MAX_BYTES:
            raise too_large(f"files of more than {MAX_BYTES // 2**20} MB together", str(folder))
        records.append(Record({"text": decode(content, str(path), encoding).strip(), "label": label}, str(path)))
    return Part(split, str(folder), tuple(records), bytes(contents))
