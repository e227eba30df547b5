"""Which stage of a run was used last: by its events, for a clock may go back, and an old stage may be taken again."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from edgebert.runs.cache import prune
from edgebert.runs.order import by_use, read_order
from edgebert.runs.store import Run, read_record


@pytest.fixture(autouse=True)
def _a_clock_that_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every moment is a day before the one that was asked for earlier."""
    days = itertools.count(28, -1)
    monkeypatch.setattr("edgebert.runs.store.now", lambda: f"2026-01-{max(1, next(days)):02d}T00:00:00+00:00")


def command(folder: Path, events: list[dict[str, Any]] | None = None, *, finishes: bool = True, **inputs: Any) -> None:
    run = Run(folder, {"device": "pixel6"}, events.append if events is not None else None)
    run.stage("teacher", inputs, lambda place: (place / "weights").write_text(str(inputs)))
    if finishes:
        run.write_manifest(created="2026-01-01T00:00:00+00:00")
        run.log(event="finish")
    run.close()


def records(folder: Path) -> dict[Path, dict[str, Any]]:
    return {place: record for place in folder.glob("stages/[0-9]*") if (record := read_record(place))}


def test_a_note_tells_what_differs_from_the_last_command(tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    command(tmp_path / "r", seed=0, epochs=1)
    command(tmp_path / "r", seed=1, epochs=1)
    command(tmp_path / "r", events, seed=1, epochs=2)
    assert [event["text"] for event in events if event["event"] == "note"] == ["teacher is made again: epochs changed"]


def test_a_stage_that_is_taken_again_is_the_last(tmp_path: Path) -> None:
    for seed in (0, 1, 0):
        command(tmp_path / "r", seed=seed)
    assert [record["inputs"]["seed"] for record in by_use(tmp_path / "r", records(tmp_path / "r"))] == [1, 0]


def test_what_an_interrupted_command_made_is_not_pruned(tmp_path: Path) -> None:
    command(tmp_path / "r", seed=0)
    command(tmp_path / "r", seed=1)
    command(tmp_path / "r", finishes=False, seed=2)
    assert len(prune(tmp_path / "r").stages) == 1
    assert sorted(record["inputs"]["seed"] for record in records(tmp_path / "r").values()) == [1, 2]


@pytest.mark.parametrize("damage", [b"\xff\xfe", b'{"event": "done"}\n[1]\n{"event": "done", "stage": ', b"{" * 99_999])
def test_damaged_lines_tell_nothing(damage: bytes, tmp_path: Path) -> None:
    command(tmp_path / "r", seed=0)
    before = read_order(tmp_path / "r")
    assert before.finished > 0 and len(before.uses) == 1
    with (tmp_path / "r" / "events.jsonl").open("ab") as stream:
        stream.write(damage)
    assert read_order(tmp_path / "r") == before


def test_without_events_nothing_is_known_and_nothing_pruned(tmp_path: Path) -> None:
    for seed in (0, 1):
        command(tmp_path / "r", seed=seed)
    (tmp_path / "r" / "events.jsonl").unlink()
    assert (read_order(tmp_path / "r").uses, read_order(tmp_path / "r").finished) == ({}, -1)
    assert prune(tmp_path / "r").stages == ()
