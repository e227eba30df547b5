"""Labelled rows: from files, folders, the hub and a catalogue of packages.

`load` reads what the user named, lets the task read meaning into it, and completes the splits. What was repaired,
carved or counted on the way stands in the notes of the dataset's source.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

from edgebert.data.annotations import plain
from edgebert.data.columns import assign
from edgebert.data.contents import bare_name
from edgebert.data.files import SUFFIXES, from_file, from_folder, missing, near_files
from edgebert.data.hub import from_hub
from edgebert.data.labels import refuse_controls, refuse_surrogates, whole_number_labels, without_hidden_labels
from edgebert.data.packaged import CatalogueEntry, catalogue, from_catalogue
from edgebert.data.parts import DataFiles, Part, role
from edgebert.data.problems import problems
from edgebert.data.reader import RowReader
from edgebert.data.splits import Rows, check_shares, complete, overlap_notes, unseen_notes
from edgebert.data.text import check_encoding
from edgebert.errors import DataError, RequestError, unknown
from edgebert.files import exists
from edgebert.types import SPLITS, Dataset, DataSource, Record, Split

__all__ = ["CatalogueEntry", "catalogue", "load"]


def load(
    specs: Sequence[str],
    task: RowReader,
    *,
    encoding: str = "utf-8",
    columns: Mapping[str, str] | None = None,
    dev_share: float = 0.1,
    test_share: float = 0.1,
) -> Dataset:
    """Train, dev and test rows with their labels.

    Args:
        specs: each a catalogue name, a file, a folder, a hub dataset id (`owner/name`, or `owner/name:configuration`),
            or `train=FILE`, `dev=FILE`, `test=FILE`; files of one split are joined. None: the task's default data.
        task: reads the rows.
        encoding: of text files; what a package carries is always UTF-8.
        columns: `text`, `second`, `label` -> name of the column, where the usual names do not tell.
        dev_share, test_share: of the distinct training rows, for a split that the data lacks.

    Raises:
        DataError: data that is missing, unreadable, unlabelled or too small, with its place.
        RequestError: an unknown encoding or split, a share that cannot be, or data made for another task.
    """
    check_encoding(encoding)
    shares = check_shares(dev_share, test_share)
    names = tuple(specs) or default_names(task)
    result = find_all(names, task, encoding)
    rows, notes = read_rows([part for item in result for part in item.parts], task, columns or {})
    rows, carved = complete(rows, shares)
    for split in SPLITS:
        task.check(rows[split], split)
    labels = task.labels(rows["train"])
    message = [note for item in result for note in item.notes]
    notes = [*message, *notes, *carved, *overlap_notes(rows), *unseen_notes(rows), *problems(rows)]
    return Dataset({split: tuple(rows[split]) for split in SPLITS}, labels, _source(result, notes))


def find_all(specs: Sequence[str], task: RowReader | None, encoding: str) -> list[DataFiles]:
    """What the specs name, each as `load` takes it; for no task, where that is still to be guessed."""
    return [plain(_find(name, task, encoding, alone=len(specs) == 1)) for name in specs]


def check_specs(specs: Sequence[str], task: RowReader) -> None:
    """Raises what `load` would for a spec that names nothing, or data made for another task; reads no file."""
    for spec in tuple(specs) or default_names(task):
        locate(spec, task)


def _find(spec: str, task: RowReader | None, encoding: str, *, alone: bool) -> DataFiles:
    """What one spec names."""
    roles = None if task is None else task.columns
    place = locate(spec, task)
    if place is None:
        return from_hub(spec, _suggest)
    if isinstance(place, CatalogueEntry):
        return _from_entry(place)
    path, split = place
    if split is None and path.is_dir():
        return from_folder(path, encoding, roles)
    return from_file(path, split or (None if alone else role(path.name)), encoding, roles)


def locate(spec: str, task: RowReader | None) -> CatalogueEntry | tuple[Path, Split | None] | None:
    """Where a spec leads: to an entry of the catalogue, which wins over a path of its name that `./name` still reaches; to
    a path, with the split that it is for; None is the hub. Raises EdgebertError where there is nothing."""
    if spec in catalogue():
        return _for_task(catalogue()[spec], task)
    prefix, mark, rest = spec.partition("=")
    path, split = Path(spec).expanduser(), None
    if mark and not exists(path):
        if prefix not in SPLITS:
            raise unknown("split", prefix, SPLITS, where=f"--data {spec}")
        path, split = Path(rest).expanduser(), prefix
    if exists(path):
        return path, split
    if split is not None or _looks_like_path(spec, path):
        raise missing(path)
    return None


def _for_task(entry: CatalogueEntry, task: RowReader | None) -> CatalogueEntry:
    if task is not None and entry.task != task.name:
        fitting = [name for name, other in catalogue().items() if other.task == task.name]
        raise unknown(f"{task.name} data", entry.name, fitting, where="--data", more=f"It is made for {entry.task}.")
    return entry


def _from_entry(entry: CatalogueEntry) -> DataFiles:
    result = from_catalogue(entry)
    if not Path(entry.name).exists():
        return result
    note = f"'{entry.name}' was read from the catalogue; for the path of that name write ./{entry.name}"
    return DataFiles(result.name, result.licence, result.origin, result.parts, (note,))


def _looks_like_path(spec: str, path: Path) -> bool:
    if spec.startswith((".", "/", "~")) or bare_name(path).suffix.lower() in SUFFIXES or len(path.parts) > 2:
        return True
    return len(path.parts) == 2 and path.parent.is_dir()


def _suggest(spec: str) -> str:
    """What a name that was not found may have meant."""
    near = [*get_close_matches(spec, catalogue(), n=3, cutoff=0.4), *near_files(Path(spec))]
    guess = f"Did you mean {' or '.join(near)}? " if near else ""
    return f"{guess}In the catalogue: {', '.join(catalogue())}. Files go by their path, hub datasets by their id."


def default_names(task: RowReader) -> tuple[str, ...]:
    """The task's own demo data. Raises RequestError where the catalogue has none."""
    if task.default_data:
        return (task.default_data,)
    hint = "Give your rows: --data PATH. The catalogue has data for other tasks: edgebert data"
    raise RequestError(f"no demo data for the task {task.name}", where="--data", hint=hint)


def read_rows(parts: Sequence[Part], task: RowReader, columns: Mapping[str, str]) -> tuple[Rows, list[str]]:
    """Rows by split, and the task's notes. A part that nothing assigns to a split is for training."""
    records: dict[Split, list[Record]] = {}
    guessed: dict[str, None] = {}  # the same in every split: told once
    ordered = sorted(parts, key=lambda part: SPLITS.index(part.split or "train"))
    for alike in _alike(ordered):
        assigned, guesses = assign([record for part in alike for record in part.records], task.columns, columns)
        guessed.update(dict.fromkeys(guesses))
        rest = iter(assigned)
        for part in alike:
            records.setdefault(part.split or "train", []).extend(islice(rest, len(part.records)))
    records = {split: records[split] for split in SPLITS if records.get(split)}
    notes = [*whole_number_labels(records), *without_hidden_labels(records, task.columns)]
    rows: Rows = {}
    for split, own in records.items():
        rows[split], message = task.rows(own)
        if not rows[split]:
            hint = "Check that this is the file you meant, and that its columns are read as they should be."
            raise DataError(f"{split}: no row is left: {'; '.join(message)}", where=own[0].where, hint=hint)
        refuse_surrogates(rows[split])
        refuse_controls(rows[split])
        notes += [f"{split}: {note}" for note in message]
    if any(part.split for part in parts):
        notes += [f"train: {part.place} named no split" for part in parts if part.split is None]
    return rows, [*guessed, *notes]


def _alike(parts: Sequence[Part]) -> list[list[Part]]:
    """Parts by the names of their columns: what a column is, is guessed once for all that have it."""
    groups: dict[frozenset[str], list[Part]] = {}
    for part in parts:
        names = frozenset(str(column) for record in part.records for column in record.columns)
        groups.setdefault(names, []).append(part)
    return list(groups.values())


def _source(results: Sequence[DataFiles], notes: Sequence[str]) -> DataSource:
    digest = hashlib.sha256()
    for item in results:
        for part in item.parts:
            digest.update(part.content)

    def joined(texts: list[str]) -> str:
        return "; ".join(dict.fromkeys(texts))

    return DataSource(
        name=joined([entry.name for entry in results]),
        licence=joined([entry.licence for entry in results]),
        origin=joined([entry.origin for entry in results]),
        sha256=digest.hexdigest(),
        notes=tuple(notes),
    )
