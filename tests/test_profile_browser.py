"""The browser as a target: a real Chromium, a real npm, and everything that can go wrong with either."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
import pytest
from onnx import TensorProto, helper

from edgebert.converters.onnx import CONVERTER
from edgebert.errors import EdgebertError, RequestError
from edgebert.measure.compare import compare
from edgebert.measure.runner import make_batches
from edgebert.measure.targets import TARGETS, File, Job, MeasurementRecord, Outcome
from edgebert.measure.targets import _browser_assets as assets
from edgebert.measure.targets import _browser_process as process
from edgebert.measure.targets._browser_server import HEADERS, serving
from edgebert.measure.targets._browser_visit import Visit
from edgebert.modeling.graph import make_source
from tests.families import tiny

LABELS = ("O", "B-A", "I-A", "B-B", "I-B")
TARGET = TARGETS.get("browser")
pytestmark = pytest.mark.usefixtures("all_cores")


def row(length: int, seed: int) -> dict[str, list[list[int]]]:
    ids = np.random.default_rng(seed).integers(3, 100, (1, length))
    return {"input_ids": ids.tolist(), "attention_mask": np.ones_like(ids).tolist()}


INPUTS = tuple(row(6 + 3 * i, i) for i in range(4))


def quiet(**event: Any) -> None:
    """A log that nobody reads."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[File, File]:
    """A BERT of a few thousand parameters in fp32 and int8, in a folder with an awkward name."""
    folder = tmp_path_factory.mktemp("a") / "folder with 'quotes', \"blanks\" & ;"
    (folder / "8").mkdir(parents=True)
    source = make_source(
        tiny("bert", "token-classification"),
        labels=LABELS,
        calibration=make_batches({"inputs": INPUTS}),
    )
    full = CONVERTER.export(source, folder)
    int8 = CONVERTER.reduce(source, full, "int8", CONVERTER.precisions["int8"].variants[0], folder / "8")
    return File("onnx-fp32", "onnx", full.path), File("onnx-int8", "onnx", int8.path)


def job(*files: File, **changes: Any) -> Job:
    return replace(Job(files, INPUTS, min_runs=20, max_seconds=0.3, timeout_s=60), **changes)


@pytest.fixture
def chromium(onnxruntime_web: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder with a blank in its short name, where the browser has its own; it must be empty in the end."""
    if not any(map(shutil.which, process.PROGRAMS)):
        pytest.skip(f"no browser here: {', '.join(process.PROGRAMS)}")
    monkeypatch.setenv(assets.VARIABLE, str(onnxruntime_web))
    scratch = Path(tempfile.mkdtemp(prefix="e b "))
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    try:
        yield scratch
        assert not ours(scratch)
        assert not list(scratch.iterdir())
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def ours(scratch: Path, kind: str = "") -> list[psutil.Process]:
    """Processes whose command line names the scratch folder."""
    results = []
    for item in psutil.process_iter():
        try:
            line = " ".join(item.cmdline())
        except psutil.Error:
            continue
        if str(scratch) in line and kind in line:
            results.append(item)
    return results


# ---------------------------------------------------------------- what works


@pytest.mark.parametrize("threads", [1, 2])
def test_chromium_gives_raw_times_and_the_logits_of_a_native_run(
    threads: int, files: tuple[File, File], chromium: Path
) -> None:
    notes: list[dict[str, Any]] = []
    asked = job(*files, threads=threads, min_runs=50)
    outcome = TARGET.measure("", asked, lambda **event: notes.append(event))
    assert outcome.how == "measured"
    assert outcome.device.split()[0] in ("Chromium", "Google")
    assert outcome.facts["cross_origin_isolated"] is True
    assert outcome.facts["threads"] == threads
    assert outcome.facts["hardware_concurrency"] >= 1
    assert 0 < outcome.facts["timer_resolution_us"] < 100
    assert "Chrome/" in outcome.facts["user_agent"]
    assert [item.name for item in outcome.records] == ["onnx-fp32", "onnx-int8"]
    for file, result in zip(files, outcome.records, strict=True):
        assert result.failure == ""
        assert (result.runtime, result.runtime_version) == ("onnxruntime-web wasm", assets.VERSION)
        assert len(result.times_ms) >= 50
        assert min(result.times_ms) > 0
        assert result.load_ms > 0
        assert result.first_run_ms > 0
        assert result.peak_memory_bytes is not None and result.peak_memory_bytes >= 2**24
        agreement = compare(file, asked, result)
        assert agreement.n == asked.n_outputs
        assert agreement.max_difference < (1e-4 if file.name == "onnx-fp32" else 1e-3)
        assert agreement.equal_predictions == 1
    assert any("WebGPU" in event["text"] for event in notes if event["event"] == "note")  # whether there is any


@pytest.mark.slow
def test_webgpu_gives_the_same_logits_and_software_is_labelled(files: tuple[File, File], chromium: Path) -> None:
    asked = job(files[0], min_runs=5, n_outputs=2)
    try:
        outcome = TARGET.measure("webgpu", asked, quiet)
    except EdgebertError as error:
        pytest.skip(f"no WebGPU here: {error.what}")
    (gpu,) = outcome.records
    assert gpu.runtime == "onnxruntime-web webgpu"
    assert outcome.how == ("emulated" if outcome.facts["webgpu"]["software"] else "measured")
    assert (gpu.failure, gpu.peak_memory_bytes) == ("", None)
    assert len(gpu.times_ms) >= 5
    assert compare(files[0], asked, gpu).max_difference < 1e-4


def test_a_long_temporary_path_does_not_abort_the_browser(
    files: tuple[File, File], chromium: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("long" * 20)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    before = set(Path("/tmp").glob("edgebert-tmp-browser-*"))
    assert TARGET.measure("", job(files[0]), quiet).records[0].failure == ""
    assert not list(long.iterdir())
    assert set(Path("/tmp").glob("edgebert-tmp-browser-*")) <= before


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to cores")
def test_a_browser_is_bound_to_the_cores_that_the_job_names(files: tuple[File, File], chromium: Path) -> None:
    core = min(os.sched_getaffinity(0))
    seen: list[list[int]] = []

    def look(**event: Any) -> None:
        if event["event"] == "measuring":
            seen.extend(item.cpu_affinity() for item in ours(chromium, "--type=renderer"))

    TARGET.measure("", job(files[0], cores=(core,)), look)
    assert seen
    assert all(cores == [core] for cores in seen)


def test_a_link_is_printed_and_measures_in_the_browser_that_opens_it(files: tuple[File, File], chromium: Path) -> None:
    """Opened once: the page goes on with the next job by itself."""
    closing = threading.Event()
    visitors: list[threading.Thread] = []

    def visit(url: str) -> None:
        with process.running(process.find(), url):
            closing.wait(120)

    def open_it(**event: Any) -> None:
        if event["event"] == "link" and not visitors:
            visitors.append(threading.Thread(target=visit, args=(event["url"],)))
            visitors[0].start()

    try:
        outcome = TARGET.measure("link", job(files[0]), open_it)
        other = TARGET.measure("link", job(files[1]), open_it)
    finally:
        closing.set()
        for visitor in visitors:
            visitor.join()
    assert (outcome.records[0].name, other.records[0].name) == ("onnx-fp32", "onnx-int8")
    for result in (outcome.records[0], other.records[0]):
        assert len(result.times_ms) >= 20
        assert result.failure == ""
    assert "processor" not in outcome.facts  # the link may have been opened elsewhere


def test_comparing_finds_outputs_that_differ_or_are_missing(files: tuple[File, File]) -> None:
    asked = job(files[0], n_outputs=2)
    session = CONVERTER.open(files[0].path, 1)
    here = [session.run(batch) for batch in make_batches({"inputs": INPUTS[:2]})]
    right = tuple({name: array.tolist() for name, array in item.items()} for item in here)
    assert compare(files[0], asked, MeasurementRecord("onnx-fp32", outputs=right)).max_difference == 0
    wrong = ({"logits": (here[0]["logits"] * -1).tolist()}, right[1])
    result = compare(files[0], asked, MeasurementRecord("onnx-fp32", outputs=wrong))
    assert result.max_difference == pytest.approx(2 * np.abs(here[0]["logits"]).max())
    assert result.equal_predictions < 1
    nothing = np.full_like(here[0]["logits"], np.nan).tolist()
    assert np.isnan(
        compare(files[0], asked, MeasurementRecord("onnx-fp32", outputs=({"logits": nothing},))).max_difference
    )
    with pytest.raises(EdgebertError, match="sent no outputs of onnx-fp32"):
        compare(files[0], asked, MeasurementRecord("onnx-fp32"))
    with pytest.raises(EdgebertError, match="are \\['other'\\], here they are \\['logits'\\]"):
        compare(files[0], asked, MeasurementRecord("onnx-fp32", outputs=({"other": nothing},)))
    with pytest.raises(EdgebertError, match="has shape"):
        compare(files[0], asked, MeasurementRecord("onnx-fp32", outputs=({"logits": [[[0.0]]]},)))


# ---------------------------------------------------------------- files that do not run


def test_a_file_that_onnxruntime_web_refuses_costs_only_itself(
    files: tuple[File, File], chromium: Path, tmp_path: Path
) -> None:
    damaged = File("damaged", "onnx", tmp_path / "damaged.onnx")
    damaged.path.write_bytes(files[0].path.read_bytes()[:500])
    outcome = TARGET.measure("", job(damaged, strange(tmp_path), files[0]), quiet)
    first, second, third = outcome.records
    assert "onnxruntime-web (wasm) refuses the file: " in first.failure
    assert "protobuf" in first.failure.lower()
    assert second.failure.endswith("the model wants an input 'pixels', which is not given")
    assert (first.times_ms, second.times_ms) == ((), ())
    assert third.failure == ""
    assert len(third.times_ms) >= 20


def test_nothing_but_refused_files_is_an_error(chromium: Path, tmp_path: Path) -> None:
    with pytest.raises(EdgebertError, match=r"strange: onnxruntime-web .wasm. refuses the file: .*pixels") as caught:
        TARGET.measure("", job(strange(tmp_path)), quiet)
    assert caught.value.hint


def strange(folder: Path) -> File:
    """A model of pictures."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("pixels", "y"))
    graph = helper.make_graph([helper.make_node("Identity", ["pixels"], ["y"])], "g", [x], [y])
    path = folder / "strange.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return File("strange", "onnx", path)


def test_files_that_a_page_cannot_load_are_refused_at_once(files: tuple[File, File], tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"x")
    (tmp_path / "model.onnx.data").write_bytes(b"x")
    refused = {
        "lie in a file of their own": File("a", "onnx", tmp_path / "model.onnx"),
        "which a page cannot load": File("b", "onnx", tmp_path),
        "a browser runs ONNX files, this is tflite": File("c", "tflite", files[0].path),
        "no such file": File("d", "onnx", tmp_path / "none.onnx"),
    }
    for text, file in refused.items():
        with pytest.raises(RequestError, match=text) as caught:
            TARGET.measure("", job(file), quiet)
        assert str(file.path) == caught.value.where


# ---------------------------------------------------------------- browsers that do not work


def test_without_a_browser_the_ways_out_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RequestError, match=r"(?s)no browser found: looked for chromium, .*browser:link"):
        process.find()
    assert "no browser found" in TARGET.answers("")
    assert TARGET.answers("/no/such chrome; rm") == "there is no program '/no/such chrome; rm'"


def test_a_target_answers_where_browser_and_files_are_there(chromium: Path) -> None:
    assert TARGET.answers("") == ""
    assert TARGET.answers("link") == ""
    assert TARGET.answers("webgpu:link:8123") == ""
    assert TARGET.answers("link:none") == "'none' is no port"


def test_a_browser_without_webgpu_says_so(
    files: tuple[File, File], chromium: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(process.MORE_FLAGS, "--disable-gpu --disable-software-rasterizer --disable-features=WebGPU")
    monkeypatch.setattr(process, "_webgpu", list)
    with pytest.raises(EdgebertError, match="WebGPU") as caught:
        TARGET.measure("webgpu", job(files[0]), quiet)
    assert "--on browser" in str(caught.value)


def test_a_browser_that_ends_at_once_is_told_with_its_last_word(
    files: tuple[File, File], chromium: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken browser; 'x'"
    broken.write_text("#!/bin/sh\necho libnss3 is missing >&2\nexit 127\n")
    broken.chmod(0o755)
    with pytest.raises(EdgebertError, match="the browser ended with exit code 127: libnss3 is missing"):
        TARGET.measure(str(broken), job(files[0]), quiet)


def test_a_browser_that_opens_nothing_meets_the_time_limit(
    files: tuple[File, File], chromium: Path, tmp_path: Path
) -> None:
    idle = tmp_path / "idle"
    idle.write_text("#!/bin/sh\nsleep 1000 &\nsleep 1000\n")
    idle.chmod(0o755)
    with pytest.raises(EdgebertError, match="the browser did not open the page within 1 s"):
        TARGET.measure(str(idle), job(files[0], timeout_s=1), quiet)


def interrupted(files: tuple[File, File], act: Callable[[], None], **changes: Any) -> Outcome:
    """A measurement without end, and `act` in the middle of it."""
    acted = threading.Event()

    def strike(**event: Any) -> None:
        if event["event"] == "measuring" and not acted.is_set():
            acted.set()
            act()

    return TARGET.measure("", job(*files, min_runs=10**6, max_seconds=1e6, **changes), strike)


def strike_all(scratch: Path, kind: str, what: signal.Signals) -> None:
    struck = ours(scratch, kind)
    assert struck
    for item in struck:
        item.send_signal(what)


@pytest.mark.parametrize(
    ("kind", "what", "told", "changes"),
    [
        ("--type=renderer", signal.SIGKILL, "the page is gone: its tab was closed or crashed", {}),
        ("--user-data-dir", signal.SIGKILL, "the browser ended with exit code -9", {}),
        pytest.param(
            "--type=renderer",
            signal.SIGSTOP,
            "stopped after 12 s, the time limit",
            {"timeout_s": 12.0},
            marks=pytest.mark.slow,
        ),
    ],
    ids=["the page crashes", "the browser dies", "the page hangs"],
)
def test_what_was_measured_is_kept(
    kind: str, what: signal.Signals, told: str, changes: dict[str, Any], files: tuple[File, File], chromium: Path
) -> None:
    outcome = interrupted(files, lambda: strike_all(chromium, kind, what), **changes)
    for result in outcome.records:
        assert result.failure.startswith(told)
        assert len(result.times_ms) >= 5
        assert result.outputs
    assert outcome.how == "measured"


def test_an_interrupted_user_leaves_no_browser_behind(files: tuple[File, File], chromium: Path) -> None:
    def stop() -> None:
        assert ours(chromium)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted(files, stop)
    assert not ours(chromium)


# ---------------------------------------------------------------- links and the server


def test_a_link_that_nobody_opens_meets_the_time_limit(
    files: tuple[File, File], onnxruntime_web: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(assets.VARIABLE, str(onnxruntime_web))
    with pytest.raises(EdgebertError, match=r"nobody opened the link within 0\.2 s"):
        TARGET.measure("link", job(files[0], timeout_s=0.2), quiet)


def test_a_port_that_is_taken_or_is_none_is_told(
    files: tuple[File, File], onnxruntime_web: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(assets.VARIABLE, str(onnxruntime_web))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(RequestError, match=f"port {port} cannot be used"):
            TARGET.measure(f"link:{port}", job(files[0]), quiet)
    for text in ("80 90", "0", "65536", "-1", "http"):
        with pytest.raises(RequestError, match=f"'{text}' is no port"):
            TARGET.measure(f"link:{text}", job(files[0]), quiet)


def get(url: str, data: bytes | None = None) -> tuple[int, bytes, Any]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data), timeout=5) as answer:
            return answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, b"", error.headers


def test_the_server_gives_the_listed_files_below_its_secret_path_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a page").write_bytes(b"<p>")
    (tmp_path / "secret").write_bytes(b"!")
    visit = Visit(job(File("a", "onnx", tmp_path / "a page")))
    with serving({"": tmp_path / "a page", "x.wasm": b"\0asm"}, visit.hear, visit.left) as url:
        status, body, headers = get(url)
        assert (status, body, headers["Content-Type"]) == (200, b"<p>", "text/html; charset=utf-8")
        assert {name: headers[name] for name in HEADERS} == HEADERS
        assert get(f"{url}x.wasm")[2]["Content-Type"] == "application/wasm"
        root = url[: url.index("/", 8)]
        outside = [f"{root}/", f"{root}/x.wasm", f"{root}/wrong/x.wasm", f"{url}secret", f"{url}../secret"]
        for path in (*outside, f"{url}..%2fsecret", f"{url}x.wasm/../secret", f"{root}/{tmp_path}/secret"):
            assert get(path)[:2] == (404, b"")
        assert get(f"{root}/say", b"{}")[0] == 404
    with pytest.raises(urllib.error.URLError):
        get(url)


def test_the_server_takes_one_page_and_no_nonsense(tmp_path: Path) -> None:
    visit = Visit(job(File("a", "onnx", tmp_path / "a.onnx")))
    hello = {"page": "one", "kind": "hello", "facts": {"webgpu": {"available": False, "reason": "none"}}}
    with serving({}, visit.hear, visit.left) as url:
        for nonsense in (b"", b"[]", b"{}", b'{"page": "one", "kind": "outcome"}', b"\xff"):
            assert get(f"{url}say", nonsense)[0] == 400
        assert get(f"{url}say", json.dumps(hello).encode())[0] == 200
        assert get(f"{url}say", json.dumps({**hello, "page": "two"}).encode())[0] == 409
        loaded = {"page": "one", "kind": "refused", "engine": "wasm", "file": 7, "error": ""}
        assert get(f"{url}say", json.dumps(loaded).encode())[0] == 400
    assert not visit.ended.is_set()
