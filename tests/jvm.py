"""Kotlin compiled and run on this machine's JVM, by the compiler that PyPI's kotlin-jupyter-kernel carries."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest

COMPILER = "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler"
DISTRIBUTION = "kotlin-jupyter-kernel"


@dataclass(frozen=True)
class Kotlin:
    compiler: Path
    stdlib: Path
    version: str

    def compile(self, sources: Path, cache_folder: Path) -> Path:
        """The classes of all sources of a folder, from an earlier call where these had the same text. Warnings are errors."""
        digest = hashlib.sha256(self.version.encode())
        for path in sorted(sources.rglob("*.kt")):
            digest.update(f"\0{path.relative_to(sources)}\0".encode() + path.read_bytes())
        target = cache_folder / digest.hexdigest()[:16]
        if target.exists():
            return target
        half = target.with_suffix(".part")
        shutil.rmtree(half, ignore_errors=True)
        # A compiler that runs once gains nothing from the optimizing tier of the JVM.
        jvm = ["java", "-Xmx1g", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", str(self.compiler), COMPILER]
        options = [
            "-no-stdlib",
            "-no-reflect",
            "-Werror",
            "-classpath",
            str(self.stdlib),
            "-d",
            str(half),
            str(sources),
        ]
        result = subprocess.run([*jvm, *options], capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr
        half.rename(target)
        return target

    def command(self, classes: Path, main: str, *arguments: object, language: str = "tr") -> list[str]:
        """In Turkish, where the small letter of I is another one, unless told otherwise."""
        path = f"{classes}:{self.stdlib}"
        return ["java", f"-Duser.language={language}", "-Xmx1g", "-cp", path, main, *map(str, arguments)]

    def run(self, classes: Path, main: str, *arguments: object) -> list[str]:
        """Lines of standard output."""
        result = subprocess.run(self.command(classes, main, *arguments), capture_output=True, encoding="utf-8")
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout.splitlines()


@cache
def find_kotlin() -> Kotlin | None:
    try:
        files: Sequence[metadata.PackagePath] = metadata.files(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return None
    jars = {path.name: Path(str(path.locate())) for path in files if path.suffix == ".jar"}
    compiler = next((path for name, path in jars.items() if name.endswith("-all.jar")), None)
    stdlib = next((path for name, path in jars.items() if name.startswith("kotlin-stdlib-")), None)
    if compiler is None or stdlib is None or shutil.which("java") is None:
        return None
    return Kotlin(compiler, stdlib, compiler.name)


def need_kotlin() -> Kotlin:
    kotlin = find_kotlin()
    if kotlin is None:
        pytest.skip(f"java and the package {DISTRIBUTION} are needed")
    return kotlin
