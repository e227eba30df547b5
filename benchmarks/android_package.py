"""The Android package's figures in benchmarks/bundles.md: its tokenizer beside the tokenizers wheel, on the JVM of this machine.

    python -m benchmarks.android_package PACKAGE

PACKAGE: a folder of `edgebert bundle --platform android --name com.example.slots`. Its Kotlin is compiled, ids and places are compared
on sentences of ../shared/data, on random texts and on the classes of the golden vectors, and both are timed in turns: a line for
each figure.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer

from tests.jvm import Kotlin, find_kotlin
from tests.unicode_texts import CLASSES, random_texts, write_expected

NAME = "com.example.slots"  # the package of tests/kotlin/Driver.kt
DATA = Path("../shared/data")
TAGGED = ("btc", "wnut17", "wikigold")  # a word and its tag a line, an empty line behind each sentence
SENTENCES, RANDOM = 10_000, 20_000
WORDS, TEXTS = 30, 200
WARM, ROUNDS = 30, 30


def sentences() -> Iterator[str]:
    """Of the tagged corpora, words joined by spaces."""
    for corpus in TAGGED:
        for path in sorted((DATA / corpus).rglob("*")):
            if path.suffix in (".conll", ".txt", ".bio", ".iob", ".tsv"):
                for block in path.read_text(encoding="utf-8").split("\n\n"):
                    words = [line.split()[0] for line in block.splitlines() if line.split()]
                    if words:
                        yield " ".join(words)


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
    real = list(sentences())[:SENTENCES]
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        classes = compiled(kotlin, package, scratch)
        for name, texts in (("sentences", real), ("random", random_texts(RANDOM)), ("classes", list(CLASSES))):
            expected = write_expected(scratch / f"{name}.jsonl", assets, texts)
            told = kotlin.run(classes, f"{NAME}.Driver", "tokens", expected)[0].split("\t", 1)[1]
            print(json.dumps({"compared": name, "texts": len(texts), "result": told}))
        words = [word for text in real for word in text.split()]
        made = [" ".join(words[i : i + WORDS]) for i in range(0, len(words) - WORDS, WORDS)][:TEXTS]
        if made:
            ours, wheel = timed(kotlin, classes, assets, made, scratch)
            print(
                json.dumps({"kotlin_us": round(ours, 1), "wheel_us": round(wheel, 1), "ratio": round(ours / wheel, 2)})
            )


if __name__ == "__main__":
    main()
