"""The Android package's figures in benchmarks/bundles.md: its tokenizer beside the tokenizers wheel, on the JVM of this machine.

    python -m benchmarks.android_package PACKAGE

PACKAGE: a folder of `edgebert bundle --platform android --name com.example.slots`. Its Kotlin is compiled, and both are timed in
turns on texts of ../shared/data; `benchmarks/bundles.py` compares ids and places.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from tokenizers import Tokenizer

from benchmarks.bundles import sentences
from tests.jvm import Kotlin, find_kotlin

NAME = "com.example.slots"  # the package of tests/kotlin/Driver.kt
WORDS, TEXTS = 30, 200
WARM, ROUNDS = 30, 30


def compiled(kotlin: Kotlin, package: Path, scratch: Path) -> Path:
    sources = scratch / "sources"
    tests = Path(__file__).parent.parent / "tests" / "kotlin"
    shutil.copytree(package / "slots" / "src", sources / "module")
    shutil.copytree(tests, sources / "tests")
    return kotlin.compile(sources, scratch)


def timed(kotlin: Kotlin, classes: Path, assets: Path, texts: list[str], scratch: Path) -> tuple[float, float]:
    """Microseconds a text, of Kotlin and of the wheel called from Python, with ids and places."""
    path = scratch / "texts.txt"
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    tokenizer = Tokenizer.from_file(str(assets / "tokenizer.json"))
    ours, theirs = [], []
    command = kotlin.command(classes, f"{NAME}.Driver", "time", assets, path)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin and child.stdout
        for number in range(WARM + ROUNDS):
            child.stdin.write("go\n")
            child.stdin.flush()
            mine = float(child.stdout.readline())
            start = time.perf_counter_ns()
            for text in texts:
                encoding = tokenizer.encode(text, add_special_tokens=False)
                _ = encoding.ids, encoding.offsets
            wheel = (time.perf_counter_ns() - start) / 1000 / len(texts)
            if number >= WARM:
                ours.append(mine)
                theirs.append(wheel)
        child.stdin.close()
    return statistics.median(ours), statistics.median(theirs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path)
    package = parser.parse_args().package
    kotlin = find_kotlin()
    if kotlin is None:
        raise SystemExit("java and the package kotlin-jupyter-kernel are needed")
    assets = package / "slots" / "src" / "main" / "assets" / "edgebert" / NAME
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        classes = compiled(kotlin, package, scratch)
        words = [word for text in sentences() for word in text.split()]
        made = [" ".join(words[i : i + WORDS]) for i in range(0, len(words) - WORDS, WORDS)][:TEXTS]
        ours, wheel = timed(kotlin, classes, assets, made, scratch)
    print(json.dumps({"kotlin_us": round(ours, 1), "wheel_us": round(wheel, 1), "ratio": round(ours / wheel, 2)}))


if __name__ == "__main__":
    main()
