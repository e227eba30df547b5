"""What was made to do harm is refused, or does none: a slice of `benchmarks.reliability.hostile`, and what guards against it."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.reliability._fuzz_fixtures import make_fixtures, make_small_fixtures
from benchmarks.reliability._hostile_trials import TRIALS, Trial
from benchmarks.reliability.hostile import judge
from edgebert.cli.predict import _text
from edgebert.converters import _tflite_file as tflite_file
from edgebert.errors import EdgebertError, control_in, visible
from edgebert.runs.store import read_record
from edgebert.runtime.mil.ops_gather import one_hot
from edgebert.runtime.mil.ops_shape import fill, pad, range_1d, tile
from edgebert.runtime.mil.package import reading
from edgebert.runtime.session import check_inputs, stated_count, stated_labels

INERT = (
    "a pickle beside safetensors", "beside a known family", "a tokenizer with code", "a chat template", "modules.json is a pipe",
    "whose file would lie outside", "that would lie outside", "labels with a script",
)  # fmt: skip


def expected(trial: Trial) -> str:
    return "inert" if any(part in trial.name for part in INERT) else "refused"


def of(*groups: str) -> list[Trial]:
    return [item for item in TRIALS if item.fast and item.name.split(":")[0] in groups]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_small_fixtures(tmp_path_factory.mktemp("world"))


@pytest.mark.parametrize("trial", of("checkpoint", "data"), ids=lambda item: item.name)
def test_a_hostile_checkpoint_or_file_does_no_harm(trial: Trial, world: Path, tmp_path: Path) -> None:
    outcome = judge(trial, world, tmp_path)
    assert outcome.kind == expected(trial), outcome.said
    assert len(outcome.said) > 20


@pytest.mark.slow
def test_a_hostile_bundle_or_model_does_no_harm(tmp_path: Path) -> None:
    fixtures = make_fixtures(tmp_path / "world")
    for number, trial in enumerate(of("bundle", "TFLite", "Core ML")):
        (tmp_path / str(number)).mkdir()
        outcome = judge(trial, fixtures, tmp_path / str(number))
        assert outcome.kind == expected(trial), f"{trial.name}: {outcome.said}"


# ---------------------------------------------------------------- what files say of themselves


@pytest.mark.parametrize("text", ["", "{}", "[1]", '["a", null]', "[" * 5000, '"ab"', "NaN"])
def test_labels_in_metadata_are_a_list_of_texts(text: str) -> None:
    with pytest.raises(EdgebertError, match="the labels in its metadata are no list of texts") as caught:
        stated_labels(text, "model.onnx")
    assert caught.value.where == "model.onnx"


def test_labels_in_metadata_are_read_as_they_are() -> None:
    assert stated_labels('["O", "B-Ä", "a\\tb"]', "x") == ("O", "B-Ä", "a\tb")
    with pytest.raises(EdgebertError, match=r"the label 'a\\x1b\[2J' of the file holds a control character"):
        stated_labels('["O", "a\\u001b[2J"]', "x")


@pytest.mark.parametrize("value", ["", "-1", "1.5", "x", "10000000000", "٣", None, True, 1.0, [3]])
def test_a_count_in_metadata_is_a_whole_number(value: object) -> None:
    with pytest.raises(EdgebertError, match="the pad_id in its metadata is"):
        stated_count(value, "pad_id", "model.onnx")
    assert (stated_count("17", "pad_id", "x"), stated_count(0, "pad_id", "x")) == (17, 0)


def test_a_file_takes_what_a_text_has() -> None:
    check_inputs(["input_ids", "attention_mask"], "x")
    for names in ([], ["input_ids", "pixels"]):
        with pytest.raises(EdgebertError, match=f"it takes {'pixels' if names else 'nothing'}"):
            check_inputs(names, "x")


INFO = {
    "family": "bert", "precision": "fp32", "title": "", "lengths": [8, 16], "pad_id": 0, "inputs": ["input_ids"],
    "outputs": ["logits"],
}  # fmt: skip


def tflite(folder: Path, info: Any, **more: bytes) -> Path:
    path = folder / "model.tflite"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("edgebert.json", info if isinstance(info, bytes) else json.dumps(info))
        for name, content in more.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"lengths": []}, r"its lengths are \[\]"),
        ({"lengths": [16, 8]}, "its lengths are not ascending"),
        ({"lengths": ["8"]}, r"its lengths are \['8'\]"),
        ({"lengths": [10**13]}, r"its lengths are \[10000000000000\]"),
        ({"pad_id": -1}, "its pad_id is -1"),
        ({"pad_id": True}, "its pad_id is True"),
        ({"inputs": "input_ids"}, "its inputs are 'input_ids'"),
        ({"outputs": [1]}, r"its outputs are \[1\]"),
        ({"precision": None}, "its precision is None"),
    ],
)
def test_what_a_tflite_file_says_of_itself_has_its_types(changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    assert tflite_file.read_info(tflite(tmp_path, INFO)) == INFO
    with pytest.raises(EdgebertError, match=f"edgebert.json that the file carries is damaged: {told}") as caught:
        tflite_file.read_info(tflite(tmp_path, {**INFO, **changes}))
    assert caught.value.where == str(tmp_path / "model.tflite")


@pytest.mark.parametrize("content", [b"null", b"3", b"[[]]", b'"x"'])
def test_what_a_tflite_file_says_of_itself_is_an_object(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(EdgebertError, match="not an object of fields"):
        tflite_file.read_info(tflite(tmp_path, content))


def test_a_bomb_behind_a_tflite_model_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tflite_file, "MOST_BYTES", 1 << 20)
    path = tflite(tmp_path, INFO, more=b"\0" * (3 << 20))
    assert path.stat().st_size < 10_000
    with pytest.raises(EdgebertError, match="the files behind the model are 3 MB unpacked, 1 are read"):
        tflite_file.read_files(path)


# ---------------------------------------------------------------- programs of Core ML


def test_whatever_goes_wrong_in_a_package_is_told_as_damage(tmp_path: Path) -> None:
    for error in (KeyError("x"), IndexError("y"), OverflowError("z"), MemoryError()):
        with (
            pytest.raises(EdgebertError, match=f"the package is damaged: {type(error).__name__}") as caught,
            reading(tmp_path),
        ):
            raise error
        assert caught.value.where == str(tmp_path)
    with pytest.raises(EdgebertError, match="told") as own, reading(tmp_path):
        raise EdgebertError("told", hint="do that")
    assert (own.value.what, own.value.where, own.value.hint) == ("told", str(tmp_path), "do that")


def test_no_operator_makes_what_memory_cannot_hold() -> None:
    one, far = torch.ones(1), torch.tensor(10**12)
    for make in (
        lambda: fill([1 << 15] * 3),
        lambda: tile(one, [10**12]),
        lambda: range_1d(torch.tensor(0), far, torch.tensor(1)),
        lambda: pad(one, [0, 10**12]),
        lambda: one_hot(torch.zeros(10, dtype=torch.int32), 10**12),
    ):
        with pytest.raises(EdgebertError, match=r"a result of .* values"):
            make()
    assert fill([2, 3]).shape == (2, 3) and tile(one, [4]).shape == (4,) and pad(one, [1, 2]).shape == (4,)
    assert range_1d(torch.tensor(0), torch.tensor(3), torch.tensor(1)).tolist() == [0, 1, 2]


# ---------------------------------------------------------------- records, terminals


@pytest.mark.parametrize(
    "change", [{"key": None}, {"seconds": "1"}, {"files": {"a": {}}}, {"inputs": []}, {"stage": 3}]
)
def test_a_record_without_what_its_readers_take_is_none(change: dict[str, Any], tmp_path: Path) -> None:
    record = {
        "stage": "teacher",
        "key": "0",
        "inputs": {},
        "result": None,
        "seconds": 1.0,
        "files": {"a": {"sha256": "0"}},
    }
    (tmp_path / "record.json").write_text(json.dumps(record))
    assert read_record(tmp_path) == record
    (tmp_path / "record.json").write_text(json.dumps({**record, **change}))
    assert read_record(tmp_path) is None


def test_what_a_terminal_would_obey_is_shown(world: Path, tmp_path: Path) -> None:
    assert visible("a\x1b[2J\tb\u009b\n\U0001f469\u200d\U0001f467") == "a\\x1b[2J\tb\\x9b\n\U0001f469\u200d\U0001f467"
    assert control_in(["a", "b\tc"]) is None and control_in(["a", "b\x07"]) == "b\\x07"
    assert _text("\x1b]0;t\x07") == "\\x1b]0;t\\x07"
    assert _text({"a": "\u009b"}) == '{"a": "\\x9b"}'


def test_sizes_that_the_weights_do_not_have_are_told_before_anything_is_built(world: Path, tmp_path: Path) -> None:
    from edgebert.errors import TeacherError
    from edgebert.modeling.checkpoint import load_model

    folder = Path(shutil.copytree(world / "checkpoint", tmp_path / "checkpoint"))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 20_000}), encoding="utf-8")
    with pytest.raises(TeacherError, match=re.escape("num_hidden_layers is 20,000, and the weights hold ")) as caught:
        load_model(folder, "AutoModelForTokenClassification", ("O", "B-X"))
    assert caught.value.where == str(folder / "config.json")
