"""The Android package: its Kotlin is compiled and run on the JVM, against the golden vectors and the tokenizers library. Android's
own classes are stood in for by stubs, so that the files that touch them are compiled, too."""

from __future__ import annotations

import json
import os
import re
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from edgebert.bundle.manifest import read_manifest
from edgebert.bundle.platforms import android
from edgebert.bundle.platforms.android import ENGINES, PLATFORM, TEMPLATES, check_name, default_name, write
from edgebert.bundle.ports.assets import fill
from edgebert.errors import RequestError
from edgebert.workflows.bundle import bundle as write_package
from tests.jvm import Kotlin, need_kotlin
from tests.packages import AWKWARD, COMBINATIONS, MAX_LENGTH, TASKS, TOKENIZERS, make_bundle
from tests.unicode_texts import CLASSES, random_texts, write_expected

NAME = "com.example.slots"  # the package of tests/kotlin/Driver.kt
KOTLIN = Path(__file__).parent / "kotlin"
RANDOM_TEXTS = int(os.environ.get("EDGEBERT_RANDOM_TEXTS", "1500"))  # benchmarks/bundles.md was made with 20000
Make = Callable[..., Path]
Drive = Callable[..., dict[str, str]]


def assets_of(package: Path) -> Path:
    return package / "slots" / "src" / "main" / "assets" / "edgebert" / NAME


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """The package of a task with a tokenizer, written once."""
    made: dict[tuple[str, str], Path] = {}

    def get(task: str = "ner", tokenizer: str = "uncased") -> Path:
        if (task, tokenizer) not in made:
            folder = tmp_path_factory.mktemp("package")
            write(make_bundle(folder, task, tokenizer), folder / "made", NAME)
            made[task, tokenizer] = folder / "made"
        return made[task, tokenizer]

    return get


@pytest.fixture(scope="module")
def classes(make: Make, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Path:
    """Everything that any package holds, compiled once: packages of one name differ by their runtime and their sample."""
    kotlin = need_kotlin()
    sources = tmp_path_factory.mktemp("kotlin")
    shutil.copytree(make() / "slots" / "src", sources / "module")
    shutil.copytree(KOTLIN, sources / "tests")
    for engine in ENGINES:
        text = (TEMPLATES / "main" / f"{engine}.kt").read_text(encoding="utf-8")
        target = next((sources / "module").rglob("EdgeModel.kt")).with_name(f"{engine}.kt")
        target.write_text(fill(text, {"PACKAGE": NAME}), encoding="utf-8")
    for number, task in enumerate(TASKS):
        sample = next((make(task) / "sample").rglob("SampleActivity.kt")).read_text(encoding="utf-8")
        target = sources / f"Sample{number}.kt"
        target.write_text(sample.replace("SampleActivity", f"Sample{number}"), encoding="utf-8")
    return kotlin.compile(sources, pytestconfig.cache.mkdir("kotlin"))


@pytest.fixture(scope="module")
def drive(classes: Path) -> Drive:
    """What the driver tells of each of its arguments."""
    kotlin: Kotlin = need_kotlin()

    def run(command: str, *arguments: Path) -> dict[str, str]:
        lines = kotlin.run(classes, f"{NAME}.Driver", command, *arguments)
        return dict(line.split("\t", 1) for line in lines)

    return run


@pytest.fixture(scope="module")
def call(classes: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Sequence[dict[str, Any]]], list[str]]:
    """What a model answers to calls, with outputs that the driver makes up of the token ids."""

    def run(requests: Sequence[dict[str, Any]]) -> list[str]:
        path = tmp_path_factory.mktemp("calls") / "calls.jsonl"
        path.write_text("".join(json.dumps(item) + "\n" for item in requests), encoding="utf-8")
        lines = need_kotlin().run(classes, f"{NAME}.Driver", "calls", path)
        return [line.split("\t", 1)[1] for line in lines]

    return run


# ---------------------------------------------------------------- the same answers as Python's


def test_golden_vectors_are_replayed_on_the_jvm(make: Make, drive: Drive) -> None:
    folders = [make(*combination) / "slots" for combination in COMBINATIONS]
    results = drive("golden", *folders)
    assert {str(folder): results[str(folder)] for folder in folders if not results[str(folder)].startswith("ok")} == {}
    assert len(results) == len(folders)


def test_tokens_are_those_of_the_library(make: Make, drive: Drive, tmp_path: Path) -> None:
    """Every class of ../shared/facts/tokenizers.md and random texts, for every kind of tokenizer."""
    texts = [*CLASSES, *random_texts(RANDOM_TEXTS)]
    files = []
    for tokenizer in TOKENIZERS:
        assets = assets_of(make("ner", tokenizer))
        files.append(write_expected(tmp_path / f"{tokenizer}.jsonl", assets, texts))
    results = drive("tokens", *files)
    assert results == {str(path): f"ok {len(texts)} texts" for path in files}


@pytest.mark.parametrize("tokenizer", ["added-tokens", "byte-level-prefix"])
def test_long_texts(make: Make, drive: Drive, tmp_path: Path, tokenizer: str) -> None:
    """100,000 characters of each kind; a rule that looks back over the text each time would take minutes."""
    assets = assets_of(make("ner", tokenizer))
    parts = (
        "show me flights ",
        "x",
        "\u0301",
        " ",
        "한국어 ",
        "北京",
        "🙂",
        "<y> ",
        " <x>",
        "\u0344\u0334",
        "\ud800",
        "ab",
    )
    texts = [(part * 100_000)[:100_000] for part in parts]
    path = write_expected(tmp_path / "long.jsonl", assets, texts)
    assert drive("tokens", path) == {str(path): f"ok {len(texts)} texts"}


# ---------------------------------------------------------------- calls


def test_calls_that_a_model_does_not_offer_name_those_that_it_does(make: Make, call: Any) -> None:
    several = "slots=ner,intent=classify,same=pair,vector=embed"
    requests = [
        {"assets": str(assets_of(make(task))), "call": name, "texts": texts}
        for task, name, texts in (
            ("ner", "classify", ["a"]), ("ner", "answers", ["a"]), ("classify", "classify", ["a", "b"]), ("pair", "classify", ["a"]),
            (several, "answer", ["a", "b"]), (several, "answers", ["a"]),
        )
    ]  # fmt: skip
    wrong = "failed EdgeModelException: this model has no "
    heads = "it has entities(text), classify(text), classify(first, second), embed(text), answers(text, second)"
    assert call(requests) == [
        f"{wrong}classify(text); it has entities(text)",
        f"{wrong}answers(text); it has entities(text)",
        f"{wrong}classify(first, second); it has classify(text)",
        f"{wrong}classify(text); it has classify(first, second)",
        f"{wrong}answer(question, context); {heads}",
        f"{wrong}answers(text); {heads}",
    ]


def test_heads_are_asked_together_and_alone(make: Make, call: Any) -> None:
    assets = str(assets_of(make("slots=ner,intent=classify")))
    text = "show me flights to Denver 🙂"
    together, slots, intent, blank = call(
        [
            {"assets": assets, "call": "answers", "texts": [text]},
            {"assets": assets, "call": "entities", "texts": [text]},
            {"assets": assets, "call": "classify", "texts": [text]},
            {"assets": assets, "call": "classify", "texts": [" "]},
        ]
    )
    assert together == f"ok slots={slots.removeprefix('ok ')}, intent={intent.removeprefix('ok ')}"
    assert blank == "failed EdgeModelException: the text has no words"


def test_odd_and_long_texts_are_answered(make: Make, call: Any) -> None:
    requests = [
        {"assets": str(assets_of(make(task))), "call": name, "texts": [text] * (2 if two else 1), "repeat": repeat}
        for task, name, two in (
            ("ner", "entities", False), ("tag", "tag", False), ("classify", "classify", False), ("pair", "classify", True),
            ("similarity", "similarity", True), ("embed", "embed", False), ("qa", "answer", True),
            ("slots=ner,intent=classify", "answers", False),
        )
        for text, repeat in (("", 1), (" \n", 1), ("\ud800", 1), ("a🙂\udc00", 1), ("show me ", 12_500), ("x", 100_000))
    ]  # fmt: skip
    answers = call(requests)
    assert all(answer.startswith("ok ") for answer in answers), answers
    assert answers[0] == answers[1] == "ok []"  # no words, no entities
    assert answers[6] == answers[7] == "ok []"


def test_a_file_of_fixed_lengths_answers_as_one_of_any_length(make: Make, call: Any) -> None:
    """Rows are padded to the shortest length, and what the model says of padding is cut off."""
    for task, name, texts in (
        ("ner", "entities", ["show me flights from boston to denver 🙂"]),
        ("classify", "classify", ["show me flights"]),
        ("qa", "answer", ["who wrote the report", "The report was written by Ada in May. " * 9]),
        ("embed", "embed", ["show me"]),
    ):
        request = {"assets": str(assets_of(make(task))), "call": name, "texts": texts}
        any_length, fixed, one = call(
            [request, request | {"lengths": f"8|16|{MAX_LENGTH}"}, request | {"lengths": str(MAX_LENGTH)}]
        )
        assert any_length.startswith("ok ") and any_length == fixed == one


# ---------------------------------------------------------------- files that were changed


def test_a_changed_file_is_refused_by_its_name(make: Make, drive: Drive, tmp_path: Path) -> None:
    for file in ("tokenizer.json", "model.fp32.onnx"):
        package = tmp_path / file / "slots"
        shutil.copytree(make() / "slots", package)
        path = assets_of(package.parent) / file
        path.write_bytes(path.read_bytes().replace(b"e", b"f", 1))
        assert drive("golden", package)[str(package)].startswith(
            f"failed EdgeModelException: {file} was changed: its sha256 is "
        )


def test_what_a_newer_edgebert_may_write_is_told(make: Make, drive: Drive, tmp_path: Path) -> None:
    for part, value, message in (
        ("normalizer", [{"type": "compose"}], "this package does not know the normalizer step 'compose'"),
        ("pre_tokenizer", [{"type": "another"}], "this package does not know the pre-tokenizer step 'another'"),
        ("model", {"type": "Unknown"}, "this package does not know the tokenizer model 'Unknown'"),
        ("single", 3, "the field 'single' is missing or is of another type"),
    ):
        package = tmp_path / part / "slots"
        shutil.copytree(make() / "slots", package)
        path = assets_of(package.parent) / "edgebert.json"
        settings = json.loads(path.read_text(encoding="utf-8"))
        settings["tokenizer"][part] = value
        path.write_text(json.dumps(settings), encoding="utf-8")
        assert drive("golden", package)[str(package)] == f"failed EdgeModelException: {message}"


# ---------------------------------------------------------------- the package's files


def test_the_package_is_a_gradle_build(make: Make, tmp_path: Path) -> None:
    result = write_package(
        make_bundle(tmp_path, "ner"), "android", output=tmp_path / "made", name="org.shop.Flights2.slot_finder"
    )
    folder = result.folder
    assert result.archive.name == "made.zip" and result.prove == PLATFORM.prove
    assert 'include(":slot_finder", ":sample")' in (folder / "settings.gradle.kts").read_text(encoding="utf-8")
    module = (folder / "slot_finder" / "build.gradle.kts").read_text(encoding="utf-8")
    assert 'namespace = "org.shop.Flights2.slot_finder"' in module and "minSdk = 24 " in module
    assert 'noCompress += "onnx"' in module and "com.microsoft.onnxruntime:onnxruntime-android:1.27.0" in module
    source = folder / "slot_finder/src/main/kotlin/org/shop/Flights2/slot_finder/EdgeModel.kt"
    assert source.read_text(encoding="utf-8").startswith("package org.shop.Flights2.slot_finder\n")
    assert not list(folder.rglob("LiteRtEngine.kt")) and list(folder.rglob("OnnxEngine.kt"))
    assets = folder / "slot_finder/src/main/assets"
    assert {path.name for path in assets.rglob("*") if path.is_file()} == {
        "edgebert.json",
        "tokenizer.json",
        "model.fp32.onnx",
    }
    for manifest in folder.rglob("AndroidManifest.xml"):
        ElementTree.parse(manifest)
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) < 60 and "model.entities(text)" in readme
    for path in folder.rglob("*"):
        if path.suffix in (".kt", ".kts", ".md", ".xml", ".pro") and path.name != "MODEL_CARD.md":
            assert not re.search(r"@[A-Z_]+@", path.read_text(encoding="utf-8")), path


def test_a_file_for_litert_brings_its_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = make_bundle(tmp_path, "ner")
    monkeypatch.setattr(android, "read_manifest", lambda path: read_manifest(path) | {"format": "tflite"})
    write(bundle, tmp_path / "made", NAME)
    module = (tmp_path / "made" / "slots" / "build.gradle.kts").read_text(encoding="utf-8")
    assert 'noCompress += "tflite"' in module and "com.google.ai.edge.litert:litert:2.1.5" in module
    assert "minSdk = 23 " in module and not list((tmp_path / "made").rglob("OnnxEngine.kt"))
    opening = next((tmp_path / "made").rglob("Android.kt")).read_text(encoding="utf-8")
    assert "LiteRtEngine(model, settings, threads)" in opening
    rules = (tmp_path / "made" / "slots" / "consumer-rules.pro").read_text(encoding="utf-8")
    assert "-keep class org.tensorflow.lite.** { *; }" in rules


def test_labels_stand_in_no_source(make: Make) -> None:
    """They hold quotes, backslashes, line breaks, dollars and emoji, and are read from edgebert.json."""
    kinds = {label[2:] for label in AWKWARD}
    for path in make().rglob("*"):
        if path.suffix in (".kt", ".kts"):
            text = path.read_text(encoding="utf-8")
            assert not [kind for kind in kinds if kind in text]


@pytest.mark.parametrize("name", ["com.example.slots", "org.a1.b_2", "de.Firma.App"])
def test_names_of_java_packages(name: str) -> None:
    assert check_name(name) == ""


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("", "no package"), ("slots", "no package"), ("com.example.", "no package"), ("com..slots", "no package"), ("com.1st", "no package"),
        ("com.example.my-slots", "no package"), ("com.exämple.slots", "no package"), ("com.example.slots ", "no package"),
        ("com.example.slots\n", "no package"), ("com.new.slots", "new is a keyword"), ("com.fun.slots", "fun is a keyword"),
        ("java.util.slots", "platform's"), ("com.example.sample", "sample"), ("com." + "a" * 100, "100 characters"),
    ],
)  # fmt: skip
def test_names_that_are_no_java_packages(tmp_path: Path, name: str, what: str) -> None:
    wrong = check_name(name)
    assert what in wrong and ("com.example.slots" in wrong or "Take another" in wrong)


def test_a_wrong_name_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, "ner")
    with pytest.raises(RequestError, match="cannot be the name of an Android library"):
        write_package(bundle, "android", output=tmp_path / "made", name="com.example.1st")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "words", [("ner", "atis"), ("new",), ("sample",), ("ner", "a" * 200), ("slots", "ner", "intent")]
)
def test_default_names_are_legal(words: tuple[str, ...]) -> None:
    assert check_name(default_name(words)) == ""
