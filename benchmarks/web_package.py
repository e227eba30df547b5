"""The web package's figures in benchmarks/bundles.md: its tokenizer beside the tokenizers wheel, a warm visit of its page, a
whole call beside the bare session, and its answers beside Python's.

    python benchmarks/web_package.py PACKAGE [--bundle BUNDLE] [--esbuild PROGRAM] [--texts FILE] [--only PART]

PACKAGE: a folder of `edgebert bundle --platform web`, in which `npm install` has run. BUNDLE: the bundle of the same ONNX file, for
the answers. FILE: JSON, a list of rows of one text or two. Everything is measured in turns, and medians are told.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

SCRIPT = Path(__file__).with_suffix(".mjs")
WORDS = 30
BLOCKS, ROUNDS, CALLS = 15, 10, 30
VISITS = 10


def texts_of_words(package: Path, n: int = WORDS, most: int = 40) -> list[str]:
    """Texts of n words each, of the data's golden texts joined."""
    lines = map(json.loads, (package / "golden" / "golden.jsonl").read_text(encoding="utf-8").splitlines())
    words = [word for line in lines if line["class"] == "data" for word in line["texts"][0].split()]
    return [" ".join(words[i : i + n]) for i in range(0, len(words) - n, n)][:most]


def node(*arguments: object) -> Any:
    done = subprocess.run(["node", str(SCRIPT), *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


def tokenizer_figures(package: Path, scratch: Path) -> dict[str, object]:
    """Microseconds a text of 30 words: ids and places, by Node and by the wheel called from Python, in turns."""
    texts = texts_of_words(package)
    path = scratch / "texts.json"
    path.write_text(json.dumps(texts))
    tokenizer = Tokenizer.from_file(str(package / "assets" / "tokenizer.json"))
    ours, theirs = [], []
    with subprocess.Popen(
        ["node", str(SCRIPT), "tokens", str(package), str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdin and child.stdout
        for block in range(-2, BLOCKS):
            child.stdin.write(f"{ROUNDS}\n")
            child.stdin.flush()
            mine = float(child.stdout.readline())
            wheel = _wheel(tokenizer, texts)
            if block >= 0:
                ours.append(mine)
                theirs.append(wheel)
        child.stdin.close()
    a, b = statistics.median(ours), statistics.median(theirs)
    return {"texts": len(texts), "node_us": round(a, 1), "wheel_us": round(b, 1), "ratio": round(a / b, 2)}


def _wheel(tokenizer: Tokenizer, texts: Sequence[str]) -> float:
    times = []
    for _ in range(ROUNDS):
        for text in texts:
            start = time.perf_counter_ns()
            encoding = tokenizer.encode(text, add_special_tokens=False)
            _ = encoding.ids, encoding.offsets
            times.append((time.perf_counter_ns() - start) / 1000)
    return statistics.median(times)


def size_figures(package: Path, esbuild: str, scratch: Path) -> dict[str, int]:
    """Bytes of the tokenizer's scripts, minified, and of its tables."""
    entry = scratch / "entry.js"
    entry.write_text(f"export {{ Tokenizer }} from {json.dumps(str(package.resolve() / 'src' / 'tokenizer.js'))};")
    command = [esbuild, str(entry), "--bundle", "--minify", "--format=esm"]
    code = len(subprocess.run(command, capture_output=True, check=True).stdout)
    settings = json.loads((package / "assets" / "edgebert.json").read_text(encoding="utf-8"))
    tables = len(json.dumps(settings["tokenizer"], separators=(",", ":")))
    return {"code": code, "tables": tables, "both": code + tables}


def call_figures(package: Path, browser: str, threads: int, scratch: Path) -> dict[str, object]:
    """Milliseconds of whole calls from the page, and of the bare `session.run` on the same tensors, in turns."""
    path = scratch / "texts.json"
    path.write_text(json.dumps(texts_of_words(package, 12)))
    seen = node("turns", package, browser, path, CALLS, threads)
    whole, bare = statistics.median(seen["whole"]), statistics.median(seen["bare"])
    facts = {"threads": seen["info"]["threads"], "calls": len(seen["whole"])}
    return facts | {"whole_ms": round(whole, 2), "bare_ms": round(bare, 2), "ratio": round(whole / bare, 3)}


def answer_figures(package: Path, bundle: Path, browser: str, texts: Path) -> dict[str, int]:
    """Rows whose answers differ from Python's on the same file."""
    from edgebert import Predictor

    rows = json.loads(texts.read_text(encoding="utf-8"))
    ours = node("answers", package, browser, texts)
    wanted = Predictor(bundle).predict([row if len(row) > 1 else row[0] for row in rows])
    units = [[_units(text) for text in row] for row in rows]
    differ = [i for i, answer in enumerate(wanted) if not same(ours[i], answer, units[i])]
    return {"rows": len(rows), "differ": len(differ)}


def _units(text: str) -> list[int]:
    places = [0]
    for character in text:
        places.append(places[-1] + 1 + (ord(character) > 0xFFFF))
    return places


def same(ours: Any, wanted: Any, units: Sequence[Sequence[int]], which: int = 0, key: str = "") -> bool:
    """Whether an answer is Python's: labels, texts and places exactly, scores to 0.005. `which`: the text that places are in."""
    if isinstance(wanted, dict):
        if set(wanted) == {"similarity"}:
            return abs(ours - wanted["similarity"]) < 5e-3
        if set(wanted) == {"vector", "int8"}:
            return all(abs(a - b) < 5e-3 for a, b in zip(ours["vector"], wanted["vector"], strict=True))
        which = 1 if "candidates" in wanted else which
        return ours.keys() == wanted.keys() and all(
            same(ours[name], value, units, which, name) for name, value in wanted.items()
        )
    if isinstance(wanted, list):
        return len(ours) == len(wanted) and all(same(a, b, units, which) for a, b in zip(ours, wanted, strict=True))
    if isinstance(wanted, float):
        return abs(ours - wanted) < 5e-3
    return bool(ours == (units[which][wanted] if key in ("start", "end") and wanted is not None else wanted))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--esbuild", default="")
    parser.add_argument("--only", choices=("tokens", "size", "visits", "calls", "answers"))
    given = parser.parse_args()
    browser = shutil.which("chromium") or shutil.which("google-chrome") or ""
    results: dict[str, object] = {"machine": platform.processor() or platform.machine()}
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        wanted = lambda part: given.only in (None, part)  # noqa: E731
        if wanted("tokens"):
            results["tokenizer"] = tokenizer_figures(given.package, scratch)
        if wanted("size") and given.esbuild:
            results["size"] = size_figures(given.package, given.esbuild, scratch)
        if wanted("visits"):
            seen = node("visits", given.package, browser, VISITS)
            results["visits"] = {
                "first_ms": seen["first_ms"],
                "warm_ms": statistics.median(seen["warm_ms"]),
                "n": VISITS,
            }
        if wanted("calls"):
            results["calls"] = [call_figures(given.package, browser, threads, scratch) for threads in (1, 2)]
        if wanted("answers") and given.bundle and given.texts:
            results["answers"] = answer_figures(given.package, given.bundle, browser, given.texts)
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
