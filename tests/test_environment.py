"""Who computes on this machine, and how many cores are ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgebert.devices import machine as environment
from edgebert.devices.machine import MachineUse, UseMeter

BURN = "import time; stop = time.process_time() + 0.4\nwhile time.process_time() < stop: pass"


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_a_containers_quota_counts_as_whole_cores(files: dict[str, str], cores: int | None, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert environment._quota(tmp_path) == cores


def test_what_neither_we_nor_our_children_used_is_others(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([(0.0, 0.0, 0.0), (10.0, 18.0, 3.0), (20.0, 28.1, 13.0)])
    monkeypatch.setattr(UseMeter, "_read", staticmethod(lambda: next(readings)))
    monkeypatch.setattr(environment, "usable_cores", lambda: 2)
    meter = UseMeter()
    use = meter.use()
    assert use == MachineUse(others=1.5, cores=2, seconds=10.0)
    assert use.is_shared
    assert str(use) == "other processes compute on 1.5 of 2 cores"
    assert not meter.use().is_shared, "the second reading is of the time since the first"


def test_the_time_of_a_child_is_our_own_while_it_lives_and_afterwards() -> None:
    before = UseMeter._read()
    child = subprocess.Popen([sys.executable, "-c", BURN + "\nprint(flush=True)\ninput()"], stdin=-1, stdout=-1)
    assert child.stdout is not None
    child.stdout.readline()
    alive = UseMeter._read()
    child.communicate(b"\n")
    ended = UseMeter._read()
    assert alive[2] - before[2] >= 0.35
    assert ended[2] - before[2] >= 0.35


def test_a_process_of_somebody_else_is_not_our_own() -> None:
    meter = UseMeter()
    detached = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {BURN!r}])"
    subprocess.run([sys.executable, "-c", detached], check=True)
    others = 0.0
    for _ in range(600):  # until it had its 0.4 s
        use = meter.use()
        others += use.others * use.seconds
        if others >= 0.3:
            return
        subprocess.run([sys.executable, "-c", "import time; time.sleep(0.05)"], check=True)
    pytest.fail(f"{others} s of other processes were seen, 0.4 were there")


def test_waiting_is_passive_unless_the_user_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment.os, "environ", {"OMP_WAIT_POLICY": "ACTIVE"})
    environment.wait_passively()
    assert environment.os.environ == {"OMP_WAIT_POLICY": "ACTIVE", "KMP_BLOCKTIME": "0"}


@pytest.mark.parametrize("asked", ["no", "bf16", "fp16"])
def test_the_precision_that_was_asked_for_is_taken(asked: Any) -> None:
    assert environment.training_precision(asked) == asked


@pytest.mark.parametrize(("amx", "expected"), [(True, "bf16"), (False, "no")])
def test_training_takes_bf16_where_the_processor_multiplies_it(
    amx: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert environment.training_precision("auto") == expected
