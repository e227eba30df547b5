"""Calibrations: terms worked by hand, prices found again, files kept and refused, and one small real one here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgebert import api
from edgebert.cli import main
from edgebert.cost import calibration
from edgebert.cost.analytic import SPREAD, basis, predict_latency
from edgebert.cost.calibration import (
    Calibration,
    Point,
    calibration_file,
    calibrations_of,
    find_calibration,
    fit,
    read_calibrations,
    terms,
    write_calibrations,
)
from edgebert.devices.profiles import load_device
from edgebert.errors import EdgebertError, RequestError
from edgebert.measure import probes
from edgebert.measure.probes import PROBES, shape
from edgebert.measure.targets import TARGETS, Job, MeasurementRecord, Outcome, Target
from edgebert.workflows import calibrate as calibrating
from edgebert.workflows.calibrate import Request, calibrate, p50s

TINY = (shape("bert", 1, 32, 2, 64), shape("bert", 2, 48, 4, 96), shape("bilstm", 1, 32, 16))
LENGTHS = (4, 9)


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture(scope="module")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def made(**changes: Any) -> Calibration:
    fields = {
        "device": "pixel6", "soc": load_device("pixel6").soc, "target": "adb", "measured_on": "Pixel 6", "format": "tflite",
        "runtime": "ai_edge_litert", "runtime_version": "2.3", "precision": "int8", "threads": 2,
        "prices": {"one pass": 1.0, "dense multiply-adds": 1e-6}, "low": 0.9, "high": 1.2, "error_p50": 0.03, "error_p90": 0.09,
        "n_architectures": 47, "n_points": 300, "created": "2026-11-25T02:00:00+00:00",
    }  # fmt: skip
    return Calibration(**{**fields, **changes})


# ---------------------------------------------------------------- terms


def test_terms_of_one_layer_by_hand() -> None:
    """Width 32, 2 heads, inner 64, 3 tokens, 9 labels: a head, four square products, two of the feed-forward."""
    result = terms(shape("bert", 1, 32, 2, 64).config(), 3, "fp32")
    dense = 3 * 32 * 9 + 4 * 3 * 32 * 32 + 2 * 3 * 32 * 64
    assert result["one pass"] == 1 and result["dense multiply-adds"] == dense
    assert result["dense multiply-adds, whole rows"] == dense * 16 / 3
    assert result["dense multiply-adds, whole columns"] == dense + 3 * 32 * 7  # the head's 9 columns are 16
    assert result["dense runs"] == 7
    assert result["dense right side"] == dense / 3
    assert result["inner multiply-adds"] == 2 * (3 * 16 * 3) * 2  # of two heads, twice
    assert (result["inner runs"], result["inner products"]) == (2, 4)
    assert result["softmax elements"] == 2 * 3 * 3 and result["softmax rows"] == 2 * 3
    assert result["gelu elements"] == 3 * 64
    assert "weights beyond 0.5 MB" not in result


def test_weights_beyond_a_cache_by_hand() -> None:
    """Width 512, inner 2048: 3.15 M weights, 12.6 MB in fp32: all beyond 8 MB, none beyond 16."""
    config = shape("bert", 1, 512, 8, 2048).config()
    weights = 4 * 512 * 512 + 2 * 512 * 2048 + 512 * 9
    result = terms(config, 4, "fp32")
    megabytes = weights * 4 / 1e6
    assert result["weights beyond 4 MB"] == pytest.approx(megabytes)
    assert result["weights beyond 8 MB"] == pytest.approx(megabytes)
    assert result["weights beyond 4 MB, under 16 rows"] == pytest.approx(megabytes * (1 - 4 / 16))
    assert "weights beyond 16 MB" not in result
    assert "weights beyond 4 MB" not in terms(config, 4, "int8")
    once, twice = (terms(shape("albert", n, 512, 8, 2048, 128).config(), 4, "fp32") for n in (1, 2))
    assert once["weights beyond 4 MB"] < twice["weights beyond 4 MB"], "read again in each layer"
    assert "weights beyond 16 MB" not in twice, "but held once"


def test_steps_of_an_lstm_by_hand() -> None:
    """Width 256 is 128 a direction: 4 x 128 x 128 weights a step, two directions, 5 tokens."""
    result = terms(shape("bilstm", 1, 256, 64).config(), 5, "fp32")
    assert result["steps"] == 10
    assert result["steps, weights"] == pytest.approx(10 * 4 * 128 * 128 * 4 / 1e6)
    assert result["steps, weights beyond 0.25 MB"] == pytest.approx(10 * 0.262144 * (0.262144 / 0.25 - 1) / 0.25)
    assert result["steps, weights of aliased rows"] == result["steps, weights"]
    assert "steps, weights of aliased rows" not in terms(shape("bilstm", 1, 384, 64).config(), 5, "fp32")
    assert result["lstm multiply-adds"] == 2 * 5 * 64 * 512


@pytest.mark.parametrize(("act", "kind"), [("gelu", "gelu"), ("relu", "relu"), ("gelu_new", "tanh"), ("silu", "tanh")])
def test_activations_are_priced_by_what_they_compute(act: str, kind: str) -> None:
    config = shape("bert", 1, 32, 2, 64).config()
    config.hidden_act = act
    assert terms(config, 3, "fp32")[f"{kind} elements"] == 3 * 64


# ---------------------------------------------------------------- the fit


def test_known_prices_are_found_again() -> None:
    prices = {"one pass": 0.02, "dense multiply-adds": 2e-8, "dense runs": 0.002, "inner products": 3e-4, "steps": 4e-4}
    points = []
    for probe in PROBES[::2]:
        config = probe.config()
        for length in (8, 59, 176):
            amounts = terms(config, length, "int8")
            time = sum(price * amounts.get(name, 0.0) for name, price in prices.items())
            points.append(Point(probe.name, config, length, time))
    result = fit(points, "int8")
    assert result.error_p90 < 0.02 and result.n_points == len(points) and result.n_architectures == len(PROBES[::2])
    assert result.low == pytest.approx(1, abs=0.05) and result.high == pytest.approx(1, abs=0.05)
    item = made(prices=result.prices)
    for other in PROBES[1::2]:
        config = other.config()
        amounts = terms(config, 100, "int8")
        known = sum(price * amounts.get(name, 0.0) for name, price in prices.items())
        assert item.predict_ms(config, 100) == pytest.approx(known, rel=0.1), other.name


def test_errors_and_interval_are_of_what_was_left_out() -> None:
    """Two architectures of one cost; one ran in twice the time: left out, each is predicted by the other."""
    config = shape("bert", 1, 32, 2, 64).config()
    result = fit([Point("a", config, 8, 1.0), Point("b", config, 8, 2.0)], "fp32")
    assert (result.low, result.high) == (pytest.approx(0.5), pytest.approx(2))
    assert result.error_p50 == pytest.approx(0.75)  # of 1/2 too little and as much too much
    with pytest.raises(ValueError, match="two architectures"):
        fit([Point("a", config, 8, 1.0)], "fp32")


def test_p50_of_each_length_comes_from_its_own_blocks() -> None:
    """Blocks of five runs, two lengths in turns; of four blocks each, the quietest one is kept."""
    times = [value for ms in (5, 50, 3, 70, 4, 60, 9, 40) for value in [ms] * 5]
    assert p50s([*times, 1.0], 2) == (3, 40), "a block that was cut short is left out"


# ---------------------------------------------------------------- kept


def test_a_calibration_is_kept_and_found_again(tmp_path: Path) -> None:
    device = load_device("pixel6")
    assert calibrations_of(device) == () and find_calibration(device, precision="int8", threads=2) is None
    path = calibration_file(device)
    assert path == tmp_path / "data/edgebert/calibrations/pixel6.json"
    item, other = made(probes=({"name": "bert", "lengths": [8], "p50_ms": [1.5]},)), made(threads=1)
    write_calibrations(path, [item, other])
    assert calibrations_of(device) == (item, other)
    assert find_calibration(device, precision="int8", threads=1, format="tflite") == other
    assert find_calibration(device, precision="int8", threads=1, format="onnx") is None
    assert find_calibration(device, precision="fp32", threads=1) is None
    again = made(created="2026-12-01T00:00:00+00:00")
    write_calibrations(path, [again])
    assert calibrations_of(device) == (other, again), "the older one of the same kind is replaced"
    assert calibrations_of(replace(device, soc="another chip")) == ()


def test_a_users_profile_has_its_calibration_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "board.toml"
    assert calibration_file(replace(load_device("pixel6"), path=path)) == tmp_path / "board.calibration.json"


@pytest.mark.parametrize(
    "damage",
    ["", "{", '{"calibrations": [{}]}', '{"calibrations": 3}', "[]", '{"calibrations": [{"prices": 1}]}'],
)
def test_a_damaged_file_is_told(damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = calibration_file(load_device("pixel6"))
    path.parent.mkdir(parents=True)
    path.write_text(damage)
    with pytest.raises(RequestError, match="the calibration cannot be read") as caught:
        calibrations_of(load_device("pixel6"))
    assert str(path) in str(caught.value) and "edgebert calibrate" in str(caught.value)
    with pytest.raises(SystemExit) as ended:
        main(["devices", "show", "pixel6"])
    assert ended.value.code == 2 and "cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"), [({"terms": 0}, "another version"), ({"low": -1}, "low is no number"), ({"prices": {"a": "b"}}, "prices is no number")]
)  # fmt: skip
def test_numbers_that_cannot_be_are_told(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    write_calibrations(tmp_path / "c.json", [made(**changes)])
    with pytest.raises(RequestError, match=message):
        read_calibrations(tmp_path / "c.json")


# ---------------------------------------------------------------- predictions


def test_predictions_use_the_calibration_that_fits() -> None:
    device, config = load_device("pixel6"), shape("bert", 1, 32, 2, 64).config()
    before = predict_latency(config, device, precision="int8", seq_len=3, threads=2)
    assert before.high_ms == pytest.approx(before.p50_ms * SPREAD)
    assert "not calibrated for int8 with 2 thread" in basis(device, precision="int8", threads=2)
    write_calibrations(calibration_file(device), [made()])
    result = predict_latency(config, device, precision="int8", seq_len=3, threads=2)
    assert result.p50_ms == pytest.approx(1 + 1e-6 * (3 * 32 * 9 + 4 * 3 * 32 * 32 + 2 * 3 * 32 * 64))
    assert (result.low_ms, result.high_ms) == (pytest.approx(0.9 * result.p50_ms), pytest.approx(1.2 * result.p50_ms))
    assert (result.how, result.runtime, result.runtime_version) == ("predicted", "ai_edge_litert", "2.3")
    assert "calibrated on 2026-11-25" in basis(device, precision="int8", threads=2)
    for other in ({"threads": 1}, {"precision": "fp32", "threads": 2}, {"format": "onnx", "threads": 2}):
        plain = predict_latency(config, device, **{"precision": "int8", "seq_len": 3, **other})
        assert plain.high_ms == pytest.approx(plain.p50_ms * SPREAD), other
    assert "calibrated for tflite int8, 2 thread(s) alone" in basis(device, precision="int8", threads=1)


def test_devices_show_tells_which_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    def shown(*more: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["devices", "show", "pixel6", *more])
        assert ended.value.code == 0
        return " ".join(capsys.readouterr().out.split())

    assert "roofline fitted to published latencies, interval ×/÷ 3" in shown()
    write_calibrations(calibration_file(load_device("pixel6")), [made(probes=({"name": "x"},))])
    text = shown()
    assert "calibrated on 2026-11-25 on Pixel 6 by adb: tflite int8, ai_edge_litert 2.3, 2 threads" in text
    assert "error 3 % at the median and 9 %" in text and "anything else is predicted by a roofline" in text
    assert json.loads(shown("--json"))["calibrations"][0]["probes"] == 1


# ---------------------------------------------------------------- on a target


def scripted(how: str = "measured", failure: str = "", profile: str = "") -> tuple[Target, list[Job]]:
    """A target whose times follow from prices: 0.01 ms, and 1e-6 ms a multiply-add."""
    jobs: list[Job] = []

    def measure(address: str, job: Job, log: Any) -> Outcome:
        jobs.append(job)
        results = []
        for file in job.files:
            probe = next(probe for probe in TINY if file.name.startswith(f"{probe.name}-"))
            config = probe.config()
            lengths = [len(item["input_ids"][0]) for item in job.inputs]
            once = [0.01 + 1e-6 * terms(config, n, "fp32").get("dense multiply-adds", 0.0) for n in lengths]
            times = tuple((once * job.min_runs)[: max(job.min_runs, len(once))])
            results.append(MeasurementRecord(file.name, "script", "1.0", times_ms=times, failure=failure))
        return Outcome("Scripted board", how, tuple(results))  # type: ignore[arg-type]

    return Target("script", "a script", ("onnx",), "script", measure, lambda _: "", profile=profile), jobs


def give(monkeypatch: pytest.MonkeyPatch, target: Target) -> None:
    targets = {**TARGETS.all(), target.name: target}
    monkeypatch.setattr(TARGETS, "all", lambda: targets)
    monkeypatch.setattr(calibrating, "PROBES", TINY)


@pytest.mark.usefixtures("_cache")
def test_calibrate_on_a_scripted_target(monkeypatch: pytest.MonkeyPatch) -> None:
    target, jobs = scripted()
    give(monkeypatch, target)
    request = Request("script", device="rpi5", threads=(1, 4), lengths=LENGTHS)
    events: list[dict[str, Any]] = []
    result = calibrate(request, events.append, TINY)
    assert result.device == "rpi5" and result.path == calibration_file(load_device("rpi5"))
    assert [(entry.precision, entry.threads) for entry in result.calibrations] == [
        (precision, n) for n in (1, 4) for precision in ("fp32", "int8")
    ]
    item = find_calibration(load_device("rpi5"), precision="fp32", threads=4, format="onnx")
    assert item is not None and item.measured_on == "Scripted board" and item.runtime == "script" and item.n_points == 6
    assert [len(probe["lengths"]) for probe in item.probes] == [2, 2, 2] and item.probes[0]["name"] == "bert-1-32-2-64"
    assert {job.threads for job in jobs} == {1, 4}
    inputs = [len(row["input_ids"][0]) for row in jobs[0].inputs]
    assert inputs == [4] * 5 + [9] * 5, "a block of runs has one length"
    assert any(event["event"] == "note" and "calibrated on" in event["text"] for event in events)
    assert (
        predict_latency(
            TINY[0].config(), load_device("rpi5"), precision="fp32", seq_len=9, threads=4, format="onnx"
        ).p50_ms
        > 0
    )


@pytest.mark.usefixtures("_cache")
def test_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    give(monkeypatch, scripted()[0])
    monkeypatch.setattr(calibrate, "__defaults__", (None, TINY))
    output = tmp_path / "out.json"
    arguments = [
        "calibrate",
        "--on",
        "script",
        "--device",
        "rpi5",
        "--threads",
        "2",
        "--length",
        "4",
        "--precision",
        "fp32",
        "--quiet",
    ]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--output", str(output)])
    text = " ".join(capsys.readouterr().out.split())
    assert ended.value.code == 0 and "script 1.0" in text and str(output) in text
    assert calibrations_of(load_device("rpi5")) == (), "--output stands by itself"
    (item,) = read_calibrations(output)
    assert (item.threads, item.precision, item.n_points) == (2, "fp32", 3)
    with pytest.raises(SystemExit):
        main([*arguments, "--json"])
    assert json.loads(capsys.readouterr().out)["calibrations"][0]["device"] == "rpi5"


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request("script"), "a script does not tell which device it is"),
        (Request("ssh:pi@board"), "does not tell which device it is"),
        (Request("browser:link"), "does not tell which device it is"),
        (Request("here", device="pixel6"), "this machine is another device than pixel6"),
        (Request("script", device="this-machine"), "a script is another device than this-machine"),
        (Request("script", device="nophone"), "unknown device 'nophone'"),
        (Request("nowhere"), "unknown target 'nowhere'"),
        (Request("here:x", device="this-machine"), "no address"),
        (Request("script", device="rpi5", threads=(9,)), "9 threads were asked for, and rpi5 has 4 cores"),
        (Request("script", device="rpi5", format="coreml"), "a script runs onnx files"),
        (Request("script", device="rpi5", precisions=("int7",)), "unknown precision 'int7'"),
        (Request("script", device="rpi5", lengths=(1,)), "a length is 2 to"),
        (Request("script", device="rpi5", output="nowhere/out.json"), "its folder does not exist"),
    ],
)
def test_requests_that_cannot_be(request_: Request, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target, jobs = scripted()
    give(monkeypatch, target)
    with pytest.raises(RequestError, match=message):
        calibrate(request_, None, TINY)
    assert not jobs


@pytest.mark.usefixtures("_cache")
@pytest.mark.parametrize(
    ("script", "message"), [({"how": "emulated"}, "is emulated"), ({"failure": "no"}, "cannot be timed: no")]
)
def test_times_that_say_nothing(script: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, scripted(**script)[0])
    with pytest.raises(EdgebertError, match=message):
        calibrate(Request("script", device="rpi5", lengths=LENGTHS, precisions=("fp32",)), None, TINY)
    assert not calibration_file(load_device("rpi5")).exists()


# ---------------------------------------------------------------- probes


def test_probes_are_told_apart_and_cover_every_family() -> None:
    names = [probe.name for probe in PROBES]
    assert len(set(names)) == len(names)
    assert {probe.family for probe in PROBES} == set(probes.SIZES)
    assert max(probes.LENGTHS) <= probes.POSITIONS


@pytest.mark.usefixtures("_cache")
def test_files_are_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    (file,) = probes.files_of(TINY[0], "onnx", ["int8"])
    assert file.name == "bert-1-32-2-64-int8" and file.path.is_file()
    monkeypatch.setattr(probes, "_write", None)
    assert probes.files_of(TINY[0], "onnx", ["int8"]) == [file]


@pytest.mark.usefixtures("_cache")
def test_a_small_calibration_of_this_machine() -> None:
    """Real files, a real runtime, real times; how near the fit comes is the benchmark's to say."""
    request = Request("here", lengths=LENGTHS, precisions=("fp32",), threads=(1,), max_seconds=0.1)
    result = calibrate(request, None, TINY)
    (item,) = result.calibrations
    assert result.device == "this-machine" and item.runtime == "onnxruntime" and item.runtime_version
    assert all(np.isfinite(list(item.prices.values()))) and item.low <= 1 <= item.high
    description = predict_latency(TINY[0].config(), load_device("this-machine"), precision="fp32", seq_len=9, threads=1)
    assert 0.001 < description.p50_ms < 1000 and description.runtime == "onnxruntime" and description.low_ms is not None
    assert description.low_ms <= description.p50_ms <= (description.high_ms or 0)
    assert api.get_device("this-machine").name == item.device and item.terms == calibration.TERMS
