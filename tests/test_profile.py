"""`edgebert profile` from what is named to what is printed: files found, inputs drawn, figures made, mistakes told."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgebert import api
from edgebert.bundle.write import write_bundle
from edgebert.cli import main
from edgebert.converters import CONVERTERS
from edgebert.errors import DataError, EdgebertError, RequestError
from edgebert.measure import measure as measuring
from edgebert.measure.artifacts import Origin, find_subjects
from edgebert.measure.compare import compare
from edgebert.measure.figures import Measured, as_latency, measured, padding_of
from edgebert.measure.inputs import N_INPUTS, encode, fixed_tokens, golden_texts, of_length, own_lengths, read_texts
from edgebert.measure.measure import Request, make_inputs, measure
from edgebert.measure.protocol import Entry, interleave
from edgebert.measure.runner import is_stable, spread
from edgebert.measure.targets import TARGETS, File, Job, MeasurementRecord, Outcome, Target, here
from edgebert.report import format as fmt
from edgebert.tasks import find_task
from edgebert.types import CpuTime, Row, Student
from tests.sshd import PROGRAM, board
from tests.test_bundle import LABELS, MAX_LENGTH, make_model, make_student, weights

QUICK: dict[str, Any] = {"max_seconds": 0.1, "timeout_s": 120.0}
ROWS = [Row(("show", "me", *["flights"] * n, "to", "denver"), ("O",) * (n + 4)) for n in range(8)]
pytestmark = pytest.mark.usefixtures("all_cores")  # it times several threads


def make_bundle(folder: Path) -> Path:
    work = folder / "parts"
    work.mkdir()
    return write_bundle(
        folder / "run" / "bundle",
        artifact=make_model(work / "tiny.onnx", weights()),
        student=make_student(work / "student"),
        task=find_task("ner"),
        labels=LABELS,
        golden=ROWS,
        max_length=MAX_LENGTH,
        facts={},
    )


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundle"))


# ---------------------------------------------------------------- files


def test_a_bundle_a_file_and_a_folder_of_convert(bundle: Path, tmp_path: Path) -> None:
    (item,) = find_subjects([str(bundle)])
    assert item.file == File("run onnx-fp32", "onnx", bundle / "model.fp32.onnx")
    assert item.tokenizer == bundle / "tokenizer.json" and item.golden == bundle / "golden.jsonl" and item.limit == 16
    out = tmp_path / "model-edge"
    for place in ("onnx/fp32", "onnx/int8", "onnx/int8/with-tokenizer", "tflite/fp32", "rejected/onnx/fp16"):
        (out / place).mkdir(parents=True)
        (out / place / f"model.{'tflite' if place.startswith('tflite') else 'onnx'}").write_bytes(b"x")
    result = find_subjects([str(out)])
    assert [subject.file.name for subject in result] == ["onnx-fp32", "onnx-int8", "tflite-fp32"]
    shutil.copyfile(bundle / "tokenizer.json", out / "tokenizer.json")
    (file,) = find_subjects([str(out / "onnx/int8/model.onnx")])
    assert file.file.name == "model.onnx" and file.tokenizer == out / "tokenizer.json"


def test_a_run_gives_the_students_files_that_passed(bundle: Path, tmp_path: Path) -> None:
    def stage(number: int, name: str, result: Any) -> Path:
        folder = tmp_path / "stages" / f"{number:02d}-{name}-key"
        folder.mkdir(parents=True)
        record = {"stage": name, "key": "key", "inputs": {}, "result": result, "seconds": 1.0, "files": {}}
        (folder / "record.json").write_text(json.dumps(record))
        return folder

    (tmp_path / "request.toml").write_text("")
    files = [
        {"name": f"onnx-{p}", "format": "onnx", "precision": p, "path": f"onnx/{p}/model.onnx", "sha256": p * 16}
        for p in ("fp32", "int8")
    ]
    stage(2, "convert-teacher", files[:1])
    student = stage(3, "compress-L3", {})
    (student / "tokenizer.json").write_text("{}")
    converted = stage(4, "convert-L3", files)
    verified = stage(
        5, "verify-L3", {"onnx-fp32": {"parity": {"failures": []}}, "onnx-int8": {"parity": {"failures": ["far"]}}}
    )
    shutil.copytree(bundle, tmp_path / "bundle")
    (item,) = find_subjects([str(tmp_path)])
    assert item.file == File("L3 onnx-fp32", "onnx", converted / "onnx/fp32/model.onnx")
    assert item.origin == Origin(tmp_path, verified, "fp32", "fp32" * 16)
    assert item.tokenizer == student / "tokenizer.json" and item.golden == tmp_path / "bundle/golden.jsonl"
    shutil.rmtree(tmp_path / "stages")
    (packaged,) = find_subjects([str(tmp_path)])
    assert packaged.file.path == tmp_path / "bundle/model.fp32.onnx"


def test_of_stages_of_one_name_the_one_that_was_used_last_counts(tmp_path: Path) -> None:
    """One run folder serves several commands: with --format onnx first, with openvino later."""
    (tmp_path / "request.toml").write_text("")
    events = []
    for key, format in (("b", "onnx"), ("a", "openvino")):
        files = [{"name": f"{format}-fp32", "format": format, "precision": "fp32", "path": "m", "sha256": ""}]
        verdict = {f"{format}-fp32": {"parity": {"failures": []}}}
        for stage, result in (("convert-L3", files), ("verify-L3", verdict)):
            folder = tmp_path / "stages" / f"04-{stage}-{key}"
            folder.mkdir(parents=True)
            record = {"stage": stage, "key": key, "inputs": {}, "result": result, "seconds": 1.0, "files": {}}
            (folder / "record.json").write_text(json.dumps(record))
            events.append({"event": "done", "stage": stage, "key": key})
    lines = "".join(json.dumps(event) + "\n" for event in events)
    (tmp_path / "events.jsonl").write_text(lines)
    (item,) = find_subjects([str(tmp_path)])
    assert item.file.format == "openvino"
    again = [{**event, "event": "kept"} for event in events[:2]]
    (tmp_path / "events.jsonl").write_text(lines + "".join(json.dumps(event) + "\n" for event in again))
    (item,) = find_subjects([str(tmp_path)])
    assert item.file.format == "onnx"


def test_files_of_one_name_are_told_apart_and_named_once(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "m.onnx").write_bytes(b"x")
    paths = [str(tmp_path / folder / "m.onnx") for folder in "aba"]
    assert [subject.file.name for subject in find_subjects(paths)] == paths[:2]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "no such file"),
        ("text.txt", "this file cannot be measured"),
        ("empty", "contains nothing that can be measured"),
    ],
)
def test_what_cannot_be_measured(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "text.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestError, match=message) as caught:
        find_subjects([str(tmp_path / name)])
    assert "a bundle, a run folder" in str(caught.value)


# ---------------------------------------------------------------- inputs


def test_own_lengths_are_those_of_the_files_tokenizer(bundle: Path) -> None:
    """Golden rows have 4 + n words and two marks: 6 to 13 tokens; the edge cases of every bundle are left out."""
    (subject,) = find_subjects([str(bundle)])
    texts = golden_texts(bundle / "golden.jsonl")
    assert len(texts) == len(ROWS)
    inputs = own_lengths(subject, texts, 16, "golden")
    assert sorted(inputs.n_tokens) == [6, 7, 8, 9, 10, 11, 12, 13] and len(inputs.rows) <= N_INPUTS
    assert max(own_lengths(subject, texts, 9, "golden").n_tokens) == 9, "cut to the limit"
    fixed = of_length(subject, 16, texts)
    assert fixed.n_tokens == [16] and fixed.rows[0]["input_ids"][0][0] == 2 and fixed.rows[0]["input_ids"][0][-1] == 3
    assert of_length(subject, 12, ()).rows[0]["input_ids"] == [[1] * 12]


def test_ten_inputs_are_spread_over_many_texts(bundle: Path, tmp_path: Path) -> None:
    (subject,) = find_subjects([str(bundle)])
    (tmp_path / "lines").write_text("".join(" ".join(["show"] * n) + "\n\n" for n in range(1, 101)))
    texts = read_texts(tmp_path / "lines")
    lengths = sorted(own_lengths(subject, texts, 512, "lines").n_tokens)
    assert len(texts) == 100 and lengths == [n + 2 for n in (6, 16, 26, 36, 46, 56, 66, 76, 86, 96)]


def test_two_texts_of_a_line_are_one_input(bundle: Path, tmp_path: Path) -> None:
    (subject,) = find_subjects([str(bundle)])
    (tmp_path / "lines").write_text("show me\tto boston\n")
    (feature,) = encode(subject, read_texts(tmp_path / "lines"), 512)
    assert feature.input_ids == (2, 4, 5, 3, 9, 8, 3) and feature.type_ids == (0, 0, 0, 0, 1, 1, 1)


def test_inputs_that_cannot_be(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_texts(tmp_path / "nothing")
    (tmp_path / "blank").write_text(" \n\n")
    with pytest.raises(DataError, match="holds no text"):
        read_texts(tmp_path / "blank")
    make_model(tmp_path / "m.onnx", weights())
    (subject,) = find_subjects([str(tmp_path / "m.onnx")])
    with pytest.raises(RequestError, match=r"no tokenizer\.json beside the file"):
        encode(subject, [("x",)], 16)
    (subject,) = find_subjects([str(bundle)])
    with pytest.raises(RequestError, match="at most 16 tokens"):
        fixed_tokens(subject, 17)
    assert fixed_tokens(subject, None) == 16


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"length": 64, "texts": "x"}, "exclude each other"),
        ({"texts": "x", "run": "y"}, "exclude each other"),
        ({"length": 1}, "at least 2 tokens"),
        ({"run": "nowhere"}, "contains no bundle"),
        ({"on": ("phone",)}, "unknown target 'phone'"),
        ({"on": ("here:x",)}, "has no address"),
        ({"cores": (4095,)}, "may not run on core 4095"),
    ],
)
def test_requests_that_cannot_be(bundle: Path, more: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        measure(Request(**{"artifacts": (str(bundle),), "on": ("here",), **QUICK, **more}))


# ---------------------------------------------------------------- figures


def outcome_of(times: list[float], **more: Any) -> tuple[MeasurementRecord, Outcome]:
    result = MeasurementRecord("f", "rt", "1", 10.0, 2.0, tuple(times), 1000, **more)
    return result, Outcome("Board", "emulated", (result,))


def job_of(bundle: Path, n_inputs: int = 1) -> tuple[Job, Any]:
    (subject,) = find_subjects([str(bundle)])
    inputs = of_length(subject, 8, ())
    return Job((subject.file,), inputs.rows * n_inputs, threads=3), inputs


def test_figures_of_given_times_by_hand(bundle: Path) -> None:
    """100 times 1 … 100: 20 blocks, the two quietest are 1 … 10, whose median is 5.5; percentiles of all by
    interpolation: 50.5, 90.1, 99.01."""
    job, inputs = job_of(bundle)
    result, outcome = outcome_of([float(k) for k in range(1, 101)])
    item = measured(job.files[0], result, outcome, "ssh:x", job, inputs)
    assert (item.p50_ms, item.p50_all_ms, item.p90_ms, item.p99_ms) == (5.5, 50.5, 90.1, 99.01)
    assert (item.n_runs, item.how, item.device, item.threads, item.stable) == (100, "emulated", "Board", 3, False)
    assert (item.load_ms, item.first_run_ms, item.peak_memory_bytes, item.seq_len) == (10.0, 2.0, 1000, 8)


def test_processor_times_have_the_same_statistics(bundle: Path) -> None:
    """20 blocks of 1 … 100 as above: 5.5 of the quietest tenth. The usual block is at 50.5, 8.18 times as much above it, which
    is more than the thirds lie apart: (blocks at 3, 33 and 63) to 33 / 3 - 1 = 10."""
    job, inputs = job_of(bundle)
    times = tuple(float(k) for k in range(1, 101))
    result, outcome = outcome_of([10 * k for k in times], cpu_ms=times, load_cpu_ms=4.0)
    item = measured(job.files[0], result, outcome, "here", job, inputs)
    assert item.cpu == CpuTime(5.5, 90.1, 10.0) and item.p50_ms == 55.0 and item.load_cpu_ms == 4.0
    assert as_latency(item, "here").cpu == item.cpu
    result, outcome = outcome_of(list(times), cpu_ms=(0.0, *times[1:]))
    assert measured(job.files[0], result, outcome, "here", job, inputs).cpu is None, "a clock that counts in long steps"


def test_a_spread_holds_the_usual_block_too() -> None:
    """Ten blocks of 1.0 and twenty of 1.4 in each third, in turns: the thirds agree, and the usual block is 40 % above."""
    third = ([1.0] * 5 + [1.4] * 10) * 10
    assert spread(third * 3) == pytest.approx(0.4) and is_stable(third * 3)
    assert spread([1.0] * 25) is None, "five blocks"


@pytest.mark.parametrize(
    ("others", "least"), [(0.0, 0.0), (0.2, 0.0), (0.5, 0.2), (1.0, 0.4), (1.7, 0.4)]
)  # fmt: skip
def test_beside_others_a_time_is_less_sure(others: float, least: float, bundle: Path) -> None:
    """Equal blocks, of wall and of processor time: what the other thread of the core does is in both."""
    job, inputs = job_of(bundle)
    result = MeasurementRecord("f", "rt", "1", 1.0, 1.0, (2.0,) * 90, 10**7, cpu_ms=(1.9,) * 90)
    item = measured(job.files[0], result, Outcome("B", "measured", (result,), others=others), "here", job, inputs)
    assert item.cpu is not None and (item.spread, item.cpu.spread) == (pytest.approx(least), pytest.approx(least))
    assert (item.p50_ms, item.cpu.p50_ms) == (2.0, 1.9)


def test_nothing_measured_has_no_figures(bundle: Path) -> None:
    job, inputs = job_of(bundle)
    result = MeasurementRecord("f", failure="no kernel")
    item = measured(job.files[0], result, Outcome("B", "measured", (result,)), "here", job, inputs)
    figures = (
        item.p50_ms,
        item.p50_all_ms,
        item.p90_ms,
        item.p99_ms,
        item.load_ms,
        item.first_run_ms,
        item.peak_memory_bytes,
    )
    assert figures == (None,) * 7 and item.failure == "no kernel" and not item.stable


def test_what_padding_costs_by_hand() -> None:
    def one(lengths: Any, tokens: tuple[int, ...], p50: float, target: str = "here") -> Measured:
        return Measured("f", Path("f"), target, "d", "measured", "r", "1", 1, (), lengths, tokens, "", p50_ms=p50)

    timed = [one("data", (8, 12, 40), 2.0), one("fixed", (128,), 9.0), one("data", (8,), 1.0, "ssh:x")]
    (pad,) = padding_of([("f", as_latency(each, each.target)) for each in timed])
    assert (pad.own_tokens, pad.fixed_tokens, pad.factor) == (12, 128, 4.5)
    assert fmt.padding(pad) == (
        "padded to 128 tokens a text takes 4.5 times as long (9.00 ms against 2.00 ms at own lengths, "
        "median 12 tokens; measured on this machine, r 1, 1 thread)"
    )


def test_fit_measures_by_the_same_turns() -> None:
    class Session:
        runtime, runtime_version, n = "x", "1", 0

        def run(self, batch: Any) -> dict[str, np.ndarray]:
            self.n += 1
            return {}

    batches = [{"input_ids": np.ones((1, 4))}] * 4
    entries = [Entry(name, Session(), batches) for name in "ab"]
    rounds = []
    interleave(entries, 50, step=lambda: rounds.append(1))
    assert [len(entry.times_ms) for entry in entries] == [50, 50] and len(rounds) == 10
    assert [entry.session.n for entry in entries] == [3 + 10 * (8 + 5)] * 2  # type: ignore[attr-defined]


# ---------------------------------------------------------------- here


def test_here_measures_a_bundle_at_its_own_lengths_and_at_a_fixed_one(bundle: Path, tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    result = api.profile(bundle, "here", output=str(tmp_path / "out.json"), on_event=events.append, **QUICK)
    own, fixed = result.results
    assert (own.lengths, fixed.lengths) == ("data", "fixed") and sorted(own.n_tokens) == list(range(6, 14))
    assert own.how == "measured" and own.runtime == "onnxruntime" and own.n_runs >= 50 and own.p50_ms
    assert own.load_ms and own.first_run_ms and own.peak_memory_bytes
    assert result.exit_code == 0 and len(result.padding) == 1 and result.facts["here"]["cores"] >= 1
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["results"][0]["times_ms"] == list(own.times_ms) and "quietest tenth" in written["statistic"]
    assert {"begin", "done", "measuring"} <= {event["event"] for event in events}


def test_torch_is_measured_here(toy_checkpoint: Path, tmp_path: Path) -> None:
    shutil.copytree(toy_checkpoint, tmp_path / "toy")
    config = json.loads((tmp_path / "toy/config.json").read_text()) | {"architectures": ["AutoModel"]}
    (tmp_path / "toy/config.json").write_text(json.dumps(config))
    result = api.profile(tmp_path / "toy", "here", length=8, **QUICK)
    (item,) = result.results
    assert not item.failure and item.runtime == "torch" and item.n_runs >= 50 and item.peak_memory_bytes


def test_a_tflite_file_gives_here_and_by_ssh_what_its_converter_gives(teacher: Student, tmp_path: Path) -> None:
    """Signatures of 8 and 16 tokens, so that inputs of 5 and 12 are padded, and their outputs cut."""
    pytest.importorskip("ai_edge_litert")
    from edgebert.modeling.graph import make_source

    artifact = CONVERTERS.get("tflite").export(make_source(teacher.model, lengths=(8, 16)), tmp_path)
    inputs = tuple({"input_ids": [[2, *range(5, 3 + n), 3]]} for n in (5, 12))
    job = Job((File("t", "tflite", artifact.path),), inputs, **QUICK)
    outcomes = [here.measure("", job, lambda **event: None)]
    if PROGRAM is not None:
        (tmp_path / "far").mkdir()
        with board(tmp_path / "far") as far, pytest.MonkeyPatch.context() as patch:
            patch.setenv("EDGEBERT_SSH_CONFIG", str(far.config))
            outcomes.append(TARGETS.get("ssh").measure("board", job, lambda **event: None))
            assert far.left_behind() == []
    for outcome in outcomes:
        (result,) = outcome.records
        assert not result.failure and result.runtime == "ai_edge_litert" and len(result.times_ms) >= 50
        assert [np.shape(output["logits"])[1] for output in result.outputs] == [5, 12]
        agreement = compare(job.files[0], job, result)
        assert agreement.max_difference < 1e-5 and agreement.equal_predictions == 1


def test_a_file_that_is_refused_here(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    make_model(tmp_path / "good.onnx", weights())
    result = api.profile([tmp_path / "bad.onnx", tmp_path / "good.onnx"], "here", length=8, **QUICK)
    bad, good = result.results
    assert "refuses the file" in bad.failure and bad.p50_ms is None
    assert good.n_runs >= 50 and not good.failure and result.exit_code == 2


def test_cores_are_kept(tmp_path: Path) -> None:
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("this system does not let a program choose its cores")
    core = min(os.sched_getaffinity(0))
    make_model(tmp_path / "m.onnx", weights())
    result = api.profile(tmp_path / "m.onnx", "here", length=8, cores=(core,), **QUICK)
    assert result.results[0].cores == (core,) and result.results[0].n_runs >= 50


def test_a_process_that_dies_before_anything_is_an_error(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job, _ = job_of(bundle)
    monkeypatch.setattr(here, "MODULE", "edgebert.nothing")
    with pytest.raises(EdgebertError, match="exit status 1") as caught:
        here.measure("", job, lambda **event: None)
    assert "edgebert.nothing" in str(caught.value)


# ---------------------------------------------------------------- several targets


def fake_target(monkeypatch: pytest.MonkeyPatch, act: Any, formats: tuple[str, ...] = ("onnx",)) -> None:
    target = Target("far", "a far device", formats, "far:x", act, lambda address: "")
    known = {"far": target, "here": here.TARGET}
    monkeypatch.setattr(TARGETS, "all", lambda: known)


def test_one_target_that_fails_does_not_cost_the_other(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def act(address: str, job: Job, log: Any) -> Outcome:
        raise EdgebertError("the cable is out", where=address, hint="Plug it in.")

    fake_target(monkeypatch, act)
    result = measure(Request((str(bundle),), ("far:x", "here"), length=8, **QUICK))
    assert [item.target for item in result.results] == ["here"] and result.exit_code == 2
    assert "the cable is out" in result.failures["far:x"] and "Plug it in" in result.failures["far:x"]
    with pytest.raises(EdgebertError, match="the cable is out"):
        measure(Request((str(bundle),), ("far:x",), length=8, **QUICK))


def test_outputs_are_held_against_a_run_here(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The far device swaps two labels of one token of four and adds 0.25 to the rest."""

    def act(address: str, job: Job, log: Any) -> Outcome:
        logits = weights()[job.inputs[0]["input_ids"][0]] + 0.25
        logits[0] = logits[0][::-1]
        result = MeasurementRecord("f", "rt", "1", 1.0, 1.0, (1.0,) * 60, outputs=({"logits": [logits.tolist()]},))
        return Outcome("Board", "measured", (result,))

    fake_target(monkeypatch, act)
    (item,) = measure(Request((str(bundle),), ("far:x",), length=4, **QUICK)).results
    table = weights()[1]
    assert item.compared == 1 and item.equal_predictions == 0.75
    assert item.max_difference == pytest.approx(float(np.abs(table[::-1] + 0.25 - table).max()))


def test_files_that_a_target_does_not_run(bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def act(address: str, job: Job, log: Any) -> Outcome:
        return Outcome("B", "measured", tuple(MeasurementRecord(file.name, times_ms=(1.0,)) for file in job.files))

    (tmp_path / "m.tflite").write_bytes(b"x")
    fake_target(monkeypatch, act)
    with pytest.raises(RequestError, match=r"none of the files is of a format that it runs \(onnx\)"):
        measure(Request((str(tmp_path / "m.tflite"),), ("far:x",), length=8, **QUICK))
    result = measure(Request((str(tmp_path / "m.tflite"), str(bundle)), ("far:x",), length=8, **QUICK))
    assert [item.file for item in result.results] == ["run onnx-fp32"] and "left out m.tflite" in result.notes[0]


def test_files_of_two_tokenizers_are_not_given_each_others_pieces(bundle: Path, tmp_path: Path) -> None:
    other = make_bundle(tmp_path)
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["extra"] = 99
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    request = Request((str(bundle), str(other)), ("here",))
    groups = measuring.by_tokenizer(request, find_subjects(request.artifacts))
    assert [len(group) for group in groups] == [1, 1]
    assert len(make_inputs(request, groups[0])) == 2
    at_length = Request(request.artifacts, ("here",), length=8)
    (together,) = measuring.by_tokenizer(at_length, find_subjects(request.artifacts))
    assert make_inputs(at_length, together)[0].rows[0]["input_ids"] == [[1] * 8], "tokens of neither"


# ---------------------------------------------------------------- the command


def run_command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


def test_the_command_prints_what_it_measured(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "lines.txt").write_text("show me flights\nflights from boston to denver\n")
    output = str(tmp_path / "r.json")
    code, out, err = run_command(
        capsys, "profile", str(bundle), "--on", "here", "--texts", str(tmp_path / "lines.txt"),
        "--max-seconds", "0.1", "-o", output,
    )  # fmt: skip
    assert code == 0, err
    for wanted in ("run onnx-fp32", "5–7", "p50", "p99", "peak MB", "here: measured", "onnxruntime", "1 thread",
                   "quietest tenth", "padded to 16 tokens", "raw times:"):  # fmt: skip
        assert wanted in out
    assert json.loads(Path(output).read_text())["results"][0]["times_ms"]


def test_the_command_says_that_emulated_times_say_nothing(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    emulated = replace(here.TARGET, measure=lambda *job: replace(here.measure(*job), how="emulated"))
    monkeypatch.setattr(TARGETS, "get", lambda name: emulated)
    code, out, _ = run_command(
        capsys, "profile", str(bundle), "--on", "here", "--length", "8", "--max-seconds", "0.1", "--quiet"
    )
    assert code == 0 and "here: emulated, so its times and memory say nothing" in out and "measured" not in out


def test_the_command_prints_json(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("profile", str(bundle), "--on", "here", "--length", "8", "--max-seconds", "0.1", "--json", "--quiet")
    code, out, _ = run_command(capsys, *arguments)
    (item,) = json.loads(out)["results"]
    assert code == 0 and item["how"] == "measured" and len(item["times_ms"]) == item["n_runs"] >= 50


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("profile", "x.onnx"), "--on"),
        (("profile", "nowhere.onnx", "--on", "here"), "no such file"),
        (("profile", "B", "--on", "hree"), "Did you mean here"),
        (("profile", "B", "--on", "here", "--cores", "a"), "numbers separated by commas"),
        (("profile", "B", "--on", "here", "--length", "8", "--texts", "x"), "exclude each other"),
        (("profile", "B", "--on", "here", "-o", "/nowhere/x.json"), "its folder does not exist"),
        (("profile", "B", "--on", "ssh:a;b"), "is no address of a host"),
        (("devices", "prepare", "here"), "nothing to install"),
        (("devices", "prepare", "nowhere"), "unknown target"),
    ],
)
def test_mistakes_are_one_message_and_exit_code_2(
    bundle: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    code, _, err = run_command(capsys, *(str(bundle) if word == "B" else word for word in arguments))
    assert code == 2 and message in err and "Traceback" not in err


def test_the_help_loads_nothing_heavy() -> None:
    code = "import sys\nfrom edgebert.cli import cli\ncli.main(['profile', '--help'], standalone_mode=False)\n"
    code += "print([m for m in ('torch', 'numpy', 'onnxruntime', 'rich') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
