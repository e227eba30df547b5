"""The main job on the toy world, as a user runs it: the whole line, a kill at any stage, the exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgebert
from edgebert.converters import CONVERTERS
from edgebert.results import FitResult
from edgebert.runs.store import Run
from edgebert.workflows.names import planned

QUICK = {
    "recipe": "trim-vocab+drop-layers+kd",
    "teacher_epochs": 4,
    "epochs": 4,
    "learning_rate": 3e-3,
    "params": {"trim-vocab.floor": "20", "drop-layers.n_layers": "2"},
    "max_drop": 60,
    "formats": ("onnx",),
}


def run_cli(*arguments: str, cwd: Path, **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgebert", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **extra},
        timeout=550,
    )


def fit_arguments(checkpoint: Path, data: Path, run: str) -> list[str]:
    return [
        "fit", "--device", "pixel6", "--task", "ner", "--teacher", str(checkpoint), "--data", str(data), "--run", run,
        "--teacher-epochs", "4", "--epochs", "4", "--learning-rate", "3e-3", "--max-drop", "60",
        "--recipe", "trim-vocab+drop-layers+kd", "--set", "trim-vocab.floor=20", "--set", "drop-layers.n_layers=2", "--format", "onnx",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def fitted(toy_checkpoint: Path, toy_data: Path, tmp_path_factory: pytest.TempPathFactory) -> FitResult:
    run = tmp_path_factory.mktemp("fit") / "runs" / "toy"
    return edgebert.fit("pixel6", "ner", teacher=str(toy_checkpoint), data=str(toy_data), run=str(run), **QUICK)


def test_a_fit_ends_with_a_bundle_that_proves_itself(fitted: FitResult) -> None:
    assert fitted.exit_code == 0
    assert fitted.bundle is not None
    edgebert.check(fitted.run)
    manifest = json.loads((fitted.bundle / "manifest.json").read_text())
    assert manifest["facts"]["student"] == "L2-v82"


@pytest.mark.parametrize(("device", "format", "name", "shape"), [
    ("pixel6", "tflite", "model.int8.tflite", None),
    pytest.param("iphone13", "coreml", "model.int8.mlpackage", "functions", marks=pytest.mark.slow),
])  # fmt: skip
def test_every_format_ends_in_a_bundle(
    device: str, format: str, name: str, shape: str | None, fitted: FitResult, toy_checkpoint: Path, toy_data: Path
) -> None:
    """Beside the first run, whose teacher and student are taken over."""
    events: list[dict[str, Any]] = []
    result = edgebert.fit(
        device, "ner", teacher=str(toy_checkpoint), data=str(toy_data), run=str(fitted.run.parent / format),
        on_event=events.append, **QUICK | {"formats": (format,), "shape": shape},
    )  # fmt: skip
    assert [event["stage"] for event in events if event["event"] == "linked"][:1] == ["teacher"]
    assert result.exit_code == 0 and result.bundle is not None
    (student,) = result.report.students
    assert [item.artifact.name for item in student.artifacts] == [f"{format}-fp32", f"{format}-int8"]
    for artifact in student.artifacts:
        assert artifact.artifact.options.get("shape") == shape
        assert artifact.parity.failures == ()
        assert artifact.parity.edges["full length"] < (1e-4 if artifact.artifact.precision == "fp32" else 1)
        measured = [latency for latency in artifact.latencies if latency.how == "measured"]
        assert bool(measured) == (format == "tflite")  # our interpreter's time says nothing of a phone
    assert (result.bundle / name).exists()
    edgebert.check(result.run)
    assert edgebert.predict(result.run, ["fly to boston"]) is not None
    if format == "tflite":
        code = (result.bundle / "README.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=result.bundle, capture_output=True, text=True, check=True
        )
        assert [line.split()[0] for line in done.stdout.splitlines()] == [
            "show",
            "me",
            "flights",
            "from",
            "boston",
            "to",
            "denver",
        ]


def test_the_student_is_smaller_and_was_distilled(fitted: FitResult) -> None:
    (student,) = fitted.report.students
    teacher = fitted.report.teacher
    assert (student.n_layers, teacher.n_layers) == (2, 4)
    assert student.n_parameters == student.candidate.n_parameters  # type: ignore[union-attr]
    assert student.test.value > 0.9
    assert student.test.metric == "strict entity F1"
    assert student.test.n == 40


def test_every_file_was_executed_and_compared(fitted: FitResult) -> None:
    for model in (fitted.report.teacher, *fitted.report.students):
        fp32, int8 = model.artifacts
        assert fp32.parity.failures == int8.parity.failures == ()
        assert fp32.parity.max_logit_difference < 1e-4
        assert fp32.parity.n_rows == int8.parity.n_rows == 40
        assert 0 < int8.parity.max_logit_difference < 2


def test_numbers_say_how_they_were_obtained(fitted: FitResult) -> None:
    (student,) = fitted.report.students
    latencies = [latency for result in student.artifacts for latency in result.latencies]
    assert {latency.how for latency in latencies} == {"measured", "predicted"}
    for latency in latencies:
        assert latency.device == ("this-machine" if latency.how == "measured" else "pixel6")
        assert latency.runtime == "onnxruntime"
        assert latency.runtime_version or latency.how == "predicted"
        assert (latency.low_ms is not None) == (latency.how == "predicted")
        assert latency.how == "predicted" or latency.n_runs >= 50


def test_int8_means_int8(fitted: FitResult) -> None:
    """The weights in the file are 8 bits, the embedding included."""
    import onnx

    (student,) = fitted.report.students
    model = onnx.load(str(student.artifacts[1].artifact.path))
    weights = [
        w for w in model.graph.initializer if len(w.dims) == 2 and min(w.dims) > 5
    ]  # neither token types nor the head, which may stay float
    kinds = {onnx.TensorProto.DataType.Name(w.data_type) for w in weights}
    assert kinds <= {"INT8", "UINT8"}
    assert sorted(w.dims[0] for w in weights)[-1] == 82  # the trimmed embedding among them


def test_predictions_have_character_offsets(fitted: FitResult) -> None:
    text = "Fly from aville to new bton"
    (answers,) = edgebert.predict(fitted.run, [text])
    assert [(a["text"], a["type"]) for a in answers] == [("aville", "CITY"), ("new bton", "CITY")]
    assert all(text[a["start"] : a["end"]] == a["text"] for a in answers)


def test_the_same_request_again_does_nothing_twice(fitted: FitResult, toy_checkpoint: Path, toy_data: Path) -> None:
    events: list[dict[str, object]] = []
    again = edgebert.fit(
        "pixel6",
        "ner",
        teacher=str(toy_checkpoint),
        data=str(toy_data),
        run=str(fitted.run),
        on_event=events.append,
        **QUICK,
    )
    assert not [event for event in events if event["event"] == "begin"]
    assert again.report.students[0].test == fitted.report.students[0].test


def test_another_device_reuses_the_teacher_and_the_student(
    fitted: FitResult, toy_checkpoint: Path, toy_data: Path
) -> None:
    events: list[dict[str, object]] = []
    run = fitted.run.parent / "other"
    edgebert.fit(
        "rpi4", "ner", teacher=str(toy_checkpoint), data=str(toy_data), run=str(run), on_event=events.append, **QUICK
    )
    linked = {event["stage"] for event in events if event["event"] == "linked"}
    assert {"teacher", "compress-L2-v82"} <= linked


@pytest.mark.parametrize("stage", [
    pytest.param("teacher", marks=pytest.mark.slow), pytest.param("compress", marks=pytest.mark.slow), pytest.param("convert", marks=pytest.mark.slow),
    pytest.param("verify", marks=pytest.mark.slow), pytest.param("profile", marks=pytest.mark.slow),
])  # fmt: skip
def test_a_kill_at_any_stage_then_the_same_command(
    stage: str, toy_checkpoint: Path, toy_data: Path, tmp_path: Path
) -> None:
    arguments = fit_arguments(toy_checkpoint, toy_data, "runs/killed")
    process = subprocess.Popen(
        [sys.executable, "-m", "edgebert", *arguments],
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    _wait_for(tmp_path / "runs" / "killed" / "events.jsonl", stage, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "runs" / "killed" / "bundle").exists()
    done = run_cli(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "killed" / "bundle" / "manifest.json").exists()
    assert not list((tmp_path / "runs" / "killed" / "stages").glob(".*"))


def _wait_for(events: Path, stage: str, process: subprocess.Popen[bytes]) -> None:
    """Until the stage has begun; for trainings, until an epoch is over."""
    training = {"teacher": "finetune-labels", "compress": "kd-prediction"}.get(stage)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, "it ended before it could be killed"
        lines = (
            [json.loads(line) for line in events.read_text().splitlines(True) if line.endswith("\n")]
            if events.exists()
            else []
        )
        for event in lines:
            if training and event["event"] == "epoch" and event["training"] == training:
                return
            if not training and event["event"] == "begin" and str(event["stage"]).startswith(stage):
                return
        time.sleep(0.02)
    pytest.fail(f"{stage} never began")


@pytest.mark.parametrize(
    ("name", "code"),
    [("SIGTERM", 143), *(pytest.param(*item, marks=pytest.mark.slow) for item in (("SIGINT", 130), ("SIGHUP", 129)))],
)
def test_a_signal_is_one_sentence_and_its_exit_code(
    name: str, code: int, toy_checkpoint: Path, toy_data: Path, tmp_path: Path
) -> None:
    run = tmp_path / "runs" / "stopped"
    process = subprocess.Popen(
        [sys.executable, "-m", "edgebert", *fit_arguments(toy_checkpoint, toy_data, str(run))],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: signal.signal(getattr(signal, name), signal.SIG_DFL),  # tests in the background ignore some
    )
    _wait_for(run / "events.jsonl", "teacher", process)  # type: ignore[arg-type]
    process.send_signal(getattr(signal, name))
    _, message = process.communicate(timeout=120)
    assert process.returncode == code
    assert message.splitlines()[-1] == f"stopped by {name} at stage teacher; the same command goes on where it was"
    assert "Traceback" not in message
    Run(run, {}).close()  # its lock is free


def test_a_budget_that_nothing_fits_ends_with_1(toy_checkpoint: Path, toy_data: Path, tmp_path: Path) -> None:
    done = run_cli(*fit_arguments(toy_checkpoint, toy_data, "r"), "--max-size-mb", "0.01", cwd=tmp_path)
    assert done.returncode == 1
    assert "nearest" in done.stderr
    assert "--max-size-mb" in done.stderr


@pytest.mark.slow
def test_a_drop_that_is_too_large_ends_with_1_and_no_bundle(
    toy_checkpoint: Path, toy_data: Path, tmp_path: Path
) -> None:
    arguments = fit_arguments(toy_checkpoint, toy_data, "r")
    arguments[arguments.index("--epochs") + 1] = "0.1"  # a student that has learnt nothing
    arguments += ["--set", "trim-vocab.size=60", "--set", "trim-vocab.floor=10"]  # and must spell every word
    done = run_cli(*arguments, "--max-drop", "1", "--teacher-epochs", "12", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "against the teacher) is over the budget of 1 point" in " ".join(done.stdout.split())
    assert not (tmp_path / "r" / "bundle").exists()
    assert (tmp_path / "r" / "report" / "index.html").exists()


def test_a_file_that_computes_something_else_is_put_aside(
    toy_checkpoint: Path, toy_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A converter that swaps two labels writes a valid file; parity must catch it and nothing may be packaged."""
    import onnx
    from onnx import numpy_helper

    from edgebert import converters
    from edgebert.converters import onnx as onnx_converter

    honest = onnx_converter.reduce

    def swapped(source, artifact, precision, trial, folder):  # type: ignore[no-untyped-def]
        model = onnx.load(str(artifact.path))
        bias = next(w for w in model.graph.initializer if w.name.endswith("classifier.bias"))
        values = numpy_helper.to_array(bias)
        bias.CopyFrom(
            numpy_helper.from_array(np.roll(values, 1) + np.arange(len(values), dtype=np.float32) * 5, bias.name)
        )
        path = folder / "tampered.onnx"
        onnx.save(model, str(path))
        return honest(source, converters.Artifact(**{**vars(artifact), "path": path}), precision, trial, folder)

    declared = onnx_converter.CONVERTER
    lying = converters.Converter(**{**vars(declared), "reduce": swapped})
    monkeypatch.setattr(CONVERTERS, "all", lambda: {"onnx": lying})
    run = tmp_path / "rejected"
    result = edgebert.fit("pixel6", "ner", teacher=str(toy_checkpoint), data=str(toy_data), run=str(run), **QUICK)
    assert result.exit_code == 1
    assert result.bundle is None
    reason = (run / "rejected" / "L2-v82-onnx-int8" / "reason.txt").read_text()
    assert "logits differs by" in reason and "weight model.classifier.bias differs by" in reason
    assert (run / "rejected" / "L2-v82-onnx-int8" / "model.onnx").exists()


def test_what_is_made_from_a_rejected_float32_file_is_rejected(
    toy_checkpoint: Path, toy_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1 % of scale changes no answer, so the int8 file alone would pass."""
    from edgebert import converters
    from edgebert.converters import onnx as onnx_converter

    def scaled(source, folder):  # type: ignore[no-untyped-def]
        head = source.graph.model.classifier
        head.weight.data.mul_(1.01)
        head.bias.data.mul_(1.01)
        return onnx_converter.export(source, folder)

    lying = converters.Converter(**{**vars(onnx_converter.CONVERTER), "export": scaled})
    monkeypatch.setattr(CONVERTERS, "all", lambda: {"onnx": lying})
    result = edgebert.fit(
        "pixel6", "ner", teacher=str(toy_checkpoint), data=str(toy_data), run=str(tmp_path / "r"), **QUICK
    )
    assert result.exit_code == 1 and result.bundle is None
    fp32, int8 = result.report.students[0].artifacts
    assert any("differs by" in failure for failure in fp32.parity.failures)
    assert int8.parity.failures == ("the float32 file that it was made from was rejected",)


def test_a_fit_needs_a_precision_to_package(toy_checkpoint: Path, toy_data: Path, tmp_path: Path) -> None:
    done = run_cli(*fit_arguments(toy_checkpoint, toy_data, "r"), "--precision", "fp32", cwd=tmp_path)
    assert done.returncode == 2
    assert "nothing to package" in done.stderr and "int4-embedding" in done.stderr


def test_the_plan_is_for_the_first_format_that_has_the_precision() -> None:
    assert planned(("tflite", "onnx"), ("int4", "int8")) == ("onnx", "int4")
    assert planned(("tflite", "onnx"), ("int8",)) == ("tflite", "int8")


@pytest.mark.slow
def test_two_processes_train_together(toy_checkpoint: Path, toy_data: Path, tmp_path: Path) -> None:
    """Both train, one writes and measures: `accelerate launch` on the CPU, by gloo."""
    launch = ["accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1"]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no", "-m", "edgebert"]
    arguments = fit_arguments(toy_checkpoint, toy_data, "r")
    arguments[arguments.index("--teacher-epochs") + 1] = "8"  # half the steps of one process
    arguments[arguments.index("--epochs") + 1] = "6"
    done = subprocess.run(
        [sys.executable, "-m", *launch, *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=500,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "r" / "report" / "report.json").read_text())
    assert report["students"][0]["test"]["value"] > 0.9
    edgebert.check(tmp_path / "r")
