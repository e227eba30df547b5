"""The Python package: a wheel that answers as edgebert does, without edgebert, torch or transformers."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import keyword
import subprocess
import sys
import zipfile
from base64 import urlsafe_b64encode
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from edgebert.bundle.edge_texts import TEXTS
from edgebert.bundle.platforms.python import PLATFORM, REQUIRES, RUNTIMES, _runtime_of
from edgebert.bundle.predictor import Predictor
from edgebert.results import PackageResult
from edgebert.workflows.bundle import bundle as write_package
from tests.packages import AWKWARD, COMBINATIONS, CORPUS, TASKS, make_bundle

BLOCKED = ("edgebert", "torch", "transformers", "optimum", "sklearn", "scipy", "jinja2", "onnx", "pandas", "datasets")
# Runs in another process, where the blocked packages are as good as not installed.
DRIVER = """
import json, sys
BLOCKED = {blocked!r}
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
sys.path.insert(0, {target!r})
import {module} as package
{body}
assert not {{name.split(".")[0] for name in sys.modules}} & set(BLOCKED)
"""
PREDICT = """
with package.open() as model:
    print(json.dumps([model.predict(*row) for row in json.load(sys.stdin)]))
"""
ODD = [
    "",
    " \t\n\u3000 ",
    "\ud800",
    "a\udfffb Boston \ud83d",
    "🙂\ude42\ud83d Denver🙂.",
    "!!! (a)",
    "\u0301\u0301",
    "\x00",
]
# Every task with one tokenizer, every tokenizer with one task at least.

Make = Callable[[str, str], tuple[Path, PackageResult]]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """The bundle of a task with a tokenizer, and the package made of it, once."""
    made: dict[tuple[str, str], tuple[Path, PackageResult]] = {}

    def get(task: str, tokenizer: str = "uncased") -> tuple[Path, PackageResult]:
        if (task, tokenizer) not in made:
            folder = tmp_path_factory.mktemp("package")
            bundle = make_bundle(folder, task, tokenizer)
            made[task, tokenizer] = bundle, write_package(bundle, "python", output=folder / "made", name="toy-model")
        return made[task, tokenizer]

    return get


@pytest.fixture(scope="module")
def ner(make: Make) -> PackageResult:
    return make("ner", "uncased")[1]


def installed(package: PackageResult) -> Path:
    """A folder with what pip puts there."""
    target = package.folder.parent / "installed"
    if not target.exists():
        with zipfile.ZipFile(package.archive) as archive:
            archive.extractall(target)
    return target


def run(package: PackageResult, body: str, given: object = None, *, target: Path | None = None) -> Any:
    code = DRIVER.format(blocked=BLOCKED, target=str(target or installed(package)), module="toy_model", body=body)
    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(given), capture_output=True, text=True, cwd=package.folder.parent
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout else None


def command(package: PackageResult, *arguments: str, given: str = "", target: Path | None = None) -> Any:
    """The command line, as `python -m` runs it."""
    path = {"PYTHONPATH": str(target or installed(package)), "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        [sys.executable, "-m", "toy_model", *arguments],
        input=given, capture_output=True, text=True, cwd=package.folder.parent, env=path, encoding="utf-8",
    )  # fmt: skip


# ---------------------------------------------------------------- answers


@pytest.mark.parametrize(("task", "tokenizer"), COMBINATIONS)
def test_answers_equal_edgeberts(task: str, tokenizer: str, make: Make) -> None:
    bundle, package = make(task, tokenizer)
    predictor = Predictor(bundle)
    texts = [*CORPUS, *TEXTS.values(), *ODD, " ".join(CORPUS) * 3]
    two = len(predictor.task.inputs) == 2
    rows = [[text] for text in texts]
    if two:
        rows = [[text, texts[(i + 5) % len(texts)]] for i, text in enumerate(texts)]
        rows += [["who wrote it", text] for text in texts]
    expected = json.loads(json.dumps(predictor.predict(rows)))
    got = run(package, PREDICT, rows)
    for row, mine, theirs in zip(rows, got, expected, strict=True):
        assert mine == theirs, row


@pytest.mark.parametrize("task", ["ner", "tag", "classify", "embed", "qa", "slots=ner,intent=classify"])
def test_a_text_of_100000_characters(task: str, make: Make) -> None:
    bundle, package = make(task, "uncased")
    long = ("show me flights 🙂 from São Paulo to " + "x" * 150 + ", 上海. ") * 600
    long = long[:100_000]
    predictor = Predictor(bundle)
    rows = [[long]] if len(predictor.task.inputs) == 1 else [["who wrote it", long]]
    assert run(package, PREDICT, rows) == json.loads(json.dumps(predictor.predict(rows)))


def test_calls_give_what_predict_gives(make: Make) -> None:
    calls = {
        "ner": "entities", "tag": "tag", "classify": "classify", "classify-several": "classify", "pair": "classify",
        "embed": "embed", "qa": "answer",
    }  # fmt: skip
    for task, call in calls.items():
        bundle, package = make(task, "uncased")
        predictor = Predictor(bundle)
        row = CORPUS[: len(predictor.task.inputs)]
        body = f"print(json.dumps(package.open().{call}(*json.load(sys.stdin))))"
        assert run(package, body, row) == json.loads(json.dumps(predictor.predict([row])[0])), task
    bundle, package = make("similarity", "uncased")
    body = "print(json.dumps(package.open().similarity(*json.load(sys.stdin))))"
    assert run(package, body, CORPUS[:2]) == Predictor(bundle).predict([CORPUS[:2]])[0]["similarity"]


def test_each_head_alone_gives_what_it_gives_among_all(make: Make) -> None:
    bundle, package = make("slots=ner,intent=classify,same=pair,vector=embed", "uncased")
    body = """
model, row = package.open(), json.load(sys.stdin)
every = model.answers(*row)
alone = {"slots": model.entities(row[0]), "intent": model.classify(row[0]), "same": model.classify(*row),
         "vector": model.embed(row[0])}
blank = model.answers("  ", row[1])
try:
    model.embed(" ")
    error = ""
except package.ModelError as raised:
    error = str(raised)
print(json.dumps([every, alone, blank, error, model.calls]))
"""
    every, alone, blank, error, calls = run(package, body, CORPUS[:2])
    assert every == alone
    assert every == json.loads(json.dumps(Predictor(bundle).predict([CORPUS[:2]])[0]))
    assert blank == json.loads(json.dumps(Predictor(bundle).predict([["  ", CORPUS[1]]])[0]))
    assert error == "the text has no words"
    assert calls == [
        "entities(text)",
        "classify(text)",
        "classify(first, second)",
        "embed(text)",
        "answers(text, second)",
    ]


def test_what_a_model_does_not_offer_is_refused_with_what_it_does(make: Make) -> None:
    _, package = make("pair", "uncased")
    body = """
model, errors = package.open(), []
for call in (lambda: model.classify("a"), lambda: model.entities("a"), lambda: model.answers("a"),
             lambda: model.classify("a", 5), lambda: package.open(threads=0), lambda: (model.close(), model.classify("a", "b"))):
    try:
        call()
    except (package.ModelError, TypeError, ValueError) as error:
        errors.append(f"{type(error).__name__}: {error}")
print(json.dumps(errors))
"""
    assert run(package, body) == [
        "ModelError: toy-model has no classify(text); it has classify(first, second)",
        "ModelError: toy-model has no entities(text); it has classify(first, second)",
        "ModelError: toy-model has no answers; it has classify(first, second)",
        "TypeError: a int where a text is needed",
        "ValueError: threads is 0, and is at least 1",
        "ModelError: the model was closed",
    ]


def test_offsets_count_code_points(ner: PackageResult) -> None:
    text = "🙂🙂 show me flights from boston 🙂 to denver on monday 👍🏽!"
    for entity in run(ner, PREDICT, [[text]])[0]:
        assert text[entity["start"] : entity["end"]] == entity["text"]


def test_threads_share_a_model(make: Make) -> None:
    bundle, package = make("qa", "uncased")
    body = """
from concurrent.futures import ThreadPoolExecutor
rows, model = json.load(sys.stdin), package.open(threads=2)
with ThreadPoolExecutor(8) as pool:
    print(json.dumps(list(pool.map(lambda row: model.predict(*row), rows))))
"""
    rows = [[CORPUS[i % 12], CORPUS[(i + 3) % 12] * (i % 5 + 1)] for i in range(60)]
    assert run(package, body, rows) == json.loads(json.dumps(Predictor(bundle).predict(rows)))


def test_labels_are_data_and_never_source(ner: PackageResult) -> None:
    assert run(ner, "print(json.dumps(package.open().labels))") == ["O", *AWKWARD]
    for path in ner.folder.rglob("*.py"):
        compile(path.read_text(encoding="utf-8"), str(path), "exec")
        assert not [label for label in AWKWARD if label in path.read_text(encoding="utf-8")]


# ---------------------------------------------------------------- golden vectors and the command line


@pytest.mark.parametrize(("task", "tokenizer"), [(task, "uncased") for task in TASKS] + [("ner", "added-tokens")])
def test_check_replays_the_golden_vectors(task: str, tokenizer: str, make: Make) -> None:
    _, package = make(task, tokenizer)
    done = command(package, "--check")
    assert done.returncode == 0, done.stdout + done.stderr
    n, of = done.stdout.split()[0], done.stdout.split()[2]
    assert n == of
    assert int(n) > 20


def changed(package: PackageResult, place: Path, name: str, edit: Callable[[bytes], bytes]) -> Path:
    """An installation of which one file was edited."""
    with zipfile.ZipFile(package.archive) as archive:
        archive.extractall(place)
    path = place / "toy_model" / name
    path.write_bytes(edit(path.read_bytes()))
    return place


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        ("words.py", b"text[left] in marks", b"False", "the text is split into other words"),
        ("windows.py", b"self._max_length // 4", b"1", "longer than a window"),
        ("windows.py", b"is_pretokenized=True", b"is_pretokenized=True, add_special_tokens=False", "other input_ids"),
        ("session_onnx.py", b"*types", b"*(1 for _ in types)", "logits differ by up to"),
        ("decoders.py", b"kind == open_type", b"False", "the golden outputs give the answer"),
    ],
)
def test_check_tells_what_differs(
    file: str, old: bytes, new: bytes, told: str, ner: PackageResult, tmp_path: Path
) -> None:
    done = command(ner, "--check", target=changed(ner, tmp_path, file, lambda code: code.replace(old, new)))
    assert done.returncode == 1, done.stderr
    assert told in done.stdout


@pytest.mark.parametrize("name", ["tokenizer.json", "model.fp32.onnx"])
def test_a_changed_file_is_refused_with_its_name(name: str, ner: PackageResult, tmp_path: Path) -> None:
    target = changed(ner, tmp_path, f"data/{name}", lambda content: content + b" ")
    done = command(ner, "show me flights", target=target)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {name} was changed since the package was made: install it again\n"
    (target / "toy_model" / "data" / name).unlink()
    assert f"{name} is missing" in command(ner, "show me flights", target=target).stderr


def test_golden_vectors_that_cannot_be_read(ner: PackageResult, tmp_path: Path) -> None:
    target = changed(ner, tmp_path, "data/golden.jsonl.gz", lambda content: content[:-100])
    done = command(ner, "--check", target=target)
    assert done.returncode == 2
    assert done.stderr.startswith("error: golden.jsonl.gz cannot be read")


def test_a_damaged_description_is_refused(ner: PackageResult, tmp_path: Path) -> None:
    target = changed(ner, tmp_path, "data/edgebert.json", lambda content: content[:100])
    assert "edgebert.json or a file that it lists cannot be read" in command(ner, "a", target=target).stderr
    newer = lambda content: content.replace(b'"kind": "ner"', b'"kind": "summary"')  # noqa: E731
    target = changed(ner, tmp_path / "newer", "data/edgebert.json", newer)
    assert "does not know the kind of task summary" in command(ner, "a", target=target).stderr


def test_the_command_line(ner: PackageResult, make: Make) -> None:
    bundle, _ = make("ner", "uncased")
    text = "show me flights from boston to denver on monday 🙂"
    expected = Predictor(bundle).predict([text, "a"])
    lines = [json.loads(line) for line in command(ner, "--json", "-", given=f"{text}\na\n").stdout.splitlines()]
    assert lines == [{"text": text, "entities": expected[0]}, {"text": "a", "entities": expected[1]}]
    shown = command(ner, text)
    assert shown.returncode == 0
    assert shown.stdout.count("\n") >= len(expected[0])
    assert "nothing found" in command(ner, "").stdout
    assert command(ner).returncode == 2
    assert "usage: toy-model" in command(ner, "--help").stdout
    broken = "\ud83d a".encode("utf-8", "surrogatepass")
    done = subprocess.run(
        [sys.executable, "-m", "toy_model", "-", "--json"],
        input=broken + b"\n", capture_output=True, cwd=installed(ner),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_command_line_with_two_texts(make: Make) -> None:
    bundle, package = make("qa", "uncased")
    row = ["who wrote the report", "The report was written by Ada in May."]
    expected = {"question": row[0], "context": row[1], "answer": Predictor(bundle).predict([row])[0]}
    assert json.loads(command(package, *row, "--json").stdout) == json.loads(json.dumps(expected))
    assert json.loads(command(package, "-", "--json", given="\t".join(row)).stdout) == json.loads(json.dumps(expected))
    assert "standard input:1: 1 texts, 2 are needed" in command(package, "-", given="alone").stderr
    assert "the last of them are 1" in command(package, *row, "alone").stderr
    _, several = make("slots=ner,intent=classify", "uncased")
    assert "slots:\n" in command(several, row[1]).stdout


# ---------------------------------------------------------------- the wheel


def test_the_wheel_is_as_the_format_wants_it(ner: PackageResult) -> None:
    assert ner.archive.name.startswith("toy_model-")
    assert ner.archive.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(ner.archive) as archive:
        names = archive.namelist()
        contents = {name: archive.read(name) for name in names}
    info = next(name for name in names if name.endswith("/RECORD")).removesuffix("/RECORD")
    assert info == ner.archive.name.removesuffix("-py3-none-any.whl") + ".dist-info"
    assert names[-1] == f"{info}/RECORD"
    rows = {row[0]: row[1:] for row in csv.reader(io.StringIO(contents[f"{info}/RECORD"].decode()))}
    assert rows.keys() == contents.keys()
    for name, content in contents.items():
        digest = urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        wanted = ["", ""] if name.endswith("/RECORD") else [f"sha256={digest}", str(len(content))]
        assert rows[name] == wanted
    metadata = contents[f"{info}/METADATA"].decode()
    required = [line.partition(": ")[2] for line in metadata.splitlines() if line.startswith("Requires-Dist")]
    assert required == [RUNTIMES["onnx"][0], *REQUIRES]
    assert b"toy-model = toy_model.__main__:main" in contents[f"{info}/entry_points.txt"]
    assert {"toy_model/py.typed", f"{info}/licenses/edgebert-Apache-2.0.txt"} <= set(names)
    assert not [name for name in names if "__pycache__" in name]


def test_two_calls_give_the_same_bytes(make: Make, tmp_path: Path) -> None:
    bundle, package = make("ner", "uncased")
    again = write_package(bundle, "python", output=tmp_path / "again", name="toy-model")
    assert again.archive.name == package.archive.name
    assert again.archive.read_bytes() == package.archive.read_bytes()


def test_another_model_is_another_version(make: Make) -> None:
    assert make("ner", "uncased")[1].archive.name != make("ner", "cased")[1].archive.name


def test_a_file_of_fewer_bits_needs_the_runtime_that_it_was_proven_with() -> None:
    fp32 = {"format": "onnx", "precision": "fp32"}
    assert _runtime_of(fp32) == ("onnxruntime>=1.20", "3.10")
    proven = ".".join(version("onnxruntime").split(".")[:2])
    assert _runtime_of(fp32 | {"precision": "int8"}) == (f"onnxruntime>={proven}", "3.11")
    assert _runtime_of({"format": "tflite", "precision": "int8"}) == (RUNTIMES["tflite"][0], "3.10")


def test_pip_installs_it(ner: PackageResult, tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet", "--target", str(tmp_path)]
    subprocess.run([*pip, str(ner.archive)], check=True, capture_output=True)
    assert (tmp_path / "bin" / "toy-model").exists()
    assert run(ner, PREDICT, [["show me"]], target=tmp_path) == run(ner, PREDICT, [["show me"]])


def test_the_folder_proves_itself_and_its_example_runs(ner: PackageResult) -> None:
    for file, shown in (("check.py", "golden texts are reproduced"), ("example.py", "[")):
        path = {"PYTHONPATH": str(ner.folder / "src"), "PATH": "/usr/bin:/bin"}
        done = subprocess.run([sys.executable, file], capture_output=True, text=True, cwd=ner.folder, env=path)
        assert done.returncode == 0, done.stderr
        assert shown in done.stdout


def test_its_types_are_checked(ner: PackageResult, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import toy_model\n\nwith toy_model.open() as model:\n    start: int = model.entities('a')[0]['start']\n"
        "    model.classify(5)\n    model.entities('a')[0]['begin']\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "app.py"], capture_output=True, text=True, cwd=tmp_path,
        env={"MYPYPATH": str(installed(ner)), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    errors = [line for line in done.stdout.splitlines() if line.startswith("app.py") and "error:" in line]
    assert len(errors) == 2, done.stdout
    assert "app.py:5" in errors[0]
    assert "app.py:6" in errors[1]


# ---------------------------------------------------------------- names


@pytest.mark.parametrize("name", ["ner-atis", "a", "Ner.Atis_2", "match", "x" * 80])
def test_names_that_pip_and_python_take(name: str) -> None:
    assert PLATFORM.check_name(name) == ""


@pytest.mark.parametrize(
    "name",
    ["", "1st", "my model", "-a", "a-", "naïve", "class", "json", "test", "numpy", "onnxruntime", "Tokenizers",
     "edgebert", "ai.edge.litert", "../up", "a/b", "a\nb", "x" * 81, "com.example.", "$HOME", "模型"],
)  # fmt: skip
def test_names_that_they_do_not(name: str) -> None:
    assert "Take letters" in PLATFORM.check_name(name)


@pytest.mark.parametrize(
    "words", [["ner", "atis"], ["tag"], ["json"], ["numpy"], ["class"], ["a" * 200], ["import", "2"]]
)
def test_default_names_are_legal(words: list[str]) -> None:
    name = PLATFORM.default_name(words)
    assert PLATFORM.check_name(name) == ""
    assert not keyword.iskeyword(name)


# ---------------------------------------------------------------- a true environment


@pytest.mark.slow
def test_an_empty_environment(ner: PackageResult, tmp_path: Path) -> None:
    """pip brings all that the wheel needs, which is neither torch nor edgebert."""
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    bin = tmp_path / "venv" / "bin"
    install = [bin / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(ner.archive)]
    done = subprocess.run(install, capture_output=True, text=True)
    if "Could not find a version" in done.stderr or "connection" in done.stderr.lower():
        pytest.skip(f"no package registry here: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    assert subprocess.run([bin / "toy-model", "--check"], cwd=tmp_path).returncode == 0
    listed = subprocess.run([bin / "python", "-m", "pip", "list"], capture_output=True, text=True, check=True).stdout
    assert not [name for name in ("torch", "transformers", "edgebert") if name in listed.split()]
