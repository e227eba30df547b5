"""Engines judged by real rows: one that is right, and those that are wrong, break off, or run another file."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

import edgebert
from edgebert.bundle.manifest import read_manifest
from edgebert.cli import main
from edgebert.converters.onnx import CONVERTER
from edgebert.errors import EdgebertError, RequestError
from edgebert.files import plain
from edgebert.measure.artifacts import find_subjects
from edgebert.measure.judge import judge_engine
from edgebert.measure.runner import make_batches
from edgebert.measure.targets import TARGETS, Job, MeasurementRecord, Outcome, Target, browser
from edgebert.measure.targets import _browser_assets as assets
from edgebert.modeling.graph import make_source
from edgebert.report import format as fmt
from edgebert.report import read_report, write_report
from edgebert.report.html import render
from edgebert.results import EngineProof
from edgebert.runs.engines import read_proofs
from edgebert.runs.store import Run
from edgebert.tasks import find_task
from edgebert.types import Row, Student
from edgebert.verify.engine import examine, read_sample, write_sample
from edgebert.verify.reference import row_batches
from tests.packages import CORPUS, make_bundle
from tests.report_factory import make_report

Change = Callable[[int, dict[str, np.ndarray]], Mapping[str, Any]]
N_ROWS, MAX_LENGTH = 60, 32


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, toy_checkpoint: Path, toy_rows: list[Row]) -> Path:
    """A run of one student of random weights, whose own answers are the gold: its score is 100 %."""
    import torch

    from edgebert.modeling.checkpoint import load_model, load_tokenizer

    folder, task = tmp_path_factory.mktemp("runs") / "run", find_task("ner")
    torch.manual_seed(1)
    labels = task.labels(toy_rows)
    model, _ = load_model(toy_checkpoint, "AutoModelForTokenClassification", labels)
    student = Student(model, load_tokenizer(toy_checkpoint))
    rows = toy_rows[:N_ROWS]
    features = task.encode(rows, student.tokenizer, labels, MAX_LENGTH)

    def convert(place: Path) -> list[object]:
        artifact = CONVERTER.export(make_source(model, labels=labels, lengths=(16,)), place)
        return [plain(replace(artifact, path=artifact.path.relative_to(place)))]

    store = Run(folder, {"task": "ner"})
    store.stage("compress-toy", {}, lambda place: student.tokenizer.save(str(place / "tokenizer.json")))
    converted = store.stage("convert-toy", {}, convert)
    session = CONVERTER.open(converted.path / converted.result[0]["path"], 1)
    outputs = [{"logits": session.run(batch)["logits"][0]} for batch in row_batches(features)]
    gold = task.decode(rows, features, outputs, labels)
    rows = [replace(row, tags=tuple(tags)) for row, tags in zip(rows, gold, strict=True)]

    def verify(place: Path) -> dict[str, object]:
        write_sample(place, task, rows, labels, MAX_LENGTH, 0)
        return {item["name"]: {"parity": {"failures": []}} for item in converted.result}

    store.stage("verify-toy", {}, verify)
    store.close()
    return folder


def target(change: Change, *, stop_at: int | None = None, failure: str = "", **more: Any) -> Target:
    """This machine's runtime, as an engine that changes each output (number of the input, outputs)."""

    def measure(address: str, job: Job, log: Any) -> Outcome:
        session = CONVERTER.open(job.files[0].path, 1)
        batches = make_batches({"inputs": job.inputs[: job.n_outputs]})[:stop_at]
        outputs = tuple(
            {name: np.asarray(array).tolist() for name, array in change(i, session.run(batch)).items()}
            for i, batch in enumerate(batches)
        )
        record = MeasurementRecord(job.files[0].name, "far", "7", 1.0, 1.0, (1.0,) * job.min_runs, outputs=outputs)
        return Outcome("Board X", "measured", (replace(record, failure=failure),), {"adapter": "a card"})

    return replace(Target("far", "far away", ("onnx",), "far", measure, lambda a: "", engine=lambda a: "gpu"), **more)


def same(i: int, outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return outputs


def judged(run: Path, far: Target, **settings: Any) -> EngineProof:
    (proof,), notes = judge_engine(
        "far:x", far, find_subjects([str(run)]), Job((), ()), lambda **event: None, **settings
    )
    assert not notes
    return proof


def n_edges(run: Path) -> int:
    """Inputs before the first real row."""
    (subject,) = find_subjects([str(run)])
    assert subject.origin and subject.tokenizer
    session = CONVERTER.open(subject.file.path, 1)
    exam = examine(session, read_sample(subject.origin.verified), Tokenizer.from_file(str(subject.tokenizer)))
    return len(exam.batches) - len(exam.features)


def test_a_right_engine_may_be_used_and_the_run_keeps_it(run: Path) -> None:
    proof = judged(run, target(same))
    (subject,) = find_subjects([str(run)])
    assert subject.origin is not None and proof.parity is not None
    assert (proof.sha256, proof.engine, proof.target) == (subject.origin.sha256, "gpu", "far:x")
    assert (proof.device, proof.adapter, proof.runtime, proof.runtime_version) == ("Board X", "a card", "far", "7")
    assert proof.failures == () and proof.parity.n_rows == proof.parity.score.n == N_ROWS
    assert proof.parity.score.value == proof.parity.reference_score.value == proof.parity.equal_predictions == 1.0
    assert proof.parity.max_logit_difference < 1e-6, "this machine's own runtime, but for JSON"
    assert {"half padding", "padded rows", "text under the mask", "joined rows"} <= proof.parity.edges.keys()
    assert read_proofs(run, [proof.sha256]) == (proof,)
    assert read_proofs(run, ["0" * 64]) == ()
    assert fmt.engine(proof).startswith(
        "toy onnx-fp32 may be used with gpu (measured: Board X, a card, far 7): 100.00 % (strict entity F1, test, n = 60; "
        "100.00 % here), 100.00 % of its answers are this machine's, largest difference "
    )


WRONG: dict[str, tuple[Change, str]] = {
    "another sign": (lambda i, out: {"logits": -out["logits"]}, "of answers|falls by"),
    "another scale": (lambda i, out: {"logits": 1.05 * out["logits"]}, "scale|slope|differs"),
    "a shift": (lambda i, out: {"logits": out["logits"] + 0.01}, "differs by 0.01 on a real row"),
    "not a number": (lambda i, out: {"logits": np.full_like(out["logits"], np.nan)}, "NaN or infinite"),
    "one row in forty": (lambda i, out: {"logits": out["logits"] * (-1 if i % 40 == 39 else 1)}, "differs"),
    "columns turned": (lambda i, out: {"logits": np.roll(out["logits"], 1, -1)}, "differs"),
    "another shape": (lambda i, out: {"logits": out["logits"][:, :, :2]}, "has the shape"),
    "another name": (
        lambda i, out: {"other": out["logits"]},
        r"its outputs are \['other'\], here they are \['logits'\]",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_engine_must_not_be_used(case: str, run: Path) -> None:
    change, why = WRONG[case]
    proof = judged(run, target(change))
    assert re.search(why, "; ".join(proof.failures)), proof.failures
    assert read_proofs(run, [proof.sha256]) == (proof,), "it took the place of the proof before it"
    assert fmt.engine(proof).startswith("toy onnx-fp32 must not be used with gpu (measured: Board X")
    json.dumps(plain(proof), allow_nan=False)


def test_an_engine_that_is_wrong_on_padding_alone_is_found(run: Path) -> None:
    """Real rows come unpadded; edge rows, which come first, do not."""
    first_row = n_edges(run)
    proof = judged(run, target(lambda i, out: {"logits": out["logits"] * (1 if i >= first_row else 0.7)}))
    assert proof.parity is not None and proof.parity.score.value == 1.0 and proof.parity.equal_predictions == 1.0
    assert any("padded rows" in failure for failure in proof.failures)


def test_the_metric_is_that_of_the_rows_as_the_engine_answers_them(run: Path) -> None:
    """Nothing but O on the first half of the rows: precision 1, and recall the share of the entities of the others."""
    (subject,) = find_subjects([str(run)])
    assert subject.origin is not None
    sample, first_row = read_sample(subject.origin.verified), n_edges(run)
    outside = np.eye(len(sample.labels))[sample.labels.index("O")]

    def silent(i: int, outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        hush = first_row <= i < first_row + N_ROWS // 2
        return {"logits": np.broadcast_to(9 * outside, outputs["logits"].shape)} if hush else outputs

    proof = judged(run, target(silent))
    n = [sum(tag.startswith("B-") for tag in row.tags) for row in sample.rows]  # entities, as the strict metric counts
    recall = sum(n[N_ROWS // 2 :]) / sum(n)
    assert proof.parity is not None and 0.2 < recall < 0.8
    assert proof.parity.score.value == pytest.approx(2 * recall / (1 + recall))
    assert proof.parity.reference_score.value == 1.0


def test_rows_that_came_in_the_time_are_judged_and_counted(run: Path) -> None:
    first_row = n_edges(run)
    proof = judged(run, target(same, stop_at=first_row + 25))
    assert proof.failures == () and proof.parity is not None and proof.parity.n_rows == proof.parity.score.n == 25
    few = judged(run, target(same, stop_at=first_row + 19))
    assert few.parity is None and few.failures[0].startswith("it answered 19 of 60 test rows in the time, too few")
    assert fmt.engine(few).startswith("toy onnx-fp32 was not judged by gpu: it answered 19 of 60")
    assert read_proofs(run, [proof.sha256]) == (proof,), "nothing was decided"
    assert judged(run, target(same), n_rows=30).parity.n_rows == 30  # type: ignore[union-attr]


def test_an_engine_that_stops_midway_proves_nothing(run: Path) -> None:
    proof = judged(run, target(same, stop_at=7, failure="the page is gone: its tab was closed or crashed"))
    n = n_edges(run) + N_ROWS
    assert proof.failures == (f"it stopped after 7 of {n} inputs: the page is gone: its tab was closed or crashed",)
    assert proof.parity is None and read_proofs(run, [proof.sha256]) == (proof,)


def test_a_browser_that_cannot_be_had_says_nothing_of_its_engine(run: Path) -> None:
    before = judged(run, target(same))

    def refuse(address: str, job: Job, log: Any) -> Outcome:
        raise EdgebertError("the browser gives no WebGPU adapter", hint="--on browser measures by WebAssembly.")

    proof = judged(run, target(same, measure=refuse))
    assert proof.failures == ("the browser gives no WebGPU adapter. --on browser measures by WebAssembly.",)
    assert fmt.engine(proof).startswith("toy onnx-fp32 was not judged by gpu: the browser gives no")
    assert read_proofs(run, [before.sha256]) == (before,), "what was proven stays"


def test_a_file_that_changed_since_is_not_the_one_that_was_proven(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    old = judged(copy, target(same))
    (subject,) = find_subjects([str(copy)])
    content = bytearray(subject.file.path.read_bytes())
    content[len(content) // 2] ^= 1
    subject.file.path.write_bytes(content)
    proof = judged(copy, target(same))
    assert proof.failures[0].startswith("it is not the file that the run proved: its sha256 differs")
    assert proof.sha256 != old.sha256 and read_proofs(copy, [proof.sha256]) == ()


def test_a_run_of_an_older_edgebert_has_no_rows(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    (subject,) = find_subjects([str(copy)])
    assert subject.origin is not None
    (subject.origin.verified / "sample.json").unlink()
    assert "the run keeps no test rows" in judged(copy, target(same)).failures[0]


@pytest.mark.parametrize(
    "task",
    ["tag", "classify", "classify-several", "pair", "similarity", "embed", "qa",
     "slots=ner,intent=classify,same=pair,vector=embed"],
)  # fmt: skip
def test_every_task_is_judged_from_rows_that_were_kept(task: str, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, task)
    manifest = read_manifest(bundle)
    configured = find_task(manifest["task"]).configured(manifest["task_options"])
    heads = [name for name, _ in getattr(configured, "heads", ())] or [""]
    labels = [label.partition("/")[2] if len(heads) > 1 else label for label in manifest["labels"]]
    rows = []
    for i in range(48):
        text = f"{CORPUS[i % len(CORPUS)]} {i}"
        words = tuple(text.split())
        tags = tuple(labels[j % len(labels)] if task == "tag" else "O" for j in range(len(words)))
        head = heads[i % len(heads)]
        mine = [label for label in manifest["labels"] if label.startswith(f"{head}/")] or list(manifest["labels"])
        own = (mine[i // 4 % len(mine)].removeprefix(f"{head}/"),) if mine else ()
        rows.append(Row(words=words, tags=tags, text=text, second=f"{CORPUS[(i + 5) % len(CORPUS)]} {i}", labels=own,
                        score=i % 7 / 7, answers=((str(i), 0),), head=head))  # fmt: skip
        if head == "slots" or task in ("ner", "tag"):
            rows[-1] = replace(rows[-1], text=None, second=None)
    write_sample(tmp_path, configured, rows, manifest["labels"], manifest["max_length"], manifest["pad_id"])
    sample = read_sample(tmp_path)
    assert sorted(sample.rows, key=rows.index) == rows and sample.task == configured
    assert {row.head for row in sample.rows[: len(heads)]} == set(heads), "heads in turn"
    session = CONVERTER.open(bundle / manifest["model"], 1)
    exam = examine(session, sample, Tokenizer.from_file(str(bundle / "tokenizer.json")))
    answers = [session.run(batch) for batch in exam.batches]
    right = exam.judge(answers, "fp32")
    assert right.failures == () and right.max_logit_difference == 0 and right.score == right.reference_score
    assert right.n_rows == len(rows)
    assert exam.judge(
        [{name: 0.5 * array[..., ::-1] for name, array in item.items()} for item in answers], "fp32"
    ).failures


# ---------------------------------------------------------------- the command


def test_profile_tells_it_and_ends_with_1(
    run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["profile", str(run), "--on", "far:x", "--length", "8", "--quiet"]
    for change, code in ((same, 0), (WRONG["another sign"][0], 1)):
        known = {"far": target(change)}
        monkeypatch.setattr(TARGETS, "all", lambda known=known: known)
        with pytest.raises(SystemExit) as ended:
            main(command)
        assert ended.value.code == code
        said = capsys.readouterr()
        assert ("toy onnx-fp32 may be used with gpu" in said.out) == (code == 0)
        assert ("error: toy onnx-fp32 must not be used with gpu" in said.err) == (code == 1)
    with pytest.raises(SystemExit):
        main([*command, "--json"])
    (proof,) = json.loads(capsys.readouterr().out)["engines"]
    assert proof["parity"]["score"]["metric"] == "strict entity F1" and proof["failures"]

    result = edgebert.profile(run, "far:x", length=8, rows=0)
    assert result.engines == () and result.exit_code == 0
    with pytest.raises(RequestError, match="so few rows"):
        edgebert.profile(run, "far:x", length=8, rows=5)

    (subject,) = find_subjects([str(run)])
    by_itself = edgebert.profile(subject.file.path, "far:x", length=8)
    assert [item.sha256 for item in by_itself.engines] == [proof["sha256"]], "found in its run by its sum"
    lone = tmp_path / "lone.onnx"
    lone.write_bytes(subject.file.path.read_bytes())
    result = edgebert.profile(lone, "far:x", length=8)
    assert result.engines == () and any(
        "lone.onnx were not judged: they are no files of a run" in n for n in result.notes
    )


def test_reports_show_engines_and_read_them_back(run: Path, tmp_path: Path) -> None:
    good, bad = judged(run, target(same)), judged(run, target(WRONG["a shift"][0]))
    report = replace(make_report(), engines=(good, bad))
    page = render(report)
    assert "Engines in a browser" in page and "must not be used: an output differs by 0.01" in page
    assert "Board X, a card, far 7" in page and good.sha256[:12] in page
    write_report(report, tmp_path / "report")
    assert read_report(tmp_path / "report" / "report.json").engines == (good, bad)
    assert "Engines in a browser" not in render(make_report())


# ---------------------------------------------------------------- real browsers


@pytest.fixture
def chromium(onnxruntime_web: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if why := TARGETS.get("browser").answers(""):
        pytest.skip(f"no browser here: {why}")
    monkeypatch.setenv(assets.VARIABLE, str(onnxruntime_web))


@pytest.mark.usefixtures("all_cores")
def test_webassembly_of_a_real_browser_is_right_and_a_doctored_page_is_refused(
    run: Path, chromium: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    subjects = find_subjects([str(run)])
    settings = Job((), (), max_seconds=30)

    def prove() -> EngineProof:
        (proof,), _ = judge_engine("browser", browser.TARGET, subjects, settings, lambda **event: None)
        return proof

    proof = prove()
    assert proof.failures == () and proof.parity is not None and proof.parity.score.value == 1.0
    assert (proof.engine, proof.adapter, proof.runtime_version) == ("wasm", "", assets.VERSION)
    assert 0 < proof.parity.max_logit_difference < 1e-4

    worker = Path(browser.__file__).with_name("browser_worker.js").read_text(encoding="utf-8")
    doctored = tmp_path / "browser_worker.js"
    right = "data: tensor.data };"
    assert right in worker
    doctored.write_text(worker.replace(right, "data: tensor.data.map((value) => 1.1 * value) };"), encoding="utf-8")
    monkeypatch.setitem(browser.PAGES, "browser_worker.js", str(doctored))
    proof = prove()
    assert any("differs by" in failure for failure in proof.failures)

    stops = worker.replace("  const outputs = await session.run(input);", "  if (++globalThis.n > 9) throw new Error('device lost');\n"
                           "  const outputs = await session.run(input);")  # fmt: skip
    doctored.write_text(f"globalThis.n = 0;\n{stops}", encoding="utf-8")
    assert "onnxruntime-web (wasm) fails on input 9: device lost" in prove().failures[0]


@pytest.mark.slow
@pytest.mark.usefixtures("all_cores")
def test_webgpu_of_a_real_browser_is_judged(run: Path, chromium: None) -> None:
    subjects = find_subjects([str(run)])
    (proof,), _ = judge_engine("browser:webgpu", browser.TARGET, subjects, Job((), ()), lambda **event: None)
    if not proof.device:
        pytest.skip(f"no WebGPU here: {proof.failures[0]}")
    assert (proof.engine, proof.failures, proof.runtime) == ("webgpu", (), "onnxruntime-web webgpu")
    assert proof.adapter and proof.parity is not None and proof.parity.score.value == 1.0
