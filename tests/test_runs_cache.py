"""`edgebert runs keys` and `edgebert runs prune`: what a cache of run folders is keyed by, and what it need not carry."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgebert.cli import cli
from edgebert.errors import RequestError, RunError
from edgebert.runs import cache
from edgebert.runs.store import Run


def make(
    folder: Path, seed: int, names: Sequence[str] = ("teacher", "compress"), *, finishes: bool = True
) -> list[str]:
    """A command in a run: a stage for each name, and a manifest where it finishes. The names of the stages' folders."""
    run = Run(folder, {"device": "pixel6", "seed": seed})
    for name in names:
        run.stage(name, {"seed": seed}, lambda place: (place / "weights.bin").write_bytes(b"x" * 1000))
    if finishes:
        run.write_manifest(created="2999-01-01T00:00:00+00:00")
        run.log(event="finish")
    run.close()
    return [stage.path.name for stage in run.stages]


def stages(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "stages").iterdir())


def edgebert(*words: str) -> str:
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_digest_follows_from_the_keys_alone(tmp_path: Path) -> None:
    make(tmp_path / "a" / "run", 0)
    make(tmp_path / "b" / "run", 0)
    shutil.copytree(tmp_path / "a" / "run", tmp_path / "a" / "other")  # another run with the same stages
    first, second = (edgebert("runs", "--root", str(tmp_path / name), "keys") for name in "ab")
    assert first == second
    make(tmp_path / "b" / "run", 1)
    renewed = edgebert("runs", "--root", str(tmp_path / "b"), "keys")
    assert renewed != first
    found = json.loads(edgebert("runs", "--root", str(tmp_path / "b"), "keys", "run", "--json"))
    assert found["digest"] == renewed.strip()
    assert [name.rpartition("-")[0] for name in found["stages"]] == ["compress", "compress", "teacher", "teacher"]


def test_there_is_a_digest_before_the_first_run(tmp_path: Path) -> None:
    assert len(edgebert("runs", "--root", str(tmp_path / "none"), "keys").strip()) == 16


def test_a_stage_that_is_not_whole_is_in_no_digest(tmp_path: Path) -> None:
    (first, _) = make(tmp_path / "run", 0)
    assert len(cache.stage_keys([tmp_path / "run"])) == 2
    (tmp_path / "run" / "stages" / first / "record.json").write_text("{}")
    assert [name.partition("-")[0] for name in cache.stage_keys([tmp_path / "run"])] == ["compress"]


def test_pruning_leaves_what_the_last_command_used(tmp_path: Path) -> None:
    make(tmp_path / "run", 0)
    used = make(tmp_path / "run", 1)
    assert len(stages(tmp_path / "run")) == 4
    assert edgebert("runs", "--root", str(tmp_path), "prune").startswith("run: 2 stages deleted, 0.0 MB")
    assert stages(tmp_path / "run") == used
    (again,) = json.loads(edgebert("runs", "prune", str(tmp_path / "run"), "--json"))
    assert again == {"run": "run", "stages": [], "size_bytes": 0, "why_not": ""}


def test_pruning_tells_the_bytes(tmp_path: Path) -> None:
    make(tmp_path / "run", 0)
    make(tmp_path / "run", 1)
    pruned = cache.prune(tmp_path / "run")
    assert len(pruned.stages) == 2
    assert 2000 < pruned.size_bytes < 4000  # with the records


def test_pruning_leaves_what_an_interrupted_command_has_made(tmp_path: Path) -> None:
    run = tmp_path / "run"
    first = make(run, 0)
    later = make(run, 1, ["teacher"], finishes=False)
    (run / "stages" / ".compress-abc.partial").mkdir()
    assert cache.prune(run).stages == ()
    assert stages(run) == sorted([".compress-abc.partial", *first, *later])


@pytest.mark.parametrize("text", [None, "{", "[]", '{"stages": [1], "created": ""}'])
def test_nothing_is_pruned_where_no_command_is_known_to_have_finished(text: str | None, tmp_path: Path) -> None:
    made = make(tmp_path / "run", 0, finishes=False)
    if text is not None:
        (tmp_path / "run" / "manifest.json").write_text(text)
    assert edgebert("runs", "--root", str(tmp_path), "prune") == "run: it has not finished yet\n"
    assert stages(tmp_path / "run") == sorted(made)


def test_a_run_at_work_is_not_pruned(tmp_path: Path) -> None:
    make(tmp_path / "run", 0)
    busy = Run(tmp_path / "run", {"device": "pixel6", "seed": 0})
    try:
        with pytest.raises(RunError, match="another edgebert is at work in this run"):
            cache.prune(tmp_path / "run")
    finally:
        busy.close()
    assert cache.prune(tmp_path / "run").stages == ()


@pytest.mark.parametrize("name", ["keys", "prune"])
def test_a_run_that_is_not_there_is_told_with_the_nearest_name(name: str, tmp_path: Path) -> None:
    make(tmp_path / "ner-atis", 0)
    with pytest.raises(RequestError) as caught:
        CliRunner().invoke(cli, ["runs", "--root", str(tmp_path), name, "ner-atsi"], catch_exceptions=False)
    assert (caught.value.what, caught.value.hint) == ("unknown run 'ner-atsi'", "Did you mean ner-atis?")


def test_files_that_another_run_links_to_stay_its_own(tmp_path: Path) -> None:
    make(tmp_path / "a", 0)
    make(tmp_path / "b", 0)  # linked from the first
    linked = next((tmp_path / "b" / "stages").glob("01-*/weights.bin"))
    assert os.stat(linked).st_nlink == 2  # noqa: PTH116
    make(tmp_path / "a", 1)
    assert len(cache.prune(tmp_path / "a").stages) == 2
    assert linked.read_bytes() == b"x" * 1000
