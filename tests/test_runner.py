"""The measuring protocol: its statistics on numbers worked by hand, its turns, and the program that carries it."""

from __future__ import annotations

import ast
import json
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgebert.measure import runner
from edgebert.measure.runner import (
    WARM_RUNS,
    Opener,
    Results,
    Runner,
    Turn,
    is_calm,
    is_stable,
    quiet_p50,
    read_count,
    take_turns,
)
from tests.test_bundle import make_model, weights


def test_p50_of_the_quietest_tenth_by_hand() -> None:
    """Of twenty blocks two are quiet, a tenth: their ten times are 1.0 to 1.2, and the median of those is 1.1."""
    quiet = [1.0, 1.1, 1.2, 1.1, 1.1]
    blocks = [[5.0] * 5, quiet, *([3.0 + k] * 5 for k in range(9)), quiet, *([9.0 - k / 2] * 5 for k in range(8))]
    assert len(blocks) == 20
    assert quiet_p50([took for block in blocks for took in block]) == pytest.approx(1.1)


def test_a_length_is_no_noise_by_hand() -> None:
    """Inputs of 1 ms and 3 ms in turn, the last quarter of them twice as slow: medians 1 and 3, quiet level 1, p50 2."""
    times = [(1.0 if k % 2 == 0 else 3.0) * (2.0 if k >= 75 else 1.0) for k in range(100)]
    assert quiet_p50(times, 2) == pytest.approx(2.0)


def test_a_quiet_tenth_is_enough_by_hand() -> None:
    """A tenth of the passes takes 1 and 3 ms, the others 2 and 6: medians 2 and 6, quiet level 1/2, p50 4/2."""
    times = [took for item in [[1.0, 3.0]] * 10 + [[2.0, 6.0]] * 90 for took in item]
    assert quiet_p50(times, 2) == pytest.approx(2.0)


def test_stable_is_when_two_thirds_agree_within_two_per_cent() -> None:
    def thirds(*levels: float) -> list[float]:
        return [level for level in levels for _ in range(10)]

    assert is_stable(thirds(1.0, 1.019, 1.0))
    assert is_stable(thirds(1.0, 1.019, 1.5)), "a slow spell"
    assert not is_stable(thirds(1.0, 1.021, 1.5))
    assert not is_stable(thirds(1.5, 1.5, 1.0)), "the quiet level was reached once"
    assert not is_stable([1.0] * 25), "five blocks have no thirds of two"


def test_calm_is_when_the_usual_block_is_near_the_quiet_ones() -> None:
    """Of twenty blocks two are at the quiet level of 1; the others' median decides."""
    assert is_calm([1.0] * 10 + [1.019] * 90)
    assert not is_calm([1.0] * 10 + [1.021] * 90)


def test_a_noisy_machine_is_measured_for_longer() -> None:
    turn = Turn(lambda i: None, 1, [1.0] * 50, stable=True)
    assert not turn.done(50, 10.0, 2.9) and turn.done(50, 10.0, 3.0)
    turn.calm = True
    assert not turn.done(50, 10.0, 0.9) and turn.done(50, 10.0, 1.0)


def test_a_noisy_machine_gives_the_same_p50_twice() -> None:
    """Spells of other work, half of the time, make all runs 1.3 to 2 times as slow; two measurements are told apart by
    the plain median and not by the protocol's."""

    def noisy(seed: int) -> list[float]:
        rng, times, slow = random.Random(seed), [], 1.0
        for k in range(600):
            if k % 20 == 0:
                slow = rng.uniform(1.3, 2.0) if rng.random() < 0.55 else 1.0
            times.append(5.0 * slow * rng.lognormvariate(0, 0.01))
        return times

    results = [quiet_p50(noisy(seed)) for seed in range(20)]
    plain = [statistics.median(noisy(seed)) for seed in range(20)]
    assert max(results) / min(results) < 1.02
    assert max(plain) / min(plain) > 1.2


def spin(milliseconds: float) -> None:
    end = time.perf_counter() + milliseconds / 1e3
    while time.perf_counter() < end:
        pass


def test_turns_are_blocks_and_the_first_runs_of_each_are_not_counted() -> None:
    calls: list[tuple[str, int]] = []
    turns = [Turn(lambda i, name=name: calls.append((name, i)), 3) for name in "ab"]
    take_turns(turns, min_runs=10)
    warm = [(name, i) for name in "ab" for i in range(3)]
    first = [(name, i) for name in "ab" for i in (*[0] * WARM_RUNS, 0, 1, 2, 0, 1)]
    second = [(name, i) for name in "ab" for i in (*[2] * WARM_RUNS, 2, 0, 1, 2, 0)]
    assert calls == warm + first + second
    assert [len(turn.times_ms) for turn in turns] == [10, 10]


def test_a_slow_file_is_warm_sooner() -> None:
    """Two runs of 15 ms take longer than the 25 ms that are enough."""
    turn = Turn(lambda i: took.append(spin(15.0)), 1)
    took: list[None] = []
    take_turns([turn], min_runs=5)
    assert len(took) in (1 + 1 + 5, 1 + 2 + 5)  # one where the machine was busy


def test_a_session_of_five_milliseconds_is_measured_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """And with it the runner's own cost: under 1 % of 5 ms."""
    monkeypatch.setattr(runner, "WARM_RUNS", 1)  # else a busy machine warms up in fewer runs, by the clock
    took: list[float] = []  # ms of each run, by its own clock: what else runs on the machine is no cost of the runner

    def run(i: int) -> None:
        started = time.perf_counter()
        spin(5.0)
        took.append(1e3 * (time.perf_counter() - started))

    turn = Turn(run, 1)
    take_turns([turn], min_runs=50)
    assert len(turn.times_ms) == 50
    counted = [own for i, own in enumerate(took[1:]) if i % 6]  # after one to warm up
    more = [message - own for message, own in zip(turn.times_ms, counted, strict=True)]
    assert 0 <= min(more) < 0.05


def test_measuring_goes_on_until_stable_and_no_longer_than_allowed() -> None:
    calm = Turn(lambda i: spin(0.2), 1)
    take_turns([calm], min_runs=50, max_seconds=20, settle_s=0.1)
    assert calm.stable and calm.seconds < 20
    levels = iter(range(10**6))
    drifting = Turn(lambda i: time.sleep(0.001 + next(levels) * 2e-5), 1)
    take_turns([drifting], min_runs=50, max_seconds=0.5)
    assert not drifting.stable
    assert len(drifting.times_ms) >= 50 and drifting.seconds >= 0.5


def test_a_file_that_fails_leaves_the_others_going() -> None:
    def broken(i: int) -> None:
        if i == 2:
            raise ValueError("no kernel\nand more")

    bad, good = Turn(broken, 5), Turn(lambda i: None, 5)
    take_turns([bad, good], min_runs=20, keep_going=True)
    assert bad.failure == "it stopped running: no kernel" and len(good.times_ms) == 20
    with pytest.raises(ValueError, match="no kernel"):
        take_turns([Turn(broken, 5)], min_runs=20)


# ---------------------------------------------------------------- the program


def write_job(folder: Path, model: str = "m.onnx", **more: Any) -> Path:
    make_model(folder / "m.onnx", weights())
    inputs = [{"input_ids": [[2, 8, 3]]}, {"input_ids": [[2, 4, 5, 10, 3]]}]
    files = [{"name": "one", "format": "onnx", "path": model}]
    job = {"files": files, "inputs": inputs, "threads": 1, "min_runs": 50, "max_seconds": 0.2, "timeout_s": 60.0}
    (folder / "job.json").write_text(json.dumps({**job, "n_outputs": 2, "cores": [], **more}), encoding="utf-8")
    return folder / "job.json"


def test_the_program_writes_everything_it_found(tmp_path: Path) -> None:
    job = write_job(tmp_path)
    subprocess.run([sys.executable, runner.__file__, str(job), str(tmp_path / "result.json")], check=True)
    result = json.loads((tmp_path / "result.json").read_text())
    (results,) = result["found"]
    assert result["done"] and not result["emulated"] and result["facts"]["bits"] in (32, 64)
    assert results["runtime"] == "onnxruntime" and not results["failure"]
    assert len(results["times_ms"]) >= 50 and min(results["times_ms"]) > 0
    assert results["load_ms"] > 0 and results["first_run_ms"] > 0 and results["peak_memory_bytes"] > 0
    assert results["outputs"][0]["logits"] == [weights()[[2, 8, 3]].tolist()]
    assert np.shape(results["outputs"][1]["logits"]) == (1, 5, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["job.json", "m.onnx", "result.json"]


def test_a_file_may_have_inputs_and_threads_of_its_own(tmp_path: Path) -> None:
    """It then stands several times in a job, and is loaded alone once."""
    item = {"format": "onnx", "path": "m.onnx"}
    files = [{"name": "a", **item, "inputs": [{"input_ids": [[2, 8, 3]]}], "threads": 2},
             {"name": "b", **item, "inputs": [{"input_ids": [[2, 4, 5, 3]]}] * 2, "threads": 1}, {"name": "c", **item}]  # fmt: skip
    job = write_job(tmp_path, files=files)
    subprocess.run([sys.executable, runner.__file__, str(job), str(tmp_path / "result.json")], check=True)
    result = json.loads((tmp_path / "result.json").read_text())["found"]
    assert [entry["name"] for entry in result] == ["a", "b", "c"] and not any(entry["failure"] for entry in result)
    assert [[np.shape(given["logits"])[1] for given in entry["outputs"]] for entry in result] == [[3], [4, 4], [3, 5]]
    assert len({entry["load_ms"] for entry in result}) == 1 and all(len(entry["times_ms"]) >= 50 for entry in result)
    assert [runner.of_file(runner.load_job(str(job)), i)["threads"] for i in range(3)] == [2, 1, 1]


@pytest.mark.parametrize("counted", [True, False])
def test_peak_memory_counts_the_runtime_but_not_tools(
    counted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The import takes 100 bytes, opening the file 7."""
    memory = [1000]
    monkeypatch.setattr(runner, "peak_bytes", lambda: memory[0])
    imported: list[int] = []

    def load() -> None:
        memory[0] += 0 if imported else 100
        imported.append(1)

    def open_it(path: str, threads: int) -> Slow:
        memory[0] += 7
        return Slow(path, threads)

    job = runner.load_job(str(write_job(tmp_path, files=[{"name": "one", "format": "slow", "path": "m.onnx"}])))
    result = runner.alone(job, 0, {"slow": Opener(load, open_it, counted)})
    assert result["peak_memory_bytes"] == (107 if counted else 7)


def test_lines_hold_only_what_is_new(capfd: pytest.CaptureFixture[str]) -> None:
    results = Results("-")
    results.save({"found": [{"name": "a", "times_ms": [1.0]}]})
    results.save({"found": [{"name": "a", "times_ms": [1.0, 2.0], "failure": "x"}]})
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert lines[0]["found"] == [{"name": "a", "times_ms": [1.0]}]
    assert lines[1]["found"] == [{"failure": "x", "times_ms": [2.0]}]
    results._stream.close()  # the runner's ends with its process


class Slow:
    """A session that hangs at its n-th run."""

    runtime, runtime_version, hang_at, seconds, n = "slow", "1", 10**9, 0.001, 0

    def __init__(self, path: str, threads: int) -> None:
        pass

    def prepare(self, batch: Any) -> Any:
        return batch

    def run(self, feed: Any) -> dict[str, Any]:
        self.n += 1
        time.sleep(1e4 if self.n >= self.hang_at else self.seconds)
        return {}

    outputs = run


def run_in_process(job: Path, session: type, result: Path) -> dict[str, Any]:
    """The job with a session of this file; the file alone is the program's own child and finds no such format, so its
    record is given."""
    item = Runner(str(job), Results(str(result)), {"slow": Opener(lambda: None, session)}, [])
    item._alone = lambda index: {"runtime": "slow"}  # type: ignore[method-assign]
    item.measure()
    return dict(json.loads(result.read_text()))


def test_the_time_limit_keeps_what_was_measured(tmp_path: Path) -> None:
    files = [{"name": "one", "format": "slow", "path": "m.onnx"}]
    job = write_job(tmp_path, files=files, timeout_s=0.5, min_runs=10**6, n_outputs=0)
    result = run_in_process(job, Slow, tmp_path / "result.json")
    (results,) = result["found"]
    assert result["done"] and results["failure"] == "stopped after 0.5 s, the time limit"
    assert len(results["times_ms"]) > 50


def test_a_call_that_hangs_is_cut_off_with_what_was_measured(tmp_path: Path) -> None:
    files = [{"name": "one", "format": "hang", "path": "m.onnx"}]
    job = write_job(tmp_path, files=files, timeout_s=1.0, n_outputs=0)
    code = (
        "import sys; from edgebert.measure import runner; from tests.test_runner import Slow\n"
        "class Hang(Slow): hang_at = 60\n"
        "runner.GRACE_S = 0.5\n"
        "one = runner.Runner(sys.argv[1], runner.Results(sys.argv[2]), {'hang': runner.Opener(lambda: 0, Hang)}, [])\n"
        "one._alone = lambda index: {}\n"
        "one.measure()\n"
    )
    root = Path(__file__).parent.parent
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", code, str(job), str(tmp_path / "r.json")], cwd=root, check=True, timeout=60)
    (result,) = json.loads((tmp_path / "r.json").read_text())["found"]
    assert time.monotonic() - began < 30
    assert 20 <= len(result["times_ms"]) < 60 and "the time limit" in result["failure"]


@pytest.mark.parametrize(
    ("content", "format", "message"),
    [
        (b"no model", "onnx", "the runtime refuses the file"),
        (b"no model", "tflite", "the runtime refuses the file"),
        (b"", "nothing", "of a format that is not run here"),
    ],
)
def test_a_refused_file_says_so(tmp_path: Path, content: bytes, format: str, message: str) -> None:
    job = write_job(tmp_path, files=[{"name": "bad", "format": format, "path": "bad"},
                                     {"name": "good", "format": "onnx", "path": "m.onnx"}])  # fmt: skip
    (tmp_path / "bad").write_bytes(content)
    subprocess.run([sys.executable, runner.__file__, str(job), str(tmp_path / "r.json")], check=True)
    bad, good = json.loads((tmp_path / "r.json").read_text())["found"]
    assert message in bad["failure"] and not bad["times_ms"]
    assert not good["failure"] and len(good["times_ms"]) >= 50


def test_the_runner_is_python_3_9_and_imports_nothing_of_ours() -> None:
    tree = ast.parse(Path(runner.__file__).read_text(encoding="utf-8"), feature_version=(3, 9))
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    roots = {name.split(".")[0] for name in modules}
    assert roots <= set(sys.stdlib_module_names) | {"numpy", "onnxruntime"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("123456,,instructions:u,1000,100.00,,\n", 123456),
        ("noise of a program\n98765,,instructions:u:u,1,1,,\n", 98765),
        ("<not supported>,,instructions:u,0,100.00,,\n", None),
        ("", None),
    ],
)
def test_instructions_are_read_or_unknown(text: str, expected: int | None) -> None:
    assert read_count(text) == expected


def test_instructions_of_one_inference_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A perf that counts 1000 to load and 7 each run: two inputs, three rounds less one, so 4 runs are 28: 7 each."""
    perf = tmp_path / "bin" / "perf"
    perf.parent.mkdir()
    script = '#!/bin/sh\nfor last; do :; done\necho "$((1000 + 14 * last)),,instructions:u,1,100.00,,"\n'
    perf.write_text(script)
    perf.chmod(0o755)
    monkeypatch.setenv("PATH", f"{perf.parent}:/usr/bin:/bin")
    subprocess.run([sys.executable, runner.__file__, str(write_job(tmp_path)), str(tmp_path / "r.json")], check=True)
    assert json.loads((tmp_path / "r.json").read_text())["found"][0]["instructions"] == 7


def test_an_emulator_is_told_by_the_machine_that_it_is_built_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An aarch64 Python, run by a program that is not; then a Python of this machine, and one that is no ELF file."""
    assert not runner.is_translated()
    head = bytearray(Path(sys.executable).read_bytes()[:64])
    head[18:20] = b"\xb7\0" if head[18] != 0xB7 else b"\x3e\0"
    for content, expected in ((head, True), (Path(sys.executable).read_bytes()[:64], False), (b"#!/bin/sh\n", False)):
        (tmp_path / "python3").write_bytes(content)
        monkeypatch.setattr(sys, "executable", str(tmp_path / "python3"))
        assert runner.is_translated() == expected


def test_clock_and_temperature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i, (kind, temp) in enumerate((("battery", "31000"), ("cpu-thermal", "48300"), ("soc-thermal", "52100"))):
        zone = tmp_path / f"thermal_zone{i}"
        zone.mkdir()
        (zone / "type").write_text(kind + "\n")
        (zone / "temp").write_text(temp + "\n")
    monkeypatch.setattr(runner, "ZONES", str(tmp_path))
    assert runner.temperature_c() == 52.1
    texts = {"0": "1500000", "1": "1800000"}
    monkeypatch.setattr(runner, "read_text", lambda path: texts.get(path.split("/cpu")[2].split("/")[0], ""))
    monkeypatch.setattr(runner.os, "sched_getaffinity", lambda pid: {0, 1})
    assert runner.clock_mhz() == 1650.0
