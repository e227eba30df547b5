"""A browser: the file runs in onnxruntime-web, by WebAssembly or, where there is an adapter, by WebGPU.

`--on browser` starts a headless Chromium or Chrome of this machine, `--on browser:/path/to/chrome` the one that is named.
`--on browser:link` prints a link to open in any browser of this machine and waits; `browser:link:8123` fixes the port, so
that a phone on a cable (`adb reverse tcp:8123 tcp:8123`) or another machine (`ssh -L`) can open it as its own 127.0.0.1:
elsewhere than there, plain http has neither threads nor WebGPU. All of these are by WebAssembly; `browser:webgpu`,
`browser:webgpu:/path/to/chrome` and `browser:webgpu:link` are by WebGPU: two targets, so that both can be asked for, and
their figures never mix. A WebGPU adapter that is only software (SwiftShader, which Chromium brings) is labelled emulated:
its times say nothing, its answers do. Every run tells whether there is one.

What is timed, in a worker of the page: `session.run` and copying its outputs out. Load time is from the model's bytes in
memory to a session; the download and the start of onnxruntime-web (`runtime_start_ms`) are not in it. Warm-up takes
0.4 s at least, because a browser compiles hot code again while it runs. Memory is the whole WebAssembly heap after the
first run in a worker of its own: the runtime's part is in it, the page's is not; by WebGPU it is not told.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from edgebert.errors import EdgebertError, RequestError
from edgebert.measure import runner
from edgebert.measure.targets import File, Job, Log, Outcome, Target
from edgebert.measure.targets import _browser_assets as assets
from edgebert.measure.targets import _browser_process as process
from edgebert.measure.targets._browser_server import serving
from edgebert.measure.targets._browser_visit import Visit

START_SECONDS = 60  # for a browser of ours to open the page
LARGEST = 2_000_000_000  # bytes; a tab's buffer ends at 2 GiB
_links: dict[str, tuple[int, str]] = {}  # port and token of a link, so that the open page goes on with the next job
PAGES = {"": "browser.html", "browser.js": "browser.js", "browser_worker.js": "browser_worker.js"}


def measure(address: str, job: Job, log: Log) -> Outcome:
    """Runs the job in a browser; see the module and `edgebert.measure.targets.Target`.

    Raises:
        RequestError: no browser, no npm, a port that is taken, a file that a tab cannot hold.
        EdgebertError: a checksum differs, npm fails, or nothing could be measured.
    """
    models = [_model(file) for file in job.files]
    name, place = _parts(address)
    link, port = _link(place)
    program = "" if link else process.find(place)
    served = _served(assets.fetch(log), models)
    visit, before = Visit(job, name), _state()
    port, token = _links.get(address, (port, "")) if link else (0, "")
    with serving(served, visit.hear, visit.left, port, token) as url, _opened(program, url, job, log) as browser:
        if link:
            _links[address] = (urlsplit(url).port or 0, urlsplit(url).path.strip("/"))
        _wait(visit, browser, job.timeout_s, log)
    visit.facts["threads"] = job.threads
    if program:
        visit.facts |= _machine() | {name: [before[name], now] for name, now in _state().items()}
    return visit.outcome()


def _state() -> dict[str, float | None]:
    return {"clock_mhz": runner.clock_mhz(), "temperature_c": runner.temperature_c()}


def _machine() -> dict[str, str]:
    """Of a browser that runs here; the user's own may run elsewhere."""
    about = runner.describe()
    return {name: about[name] for name in ("processor", "machine", "system")}


def answers(address: str) -> str:
    """ "" where a browser (or a link) and onnxruntime-web's files can be had, else what is missing."""
    try:
        place = _parts(address)[1]
        if not _link(place)[0]:
            process.find(place)
    except EdgebertError as error:
        return error.what
    return assets.missing()


def prepare(address: str, log: Log) -> str:
    """Fetches onnxruntime-web into the cache, so that later runs need no network."""
    return f"{assets.PACKAGE} {assets.VERSION} in {assets.fetch(log)}"


def engine(address: str) -> str:
    """ "wasm" or "webgpu"."""
    return _parts(address)[0]


def _parts(address: str) -> tuple[str, str]:
    """The engine, and where its browser is."""
    first, _, rest = address.partition(":")
    return ("webgpu", rest) if first == "webgpu" else ("wasm", address)


def _link(place: str) -> tuple[bool, int]:
    """Whether the user opens the page, and on which port (0: any).

    Raises:
        RequestError: what follows `link:` is no port.
    """
    kind, _, port = place.partition(":")
    if kind != "link":
        return False, 0
    if port and not (port.isdecimal() and 0 < int(port) < 65536):
        raise RequestError(f"'{port}' is no port", where=f"--on browser:{place}", hint="Example: browser:link:8123")
    return True, int(port or 0)


def _model(file: File) -> Path:
    """The one file that a page can load.

    Raises:
        RequestError: another format, a folder, weights in a file beside it, over 2 GB, or not there.
    """
    if file.format != "onnx":
        raise RequestError(f"a browser runs ONNX files, this is {file.format}", where=str(file.path))
    beside = [file.path.with_name(file.path.name + end) for end in (".data", "_data")]
    if file.path.is_dir() or any(item.exists() for item in beside):
        raise RequestError(
            "its weights lie in a file of their own, which a page cannot load",
            where=str(file.path),
            hint='If they are under 2 GB, write it as one file: onnx.save(onnx.load("model.onnx"), "one.onnx")',
        )
    if not file.path.is_file():
        raise RequestError("no such file", where=str(file.path))
    if file.path.stat().st_size > LARGEST:
        raise RequestError("a page cannot load a file of over 2 GB", where=str(file.path))
    return file.path


def _served(runtime: Path, models: list[Path]) -> dict[str, Path | bytes]:
    here = Path(__file__).parent
    served: dict[str, Path | bytes] = {name: here / file for name, file in PAGES.items()}
    served |= {f"ort/{name}": runtime / name for name in assets.FILES}
    return served | {f"model/{at}": path for at, path in enumerate(models)} | {"start.onnx": _one_operator()}


def _one_operator() -> bytes:
    """A graph that does nothing: loading it starts the runtime and its threads."""
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "start", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


@contextmanager
def _opened(program: str, url: str, job: Job, log: Log) -> Iterator[process.Browser | None]:
    if program:
        with process.running(program, url, job.cores) as browser:
            yield browser
    else:
        log(event="link", text=f"open this link in the browser to measure, and leave it open: {url}", url=url)
        yield None


def _wait(visit: Visit, browser: process.Browser | None, timeout_s: float, log: Log) -> None:
    """Until the page is done, or something has ended it. Tells the user what comes in meanwhile."""
    started = time.monotonic()
    limit = min(START_SECONDS, timeout_s) if browser else timeout_s
    here = False
    while not visit.ended.wait(0.05):
        if visit.arrived.is_set() and not here:
            here, started, limit = True, time.monotonic(), timeout_s
        _tell(visit, log)
        gone = visit.gone.is_set()
        if browser and (end := browser.ended(wait_s=1.0 if gone else 0.0)):
            visit.end(end, "Try it by hand, or with another one: --on browser:/path/to/chrome")
        elif gone:
            visit.end("the page is gone: its tab was closed or crashed", "Out of memory? Try one file at a time.")
        elif time.monotonic() - started > limit:
            whose = "the browser did not open the page" if browser else "nobody opened the link"
            visit.end(f"stopped after {limit:g} s, the time limit" if here else f"{whose} within {limit:g} s", _TIME)
    _tell(visit, log)


def _tell(visit: Visit, log: Log) -> None:
    while not visit.news.empty():
        event, text = visit.news.get()
        log(event=event, text=text)


_TIME = "Try again with fewer files, or a longer time limit."


TARGET = Target(
    name="browser",
    title="a browser, by onnxruntime-web",
    formats=("onnx",),
    example="browser:link",
    measure=measure,
    answers=answers,
    prepare=prepare,
    engine=engine,
    profile="chrome-desktop",
)
