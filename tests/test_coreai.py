"""Core AI assets against torch, by Apple's runtime: heads, families, precisions, lengths, and what must be refused."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgebert.converters import usable_converter
from edgebert.errors import EdgebertError, RequestError
from edgebert.runtime.session import Source
from edgebert.types import Artifact
from edgebert.verify.contents import contents_failures
from tests.families import HEADS
from tests.test_onnx import LABELS, batch
from tests.test_onnx import source as onnx_source
from tests.test_onnx import worst as worst_of

pytest.importorskip("coreai", reason='needs pip install "edgebert[coreai]"')

from edgebert.converters import _coreai_contents as inside
from edgebert.converters._facts import FACTS
from edgebert.converters.coreai import CONVERTER, CoreAISession

WORDS = "model.bert.embeddings.word_embeddings.weight"
LENGTHS = (16, 32)
ROOT = Path(__file__).parents[1]


def source(family: str = "bert", head: str = "token-classification", **changes: Any) -> Source:
    return dataclasses.replace(onnx_source(family, head), **{"lengths": LENGTHS, **changes})


worst = partial(worst_of, opened=CoreAISession)


@pytest.fixture(scope="module")
def bert() -> Source:
    return source()


@pytest.fixture(scope="module")
def exported(bert: Source, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return CONVERTER.export(bert, tmp_path_factory.mktemp("coreai"))


def reduced(ours: Source, exported: Artifact, precision: str, folder: Path, variant: int = 0) -> Artifact:
    return CONVERTER.reduce(ours, exported, precision, CONVERTER.precisions[precision].variants[variant], folder)


def table_of(ours: Source) -> np.ndarray:
    table: np.ndarray = ours.graph.get_parameter(WORDS).detach().numpy()
    return table


def slow_but(first: object, items: Iterable[object]) -> list[object]:
    """One of them in make test."""
    return [item if item == first else pytest.param(item, marks=pytest.mark.slow) for item in items]


@pytest.mark.parametrize("head", slow_but("sentence-embedding", HEADS))
def test_every_head_equals_torch_at_each_length(head: str, tmp_path: Path) -> None:
    ours = source(head=head)
    created = CONVERTER.export(ours, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model.aimodel"]
    for rows in (batch(1, 1), batch(4, 9), batch(1, 16), batch(1, 32)):
        assert worst(ours, created.path, rows) < 1e-5


@pytest.mark.parametrize("family", slow_but("convbert", ["albert", "distilbert", "fnet", "modernbert", "convbert"]))
def test_other_families_equal_torch(family: str, tmp_path: Path) -> None:
    ours = source(family)
    created = CONVERTER.export(ours, tmp_path)
    assert created.options["shape"] == ("ranged" if family in ("convbert", "fnet") else "enumerated")
    assert worst(ours, created.path, batch(3, 21)) < 1e-4


VARIANTS = [
    pytest.param(name, i, marks=() if name == "int8" else pytest.mark.slow)
    for name, item in CONVERTER.precisions.items()
    for i in range(len(item.variants))
]
LIMITS = {"int8": 0.02, "int6": 0.02, "int4": 0.15, "fp16": 3e-3, "int8-fp16": 0.02}


@pytest.mark.parametrize(("precision", "variant"), VARIANTS)
def test_a_reduced_file_is_near_torch_and_holds_the_same_weights(
    precision: str, variant: int, bert: Source, exported: Artifact, tmp_path: Path
) -> None:
    created = reduced(bert, exported, precision, tmp_path, variant)
    assert 0 < worst(bert, created.path, batch(3, 21)) < LIMITS[precision]
    origin, found = (CONVERTER.contents(item.path) for item in (exported, created))  # type: ignore[misc]
    assert origin.weights.keys() == found.weights.keys() and len(origin.operators) > 100
    assert bool(found.operators) == (CONVERTER.precisions[precision].compute == "fp32")
    tables = {WORDS: table_of(bert)}
    assert contents_failures(found, CONVERTER.precisions[precision], origin=origin, tables=tables) == []
    assert contents_failures(origin, None, origin=None, tables=tables) == []
    assert created.size_bytes < 0.65 * exported.size_bytes
    half = CONVERTER.precisions[precision].compute == "fp16"
    assert CONVERTER.accelerator_fallbacks(created.path) == ({} if half else {"float32 arithmetic": 1})


def test_what_a_weight_stands_for_by_hand(bert: Source, exported: Artifact, tmp_path: Path) -> None:
    """A row of the word table in 8 bits: 255 steps from its largest number's negative to that number."""
    created, theirs = reduced(bert, exported, "int8", tmp_path), table_of(bert)
    for path, wanted in ((exported.path, theirs), (created.path, _rounded(theirs))):
        name = "x".join(map(str, theirs.shape)) + ", number 1"
        assert np.allclose(CONVERTER.contents(path).weights[name], wanted, atol=1e-6)  # type: ignore[misc]


def _rounded(table: np.ndarray) -> np.ndarray:
    steps = np.maximum(np.abs(table).max(axis=1, keepdims=True), 1e-9) / 127.5
    result: np.ndarray = np.rint(table / steps).clip(-128, 127) * steps
    return result


def test_numbers_of_few_bits_by_hand() -> None:
    assert inside._unpacked(bytes([0x21, 0xF3]), "ui4", 4).tolist() == [1, 2, 3, 15]
    assert inside._unpacked(bytes([0x21, 0xF8]), "si4", 4).tolist() == [1, 2, -8, -1]
    assert inside._unpacked(bytes([0b01_000001, 0b0100_0000, 0b000011_00]), "ui6", 4).tolist() == [1, 1, 4, 3]
    codes, table = np.array([[0, 1], [1, 0]]), np.array([[5.0, 6.0], [7.0, 8.0]]).reshape(2, 1, 2, 1)
    assert inside._palette(codes, table, np.array(0)).tolist() == [[5, 6], [8, 7]]
    blocks = np.array([[2.0, 3.0]])
    zeros = np.zeros((1, 2))
    assert inside._scaled(np.array([[1, 2, 3, 4]]), blocks, zeros + 1, zeros + 0.5).tolist() == [[0.5, 2.5, 6.5, 9.5]]


@pytest.mark.parametrize("change", ["zero", "flip"])
def test_a_damaged_weight_is_found(change: str, bert: Source, exported: Artifact, tmp_path: Path) -> None:
    created = reduced(bert, exported, "int8", tmp_path)
    theirs = table_of(bert)
    row = np.rint(theirs[5] * 127.5 / np.abs(theirs[5]).max()).clip(-128, 127).astype(np.int8).tobytes()
    data = (created.path / "main.mlirb").read_bytes()
    assert data.count(row) == 1
    damaged = bytes(32) if change == "zero" else bytes(byte ^ 0x40 for byte in row)
    (created.path / "main.mlirb").write_bytes(data.replace(row, damaged))
    (created.path / "main.hash").write_bytes(hashlib.sha256(data.replace(row, damaged)).digest())
    origin, found = (CONVERTER.contents(item.path) for item in (exported, created))  # type: ignore[misc]
    failures = contents_failures(found, CONVERTER.precisions["int8"], origin=origin, tables={WORDS: theirs})
    assert failures and "x32, number 1" in failures[0]


def test_lengths_are_fixed_enumerated_or_ranged(bert: Source, exported: Artifact, tmp_path: Path) -> None:
    names = ["input_ids", "attention_mask", "token_type_ids"]
    for shape, lengths, size, fallbacks in (
        ("enumerated", LENGTHS, "16|32", {}), ("fixed", (16,), 16, {}), ("ranged", LENGTHS, "seq", {"inputs of ranged length": 3}),
        ("functions", LENGTHS, "16|32", {}),
    ):  # fmt: skip
        folder = tmp_path / shape
        folder.mkdir()
        created = CONVERTER.export(dataclasses.replace(bert, shape=shape, lengths=lengths), folder)
        inputs, outputs = CoreAISession(created.path).signature()
        assert inputs == [{"name": name, "type": "int32", "shape": [1, size]} for name in names]
        assert outputs == [{"name": "logits", "type": "float32", "shape": [1, size, 5]}]
        assert CONVERTER.accelerator_fallbacks(created.path) == {"float32 arithmetic": 1, **fallbacks}
        if shape == "enumerated":
            assert created.sha256 == exported.sha256, "the same model gives the same bytes"
        if shape == "ranged":
            assert worst(bert, created.path, batch(1, 80)) < 1e-5


def test_several_lengths_share_their_weights(bert: Source, exported: Artifact, tmp_path: Path) -> None:
    one = CONVERTER.export(dataclasses.replace(bert, lengths=(32,)), tmp_path)
    assert exported.size_bytes < 1.2 * one.size_bytes


def test_what_the_file_says_of_itself(exported: Artifact) -> None:
    session = CoreAISession(exported.path)
    assert (session.labels, session.metadata) == (LABELS, {"precision": "fp32", "pad_id": 0, "max_length": 32})
    assert str(Path.cwd()) not in (exported.path / "main.mlirb").read_bytes().decode("latin-1")
    assert "runtime for Linux" in CONVERTER.untimed()


def test_results_of_an_earlier_call_stay_and_nothing_is_left(
    exported: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    session = CoreAISession(exported.path)
    first = session.run(batch(1, 8))["logits"]
    kept = first.copy()
    session.run(batch(1, 8, seed=5))
    assert np.array_equal(first, kept)
    assert list(tmp_path.iterdir())
    session.close()
    assert list(tmp_path.iterdir()) == []


ENDS = """
import sys
from collections.abc import Iterable
from pathlib import Path
from edgebert.converters.coreai import CoreAISession
session = CoreAISession(Path(sys.argv[1]))
print(session.metadata["precision"])
"""


def test_a_process_ends_with_a_session_that_nobody_closed(exported: Artifact, tmp_path: Path) -> None:
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", ENDS, str(exported.path)]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=120, check=True, cwd=ROOT)
    assert (done.stdout.split(), list(tmp_path.iterdir())) == (["fp32"], [])


# ---------------------------------------------------------------- what is refused


def test_a_python_that_is_too_old_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pip command would help there."""
    monkeypatch.setattr("sys.version_info", (3, 10, 13, "final", 0))
    with pytest.raises(RequestError, match=r"--format coreai: Core AI needs Python 3\.11 or later, and this is 3\.10"):
        usable_converter("coreai")


def test_what_cannot_be_is_one_clear_error(bert: Source, exported: Artifact, tmp_path: Path) -> None:
    with pytest.raises(EdgebertError, match=r"a row of 33 tokens is longer than the file takes \(32\)"):
        CoreAISession(exported.path).run(batch(1, 33))
    with pytest.raises(RequestError, match="unknown Core AI precision 'int3'"):
        CONVERTER.reduce(bert, exported, "int3", CONVERTER.precisions["int8"].variants[0], tmp_path)
    with pytest.raises(RequestError, match="81"):
        CONVERTER.export(dataclasses.replace(bert, lengths=(81,)), tmp_path)
    with pytest.raises(EdgebertError, match="convbert reads padding, so rows cannot be padded"):
        CONVERTER.export(source("convbert", shape="fixed"), tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: shutil.rmtree(path), "no folder of main.mlirb and main.hash"),
        (lambda path: (path / "main.hash").unlink(), "no folder of main.mlirb and main.hash"),
        (lambda path: (path / "main.hash").write_bytes(bytes(32)), "its program is not the one that main.hash is of"),
        (lambda path: alter(path, lengths=[]), "it names no lengths"),
        (lambda path: alter(path, lengths=[16, -1]), "the lengths in its metadata is -1"),
        (lambda path: alter(path, lengths=[8]), "Core AI refuses the file"),
        (lambda path: alter(path, labels="A"), "the labels in its metadata are no list of texts"),
        (lambda path: alter(path, inputs=["pixels"]), "it takes pixels; the inputs of a text are"),
        (lambda path: alter(path, inputs=["input_ids"]), "the inputs and outputs of main_len_16 are not those"),
        (lambda path: alter(path, outputs=["logits"]), "it names no outputs"),
    ],
)
def test_a_damaged_file_is_one_clear_error(change: Any, message: str, exported: Artifact, tmp_path: Path) -> None:
    path = Path(shutil.copytree(exported.path, tmp_path / "model.aimodel"))
    change(path)
    with pytest.raises(EdgebertError, match=message):
        CoreAISession(path)


def alter(path: Path, **values: object) -> None:
    """What the file says of itself, with other values."""
    place = path / "metadata.json"
    content = json.loads(place.read_text())
    (holder,) = (item for item in _objects(content) if FACTS in item)
    holder[FACTS] = json.dumps(json.loads(holder[FACTS]) | values)
    place.write_text(json.dumps(content))


def _objects(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, dict):
        return []
    return [value, *(item for inner in value.values() for item in _objects(inner))]
