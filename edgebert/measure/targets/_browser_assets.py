"""onnxruntime-web's files: one pinned version, checked byte by byte, wherever they come from.

In this order: the folder that EDGEBERT_ONNXRUNTIME_WEB names; the user's cache; `node_modules` in the working folder; the
npm client, which asks the registry that the user has set.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

from edgebert.errors import EdgebertError, RequestError, RunError
from edgebert.files import user_folder
from edgebert.measure.targets import Log
from edgebert.runtime.scratch import scratch_folder

PACKAGE = "onnxruntime-web"
VERSION = "1.30.0"
# of the tarball, as npm publishes it
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
# sha256 of each file that is served, from that tarball's dist/
FILES = {
    "ort.wasm.min.mjs": "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b",
    "ort-wasm-simd-threaded.mjs": "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
    "ort.webgpu.min.mjs": "3dffff71811bc13a3a3d9591c57ca5ee5735b8f5f3eaf789510b02bb040ae3a0",
    "ort-wasm-simd-threaded.asyncify.mjs": "3d1c85995364bb643302fc6fd877a0c3ba5ae72401815e0f24828a53d9191e28",
    "ort-wasm-simd-threaded.asyncify.wasm": "39f9f0894d478800487ed9f7dbe92618498db320cf55c8e3d89adff8dce658da",
}
VARIABLE = "EDGEBERT_ONNXRUNTIME_WEB"
NPM_SECONDS = 300
_SPEC = f"{PACKAGE}@{VERSION}"
_BY_HAND = (
    f"With a network, run: npm pack {_SPEC} && tar xzf {PACKAGE}-{VERSION}.tgz && export {VARIABLE}=$PWD/package - "
    "and then the same command again."
)


def fetch(log: Log) -> Path:
    """The folder that holds every file of `FILES`, each checked.

    Raises:
        RequestError: the variable names a folder without them, or there is no npm to fetch them.
        EdgebertError: a checksum differs, npm fails, or the cache cannot be written.
    """
    if os.environ.get(VARIABLE):
        return _named(Path(os.environ[VARIABLE]))
    if not wrong(cached()):
        return cached()
    installed = Path("node_modules") / PACKAGE / "dist"
    if installed.is_dir():
        if not (problem := wrong(installed)):
            return installed.resolve()
        log(event="note", text=f"{installed} is not {_SPEC} ({problem}): it is left aside")
    return _into_cache(log)


def missing() -> str:
    """Why `fetch` could not even begin; "" where the files are here or npm is."""
    if os.environ.get(VARIABLE):
        return wrong(_dist(Path(os.environ[VARIABLE])))
    try:
        cached()
    except RunError as error:
        return f"{error.what}. {error.hint}"
    if not wrong(cached()) or not wrong(Path("node_modules") / PACKAGE / "dist") or shutil.which("npm"):
        return ""
    return f"{_SPEC} is not in the cache and there is no npm to fetch it"


def cached() -> Path:
    """Where the files are kept between runs."""
    return user_folder("XDG_CACHE_HOME", ".cache") / f"{PACKAGE}-{VERSION}"


def wrong(folder: Path) -> str:
    """What is wrong with the folder's files; "" where all are as published."""
    for name, expected in FILES.items():
        try:
            result = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        except OSError:
            return f"{name} is missing"
        if result != expected:
            return f"the checksum of {name} differs from the published one"
    return ""


def _named(folder: Path) -> Path:
    if problem := wrong(_dist(folder)):
        raise RequestError(f"this is not {_SPEC}: {problem}", where=f"{VARIABLE}={folder}", hint=_BY_HAND)
    return _dist(folder).resolve()


def _dist(folder: Path) -> Path:
    return folder / "dist" if (folder / "dist").is_dir() else folder


def _into_cache(log: Log) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise RequestError(
            f"{_SPEC} is not in the cache, and there is no npm to fetch it",
            where=str(cached()),
            hint=f"Install npm (it comes with Node.js) and try again, or copy the package from elsewhere. {_BY_HAND}",
        )
    log(event="note", text=f"fetching {_SPEC} with npm, once")
    return _kept(lambda scratch: _unpack(_packed(npm, scratch), scratch))


def _kept(make: Callable[[Path], Path]) -> Path:
    """What `make` made in a scratch folder, under its name in the cache; whole, or not there."""
    home = cached().parent
    try:
        home.mkdir(parents=True, exist_ok=True)
        with scratch_folder("web-", str(home)) as scratch:
            created = make(scratch)
            if cached().exists() and wrong(cached()):
                cached().rename(scratch / "damaged")
            if not cached().exists():  # else another process was quicker
                created.rename(cached())
            return cached()
    except OSError as error:
        raise EdgebertError(
            f"the cache cannot be written: {error.strerror}",
            where=str(home),
            hint="Set XDG_CACHE_HOME to another folder.",
        ) from None


def _packed(npm: str, scratch: Path) -> Path:
    """The package's tarball, fetched by npm and checked."""
    command = [npm, "pack", _SPEC, "--ignore-scripts", "--no-update-notifier", "--pack-destination", str(scratch)]
    try:
        done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, timeout=NPM_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise EdgebertError(f"npm did not fetch {_SPEC} within {NPM_SECONDS} s", hint=_BY_HAND) from None
    tarball = scratch / f"{PACKAGE}-{VERSION}.tgz"
    if done.returncode or not tarball.exists():
        raise EdgebertError(f"npm cannot fetch {_SPEC}: {_npm_says(done.stderr)}", hint=_BY_HAND)
    digest = base64.b64encode(hashlib.sha512(tarball.read_bytes()).digest()).decode()
    if f"sha512-{digest}" != INTEGRITY:
        raise EdgebertError(
            f"the checksum of {tarball.name} differs from the published one: it is not used",
            where=f"npm pack {_SPEC}",
            hint="Ask who runs the registry that npm is set to (npm config get registry).",
        )
    return tarball


def _npm_says(stderr: str) -> str:
    prefixes = ("npm error ", "npm ERR! ")
    lines = [line.split(" ", 2)[2] for line in stderr.splitlines() if line.startswith(prefixes)]
    telling = [line for line in lines if not line.startswith(("A complete log", "code "))]
    return (telling or lines or ["it gave no reason"])[0][:200]


def _unpack(tarball: Path, scratch: Path) -> Path:
    """The listed files alone, out of the checked tarball."""
    folder = scratch / "files"
    folder.mkdir()
    with tarfile.open(tarball) as archive:
        for name in FILES:
            member = archive.extractfile(f"package/dist/{name}")
            assert member is not None, name
            (folder / name).write_bytes(member.read())
    return folder
