"""The web package: replayed in Node against the golden vectors and the tokenizers library, and opened in Chromium, with and
without a network. Its page is looked at as a user and as a screen reader would."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgebert.bundle.manifest import describe_files
from edgebert.bundle.platforms.web import (
    BACKENDS,
    BINARIES,
    PLATFORM,
    RUNTIME,
    RUNTIME_VERSION,
    check_name,
    default_name,
)
from edgebert.bundle.predictor import Predictor
from edgebert.errors import RequestError, RunError
from edgebert.measure.targets import _browser_assets as assets
from edgebert.measure.targets import _browser_process as process
from edgebert.results import EngineProof
from edgebert.runs.engines import write_proof
from edgebert.types import Parity, Score
from edgebert.workflows.bundle import bundle as write_package
from tests.packages import AWKWARD, COMBINATIONS, TOKENIZERS, make_bundle
from tests.unicode_texts import CLASSES, random_texts, utf16_places, write_expected

HERE = Path(__file__).parent / "web"
RANDOM_TEXTS = int(os.environ.get("EDGEBERT_RANDOM_TEXTS", "1500"))  # benchmarks/bundles.md was made with 20000
SEVERAL = "slots=ner,intent=classify,same=pair,vector=embed"
Make = Callable[..., Path]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """The package of a task with a tokenizer, written once, beside its bundle."""
    root, made = tmp_path_factory.mktemp("packages"), dict[tuple[str, str], Path]()

    def get(task: str = "ner", tokenizer: str = "uncased") -> Path:
        if (task, tokenizer) not in made:
            folder = root / str(len(made))
            folder.mkdir()
            write_into(folder, make_bundle(folder, task, tokenizer))
            made[task, tokenizer] = folder / "package"
        return made[task, tokenizer]

    return get


def write_into(folder: Path, bundle: Path) -> None:
    (folder / "package").mkdir()
    PLATFORM.write(bundle, folder / "package", "toy-model")


@pytest.fixture(scope="module")
def installed(make: Make, onnxruntime_web: Path) -> Make:
    """The same package where it finds onnxruntime-web, without npm."""
    if not shutil.which("node"):
        pytest.skip("there is no Node.js here")

    def get(*which: str) -> Path:
        package = make(*which)
        link_runtime(package, onnxruntime_web)
        return package

    return get


def link_runtime(package: Path, files: Path) -> None:
    target = package / "node_modules" / RUNTIME
    if not target.exists():
        target.mkdir(parents=True)
        (target / "dist").symlink_to(files)
        exports = {"./wasm": "./dist/ort.wasm.min.mjs"}
        (target / "package.json").write_text(json.dumps({"name": RUNTIME, "type": "module", "exports": exports}))


def node(*arguments: object, timeout_s: float = 120, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["node", *map(str, arguments)], capture_output=True, text=True, timeout=timeout_s, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip


def driven(package: Path, *questions: object) -> list[Any]:
    """What tests/web/ask.mjs tells of each question: {texts: …} or {method, texts}."""
    done = subprocess.run(
        ["node", str(HERE / "ask.mjs"), str(package)], input=json.dumps(questions), capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert not done.returncode, done.stderr
    return json.loads(done.stdout)


# ---------------------------------------------------------------- what the package computes


def test_every_package_replays_its_golden_vectors(installed: Make) -> None:
    packages = [installed(*which) for which in COMBINATIONS]
    done = node(HERE / "replay.mjs", *packages, timeout_s=300)
    assert not done.returncode, "\n".join(re.findall(r"not ok .*|.*error: .*|.*package/test/.*", done.stdout))[:3000]
    assert f"# pass {5 * len(packages)}\n" in done.stdout


def test_npm_test_tells_a_changed_golden_vector(installed: Make, tmp_path: Path) -> None:
    package = shutil.copytree(installed(), tmp_path / "package", symlinks=True)
    path = package / "golden" / "golden.jsonl"
    first, rest = path.read_text().split("\n", 1)
    line = json.loads(first)
    line["tokens"][0]["offsets"][0][1] += 1
    line["windows"][0]["type_ids"][0] += 1
    line["windows"][0]["outputs"]["logits"][1][1] = 99.0
    line["answer"].append({"text": "x", "type": "y", "start": 0, "end": 1})
    path.write_text(json.dumps(line) + "\n" + rest)
    command = json.loads((package / "package.json").read_text())["scripts"]["test"].split()
    done = subprocess.run(command, cwd=package, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode and re.findall(r"^(not ok|ok) \d", done.stdout, re.M) == ["not ok"] * 4 + ["ok"]


def test_tokens_equal_the_library_s_on_random_text(make: Make, tmp_path: Path) -> None:
    if not shutil.which("node"):
        pytest.skip("there is no Node.js here")
    texts = [*CLASSES, *random_texts(RANDOM_TEXTS), "boston " * 14_300, "é" * 100_000, "\u0301\u0323" * 50_000]
    files = [write_expected(tmp_path / f"{name}.jsonl", make("ner", name) / "assets", texts) for name in TOKENIZERS]
    done = node(HERE / "tokens.mjs", make() / "src", *files)
    assert not done.returncode, done.stdout[:3000] + done.stderr[:3000]
    assert done.stdout.count(f"{len(texts)} texts, 0 differ") == len(TOKENIZERS)


@pytest.mark.parametrize("task", ["ner", "tag", "classify", "embed"])
def test_awkward_texts_are_answered_as_python_does(task: str, installed: Make) -> None:
    texts = ["", " \n\u3000", "\ud800", "fly\udc00 \ud83d to boston", "🙂 boston 🙂🙂 new york ❤️ denver"]
    package = installed(task)
    wanted = Predictor(package.parent / "bundle").predict(texts)
    method = {"ner": "entities"}.get(task, task)
    given = driven(package, *({"method": method, "texts": [text]} for text in texts))
    assert given == [moved(answer, text) for answer, text in zip(wanted, texts, strict=True)]


def moved(answer: Any, text: str) -> Any:
    """With places in UTF-16 code units, and numbers that may differ in their last digits rounded."""
    at = utf16_places(text)
    if isinstance(answer, list):
        return [moved(item, text) for item in answer]
    if isinstance(answer, dict):
        return {key: at[value] if key in ("start", "end") else moved(value, text) for key, value in answer.items()}
    return pytest.approx(answer, abs=2e-4) if isinstance(answer, float) else answer


def test_a_long_text_is_answered_whole(installed: Make) -> None:
    package = installed()
    text = "flights from boston to new york " * 3125
    wanted = Predictor(package.parent / "bundle").predict([text])[0]
    (given,) = driven(package, {"method": "entities", "texts": [text]})
    assert len(text) == 100_000 and given == wanted


def test_a_call_that_the_model_does_not_offer_names_the_one_that_it_does(installed: Make) -> None:
    questions = [
        {"method": "classify", "texts": ["a"]}, {"method": "entities", "texts": []}, {"method": "entities", "texts": [7]},
        {"method": "entities", "texts": ["a", "b"]}, {"method": "entities", "texts": [None]},
    ]  # fmt: skip
    assert driven(installed(), *questions) == [
        "RequestError: this model has the task ner: it answers entities(text), not classify(…)",
        "RequestError: entities(text) takes 1 text, not 0",
        "RequestError: entities(text) takes text, not number",
        "RequestError: entities(text) takes 1 text, not 2",
        "RequestError: entities(text) takes text, not null",
    ]


@pytest.mark.parametrize("file", ["model.fp32.onnx", "edgebert.json", "tokenizer.json"])
def test_a_changed_file_is_refused_by_its_name(file: str, installed: Make, tmp_path: Path) -> None:
    package = shutil.copytree(installed(), tmp_path / "package", symlinks=True)
    path = package / "assets" / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    done = node(HERE / "ask.mjs", package)
    assert done.returncode and f"{file} is not the file that this package was made with" in done.stderr


# ---------------------------------------------------------------- which engine runs it


def proof(sha256: str, engine: str = "webgpu", **changes: Any) -> EngineProof:
    score = Score("strict entity F1", 0.9, "test", 200)
    parity = Parity(n_rows=200, max_logit_difference=1e-5, nrmse=1e-5, equal_predictions=1.0, edges={}, score=score,
                    reference_score=score)  # fmt: skip
    facts = {"file": "L2/onnx-fp32", "sha256": sha256, "target": f"browser:{engine}", "engine": engine,
             "device": "Chromium 1 on Linux", "adapter": "", "how": "measured", "runtime": f"{RUNTIME} {engine}",
             "runtime_version": RUNTIME_VERSION, "parity": parity, "failures": (), "created": "now"}  # fmt: skip
    return EngineProof(**(facts | changes))


@pytest.fixture(scope="module")
def package_with(make: Make, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A package of a bundle that lies beside these proofs, as it does in a run."""
    bundle = make().parent / "bundle"
    sha256 = json.loads((bundle / "manifest.json").read_text())["files"]["model.fp32.onnx"]["sha256"]

    def write(*changes: dict[str, Any]) -> Path:
        run = tmp_path_factory.mktemp("run")
        shutil.copytree(bundle, run / "bundle")
        for change in changes:
            write_proof(run, proof(**{"sha256": sha256, **change}))
        return write_package(run / "bundle", "web", output=run / "package", name="toy-model").folder

    return write


def engines_of(package: Path) -> tuple[list[str], list[str]]:
    """What the scripts may run it by, and of which engines the manifest has proofs."""
    files = json.loads((package / "src" / "files.js").read_text().split("export default ")[1].rstrip(";\n"))
    assert (
        ("probe.json" in files["assets"]) == ("webgpu" in files["engines"]) == (package / "assets/probe.json").exists()
    )
    listed = json.loads((package / "manifest.json").read_text())["engines"]
    assert {item["target"] for item in listed} <= {"browser"}, "without a path of the machine that measured"
    return files["engines"], [item["engine"] for item in listed]


def test_a_package_lists_the_engines_that_were_proven_for_its_very_file(package_with: Callable[..., Path]) -> None:
    wrong = {"failures": ("the metric falls by 30.00 points",)}
    assert engines_of(package_with()) == (["wasm"], [])
    assert engines_of(package_with({})) == (["wasm", "webgpu"], ["webgpu"])
    assert engines_of(package_with({"engine": "wasm"}, {})) == (["wasm", "webgpu"], ["wasm", "webgpu"])
    assert engines_of(package_with({"sha256": "0" * 64})) == (["wasm"], []), (
        "another file, or this one before it changed"
    )
    assert engines_of(package_with(wrong)) == (["wasm"], ["webgpu"])
    assert engines_of(package_with({}, {**wrong, "device": "Safari"})) == (["wasm"], ["webgpu"] * 2), (
        "wrong on one device"
    )
    assert engines_of(package_with(wrong, {})) == (["wasm", "webgpu"], ["webgpu"]), (
        "proven again under equal conditions"
    )
    assert engines_of(package_with({"runtime_version": "1.0.0"})) == (["wasm"], ["webgpu"]), "another onnxruntime-web"
    with pytest.raises(RequestError, match=r"was wrong by WebAssembly .*falls by 30") as error:
        package_with({"engine": "wasm", **wrong})
    assert "another precision" in str(error.value)


def test_a_proof_that_cannot_be_read_is_told(package_with: Callable[..., Path], tmp_path: Path) -> None:
    package = package_with({})
    (path,) = (package.parent / "engines").iterdir()
    path.write_text(path.read_text()[:-9])
    with pytest.raises(RunError, match="no proof of an engine that can be read") as error:
        write_package(package.parent / "bundle", "web", output=tmp_path / "out", name="toy-model")
    assert error.value.where == str(path)


def test_auto_takes_webgpu_only_where_it_is_proven_right_and_faster(package_with: Callable[..., Path]) -> None:
    if not shutil.which("node"):
        pytest.skip("there is no Node.js here")
    slow, fast = {"ms": 4}, {"ms": 0.2}
    good, real = {"wasm": slow, "webgpu": fast}, {"adapter": "a card"}

    def told(package: Path, *cases: dict[str, Any]) -> list[dict[str, Any]]:
        done = subprocess.run(
            ["node", str(HERE / "choose.mjs"), str(package)], input=json.dumps(cases), capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip
        assert not done.returncode, done.stderr
        return json.loads(done.stdout)

    cases = [
        {"engine": good, **real},
        {"engine": {"wasm": slow, "webgpu": {**fast, "scale": 1.5}}, **real},
        {"engine": {"wasm": slow, "webgpu": {**fast, "nan": True}}, **real},
        {"engine": {"wasm": slow, "webgpu": {"breaks": True}}, **real},
        {"engine": {"wasm": fast, "webgpu": slow}, **real},
        {"engine": good, "adapter": "software"},
        {"engine": good},
        {"engine": {"wasm": slow, "webgpu": {**fast, "scale": 1.5}}, **real,
         "kept": {"choice": {"backend": "webgpu", "wasm_ms": 9, "webgpu_ms": 1}}},
        {"engine": good, **real, "kept": {"choice": {"backend": "webgpu", "wasm_ms": 9, "webgpu_ms": 1}}},
        {"engine": good, "backend": "webgpu", "adapter": "software"},
        {"engine": good, "backend": "webgpu"},
        {"engine": {"wasm": slow, "webgpu": {"scale": 1.5}}, "backend": "webgpu", **real},
    ]  # fmt: skip
    results = told(package_with({}), *cases)
    taken = [item.get("taken") for item in results]
    assert taken == ["webgpu", *["wasm"] * 7, *["webgpu"] * 2, None, None]
    assert results[0]["kept"]["backend"] == "webgpu" and results[0]["kept"]["webgpu_ms"] < results[0]["kept"]["wasm_ms"]
    assert "golden ones by" in results[1]["note"] and "by Infinity" in results[2]["note"]
    assert results[3]["note"] == "WebGPU cannot run the model on this device: device lost"
    assert results[4]["note"] == "WebGPU is not faster on this device"
    assert results[5]["begun"] == results[6]["begun"] == ["wasm"], "nothing is tried where there is no card"
    assert results[7]["kept"]["backend"] == "wasm" and results[8]["begun"] == ["webgpu"]
    assert results[10]["error"] == "this browser offers no WebGPU adapter"
    assert results[11]["error"].startswith("WebGPU is wrong on this device: its outputs differ from the golden ones by")

    unproven, forced, wasm = told(
        package_with(), {"engine": good, **real}, {"engine": good, "backend": "webgpu", **real},
        {"engine": good, "backend": "wasm"},
    )  # fmt: skip
    assert unproven["taken"] == "wasm" and unproven["begun"] == ["wasm"]
    assert unproven["note"] == forced["error"] and "edgebert profile RUN --on browser:webgpu" in forced["error"]
    assert wasm["taken"] == "wasm" and wasm["note"] == ""


# ---------------------------------------------------------------- what the package is


def test_the_archive_is_what_npm_installs_and_the_same_each_time(make: Make, tmp_path: Path) -> None:
    bundle = make().parent / "bundle"
    first = write_package(bundle, "web", output=tmp_path / "a", name="@company/slots.small")
    content = first.archive.read_bytes()
    assert first.archive.name == "company-slots.small-1.0.0.tgz" and first.prove == "npm install && npm test"
    assert (
        write_package(bundle, "web", output=tmp_path / "a", name="@company/slots.small").archive.read_bytes() == content
    )
    with tarfile.open(first.archive) as tar:
        names = tar.getnames()
    assert all(name.startswith("package/") for name in names)
    assert {"package/package.json", "package/index.d.ts", "package/manifest.json", "package/MODEL_CARD.md"} <= set(
        names
    )
    about = json.loads((tmp_path / "a" / "package.json").read_text())
    assert about["name"] == "@company/slots.small" and about["type"] == "module"
    assert about["dependencies"] == {assets.PACKAGE: assets.VERSION}
    assert "../../../onnxruntime-web/dist/" in (tmp_path / "a" / "src" / "files.js").read_text()
    listed = json.loads((tmp_path / "a" / "manifest.json").read_text())["files"]
    assert {f"package/{name}" for name in listed} | {"package/manifest.json"} == set(names)


def test_labels_stand_in_no_script(make: Make) -> None:
    package = make()
    for path in (path for path in package.rglob("*") if path.suffix in {".js", ".mjs", ".ts", ".html", ".md"}):
        if path.name != "MODEL_CARD.md":
            text = path.read_text(encoding="utf-8")
            assert not [label for label in AWKWARD if label[2:] in text], path
    for path in (path for path in package.rglob("*.js") if "node_modules" not in path.parts):
        assert not re.search(r"\beval\(|new Function\(|innerHTML|document\.write", path.read_text()), path


def test_the_runtime_is_the_one_that_edgebert_measures_with(onnxruntime_web: Path) -> None:
    assert (RUNTIME, RUNTIME_VERSION) == (assets.PACKAGE, assets.VERSION)
    for module, stem in BACKENDS.values():
        assert {module, f"{stem}.mjs", f"{stem}.wasm"} <= set(assets.FILES)
    for file, facts in BINARIES.items():
        assert facts == {"sha256": assets.FILES[file], "size_bytes": (onnxruntime_web / file).stat().st_size}


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Slots",
        "my slots",
        ".slots",
        "_slots",
        "a/b",
        "@a",
        "@/b",
        "@a/",
        "fs",
        "node_modules",
        "é",
        "x" * 215,
        "../x",
    ],
)
def test_a_name_that_npm_refuses_is_refused_with_a_right_one(name: str, make: Make, tmp_path: Path) -> None:
    with pytest.raises(RequestError) as error:
        write_package(make().parent / "bundle", "web", output=tmp_path / "out", name=name)
    assert "my-entities" in str(error.value) and error.value.where == "--name"


def test_names_that_npm_takes() -> None:
    assert not [name for name in ("slots", "@company/slots", "a.b-c_d~e", "x" * 214, "0") if check_name(name)]
    assert default_name(["ner", "atis"]) == "ner-atis" and default_name(["stream"]) == "stream-model"


# ---------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def chromium() -> str:
    program = next(filter(None, map(shutil.which, process.PROGRAMS)), None)
    if not program:
        pytest.skip(f"no browser here: {', '.join(process.PROGRAMS)}")
    return program


@pytest.fixture
def visited(installed: Make, chromium: str) -> Callable[..., list[dict[str, Any]]]:
    """What tests/web/visit.mjs saw: a story of the packages of some tasks in a browser."""

    def visit(story: str, *tasks: str) -> list[dict[str, Any]]:
        done = node(HERE / "visit.mjs", chromium, story, *(installed(task) for task in tasks))
        assert not done.returncode, done.stdout[-2000:] + done.stderr[-4000:]
        return [json.loads(line) for line in done.stdout.strip().splitlines()]

    return visit


def test_chromium_opens_it_again_without_a_request_and_without_a_network(
    visited: Callable[..., list[dict[str, Any]]], make: Make
) -> None:
    (seen,) = visited("offline", "ner")
    text = "🙂 flights from boston to new york"
    wanted = moved(Predictor(make().parent / "bundle").predict([text])[0], text)
    assert seen["first"]["answer"] == seen["second"]["answer"] == seen["offline"]["answer"] == wanted
    assert sorted(Path(path).name for path in seen["first"]["requests"]) == [
        "edgebert.json", "model.fp32.onnx", "ort-wasm-simd-threaded.wasm", "tokenizer.json",
    ]  # fmt: skip
    assert not seen["first"]["info"]["cached"] and seen["second"]["info"]["cached"]
    assert not seen["second"]["requests"] and not seen["offline"]["requests"]
    assert seen["first"]["isolated"] and seen["first"]["info"]["threads"] == max(1, min(4, (os.cpu_count() or 1) // 2))
    loaded = [item["loaded"] for item in seen["first"]["progress"]]
    assert loaded == sorted(loaded) and loaded[-1] == seen["first"]["progress"][-1]["total"]
    assert seen["page_offline"] > 0
    assert "sha256 differs" in seen["tampered"] and "model.fp32.onnx" in seen["tampered"]
    assert "the server answers 404" in seen["missing"] and "onnxruntime-web is not at" in seen["no_runtime"]
    assert seen["wrong"] == "RequestError: this model has the task ner: it answers entities(text), not answer(…)"
    assert seen["closed"] == "RequestError: the model is closed"
    assert not seen["violations"]


@pytest.mark.slow
def test_the_page_shows_every_kind_of_answer_to_every_reader(visited: Callable[..., list[dict[str, Any]]]) -> None:
    for seen in visited("page", "ner", "tag", "classify", "pair", "similarity", "embed", "qa", SEVERAL):
        assert seen["result"].strip() and seen["status"] and not seen["error"], seen
        assert re.fullmatch(r"\d+\.\d ms", seen["latency"])
        assert seen["focused"] == "text-0" and all(seen["labels"]) and seen["live"] == "polite"
        assert seen["tabbed"] == "BUTTON"
        assert not seen["images"]  # a text with tags in it is shown as it is
        assert min(seen["contrast"]) >= 4.5  # of both colour schemes
        assert bool(seen["marks"]) == (seen["task"] in ("ner", "qa", SEVERAL))
        assert not seen["violations"]


@pytest.mark.slow
def test_webgpu_in_a_browser_answers_as_python_does_and_wrong_golden_windows_lose(
    package_with: Callable[..., Path], onnxruntime_web: Path, chromium: str, tmp_path: Path
) -> None:
    package = package_with({})
    link_runtime(package, onnxruntime_web)
    strange = shutil.copytree(package, tmp_path / "strange", symlinks=True)
    probe, script = strange / "assets" / "probe.json", strange / "src" / "files.js"
    before = describe_files(strange / "assets")["probe.json"]
    windows = json.loads(probe.read_text())
    windows[0]["outputs"]["logits"][0][0] += 0.5
    probe.write_text(json.dumps(windows))
    after = describe_files(strange / "assets")["probe.json"]
    script.write_text(script.read_text().replace(before["sha256"], after["sha256"]).replace(
        f'"size_bytes": {before["size_bytes"]}\n', f'"size_bytes": {after["size_bytes"]}\n'))  # fmt: skip
    done = node(HERE / "visit.mjs", chromium, "webgpu", package, strange)
    assert not done.returncode, done.stdout[-2000:] + done.stderr[-4000:]
    good, bad = (json.loads(line) for line in done.stdout.strip().splitlines())
    if not good["adapter"]:
        pytest.skip("no WebGPU here")
    text = "🙂 flights from boston to new york"
    wanted = moved(Predictor(package.parent / "bundle").predict([text])[0], text)
    assert good["forced"]["answer"] == wanted and good["forced"]["info"]["backend"] == "webgpu"
    assert bad["forced"]["error"].startswith(
        "WebGPU is wrong on this device: its outputs differ from the golden ones by"
    )
    assert bad["auto"]["answer"] == good["auto"]["answer"] == wanted
