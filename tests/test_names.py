"""A wrong name is refused before torch is loaded, by the functions that resolve the request; and a user is told what takes long."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgebert.cli._progress import LINES
from edgebert.errors import EdgebertError
from edgebert.types import FitRequest
from edgebert.workflows.carry_out import before_torch
from edgebert.workflows.names import compress_request, resolve_names

SLOW = ("torch", "transformers", "datasets", "pyarrow", "onnx", "sklearn", "scipy", "matplotlib")
PROGRAM = f"""
import sys
from edgebert.cli import main
try:
    main(sys.argv[1:])
finally:
    print([name for name in {SLOW} if name in sys.modules])
"""
FIT = ("fit", "--device", "pixel6")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("fit", "--device", "pixl6"), "unknown device 'pixl6'\n  Did you mean pixel6"),
        ((*FIT, "--task", "nre"), "unknown task 'nre'\n  Did you mean ner"),
        ((*FIT, "--task", "a=ner", "--task", "b=clasify"), "unknown task 'clasify'\n  Did you mean classify"),
        ((*FIT, "--recipe", "drop-layer+kd"), "unknown method 'drop-layer'\n  Did you mean drop-layers"),
        ((*FIT, "--recipe", "nowhere.toml"), "nowhere.toml: no such file"),
        ((*FIT, "--set", "kd.temprature=2"), "unknown parameter of kd 'temprature'\n  Did you mean temperature"),
        ((*FIT, "--precision", "int7"), "unknown precision 'int7'\n  Did you mean int"),
        ((*FIT, "--data", "nowhere.conll"), "nowhere.conll: no such file"),
        ((*FIT, "--data", "train=nowhere.conll"), "nowhere.conll: no such file"),
        ((*FIT, "--data", "tran=nowhere.conll"), "unknown split 'tran'\n  Did you mean train"),
        ((*FIT, "--task", "classify", "--data", "atis"), "unknown classify data 'atis'\n  Did you mean atis-intents"),
        (("compress", "model", "--recipe", "drop-layer"), "unknown method 'drop-layer'\n  Did you mean drop-layers"),
        (("compress", "model", "--recipe", "kd", "--data", "./no.csv"), "no.csv: no such file"),
        ((*FIT, "--teacher", "./models/techer"), "./models/techer: unknown folder 'techer'\n  Did you mean teacher?"),
        ((*FIT, "--teacher", "./here/or/there"), "./here/or/there: no such folder"),
        ((*FIT, "--teacher", "models/notes.txt"), "models/notes.txt: a checkpoint is a folder, this is a file"),
        ((*FIT, "--student", "./models/techer"), "--student ./models/techer: unknown folder 'techer'\n  Did you mean"),
        ((*FIT, "--starts", "models", "--starts", "nowhere"), "--starts nowhere: no such folder"),
    ],
)
def test_a_wrong_name_is_refused(
    arguments: tuple[str, ...], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "teacher").mkdir(parents=True)
    (tmp_path / "models" / "notes.txt").touch()
    with pytest.raises(EdgebertError) as caught:
        resolve_names(request_of(arguments))
    assert told in str(caught.value)
    assert caught.value.exit_code == 2


def request_of(arguments: tuple[str, ...]) -> FitRequest:
    """What the command line asks for, as the interface makes it."""
    command, *rest = arguments
    given: dict[str, list[str]] = {}
    if command == "compress":
        rest = rest[1:]
    for name, value in zip(rest[::2], rest[1::2], strict=True):
        given.setdefault(name.removeprefix("--"), []).append(value)
    params = dict(item.split("=", 1) for item in given.get("set", ()))
    data, task = tuple(given.get("data", ())), ",".join(given.get("task", ["ner"]))
    if command == "compress":
        return compress_request("model", given["recipe"][0], None, task=task, data=data)[1]
    return FitRequest(
        device=given["device"][0], task=task, data=data, params=params, recipe=given.get("recipe", [None])[0],
        precisions=tuple(given.get("precision", ["int8"])), teacher=given.get("teacher", [None])[0],
        student=given.get("student", [None])[0], starts=tuple(given.get("starts", ())),
    )  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [
        ("fit", "--device", "pixl6"),
        (*FIT, "--data", "nowhere.conll"),
        ("compress", "model", "--recipe", "drop-layer"),
        ("convert", "model", "--format", "onxx"),
        (*FIT, "--teacher", "./nowhere"),
        (*FIT, "--student", "./nowhere"),
        (*FIT, "--starts", "nowhere"),
        ("compress", "./nowhere", "--recipe", "kd"),
        ("convert", "./nowhere", "--format", "onnx"),
    ],
)
def test_nothing_slow_is_loaded_before_that(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "[]\n"), done.stderr
    assert done.stderr.startswith("error: ")
    assert list(tmp_path.iterdir()) == []


def test_a_hub_id_is_no_folder_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "teacher").mkdir()  # named as the option's own word
    for name in ("bert-base-uncased", "sentence-transformers/all-MiniLM-L6-v2"):
        resolve_names(FitRequest(device="pixel6", task="ner", teacher=name, student=name))
        resolve_names(FitRequest(device="pixel6", task="ner", teacher=name, student="teacher"))


def test_loading_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """On standard error, as all progress; not where torch is there already."""
    events: list[str] = []
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    before_torch(lambda event: events.append(event["event"]))
    monkeypatch.setitem(sys.modules, "torch", object())  # type: ignore[arg-type]
    before_torch(lambda event: events.append(event["event"]))
    assert events == ["loading"]
    assert LINES["loading"] == "loading libraries …"


def test_what_is_resolved() -> None:
    names = resolve_names(FitRequest(device="pixel6", task="ner"))
    assert (names.device.name, names.task.name, names.formats) == ("pixel6", "ner", ("tflite", "onnx"))
    assert (names.precisions, [call.method for call in names.recipe.calls]) == (
        ("int8",), ["trim-vocab", "drop-layers", "kd"],
    )  # fmt: skip
    folder, request = compress_request("a/my-bert", "kd", None, task="classify")
    assert (str(folder), request.run, request.student) == ("my-bert-small", "runs/compress-my-bert-small", "teacher")
    assert (request.device, request.formats, request.recipe) == ("this-machine", ("onnx",), "kd")
