"""OpenVINO files against torch: heads, families, precisions, what they say of themselves, and what must be refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgebert.converters import describe
from edgebert.errors import EdgebertError, RequestError
from edgebert.modeling.graph import make_source
from edgebert.runtime.session import Source
from edgebert.types import Artifact
from edgebert.verify.contents import contents_failures
from tests.families import HEADS
from tests.test_onnx import LABELS, batch, source
from tests.test_onnx import worst as worst_of

ov = pytest.importorskip("openvino", reason='needs pip install "edgebert[openvino]"')
pytest.importorskip("nncf", reason='needs pip install "edgebert[openvino]"')

from edgebert.converters.openvino import CONVERTER, GRAPH, WEIGHTS, OpenVinoSession  # noqa: E402

ROOT = Path(__file__).parents[1]


worst = partial(worst_of, opened=OpenVinoSession)


@pytest.fixture(scope="module")
def bert() -> Source:
    return source()


@pytest.fixture(scope="module")
def exported(bert: Source, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return CONVERTER.export(bert, tmp_path_factory.mktemp("openvino"))


def reduced(ours: Source, exported: Artifact, precision: str, folder: Path, variant: int = 0) -> Artifact:
    folder.mkdir(parents=True, exist_ok=True)
    return CONVERTER.reduce(ours, exported, precision, CONVERTER.precisions[precision].variants[variant], folder)


VARIANTS = [(name, i) for name, item in CONVERTER.precisions.items() for i in range(len(item.variants))]


@pytest.mark.parametrize("head", HEADS)
def test_every_head_equals_torch_on_shapes_that_the_exporter_did_not_see(head: str, tmp_path: Path) -> None:
    ours = source(head=head)
    created = CONVERTER.export(ours, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model.openvino"]
    for rows in (batch(1, 1), batch(4, 9), batch(1, 80)):
        assert worst(ours, created.path, rows) < 1e-5


@pytest.mark.parametrize("family", ["albert", "distilbert", "modernbert", "deberta-v2"])
def test_other_families_equal_torch(family: str, tmp_path: Path) -> None:
    ours = source(family)
    created = CONVERTER.export(ours, tmp_path)
    assert worst(ours, created.path, batch(3, 21)) < 1e-4


@pytest.mark.parametrize(("precision", "variant"), VARIANTS)
def test_a_reduced_file_is_near_torch_and_holds_the_same_weights(
    precision: str, variant: int, bert: Source, exported: Artifact, tmp_path: Path
) -> None:
    created = reduced(bert, exported, precision, tmp_path, variant)
    limit = {"fp16": 2e-3, "int8": 0.03, "int8-static": 0.25, "int4": 0.3}[precision]
    assert 0 < worst(bert, created.path, batch(3, 21)) < limit
    declared, origin = CONVERTER.precisions[precision], CONVERTER.contents(exported.path)  # type: ignore[misc]
    contents = CONVERTER.contents(created.path)  # type: ignore[misc]
    assert contents_failures(contents, declared, origin=origin, tables={}) == []
    weights = sum((created.path / name).stat().st_size for name in (WEIGHTS,))
    assert weights < (exported.path / WEIGHTS).stat().st_size
    assert OpenVinoSession(created.path, 1).metadata == {"precision": precision, "pad_id": 0, "max_length": 80}


def test_what_a_weight_stands_for_by_hand(bert: Source, exported: Artifact, tmp_path: Path) -> None:
    """The word table in 8 bits, a scale a row of its largest number over 127, stored in half precision: within half a step
    and what 127 steps gain or lose by the scale's rounding."""
    created = reduced(bert, exported, "int8", tmp_path)
    name = "model.bert.embeddings.word_embeddings.weight"
    theirs = bert.graph.model.bert.embeddings.word_embeddings.weight.detach().numpy()
    assert np.array_equal(CONVERTER.contents(exported.path).weights[name], theirs)  # type: ignore[misc]
    ours = CONVERTER.contents(created.path).weights[name]  # type: ignore[misc]
    error, steps = np.abs(ours - theirs), np.abs(theirs).max(axis=1, keepdims=True) / 127
    assert np.all(error <= 0.65 * steps) and error.max() > 0.4 * steps.max()


@pytest.mark.parametrize("change", ["weight", "zero"])
def test_a_damaged_weight_is_found(change: str, bert: Source, exported: Artifact, tmp_path: Path) -> None:
    created = reduced(bert, exported, "int8", tmp_path)
    nodes = {node.get_friendly_name(): node for node in ov.Core().read_model(created.path / GRAPH).get_ordered_ops()}
    table = nodes["model.bert.embeddings.word_embeddings.weight"].data.tobytes()
    data = (created.path / WEIGHTS).read_bytes()
    assert data.count(table) == 1
    row = slice(5 * 32, 6 * 32)  # of the table
    damaged = bytearray(table)
    damaged[row] = bytes(32) if change == "zero" else bytes(byte ^ 0x40 for byte in table[row])
    (created.path / WEIGHTS).write_bytes(data.replace(table, bytes(damaged)))
    origin = CONVERTER.contents(exported.path)  # type: ignore[misc]
    contents = CONVERTER.contents(created.path)  # type: ignore[misc]
    failures = contents_failures(contents, CONVERTER.precisions["int8"], origin=origin, tables={})
    assert failures and "word_embeddings" in failures[0]


def test_what_the_file_says_of_itself(exported: Artifact) -> None:
    session = OpenVinoSession(exported.path, 1)
    assert (session.labels, session.metadata["max_length"]) == (LABELS, 80)
    inputs, outputs = session.signature()
    names = ["input_ids", "attention_mask", "token_type_ids"]
    assert inputs == [{"name": name, "type": "int64", "shape": ["batch", "seq"]} for name in names]
    assert outputs == [{"name": "logits", "type": "float32", "shape": ["batch", "seq", 5]}]
    assert CONVERTER.accelerator_fallbacks(exported.path) == {"input of dynamic shape": 3}


def test_results_of_an_earlier_call_stay(exported: Artifact) -> None:
    session = OpenVinoSession(exported.path, 1)
    first = session.run(batch(1, 8))["logits"]
    kept = first.copy()
    session.run(batch(1, 8, seed=5))
    assert np.array_equal(first, kept)


def test_a_file_computes_in_float32_where_the_processor_has_bfloat16(bert: Source, exported: Artifact) -> None:
    """Left to itself OpenVINO computes in bfloat16 there."""
    rows = batch(3, 21)
    assert worst(bert, exported.path, rows) < 1e-5
    core = ov.Core()
    if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        by_itself = core.compile_model(exported.path / GRAPH, "CPU")({name: rows[name] for name in bert.inputs})[0]
        ours = OpenVinoSession(exported.path, 1).run(rows)["logits"]
        mask = rows["attention_mask"].astype(bool)
        assert np.abs(by_itself - ours)[mask].max() > 1e-3 * np.abs(ours[mask]).max()


def test_what_was_converted_before_does_not_show_in_the_bytes(bert: Source, exported: Artifact, tmp_path: Path) -> None:
    """OpenVINO numbers nodes over the whole process: findings/openvino-ir-depends-on-history.sh."""
    sums = []
    for k in range(2):
        (tmp_path / f"fp32-{k}").mkdir()
        again = CONVERTER.export(bert, tmp_path / f"fp32-{k}")
        static = reduced(bert, again, "int8-static", tmp_path / f"static-{k}")
        sums.append((again.sha256, static.sha256))
    assert sums[0] == sums[1] and sums[0][0] == exported.sha256


ASKED = """
import sys, types
from edgebert.converters.openvino import without_reports
with without_reports():
    from nncf.telemetry.wrapper import telemetry
print(type(telemetry).__name__)
"""


def test_nothing_reports_its_use() -> None:
    """NNCF sends what is done with it to Google Analytics, unless it is told not to or finds that it runs in CI or pytest."""
    env = {name: value for name, value in os.environ.items() if name not in ("CI", "NNCF_CI", "NNCF_DEV")}
    done = subprocess.run([sys.executable, "-c", ASKED], capture_output=True, text=True, cwd=ROOT, env=env, check=True)
    assert done.stdout.split() == ["MagicMock"]


# ---------------------------------------------------------------- what is refused


def test_too_many_tokens_are_an_error(exported: Artifact) -> None:
    with pytest.raises(EdgebertError, match="the batch has 81 tokens, the model takes 80"):
        OpenVinoSession(exported.path, 1).run(batch(1, 81))


def test_static_int8_without_rows_is_refused(bert: Source, exported: Artifact, tmp_path: Path) -> None:
    bare = make_source(bert.graph.model, labels=LABELS)
    with pytest.raises(RequestError, match="needs rows to calibrate on"):
        reduced(bare, exported, "int8-static", tmp_path)
    with pytest.raises(RequestError, match="unknown OpenVINO precision 'int3'"):
        CONVERTER.reduce(bert, exported, "int3", CONVERTER.precisions["int8"].variants[0], tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: shutil.rmtree(path), "no folder of openvino_model.xml and openvino_model.bin"),
        (lambda path: (path / WEIGHTS).unlink(), "no folder of openvino_model.xml and openvino_model.bin"),
        (lambda path: (path / GRAPH).write_text("<net"), "OpenVINO refuses the file"),
        (lambda path: (path / WEIGHTS).write_bytes(b"\0" * 40), "OpenVINO refuses the file"),
        (
            lambda path: alter(path, '<max_length value="80"', '<max_length value="many"'),
            "the max_length in its metadata",
        ),
        (lambda path: alter(path, "labels", "\x01abel"), "OpenVINO refuses the file"),
        (lambda path: alter(path, 'names="input_ids"', 'names="pixels"'), "it takes pixels; the inputs of a text are"),
    ],
)
def test_a_damaged_file_is_one_clear_error(change: Any, message: str, exported: Artifact, tmp_path: Path) -> None:
    path = Path(shutil.copytree(exported.path, tmp_path / "model.openvino"))
    change(path)
    with pytest.raises(EdgebertError, match=message):
        OpenVinoSession(path, 1)


def alter(path: Path, old: str, new: str) -> None:
    text = (path / GRAPH).read_text()
    assert old in text
    (path / GRAPH).write_text(text.replace(old, new))


def test_the_size_is_of_graph_and_weights(exported: Artifact) -> None:
    sizes = [(exported.path / name).stat().st_size for name in (GRAPH, WEIGHTS)]
    again = describe(exported.path, "openvino", "fp32")
    assert (exported.size_bytes, exported.sha256) == (sum(sizes), again.sha256)
