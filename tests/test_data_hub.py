"""Hub datasets, with a stand-in for the network."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from edgebert.data import load
from edgebert.errors import DataError
from edgebert.tasks.ner import TASK

datasets = pytest.importorskip("datasets")
NAMES = ["O", "B-X", "I-X"]


def rows(start: int, stop: int) -> Any:
    features = datasets.Features(
        {
            "tokens": datasets.List(datasets.Value("string")),
            "ner_tags": datasets.List(datasets.ClassLabel(names=NAMES)),
        }
    )
    columns = {"tokens": [[f"w{i}", "x"] for i in range(start, stop)], "ner_tags": [[1, 2]] * (stop - start)}
    return datasets.Dataset.from_dict(columns, features=features)


def hub(monkeypatch: pytest.MonkeyPatch, info: object, loaded: object) -> list[tuple[Any, ...]]:
    """Puts answers (or exceptions) in the place of the hub's; returns the calls of load_dataset."""
    calls: list[tuple[Any, ...]] = []

    def answer(value: object) -> object:
        if isinstance(value, Exception):
            raise value
        return value

    def load_dataset(*args: object, **kwargs: object) -> object:
        calls.append((*args, kwargs, datasets.config.HF_HUB_OFFLINE))
        return answer(loaded)

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda *args, **kwargs: answer(info))
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    return calls


INFO = SimpleNamespace(sha="abc123", card_data=SimpleNamespace(license=["mit", "cc-by-4.0"]))


def test_splits_names_and_licence(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = datasets.DatasetDict(train=rows(0, 10), validation=rows(10, 12), test=rows(12, 13), extra=rows(20, 22))
    calls = hub(monkeypatch, INFO, loaded)
    data = load(["owner/name:english"], TASK)
    assert calls == [("owner/name", "english", {}, False)]  # trust_remote_code is never passed
    assert {split: len(result) for split, result in data.splits.items()} == {"train": 10, "dev": 2, "test": 1}
    assert data.splits["dev"][1].words == ("w11", "x")
    assert data.splits["dev"][1].tags == ("B-X", "I-X")
    assert data.splits["dev"][1].where == "owner/name:english/validation:row 2"
    source = data.source
    assert (source.name, source.licence) == ("owner/name:english", "mit, cc-by-4.0")
    assert source.origin == "https://huggingface.co/datasets/owner/name at abc123"
    assert source.notes == ("splits left aside: extra",)


def test_hash_is_over_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    def digest(*args: int) -> str:
        hub(monkeypatch, INFO, datasets.DatasetDict(train=rows(*args)))
        return load(["owner/name"], TASK).source.sha256

    assert digest(0, 20) == digest(0, 20) != digest(1, 21)


def test_one_split_is_carved(monkeypatch: pytest.MonkeyPatch) -> None:
    hub(monkeypatch, INFO, datasets.DatasetDict(test=rows(0, 20)))
    assert {k: len(v) for k, v in load(["owner/name"], TASK).splits.items()} == {"train": 16, "dev": 2, "test": 2}


def test_the_cache_serves_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = hub(monkeypatch, ConnectionError("no route"), datasets.DatasetDict(train=rows(0, 20)))
    data = load(["owner/name"], TASK)
    assert calls[0][-1] is True  # told to be offline, or it would try for 23 s
    assert datasets.config.HF_HUB_OFFLINE is False
    assert data.source.origin.endswith("owner/name, from the local cache")
    assert data.source.licence == "not stated"


@pytest.mark.parametrize(
    ("info", "loaded", "what"),
    [
        (
            ConnectionError(),
            ConnectionError(),
            "no file, catalogue entry or cached dataset is named 'atsi', and the hub",
        ),
        (INFO, ValueError("Config name is missing.\nmore"), "cannot be loaded: Config name is missing."),
        (ConnectionError(), ValueError("broken cache"), "cannot be loaded: broken cache"),
    ],
)
def test_errors_are_one_message(monkeypatch: pytest.MonkeyPatch, info: object, loaded: object, what: str) -> None:
    hub(monkeypatch, info, loaded)
    with pytest.raises(DataError, match=what) as caught:
        load(["atsi"], TASK)
    assert str(caught.value.hint).startswith(
        "Did you mean atis? In the catalogue: atis, atis-intents, movie-reviews, wnut16."
    )
    assert "\n" not in caught.value.what


def test_unknown_id_with_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    def raised(kind: type[Exception]) -> Exception:
        return kind.__new__(kind)  # their constructors want a response

    hub(monkeypatch, raised(RepositoryNotFoundError), AssertionError("not to be asked"))
    with pytest.raises(DataError, match="no file, catalogue entry or hub dataset is named 'owner/nothing'"):
        load(["owner/nothing"], TASK)
    hub(monkeypatch, raised(GatedRepoError), AssertionError("not to be asked"))
    with pytest.raises(DataError, match="'owner/secret' is gated"):
        load(["owner/secret"], TASK)


def test_a_real_unreachable_hub_fails_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    api = huggingface_hub.HfApi(endpoint="http://127.0.0.1:9")  # the discard port: refused at once
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: api)
    begun = time.monotonic()
    with pytest.raises(DataError, match="the hub cannot be reached"):
        load(["nobody/nothing-of-this-name"], TASK)
    assert time.monotonic() - begun < 10


def test_offline_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    hub(monkeypatch, ConnectionError(), ConnectionError())
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="HF_HUB_OFFLINE is set"):
        load(["owner/name"], TASK)
