"""web: an npm package of plain ES modules, whose model runs by onnxruntime-web in a worker of the page, or in Node.

The scripts in `templates/web` are written out as they stand; what differs between packages is read from edgebert.json, so
that no label ever stands in source. `src/files.js` alone is written here: which files the package opens, and their sha256.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebert.bundle.golden import DATA, read_golden
from edgebert.bundle.manifest import CARD, GOLDEN, TOKENIZER, describe_files, read_manifest
from edgebert.bundle.platforms import Platform
from edgebert.bundle.ports.assets import LICENCES, SETTINGS, proofs_of, write_assets, write_template
from edgebert.bundle.sbom import Library
from edgebert.bundle.strict_json import write_json
from edgebert.errors import RequestError
from edgebert.tasks import find_task

if TYPE_CHECKING:
    from edgebert.bundle.manifest import Manifest

TEMPLATES = Path(__file__).parent / "templates" / "web"
VERSION = "1.0.0"
LONGEST = 214  # characters of a name
_PART = re.compile(r"[a-z0-9~-][a-z0-9._~-]*")
_RIGHT = "Take small letters, digits and dashes, with a scope or without: my-entities, @company/my-entities."
# Names that npm keeps for itself, and modules of Node that an import of the same name would mean.
TAKEN = frozenset(
    {"node_modules", "favicon.ico", "assert", "async_hooks", "buffer", "child_process", "cluster", "console",
    "constants", "crypto", "dgram", "diagnostics_channel", "dns", "domain", "events", "fs", "http", "http2",
    "https", "inspector", "module", "net", "os", "path", "perf_hooks", "process", "punycode", "querystring",
    "readline", "repl", "stream", "string_decoder", "sys", "timers", "tls", "trace_events", "tty", "url", "util",
    "v8", "vm", "wasi", "worker_threads", "zlib", "onnxruntime-web", "edgebert"}
)  # fmt: skip
# The runtime that pages load, as `edgebert.measure.targets._browser_assets` pins it: of each way to run a model the script
# that is imported, what that loads, and of the latter's code the sha256 and the size in bytes.
RUNTIME, RUNTIME_VERSION = "onnxruntime-web", "1.30.0"
BACKENDS = {
    "wasm": ("ort.wasm.min.mjs", "ort-wasm-simd-threaded"),
    "webgpu": ("ort.webgpu.min.mjs", "ort-wasm-simd-threaded.asyncify"),
}
BINARIES = {
    "ort-wasm-simd-threaded.wasm": {
        "sha256": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
        "size_bytes": 14239897,
    },
    "ort-wasm-simd-threaded.asyncify.wasm": {
        "sha256": "39f9f0894d478800487ed9f7dbe92618498db320cf55c8e3d89adff8dce658da",
        "size_bytes": 26781914,
    },
}
CALLS = {  # of each kind of task the method that answers
    "ner": "entities", "tag": "tag", "classify": "classify", "pair": "classify", "embed": "embed",
    "similarity": "similarity", "qa": "answer", "multi": "answers",
}  # fmt: skip
PROBE, PROBED = "probe.json", 4  # golden windows that a page holds WebGPU against on the user's device
EXAMPLES = 6  # texts of the demo page
WHEN = 499162500  # 1985-10-26, the time that npm gives every file of an archive


def check_name(name: str) -> str:
    scope, _, own = name[1:].partition("/") if name.startswith("@") else ("", "", name)
    if len(name) > LONGEST or not _PART.fullmatch(own) or (name.startswith("@") and not _PART.fullmatch(scope)):
        return f"npm knows names of at most {LONGEST} small letters, digits, dashes, dots and underscores. {_RIGHT}"
    if not scope and own in TAKEN:
        return f'import "{own}" already means something else. {_RIGHT}'
    return ""


def default_name(words: Sequence[str]) -> str:
    name = "-".join(words)[: LONGEST - len("-model")].strip("-")
    return f"{name}-model" if check_name(name) else name


def write(bundle: Path, folder: Path, name: str) -> None:
    manifest = read_manifest(bundle)
    shutil.copytree(TEMPLATES, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("README.md"))
    assets = folder / "assets"
    settings = write_assets(bundle, assets, name, golden=folder / "golden")
    shutil.move(assets / CARD, folder / CARD)
    shutil.move(assets / LICENCES, folder / LICENCES)
    title = find_task(manifest["task"]).title
    golden = [line for line in read_golden(folder / "golden" / GOLDEN) if line["class"] == DATA]
    texts = [line["texts"] for line in golden]
    engines = proven_engines(bundle, manifest)
    if "webgpu" in engines:
        write_json(assets / PROBE, [line["windows"][0] for line in golden if line["windows"]][:PROBED])
    write_json(folder / "package.json", _package(name, title))
    write_json(
        folder / "demo" / "examples.json",
        {"name": name, "title": _title(title), "texts": texts[:: max(1, len(texts) // EXAMPLES)][:EXAMPLES]},
    )
    _write_script(folder / "src" / "files.js", _files(name, assets, settings["model"], engines))
    values = {"NAME": name, "TITLE": _title(title), "ARCHIVE": _archive_name(name), "CALL": _call(settings, texts)}
    write_template(TEMPLATES / "README.md", folder / "README.md", values)


def proven_engines(bundle: Path, manifest: Manifest) -> list[str]:
    """The engines by which a page may run the bundle's file: WebAssembly, and WebGPU where the run beside the bundle keeps
    a proof of this very file with this version of onnxruntime-web, and none of it failed.

    WebAssembly needs no proof of its own, because it runs the CPU kernels of ONNX Runtime that parity was proven with, and
    `npm test` replays the golden vectors by it. One that failed is heeded.

    Raises:
        RequestError: the file was wrong by WebAssembly, which every page falls back to.
        RunError: a proof cannot be read.
    """
    proofs = [item for item in proofs_of(bundle, manifest) if item.runtime_version == RUNTIME_VERSION]
    failed = {item.engine: item for item in proofs if item.failures}
    if "wasm" in failed:
        what = f"this file was wrong by WebAssembly ({failed['wasm'].device}): {'; '.join(failed['wasm'].failures)}"
        hint = "Take another precision, or prove it again: edgebert profile RUN --on browser"
        raise RequestError(what, where=manifest["model"], hint=hint)
    return ["wasm", *sorted({item.engine for item in proofs} - failed.keys() - {"wasm"})]


def archive(folder: Path, parent: Path, name: str) -> Path:
    """What `npm pack` makes of the folder, the same bytes for the same files."""
    target = parent / _archive_name(name)
    with (
        target.open("wb") as stream,
        gzip.GzipFile(filename="", fileobj=stream, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in sorted(folder.rglob("*")):
            place = path.relative_to(folder)
            if path.is_file() and "node_modules" not in place.parts:
                entry = tarfile.TarInfo(f"package/{place.as_posix()}")
                entry.size, entry.mtime, entry.mode = path.stat().st_size, WHEN, 0o644
                tar.addfile(entry, io.BytesIO(path.read_bytes()))
    return target


def _archive_name(name: str) -> str:
    return f"{name.removeprefix('@').replace('/', '-')}-{VERSION}.tgz"


def _package(name: str, title: str) -> dict[str, Any]:
    return {
        "name": name,
        "version": VERSION,
        "description": f"{_title(title)}, on the device: a model, its tokenizer and its answers",
        "license": f"SEE LICENSE IN {LICENCES}/NOTICE.md",
        "type": "module",
        "engines": {"node": ">=20"},
        "types": "./index.d.ts",
        "exports": {
            ".": {"types": "./index.d.ts", "node": "./src/node.js", "default": "./src/index.js"},
            "./assets/*": "./assets/*",
            "./package.json": "./package.json",
        },
        "sideEffects": False,
        "scripts": {"test": "node --test test/golden.test.js", "demo": "node demo/serve.mjs"},
        "dependencies": {RUNTIME: RUNTIME_VERSION},
    }


def _files(name: str, assets: Path, model: Mapping[str, Any], engines: Sequence[str]) -> dict[str, object]:
    """What the scripts open: the package's own files, and those of onnxruntime-web, with what tells a changed one."""
    known = describe_files(assets)
    up = "../" * (3 if name.startswith("@") else 2)  # from src/ of the package to node_modules/
    backends = {
        key: {"module": module, "loader": f"{stem}.mjs", "binary": f"{stem}.wasm"}
        for key, (module, stem) in BACKENDS.items()
    }
    runtime = {"version": RUNTIME_VERSION, "folder": f"{up}{RUNTIME}/dist/", **backends, "files": BINARIES}
    own = {file: known[file] for file in (SETTINGS, TOKENIZER, model["file"], PROBE) if file in known}
    return {"name": name, "precision": model["precision"], "engines": engines, "assets": own, "runtime": runtime}


def _write_script(path: Path, value: object) -> None:
    comment = "// Written by edgebert: the files that this package opens.\n"
    path.write_text(f"{comment}export default {json.dumps(value, indent=2)};\n", encoding="utf-8")


def _title(title: str) -> str:
    return title[:1].upper() + title[1:]


def _call(settings: Mapping[str, Any], texts: Sequence[Sequence[str]]) -> str:
    """A call in JavaScript; JSON's texts are JavaScript's."""
    task = settings["task"]
    given = next((pair for pair in texts if len(pair) == len(task["inputs"])), task["inputs"])
    return (
        f"{CALLS[task['kind']]}({', '.join(json.dumps(' '.join(text.split()), ensure_ascii=False) for text in given)})"
    )


PLATFORM = Platform(
    name="web",
    title="an npm package",
    formats=("onnx",),
    prove="npm install && npm test",
    check_name=check_name,
    default_name=default_name,
    write=write,
    requires=lambda manifest: [Library("npm", RUNTIME, RUNTIME_VERSION)],
    archive=archive,
    engines=tuple(BACKENDS),
)
