"""An aarch64 user-space that runs here under qemu: Debian 12's Python 3.11 with ARM wheels of the runtimes that are here.

    python -m tests.aarch64        makes it in the user's cache, where it is not there yet, and prints its python3

It needs Debian's mmdebstrap and qemu-user-static, and no binfmt: `python3` is a script that starts qemu. Each combination
of versions has a folder of its own, about 230 MB; made beside and renamed, so that what is there is whole.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from edgebert.files import user_folder

TOOLS = ("mmdebstrap", "qemu-aarch64-static", "tar")
RUNTIMES = ("numpy", "onnxruntime", "ai-edge-litert")
SUITE, PYTHON, PACKAGES = "bookworm", "3.11", "python3,libstdc++6"
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64")
CPU = "cortex-a76"
# qemu 7 shows the host's. Without an ARM's onnxruntime crashes as it is imported.
CPUINFO = "".join(
    f"processor\t: {core}\nBogoMIPS\t: 108.00\n"
    "Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp\n"
    "CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x4\nCPU part\t: 0xd0b\nCPU revision\t: 1\n\n"
    for core in range(2)
)
WRAPPER = f"""#!/bin/sh
root=$(dirname -- "$(readlink -f -- "$0")")/root
exec qemu-aarch64-static -cpu {CPU} -L "$root" "$root/usr/bin/python{PYTHON}" "$@"
"""


class CannotBeHad(Exception):
    """A tool is missing, or Debian's packages or the wheels cannot be had here."""


def python3() -> Path:
    """The user-space's Python, a script; makes the user-space first where it is not there. Raises CannotBeHad."""
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        raise CannotBeHad(f"needs {' and '.join(missing)} (Debian: mmdebstrap, qemu-user-static)")
    wheels = [f"{name}=={version(name)}" for name in RUNTIMES]
    recipe = repr((wheels, SUITE, PACKAGES, PLATFORMS, CPUINFO, WRAPPER))
    folder = user_folder("XDG_CACHE_HOME", ".cache") / f"aarch64-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".aarch64-") as work:
            _make(Path(work) / "made", wheels)
            try:
                (Path(work) / "made").rename(folder)
            except OSError:  # another process was faster
                assert folder.is_dir()
    return folder / "python3"


def _make(folder: Path, wheels: Sequence[str]) -> None:
    root, archive = folder / "root", folder / "root.tar"
    root.mkdir(parents=True)
    _run("mmdebstrap", "--quiet", "--variant=extract", "--arch=arm64", f"--include={PACKAGES}", SUITE, str(archive))
    _run("tar", "-xf", str(archive), "-C", str(root), "--exclude=./dev", "--no-same-owner")
    archive.unlink()
    platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
    _run(
        sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "-q", "--no-compile",
        "--only-binary=:all:", *platforms, "--python-version", PYTHON, "--implementation", "cp",
        "--target", str(root / f"usr/local/lib/python{PYTHON}/dist-packages"), *wheels,
    )  # fmt: skip
    cores = root / "sys/devices/system/cpu"
    cores.mkdir(parents=True)
    for name in ("possible", "present"):
        (cores / name).write_text("0-1\n", encoding="utf-8")
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc/cpuinfo").write_text(CPUINFO, encoding="utf-8")
    (folder / "python3").write_text(WRAPPER, encoding="utf-8")
    (folder / "python3").chmod(0o755)
    _run(str(folder / "python3"), "-c", "import numpy, onnxruntime, ai_edge_litert.interpreter")


def _run(*command: str) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit status {done.returncode}"]
        raise CannotBeHad(f"{Path(command[0]).name}: {lines[-1][:300]}")


if __name__ == "__main__":
    print(python3())
