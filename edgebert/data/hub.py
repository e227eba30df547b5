"""Datasets of the Hugging Face hub, or of its local cache when the hub cannot be reached."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edgebert.data.parts import DataFiles, Part, role
from edgebert.data.tables import name_labels
from edgebert.errors import DataError, first_line
from edgebert.types import Record, Split

if TYPE_CHECKING:
    from types import ModuleType

    from datasets import Dataset, DatasetDict
    from huggingface_hub.hf_api import DatasetInfo

ASK_SECONDS = 10.0


def from_hub(spec: str, suggest: Callable[[str], str]) -> DataFiles:
    """The dataset `owner/name`, or `owner/name:configuration`.

    No code of the dataset is run. `suggest` says what local names are near, for the error of an unknown one.
    """
    name, _, config = spec.partition(":")
    info = _ask(name, spec, suggest)
    loaded = _load(name, config or None, reachable=info is not None, hint=suggest(spec))
    splits: Mapping[str, Dataset] = loaded if hasattr(loaded, "keys") else {"": loaded}
    roles = {split: role(split) for split in splits}
    alone = len(splits) == 1
    parts = tuple(
        _part(rows, None if alone else roles[split], f"{spec}/{split}")
        for split, rows in splits.items()
        if alone or roles[split]
    )
    aside = [split for split in splits if not alone and not roles[split]]
    notes = (f"splits left aside: {', '.join(aside)}",) if aside else ()
    version = f" at {info.sha}" if info is not None else ", from the local cache"
    return DataFiles(spec, _licence(info), f"https://huggingface.co/datasets/{name}{version}", parts, notes)


def _ask(name: str, spec: str, suggest: Callable[[str], str]) -> DatasetInfo | None:
    """What the hub knows of a dataset; None when it cannot be reached.

    Asked first because `load_dataset` tries an unreachable hub for 23 s before it looks into the cache.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    try:
        return HfApi().dataset_info(name, timeout=ASK_SECONDS)
    except GatedRepoError:
        hint = f"Ask for access at https://huggingface.co/datasets/{name}, then log in with: hf auth login"
        raise DataError(f"the hub dataset '{name}' is gated", where="--data", hint=hint) from None
    except (RepositoryNotFoundError, HFValidationError):
        what = f"no file, catalogue entry or hub dataset is named '{spec}'"
        raise DataError(what, where="--data", hint=suggest(spec)) from None
    except Exception:  # every network library has its own; all mean the same here
        return None


def _load(name: str, config: str | None, *, reachable: bool, hint: str) -> Dataset | DatasetDict:
    import datasets

    try:
        with _offline(datasets.config, not reachable):
            return datasets.load_dataset(name, config)
    except Exception as error:
        if reachable or not isinstance(error, ConnectionError):
            raise DataError(
                f"the hub dataset '{name}' cannot be loaded: {first_line(error)}", where="--data", hint=hint
            ) from error
        what = f"no file, catalogue entry or cached dataset is named '{name}', and the hub {_why_not(datasets.config)}"
        raise DataError(what, where="--data", hint=hint) from error


def _why_not(config: ModuleType) -> str:
    return "is not asked: HF_HUB_OFFLINE is set" if config.HF_HUB_OFFLINE else "cannot be reached"


@contextmanager
def _offline(config: ModuleType, wanted: bool) -> Iterator[None]:
    before = config.HF_HUB_OFFLINE
    config.HF_HUB_OFFLINE = before or wanted  # type: ignore[attr-defined]
    try:
        yield
    finally:
        config.HF_HUB_OFFLINE = before  # type: ignore[attr-defined]


def _part(rows: Dataset, split: Split | None, place: str) -> Part:
    named = [name_labels(row, rows.features) for row in rows]
    content = "\n".join(json.dumps(row, sort_keys=True, default=str) for row in named).encode()
    records = tuple(Record(row, f"{place}:row {number}") for number, row in enumerate(named, 1))
    return Part(split, place, records, content)


def _licence(info: DatasetInfo | None) -> str:
    stated = getattr(getattr(info, "card_data", None), "license", None)
    return ", ".join(stated) if isinstance(stated, list) else stated or "not stated"
