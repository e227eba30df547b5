"""`edgebert fit --on TARGET`: measured where a device answers, predicted where none does, on the toy world."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import edgebert
from edgebert.budget.choice import choose
from edgebert.cli import main
from edgebert.converters.onnx import CONVERTER
from edgebert.devices.profiles import load_device
from edgebert.errors import EdgebertError, RequestError
from edgebert.files import plain as plain_of
from edgebert.measure.runner import make_batches
from edgebert.measure.targets import TARGETS, DeviceInfo, Job, MeasurementRecord, Outcome, Target, here
from edgebert.report import read_report, view
from edgebert.report.html import render
from edgebert.report.terminal import print_report
from edgebert.results import FitResult, Report
from edgebert.runs.store import Stage
from edgebert.types import Artifact, Latency
from edgebert.workflows.profiling import by_tokenizer
from edgebert.workflows.target import find_target
from edgebert.workflows.unchanged import results_of
from tests.report_factory import CANDIDATES, make_report, student, teacher

QUICK: dict[str, Any] = {
    "recipe": "trim-vocab+drop-layers+kd",
    "teacher_epochs": 2,
    "epochs": 2,
    "learning_rate": 3e-3,
    "params": {"trim-vocab.floor": "20", "drop-layers.n_layers": "2"},
    "max_drop": 100,
    "formats": ("onnx",),
}
Act = Callable[[str, Job, Any], Outcome]
Fit = Callable[..., FitResult]


def scripted(act: Act, **changes: Any) -> Target:
    return replace(Target("far", "a far device", ("onnx",), "far:x", act, lambda address: ""), **changes)


def know(monkeypatch: pytest.MonkeyPatch, *targets: Target) -> None:
    known = {target.name: target for target in (*targets, here.TARGET)}
    monkeypatch.setattr(TARGETS, "all", lambda: known)


def took(ms: float, how: Any = "measured", n: int = 60, failure: str = "") -> Act:
    """A device on which a run takes `ms`, and 8 times as long at 128 tokens (64 in the toy world)."""

    def act(address: str, job: Job, log: Any) -> Outcome:
        times = (ms * (8 if len(job.inputs[0]["input_ids"][0]) == 64 else 1),) * n
        results = tuple(MeasurementRecord(file.name, "rt", "7", 1.0, 1.0, times, failure=failure) for file in job.files)
        return Outcome("Board X", how, results, {"system": "Linux 9", "serial": "secret"})

    return act


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def fit(toy_checkpoint: Path, toy_data: Path, runs: Path) -> Fit:
    """Fits beside each other: each takes over what the first has trained, converted and verified."""

    def run(name: str, device: str = "rpi5", **more: Any) -> FitResult:
        place = {"teacher": str(toy_checkpoint), "data": str(toy_data), "run": str(runs / name)}
        return edgebert.fit(device, "ner", **place, **{**QUICK, "max_length": 64, **more})

    return run


@pytest.fixture(scope="module")
def plain(fit: Fit) -> FitResult:
    return fit("plain")


def printed(report: Report) -> str:
    stream = io.StringIO()
    print_report(report, Console(file=stream, width=100))
    return stream.getvalue()


def of_winner(result: FitResult) -> tuple[Latency, ...]:
    best = view.winner(result.report)
    assert best is not None
    return best.latencies


# ---------------------------------------------------------------- judged by what was measured


def test_a_measured_time_that_meets_the_budget(plain: FitResult, fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Job] = []

    def act(address: str, job: Job, log: Any) -> Outcome:
        calls.append(job)
        return took(3.0)(address, job, log)

    know(monkeypatch, scripted(act))
    result = fit("met", on="far:x")
    assert result.exit_code == 0 and "Its latency was measured on the device." in result.report.verdict
    best = view.winner(result.report)
    assert best is not None
    judged = view.on_device(best, result.report)
    assert judged is not None
    assert (judged.how, judged.device, judged.called, judged.p50_ms) == ("measured", "rpi5", "Board X", 3.0)
    assert (judged.runtime, judged.runtime_version, judged.threads) == ("rt", "7", load_device("rpi5").threads)
    assert judged.seq_len == result.report.plan.length_p95 and judged.n_runs == 60
    there = [(item.lengths, item.seq_len) for item in of_winner(result) if item.called]
    assert [name for name, _ in there] == ["data", "fixed", "fixed"] and there[2][1] == 64
    for model in (result.report.teacher, *result.report.students):
        assert all(any(latency.called for latency in file.latencies) for file in model.artifacts)
    assert len(calls) == 3 and all(len(job.files) == 4 and job.threads == judged.threads for job in calls)

    again = fit("met", on="far:x")
    assert len(calls) == 3, "what was measured whole is kept"
    assert again.report.students == result.report.students and again.report.measured_on == result.report.measured_on


def test_a_measured_time_is_shown_with_its_label_everywhere(
    plain: FitResult, fit: Fit, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    know(monkeypatch, scripted(took(3.0)))
    result = fit("met", on="far:x")
    text, page = printed(result.report), render(result.report)
    label = "measured on Board X, rt 7, 4 threads, batch 1"
    assert "measured 3.00" in text and f"rpi5: {label}" in text.replace("\n", " ")
    for wanted in (label, "Latency measured on Board X", "Measured on Raspberry Pi 5 (8 GB)", "Linux 9", "--on far:x"):
        assert wanted in page, wanted
    assert "Nothing was run on the device" not in page and "secret" not in page
    written = read_report(runs / "met" / "report" / "report.json")
    assert written.measured_on is not None and written.measured_on.is_device
    assert [latency for latency in written.students[0].artifacts[1].latencies if latency.called]
    facts = json.loads((runs / "met" / "bundle" / "manifest.json").read_text())["facts"]
    assert {"Board X"} == {fact["called"] for fact in facts["latencies"] if fact["called"]}
    assert facts["measured_on"]["on"] == "far:x" and {fact["called"] for fact in facts["padding"]} == {"", "Board X"}


def test_the_engine_of_a_target_is_judged_and_its_proofs_are_read_back(
    plain: FitResult, fit: Fit, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A browser whose WebAssembly is right and whose WebGPU is not, and what fit, profile and the report make of it."""

    def act(address: str, job: Job, log: Any) -> Outcome:
        if job.min_runs:
            return took(3.0)(address, job, log)
        session = CONVERTER.open(job.files[0].path, 1)
        sign = -1 if address == "webgpu" else 1
        outputs = tuple(
            {name: (sign * array).tolist() for name, array in session.run(batch).items()}
            for batch in make_batches({"inputs": job.inputs})
        )
        return Outcome("Board X", "measured", (MeasurementRecord(job.files[0].name, "rt", "7", outputs=outputs),))

    know(monkeypatch, scripted(act, engine=lambda address: address))
    right = fit("judged", on="far:wasm")
    assert right.exit_code == 0 and {proof.engine for proof in right.report.engines} == {"wasm"}
    files = {f"{model.name}/{file.artifact.name}" for model in right.report.students for file in model.artifacts}
    assert {proof.file for proof in right.report.engines} == files and not any(p.failures for p in right.report.engines)
    assert all(proof.parity and proof.parity.score.n == 40 for proof in right.report.engines)
    assert "may be used with wasm" in printed(right.report).replace("\n", " ")
    assert "Engines in a browser" in render(right.report)

    assert edgebert.profile(runs / "judged", "far:webgpu", length=8).exit_code == 1
    written = read_report(runs / "judged" / "report" / "report.json")
    assert {(proof.engine, bool(proof.failures)) for proof in written.engines} == {("wasm", False), ("webgpu", True)}
    manifest = json.loads((runs / "judged" / "manifest.json").read_text())
    assert manifest["results"] == plain_of(results_of(runs / "judged")), "so that the fit still counts as unchanged"
    again = fit("judged", on="far:wasm")
    assert again.exit_code == 0 and again.report.engines == written.engines
    assert fit("judged", on="far:webgpu").exit_code == 1, "it asked for the engine that is wrong"


def test_a_measured_time_over_the_budget_ends_with_1(
    plain: FitResult, fit: Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    know(monkeypatch, scripted(took(300.0)))
    result = fit("over", on="far:x")
    assert result.exit_code == 1 and result.bundle is None
    limit = load_device("rpi5").budget.latency_ms
    expected = f"measured 300.0 ms (p50, quietest tenth of blocks) is over the budget of {limit:g} ms"
    assert expected in result.report.failures[0]
    assert plain.exit_code == 0, "the prediction alone would have passed"


def test_an_emulated_time_says_nothing_of_the_budget(
    plain: FitResult, fit: Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    know(monkeypatch, scripted(took(300.0, "emulated")))
    result = fit("emulated", on="far:x")
    assert result.exit_code == 0 and "measured on the device" not in result.report.verdict
    best = view.winner(result.report)
    assert best is not None
    judged, aside = view.on_device(best, result.report), view.elsewhere(best, result.report)
    assert judged is not None and judged.how == "predicted"
    assert aside is not None and (aside.how, aside.p50_ms) == ("emulated", 300.0)
    assert "emulated 300" in printed(result.report) and "Latency emulated on Board X" in render(result.report)
    assert result.report.measured_on is not None and "is emulated" in result.report.measured_on.notes[-1]


def test_the_fastest_of_equals_is_the_one_measured_as_clearly_faster() -> None:
    """By the predictions 2-layers; on the device 3-layers. Where one was not measured, the predictions decide."""
    report = make_report()
    students = [student(name, 0.95, 2.0, 7_000_000, CANDIDATES[i]) for i, name in enumerate(("3-layers", "2-layers"))]

    def with_time(model: Any, p50: float, how: Any = "measured") -> Any:
        measured = Latency(how, "pixel6", "rt", "7", 2, 23, 1, p50, n_runs=60, called="Pixel")
        files = [replace(artifact, latencies=(*artifact.latencies, measured)) for artifact in model.artifacts]
        return replace(model, artifacts=tuple(files))

    def chosen(*models: Any) -> tuple[str, str]:
        winner, verdict, _ = choose(teacher(), models, report.plan.budget, report.device, 23)
        assert winner is not None
        return winner[0].name, verdict

    slow, fast = students
    assert chosen(slow, fast)[0] == "2-layers"
    name, verdict = chosen(with_time(slow, 3.0), with_time(fast, 4.0))
    assert name == "3-layers" and "measured at least 1.25 times as fast on the device" in verdict
    assert chosen(with_time(slow, 3.0), with_time(fast, 3.7))[0] == "2-layers", (
        "noise does not overrule the predictions"
    )
    assert chosen(with_time(slow, 3.0), fast)[0] == "2-layers"
    assert chosen(with_time(slow, 3.0, "emulated"), with_time(fast, 4.0, "emulated"))[0] == "2-layers"
    assert chosen(with_time(slow, 99.0), fast)[0] == "2-layers", "over the budget of 8 ms as measured"
    assert chosen(slow, with_time(fast, 99.0))[0] == "3-layers"


def test_only_files_that_read_the_same_pieces_take_turns(tmp_path: Path) -> None:
    models, valid = {}, {}
    for name, tokenizer in (("teacher", "a"), ("big", "a"), ("small", "b")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tokenizer.json").write_text(tokenizer)
        models[name] = Stage(name, "", tmp_path / name, {}, 0.0, False)
        valid |= {f"{name}/{file}": (name, Artifact(file, "onnx", "int8", tmp_path, 1, "")) for file in ("x", "y")}
    assert by_tokenizer(models, valid) == [["teacher/x", "teacher/y", "big/x", "big/y"], ["small/x", "small/y"]]


# ---------------------------------------------------------------- what goes wrong


def test_a_target_that_does_not_answer_is_an_error_before_any_training(
    toy_checkpoint: Path, toy_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    know(monkeypatch, scripted(took(1.0), answers=lambda address: f"nobody is at {address}"))
    arguments = ["fit", "--device", "rpi5", "--teacher", str(toy_checkpoint), "--data", str(toy_data)]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--format", "onnx", "--run", str(tmp_path / "r"), "--on", "far:x"])
    message = capsys.readouterr().err
    assert ended.value.code == 2 and "--on far:x: nobody is at x" in message and "--on none predicts" in message
    assert not (tmp_path / "r").exists()


def test_a_target_that_dies_costs_no_training_and_is_measured_again(
    plain: FitResult, fit: Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Job] = []

    def act(address: str, job: Job, log: Any) -> Outcome:
        calls.append(job)
        if len(calls) == 2:
            raise EdgebertError("the cable is out", where=address)
        return took(3.0)(address, job, log)

    know(monkeypatch, scripted(act))
    events: list[dict[str, Any]] = []
    result = fit("died", on="far:x", on_event=events.append)
    assert result.exit_code == 0 and len(calls) == 2
    assert "profile-on" not in [event["stage"] for event in events if event["event"] == "done"]
    assert result.report.measured_on is not None
    assert result.report.measured_on.notes[0] == "far:x: the cable is out"
    assert "measures again" in result.report.measured_on.notes[1]
    assert "note: far:x: the cable is out" in printed(result.report)
    kept = [latency for file in result.report.teacher.artifacts for latency in file.latencies if latency.called]
    assert {item.lengths for item in kept} == {"data"}, "what was measured stays"
    best = view.winner(result.report)
    assert best is not None
    judged = view.on_device(best, result.report)
    assert judged is not None and judged.how == "predicted"

    again = fit("died", on="far:x")
    assert len(calls) == 5 and again.report.measured_on is not None and not again.report.measured_on.notes
    assert "Its latency was measured" in again.report.verdict


def test_a_file_that_was_cut_short_has_no_figure(plain: FitResult, fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    know(monkeypatch, scripted(took(300.0, n=20, failure="the phone went away")))
    result = fit("short", on="far:x")
    assert result.exit_code == 0 and not [item for item in of_winner(result) if item.called]
    assert result.report.measured_on is not None
    assert "L2-v82/onnx-int8 on far:x: the phone went away" in result.report.measured_on.notes


def test_what_a_target_cannot_run_is_told_before_any_training(monkeypatch: pytest.MonkeyPatch) -> None:
    device = load_device("rpi5")
    lacks = {"onnx": "onnxruntime is not installed there. Run: prepare"}
    know(
        monkeypatch,
        scripted(took(1.0)),
        scripted(took(1.0), name="bare", look=lambda address, formats: DeviceInfo("Board X", lacks)),
    )
    place, _ = find_target("far:x", device, ("tflite", "onnx"))
    assert place is not None and place.formats == ("onnx",) and place.is_device
    assert place.notes == ("tflite files are not measured on far:x: it runs onnx files",)
    with pytest.raises(RequestError, match="it cannot run tflite files: it runs onnx files"):
        find_target("far:x", device, ("tflite",))
    with pytest.raises(RequestError, match="onnxruntime is not installed there"):
        find_target("bare", device, ("onnx",))
    with pytest.raises(RequestError, match="unknown target 'fra'"):
        find_target("fra", device, ("onnx",))


# ---------------------------------------------------------------- without --on


def phone(called: str, answer: str = "", lacks: dict[str, str] | None = None) -> Target:
    return scripted(
        took(1.0), name="adb", title="a phone", answers=lambda address: answer,
        look=lambda address, formats: DeviceInfo(called, lacks or {}),
    )  # fmt: skip


def test_the_devices_own_target_is_taken_when_it_is_that_device(monkeypatch: pytest.MonkeyPatch) -> None:
    pixel6 = load_device("pixel6")
    know(monkeypatch, phone("Google Pixel 6"))
    assert find_target("none", pixel6, ("tflite", "onnx")) == (None, []), "and nobody is asked"
    place, notes = find_target(None, pixel6, ("tflite", "onnx"))
    assert place is not None and (place.on, place.called, place.formats) == ("adb", "Google Pixel 6", ("onnx",))
    assert notes == [] and "adb answers (a phone) and is called Google Pixel 6" in place.notes[0]
    know(monkeypatch, phone("Google Pixel 6 Pro"))
    assert find_target(None, pixel6, ("onnx",)) == (
        None, ["adb answers (a phone) and is called Google Pixel 6 Pro: --on adb measures on it"],
    )  # fmt: skip
    know(monkeypatch, phone("Google Pixel 6", lacks={"onnx": "no benchmark"}))
    place, notes = find_target(None, pixel6, ("onnx",))
    assert place is None and "nothing is measured on it: no benchmark" in notes[0]
    know(monkeypatch, phone("Google Pixel 6", answer="no phone is connected"))
    assert find_target(None, pixel6, ("onnx",)) == (None, [])
    know(monkeypatch, phone("Google Pixel 6"))
    assert find_target(None, load_device("rpi5"), ("onnx",)) == (None, []), "a board needs an address"


def test_only_what_can_be_the_device_counts_as_it(monkeypatch: pytest.MonkeyPatch) -> None:
    know(monkeypatch, phone("samsung SM-G991B"), scripted(took(1.0)))
    counts = {
        (on, name): find_target(on, load_device(name), ("onnx",))[0].is_device  # type: ignore[union-attr]
        for on in ("here", "adb", "far:x")
        for name in ("this-machine", "pixel6", "rpi5")
    }
    assert {pair for pair, yes in counts.items() if yes} == {
        ("here", "this-machine"), ("adb", "pixel6"), ("adb", "rpi5"), ("far:x", "rpi5"),
    }  # fmt: skip


def test_profiles_declare_targets_that_there_are() -> None:
    declared = {name: device.target for name, device in edgebert.list_devices().items() if device.target}
    assert set(declared.values()) <= set(TARGETS.all())
    assert declared["pixel6"] == "adb" and declared["chrome-desktop"] == "browser" and "rpi5" not in declared


# ---------------------------------------------------------------- this machine


def test_on_here_is_measured_and_does_not_count_as_another_device(
    plain: FitResult, fit: Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgebert.workflows.profiling.MAX_SECONDS", 0.1)
    result = fit("here", on="here")
    there = [item for item in of_winner(result) if item.called]
    assert {item.device for item in there} == {"this-machine"} and {item.how for item in there} == {"measured"}
    assert all(item.n_runs >= 50 and item.runtime == "onnxruntime" for item in there)
    best = view.winner(result.report)
    assert best is not None
    judged, main_one = view.on_device(best, result.report), view.main_latency(best, result.report)
    assert judged is not None and judged.how == "predicted"
    assert main_one is not None and not main_one.called
    assert result.report.measured_on is not None and "judged by the prediction" in result.report.measured_on.notes[0]
    assert "on here" in printed(result.report)


def test_this_machine_is_judged_by_what_was_measured(plain: FitResult, fit: Fit) -> None:
    result = fit("own", "this-machine")
    assert "Its latency was measured on the device." in result.report.verdict
    best = view.winner(result.report)
    assert best is not None
    judged = view.on_device(best, result.report)
    assert judged is not None
    assert (judged.how, judged.device, judged.seq_len) == ("measured", "this-machine", result.report.plan.length_p95)


# ---------------------------------------------------------------- padding


def test_the_report_says_what_padding_costs(plain: FitResult, runs: Path) -> None:
    (own,) = [
        item for item in of_winner(plain) if item.how == "measured" and item.lengths == "data" and item.threads == 1
    ]
    (at,) = [item for item in of_winner(plain) if item.how == "measured" and item.seq_len == 64 and item.threads == 1]
    (pad,) = [item for item in plain.report.padding if item.file == plain.report.winner]
    assert (pad.own_ms, pad.fixed_ms, pad.own_tokens, pad.fixed_tokens) == (own.p50_ms, at.p50_ms, own.seq_len, 64)
    assert pad.factor == pytest.approx(at.p50_ms / own.p50_ms, abs=1e-3) and pad.factor > 1
    assert len(plain.report.padding) == 4, "every file"
    sentence = f"padded to 64 tokens a text takes {pad.factor:.1f} times as long ({at.p50_ms:.2f} ms against "
    basis = f"measured on this machine, onnxruntime {own.runtime_version}, 1 thread)"
    for text in (printed(plain.report).replace("\n", " "), render(plain.report)):
        assert sentence in text and basis in text
    assert "padded to 64 tokens against own lengths" in render(plain.report)
    written = json.loads((runs / "plain" / "report" / "report.json").read_text())["padding"]
    assert {item["how"] for item in written} == {"measured"} and written[0]["runtime"] == "onnxruntime"
