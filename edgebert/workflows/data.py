"""Rows for one encoder with several heads: each head's data read by its own task, then put together."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from edgebert.data import check_specs, load
from edgebert.errors import RequestError
from edgebert.tasks import Task
from edgebert.tasks._multitask import MultiTask
from edgebert.types import SPLITS, Dataset, DataSource


def check_data(specs: Sequence[str], task: Task) -> None:
    """Raises EdgebertError where what is named is not there, for a task of one head or of several; reads nothing."""
    if isinstance(task, MultiTask):
        for name, own in specs_by_head(specs, [name for name, _ in task.heads]).items():
            check_specs(own, task.by_name[name])
    else:
        check_specs(specs, task)


def load_data(specs: Sequence[str], task: Task, *, encoding: str, columns: Mapping[str, str]) -> Dataset:
    """`edgebert.data.load`, for a task of one head or of several."""
    if isinstance(task, MultiTask):
        return load_multitask(specs, task, encoding=encoding, columns=columns)
    return load(specs, task, encoding=encoding, columns=columns)


def load_multitask(specs: Sequence[str], task: MultiTask, *, encoding: str, columns: Mapping[str, str]) -> Dataset:
    """Every head's rows, marked with its name.

    Args:
        specs: `HEAD=SPEC` each, where SPEC is what `load` takes; or one spec a head, in the order of the heads.

    Raises:
        RequestError: specs that do not say which head they are for. DataError: as `load`, for any head.
    """
    results = {
        name: load(own, task.by_name[name], encoding=encoding, columns=columns)
        for name, own in specs_by_head(specs, [name for name, _ in task.heads]).items()
    }
    splits = {
        split: tuple(replace(row, head=name) for name, item in results.items() for row in item.splits[split])
        for split in SPLITS
    }
    labels = tuple(f"{name}/{label}" for name, item in results.items() for label in item.labels)
    return Dataset(splits, labels, _source({name: item.source for name, item in results.items()}))


def specs_by_head(specs: Sequence[str], names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """What each head's data is. Raises RequestError where the specs do not tell."""
    marked = [spec.partition("=") for spec in specs]
    if specs and all(head in names and mark for head, mark, _ in marked):
        return {name: tuple(rest for head, _, rest in marked if head == name) for name in names}
    if len(specs) == len(names):
        return {name: (spec,) for name, spec in zip(names, specs, strict=True)}
    if not specs:
        return dict.fromkeys(names, ())
    example = " ".join(f"--data {name}=PATH" for name in names)
    raise RequestError(
        f"{len(specs)} data sets are named for {len(names)} heads", where="--data", hint=f"Say which: {example}"
    )


def _source(sources: Mapping[str, DataSource]) -> DataSource:
    def joined(what: str) -> str:
        return "; ".join(dict.fromkeys(getattr(source, what) for source in sources.values()))

    digest = hashlib.sha256("".join(source.sha256 for source in sources.values()).encode())
    notes = tuple(f"{name}: {note}" for name, source in sources.items() for note in source.notes)
    return DataSource(joined("name"), joined("licence"), joined("origin"), digest.hexdigest(), notes)
