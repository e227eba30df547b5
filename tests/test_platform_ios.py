"""The Swift package. There is no Swift here: its sources are parsed by a grammar of the language and run as Python (`tests.swift`), its
own tests with them. What the compiler says of types, and Core ML, only `swift test` can tell, on a machine that has it."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from edgebert.bundle.check import check_bundle
from edgebert.bundle.edge_texts import TEXTS
from edgebert.bundle.manifest import describe_files
from edgebert.bundle.platforms import ios
from edgebert.bundle.platforms.android import TEMPLATES as ANDROID
from edgebert.bundle.platforms.ios import PLATFORM, SYSTEMS, TEMPLATES, check_name, default_name, oldest_systems, write
from edgebert.bundle.write import write_bundle
from edgebert.errors import DataError, RequestError
from edgebert.modeling.graph import make_source
from edgebert.results import PackageResult
from edgebert.tasks import find_task
from edgebert.types import Row
from edgebert.workflows.bundle import bundle as write_package
from tests.families import tiny
from tests.packages import AWKWARD, COMBINATIONS, CORPUS, TASKS, TOKENIZERS, make_bundle
from tests.swift.runtime import call, units_of
from tests.swift.runtime import make as make_value
from tests.swift.writer import Module
from tests.unicode_texts import CLASSES, random_texts, write_expected

NAME = "FlightSlots"
LENGTHS = (12, 24)


@pytest.fixture(scope="module")
def coreml_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT in Core ML, with two lengths, that tags words."""
    pytest.importorskip("coremltools", reason="pip install edgebert[coreml]")
    from edgebert.converters.coreml import export

    folder = tmp_path_factory.mktemp("coreml")
    tokenizer = TOKENIZERS["uncased"]()
    labels = ("O", *AWKWARD)
    model = tiny("bert", "token-classification", vocab_size=tokenizer.get_vocab_size(), n_labels=len(labels))
    artifact = export(make_source(model, lengths=LENGTHS, labels=labels, calibration=[], title="Slots"), folder)
    student = folder / "student"
    student.mkdir()
    tokenizer.save(str(student / "tokenizer.json"))
    (student / "config.json").write_text(json.dumps({"model_type": "bert", "pad_token_id": 0}))
    return write_bundle(
        folder / "bundle",
        artifact=artifact,
        student=student,
        task=find_task("ner"),
        labels=labels,
        golden=[Row(text=text) for text in CORPUS],
        max_length=LENGTHS[-1],
        facts={"data": {"name": "toy", "licence": "CC0-1.0"}, "teacher": {"name": "none", "licence": "CC0-1.0"}},
    )


@pytest.fixture(scope="module")
def package(coreml_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> PackageResult:
    return write_package(coreml_bundle, "ios", output=tmp_path_factory.mktemp("made") / "slots", name=NAME)


def settings_of(package: PackageResult) -> dict[str, Any]:
    path = package.folder / "Sources" / NAME / "Model" / "edgebert.json"
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return result


# ---------------------------------------------------------------- the package's files


def test_the_package_is_one_of_swift(package: PackageResult) -> None:
    folder = package.folder
    assert package.prove == PLATFORM.prove == "swift test" and package.archive.suffix == ".zip"
    text = (folder / "Package.swift").read_text(encoding="utf-8")
    assert text.startswith("// swift-tools-version: 5.9\n") and f'name: "{NAME}"' in text
    assert 'platforms: [.iOS("18.0"), .macOS("15.0")]' in text  # enumerated lengths of several inputs
    model = folder / "Sources" / NAME / "Model"
    assert {path.name for path in model.iterdir()} == {"edgebert.json", "tokenizer.json", "model.fp32.mlpackage"}
    assert (folder / "Tests" / f"{NAME}Tests" / "golden.jsonl").is_file()
    assert {path.name for path in (folder / "Sources" / NAME).glob("*.swift")} == {
        path.name for path in (TEMPLATES / "Sources").glob("*.swift")
    }
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) < 60 and "try model.entities(text)" in readme and "iOS 18.0" in readme
    for path in folder.rglob("*"):
        if path.suffix in (".swift", ".md") and path.name != "MODEL_CARD.md":
            assert not re.search(r"@[A-Z_]+@", path.read_text(encoding="utf-8")), path


def test_settings_say_lengths_and_what_files_are(package: PackageResult) -> None:
    settings = settings_of(package)
    assert settings["model"]["lengths"] == list(LENGTHS)
    model = package.folder / "Sources" / NAME / "Model"
    files = {name: facts for name, facts in describe_files(model).items() if name != "edgebert.json"}
    assert settings["files"] == files and "model.fp32.mlpackage/Manifest.json" in files


def test_the_model_is_asked_for_by_length_where_it_has_functions(
    coreml_bundle: Path, package: PackageResult, tmp_path: Path
) -> None:
    """`MLModelConfiguration.functionName` is of iOS 18, which no version before can be asked for."""
    from edgebert.converters.coreml import export

    assert settings_of(package)["model"]["functions"] == {}
    labels = ("O", *AWKWARD)
    size = len(json.loads((coreml_bundle / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"])
    model = tiny("bert", "token-classification", vocab_size=size, n_labels=len(labels))
    source = make_source(model, lengths=LENGTHS, labels=labels, calibration=[], title="Slots", shape="functions")
    made = tmp_path / "made" / NAME
    bundle = write_bundle(
        tmp_path / "bundle",
        artifact=export(source, tmp_path),
        student=coreml_bundle.parent / "student",
        task=find_task("ner"),
        labels=labels,
        golden=[Row(text=text) for text in CORPUS],
        max_length=LENGTHS[-1],
        facts={"data": {"name": "toy", "licence": "CC0-1.0"}, "teacher": {"name": "none", "licence": "CC0-1.0"}},
    )
    assert check_bundle(bundle).n_texts > 10
    write(bundle, made, NAME)
    settings = json.loads((made / "Sources" / NAME / "Model" / "edgebert.json").read_text(encoding="utf-8"))
    assert settings["model"]["functions"] == {"main_len_12": 12, "main_len_24": 24}
    assert settings["model"]["lengths"] == list(LENGTHS)
    assert 'platforms: [.iOS("18.0"), .macOS("15.0")]' in (made / "Package.swift").read_text(encoding="utf-8")
    text = (made / "Sources" / NAME / "CoreMLModel.swift").read_text(encoding="utf-8")
    before, _, after = text.partition("result.functionName = name")
    assert after and "#if compiler(>=6.0)" in before and before.rindex("#available(iOS 18.0, macOS 15.0, *)")


def test_labels_stand_in_no_source(package: PackageResult) -> None:
    kinds = {label[2:] for label in AWKWARD}
    assert set(settings_of(package)["task"]["labels"]) == {"O", *AWKWARD}
    for path in package.folder.rglob("*.swift"):
        text = path.read_text(encoding="utf-8")
        if "Tests" not in path.name:  # tests have texts of their own
            assert not [kind for kind in kinds if kind in text], path


def test_the_oldest_system_is_that_of_the_files_version(tmp_path: Path) -> None:
    program = tmp_path / "model.mlpackage" / ios.PROGRAM
    program.parent.mkdir(parents=True)
    for version, expected in ((6, SYSTEMS[7]), (7, SYSTEMS[7]), (8, ("17.0", "14.0")), (9, ("18.0", "15.0"))):
        program.write_bytes(bytes([0x08, version, 0x12]))
        assert oldest_systems(tmp_path / "model.mlpackage") == expected
    for wrong in (b"", b"\x08", b"\x08\x7f", b"PK"):
        program.write_bytes(wrong)
        with pytest.raises(DataError, match="no Core ML package of a known version"):
            oldest_systems(tmp_path / "model.mlpackage")


# ---------------------------------------------------------------- its sources


def swift_errors(sources: Sequence[Path]) -> Iterator[str]:
    """What the grammar cannot read."""
    grammar = pytest.importorskip("tree_sitter_swift")
    library = pytest.importorskip("tree_sitter")
    parser = library.Parser(library.Language(grammar.language()))
    for path in sources:
        nodes = [parser.parse(path.read_bytes()).root_node]
        while nodes:
            node = nodes.pop()
            if node.type == "ERROR" or node.is_missing:
                yield f"{path.name}:{node.start_point.row + 1}: {node.text!r}"
            elif node.has_error:
                nodes += node.children


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """The package of a task with a tokenizer, of an ONNX file: nothing that differs between them depends on the format."""
    made: dict[tuple[str, str], Path] = {}

    def get(task: str = "ner", tokenizer: str = "uncased") -> Path:
        if (task, tokenizer) not in made:
            folder = tmp_path_factory.mktemp("package")
            bundle = make_bundle(folder, task, tokenizer)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(ios, "oldest_systems", lambda package: ("16.0", "13.0"))
                write(bundle, folder / "made", NAME)
            made[task, tokenizer] = folder / "made"
        return made[task, tokenizer]

    return get


@pytest.fixture(scope="module")
def swift(make: Callable[[str, str], Path]) -> Module:
    """What the package's sources and tests declare, as Python."""
    folder = make("ner", "uncased")
    sources = {
        path.stem: path
        for path in folder.rglob("*.swift")
        if path.stem not in ("CoreMLModel", "ContentView", "Package")
    }
    first = ("Answers", "Numbers", "Tables", "Text", "Trie", "Json")  # which constants of others need
    return Module([sources.pop(name) for name in first] + [sources[name] for name in sorted(sources)])


def run_tests(swift: Module, package: Path, case: str, leave_out: Sequence[str] = ()) -> int:
    """Runs the tests of an XCTestCase; how many there were."""
    swift.names["Bundle"].module = swift.names["Bundle"](package / "Sources" / NAME)
    kind = swift.names[case]
    tests = [name for name in vars(kind) if name.startswith("test") and name.removesuffix("__") not in leave_out]
    for name in tests:
        getattr(make_value(kind, (), ()), name)()
    return len(tests)


DEAR = ("albert", "modernbert", "xlm-roberta")  # their tokenizers as Python of the Swift take seconds a text


@pytest.mark.parametrize(
    ("task", "tokenizer"),
    [pytest.param(*which, marks=pytest.mark.slow if which[1] in DEAR else ()) for which in COMBINATIONS],
)
def test_golden_vectors_are_replayed_by_the_packages_own_tests(
    make: Callable[[str, str], Path], swift: Module, task: str, tokenizer: str
) -> None:
    assert run_tests(swift, make(task, tokenizer), "GoldenTests", ["testModelComputesWhatWasRecorded"]) == 2


def test_a_wrong_line_of_the_golden_vectors_is_told(
    make: Callable[[str, str], Path], swift: Module, tmp_path: Path
) -> None:
    package = tmp_path / "made"
    shutil.copytree(make("ner", "uncased"), package)
    path = package / "Tests" / f"{NAME}Tests" / "golden.jsonl"
    path.write_text(path.read_text().replace('"input_ids":[2,', '"input_ids":[3,', 1))
    with pytest.raises(AssertionError, match=r"line 1 \(data\), input_ids"):
        run_tests(swift, package, "GoldenTests", ["testModelComputesWhatWasRecorded"])


@pytest.mark.parametrize("task", ["ner", "pair", "slots=ner,intent=classify"])
def test_calls_and_odd_texts(make: Callable[[str, str], Path], swift: Module, task: str) -> None:
    """Digests need numbers that overflow, which Python has not; `test_constants_of_the_digest` looks at what they are made of."""
    left_out = ["testDigests"] if task == "ner" else ["testDigests", "testOddTexts"]  # 100,000 characters take seconds
    assert run_tests(swift, make(task, "uncased"), "EdgeModelTests", left_out) == 6 - len(left_out)


def test_tokens_are_those_of_the_library(make: Callable[[str, str], Path], swift: Module, tmp_path: Path) -> None:
    texts = [*CLASSES, *random_texts(60)]
    for name in TOKENIZERS:
        assets = make("ner", name) / "Sources" / NAME / "Model"
        settings, files = (
            call(swift.names["Json"], "read", "uu", [list((assets / file).read_bytes()), file])
            for file in ("edgebert.json", "tokenizer.json")
        )
        tokenizer = make_value(swift.names["Tokenizer"], "uu", [settings["tokenizer"], files])
        lines = write_expected(tmp_path / "expected.jsonl", assets, texts).read_text(encoding="utf-8").splitlines()
        for line in map(json.loads, lines[1:]):
            units = units_of(line["text"])
            tokens = call(tokenizer, "encode", "u", [units])
            call(tokenizer, "trim", "uu", [tokens, units])
            places = [place for pair in zip(tokens.starts, tokens.ends, strict=True) for place in pair]
            assert (tokens.ids, places) == (line["ids"], line["places"]), (name, line["text"])


def test_a_grammar_of_swift_reads_the_sources(package: PackageResult, tmp_path: Path) -> None:
    sources = sorted(package.folder.rglob("*.swift"))
    assert len(sources) > 20 and list(swift_errors(sources)) == []
    broken = tmp_path / "Broken.swift"
    broken.write_text("func a( -> Int { return 1 }\n")
    assert list(swift_errors([broken]))


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_a_package(make: Callable[[str, str], Path], task: str) -> None:
    folder = make(task, "uncased")
    assert list(swift_errors(sorted(folder.rglob("*.swift")))) == []
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert "{" not in readme and "iOS 16.0" in readme
    assert ("$second" in (folder / "Sample" / "ContentView.swift").read_text(encoding="utf-8")) == (
        task in ("pair", "similarity", "qa") or "same=pair" in task
    )


def test_sources_mirror_those_for_android() -> None:
    """A file that is changed for one platform is looked for in the other under the same name."""
    kotlin = {path.stem for path in (ANDROID / "main").glob("*.kt")}
    swift = {path.stem for path in (TEMPLATES / "Sources").glob("*.swift")}
    assert kotlin - swift == {"Android", "LiteRtEngine", "OnnxEngine", "Checksums"}
    assert swift - kotlin == {"CoreMLModel", "PackageFiles", "Sha256"}


def test_both_platforms_know_the_same_steps() -> None:
    """Kinds of normalizers, pre-tokenizers, models and tasks, as the sources dispatch by them."""
    names = re.compile(r'(?:"[\w-]+"(?:, )?)+(?= ->)|(?<=case )(?:"[\w-]+"(?:, )?)+(?=:)')
    for stem in ("Normalizer", "PreTokenizer", "Tokenizer", "Decoders"):
        kotlin, swift = (
            set(re.findall(r'"([\w-]+)"', " ".join(names.findall(path.read_text(encoding="utf-8")))))
            for path in (ANDROID / "main" / f"{stem}.kt", TEMPLATES / "Sources" / f"{stem}.swift")
        )
        assert kotlin == swift and kotlin, stem


def test_constants_of_the_digest() -> None:
    """The first 32 bits of roots of primes, which FIPS 180-4 takes."""
    text = (TEMPLATES / "Sources" / "Sha256.swift").read_text(encoding="utf-8")
    found = [int(number.replace("_", ""), 16) for number in re.findall(r"0x[0-9A-F]{4}_[0-9A-F]{4}", text)]
    primes = [n for n in range(2, 312) if all(n % k for k in range(2, n))]
    root = lambda n, degree: next(x for x in _near(n, degree) if x**degree <= n << 32 * degree < (x + 1) ** degree)  # noqa: E731
    wanted = [root(n, 2) & 0xFFFFFFFF for n in primes[:8]] + [root(n, 3) & 0xFFFFFFFF for n in primes]
    assert found == wanted and len(found) == 72
    assert (
        found[0] == 0x6A09E667
        and hashlib.sha256().hexdigest() in (TEMPLATES / "Tests" / "EdgeModelTests.swift").read_text()
    )


def _near(n: int, degree: int) -> Iterator[int]:
    guess = int(n ** (1 / degree) * 2**32)
    yield from range(guess - 1000, guess + 1000)


@pytest.mark.skipif(shutil.which("swift") is None, reason="swift is needed, of which PyPI has none")
@pytest.mark.slow
def test_swift_replays_the_golden_vectors(package: PackageResult) -> None:
    result = subprocess.run(["swift", "test"], cwd=package.folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


# ---------------------------------------------------------------- what is refused


def test_a_file_of_another_format_is_refused_with_what_to_ask_for(tmp_path: Path) -> None:
    with pytest.raises(RequestError) as error:
        write_package(make_bundle(tmp_path), "ios", output=tmp_path / "made", name=NAME)
    assert "ios runs coreml, and this bundle's file is onnx" in str(error.value)
    assert "--format coreml" in str(error.value)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("name", ["Slots", "FlightSlots2", "A"])
def test_names_of_swift_modules(name: str) -> None:
    assert check_name(name) == ""


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("", "no name"), ("slots", "no name"), ("Flight-Slots", "no name"), ("Flight_Slots", "no name"), ("2Slots", "no name"),
        ("Ünits", "no name"), ("Slots\n", "no name"), ("Self", "keyword"), ("Type", "keyword"), ("Foundation", "means something else"),
        ("EdgeModel", "means something else"), ("A" * 51, "50 characters"),
    ],
)  # fmt: skip
def test_names_that_are_no_swift_modules(name: str, what: str) -> None:
    assert what in check_name(name) and "FlightSlots" in check_name(name)


@pytest.mark.parametrize(
    "words", [("ner", "atis"), ("core", "ml"), ("x" * 200,), ("slots", "ner", "intent", "classify")]
)
def test_default_names_are_legal(words: tuple[str, ...]) -> None:
    assert check_name(default_name(words)) == ""


def test_golden_texts_hold_every_class(package: PackageResult) -> None:
    lines = (package.folder / "Tests" / f"{NAME}Tests" / "golden.jsonl").read_text(encoding="utf-8").splitlines()
    texts = {json.loads(line)["texts"][0] for line in lines}
    assert texts >= set(TEXTS.values()) | set(CORPUS)
