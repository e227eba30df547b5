"""Edited bundles are refused, whatever was edited, and golden vectors tell a wrong port of a tokenizer from a right one."""

from __future__ import annotations

import json
import shutil
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.reliability.tampered_bundles import ACCEPTED, REASONS, REFUSED, REWRITTEN, content, outcome
from benchmarks.reliability.tampered_models import model_edits
from benchmarks.reliability.tampering import (
    DIGESTED,
    FILES,
    PLAIN,
    Edit,
    golden_edits,
    list_edits,
    manifest_edits,
    other_edits,
    seal,
)
from edgebert.bundle import check_bundle
from edgebert.bundle.edge_texts import TEXTS, texts_for
from edgebert.bundle.strict_json import parse
from edgebert.bundle.write import write_bundle
from edgebert.cli import main
from edgebert.errors import DataError, ParityError
from edgebert.files import sha256_file
from edgebert.tasks import find_task
from edgebert.types import Artifact, Row
from tests.conftest import make_tokenizer

LABELS = ("O", "B-CITY", "I-CITY")


def make_model(path: Path, vocab_size: int) -> Artifact:
    """logits = table[input_ids] + the mean of a row's own tokens + a bias of its position, so the mask matters."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    drawn = np.random.default_rng(0)
    tables = {
        "word_embeddings": drawn.normal(size=(vocab_size, 4)),
        "position_embeddings": drawn.normal(size=(16, 4)),
        "classifier": drawn.normal(size=(4, len(LABELS))),
        "bias": drawn.normal(size=len(LABELS)),
    }
    nodes = [
        ("Gather", ["word_embeddings", "input_ids"], "words", {}),
        ("Shape", ["input_ids"], "length", {"start": 1, "end": 2}),
        ("Slice", ["position_embeddings", "zero", "length"], "positions", {}),
        ("Add", ["words", "positions"], "hidden", {}),
        ("Cast", ["attention_mask"], "float_mask", {"to": TensorProto.FLOAT}),
        ("Unsqueeze", ["float_mask", "two"], "mask", {}),
        ("Mul", ["hidden", "mask"], "own", {}),
        ("ReduceSum", ["own", "one"], "sum", {}),
        ("ReduceSum", ["mask", "one"], "count", {}),
        ("Div", ["sum", "count"], "mean", {}),
        ("Add", ["hidden", "mean"], "both", {}),
        ("MatMul", ["both", "classifier"], "products", {}),
        ("Add", ["products", "bias"], "logits", {}),
    ]
    names = ("input_ids", "attention_mask")
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "seq"]) for name in names]
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "seq", len(LABELS)])
    weights = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in tables.items()]
    weights += [numpy_helper.from_array(np.array([n]), name) for n, name in enumerate(("zero", "one", "two"))]
    created = [helper.make_node(kind, given, [gives], **options) for kind, given, gives, options in nodes]
    graph = helper.make_graph(created, "tiny", inputs, [output], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(
        model, {"labels": json.dumps(LABELS), "precision": "fp32", "pad_id": "0", "max_length": "16"}
    )
    onnx.save(model, str(path))
    return Artifact("tiny-fp32", "onnx", "fp32", path, path.stat().st_size, sha256_file(path))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("tampered")
    tokenizer = make_tokenizer()
    tokenizer.save(str(place / "tokenizer.json"))
    (place / "config.json").write_text('{"pad_token_id": 0}')
    texts = ("fly from dham to new bton", "is aville far", "zoom")
    return write_bundle(
        place / "bundle", artifact=make_model(place / "model.onnx", tokenizer.get_vocab_size()), student=place,
        task=find_task("ner"), labels=LABELS, golden=[Row(text=text) for text in texts], max_length=16,
        facts={"teacher": "a toy", "data": {"name": "made up", "licence": "CC0"}},
    )  # fmt: skip


def copy(bundle: Path, place: Path) -> Path:
    shutil.rmtree(place / "copy", ignore_errors=True)
    shutil.copytree(bundle, place / "copy")
    return place / "copy"


def not_refused(bundle: Path, place: Path, edits: Iterator[tuple[str, Edit]], level: str) -> dict[str, Any]:
    """The outcome of each edited bundle that `check` takes, or breaks on. What updating undoes is no edit."""
    results, original = {}, content(bundle)
    for name, edit in edits:
        edited = copy(bundle, place)
        try:
            edit(edited)
        except LookupError:
            continue
        seal(edited, level)
        ended = outcome(edited)
        if ended[0] != REFUSED and not (level != PLAIN and content(edited) == original):
            results[name] = ended
    return results


def test_the_bundle_is_sound(bundle: Path) -> None:
    assert outcome(bundle) == (ACCEPTED, 0, "")


@pytest.mark.parametrize("edits", [manifest_edits, other_edits, model_edits])
def test_edited_bundles_are_refused_though_their_sha256_were_updated(
    edits: Callable[[], Iterator[tuple[str, Edit]]], bundle: Path, tmp_path: Path
) -> None:
    assert not_refused(bundle, tmp_path, edits(), FILES).keys() <= REASONS.keys()


@pytest.mark.parametrize("edits", [golden_edits, model_edits, other_edits])
def test_whoever_updates_the_digest_too_gets_past_it_only_where_no_text_can_tell(
    edits: Callable[[], Iterator[tuple[str, Edit]]], bundle: Path, tmp_path: Path
) -> None:
    assert not_refused(bundle, tmp_path, edits(), DIGESTED).keys() <= (REASONS | REWRITTEN).keys()


def test_a_list_of_files_that_was_edited_is_refused(bundle: Path, tmp_path: Path) -> None:
    assert not_refused(bundle, tmp_path, list_edits(), PLAIN) == {}


@pytest.mark.parametrize(
    ("edit", "code", "told"),
    [
        ("manifest: tolerance edited", 2, "the tolerance is {'absolute': 10.0, 'relative': 1.0}, of fp32 it is"),
        ("manifest: schema edited", 2, "it says schema 2, which has no golden"),
        ("manifest: a label renamed", 2, "number 2 is 'renamed' against 'I-CITY'"),
        ("manifest: a name twice", 2, "the name 'pad_id' stands twice in one object"),
        ("golden: empty", 2, "this is not JSON"),
        ("golden: an edge text dropped", 2, "golden.jsonl has 36 texts, and not the 37"),
        ("golden: outputs zeroed", 1, "golden.jsonl:1: window 0: logits differ by up to"),
        ("golden: padded outputs zeroed", 1, "golden.jsonl:1: padded to 16 tokens: window 0: logits differ by up to"),
        ("model: the mask ignored", 1, "golden.jsonl:1: padded to 16 tokens: window 0: logits differ by up to"),
        ("model: positions from 8 on zeroed", 1, "logits differ by up to"),
        ("model: word vectors of rare tokens zeroed", 2, "is not what the digest at the end of README.md was made of"),
        (
            "model: its labels in another order",
            2,
            "the model's labels are not those of labels.json: number 0 is 'B-CITY'",
        ),
        ("tokenizer: lower-casing off", 1, "one word: window 0"),
        ("tokenizer: accents kept", 1, "golden.jsonl:5: accents: 2 windows here, 3 in the bundle"),
        ("files: a symbolic link beside", 2, "etc is a symbolic link"),
        ("files: one unlisted", 2, "notes.txt is not listed in the manifest: remove it"),
        ("files: a pipe for the golden vectors", 2, "golden.jsonl is a pipe, not a file"),
    ],
)
def test_one_message_says_what_is_wrong(
    edit: str, code: int, told: str, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    makers = (manifest_edits, golden_edits, other_edits, model_edits)
    edits = {name: item for maker in makers for name, item in maker()}
    edited = copy(bundle, tmp_path)
    edits[edit](edited)
    if not edit.startswith(("files: ", "manifest: ")):
        seal(edited, FILES)
    with pytest.raises(SystemExit) as ended:
        main(["check", str(edited)])
    message = capsys.readouterr().err
    assert (ended.value.code, message.startswith("error: ")) == (code, True), message
    assert told in message and "Traceback" not in message


def test_check_tells_the_digest(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["check", str(bundle)])
    message = capsys.readouterr().out
    assert ended.value.code == 0 and f"digest {check_bundle(bundle).digest}" in message
    assert "37 texts, 5 of them also padded" in message


def test_an_unreadable_json_is_refused_in_one_sentence() -> None:
    for text, message in {
        '{"a": 1, "a": 2}': "stands twice", "[1e999]": "too large", "[NaN]": "NaN is no number", "[" * 100_000: "too deep",
        '["\\ud800"]': "half of a surrogate pair", "": "not JSON", "9" * 5000: "not JSON",
    }.items():  # fmt: skip
        with pytest.raises(DataError, match=message):
            parse(text, "x")


# ---------------------------------------------------------------- classes of characters


def plain_port(text: str) -> list[str]:
    """BERT's reference rules with Python's own tables and lower-casing: what a port on another platform looks like."""
    cleaned = []
    for character in text:
        code, kind = ord(character), unicodedata.category(character)
        if code in (0, 0xFFFD) or (kind.startswith("C") and character not in "\t\n\r"):
            continue
        if 0x4E00 <= code <= 0x9FFF or 0x20000 <= code <= 0x2CEAF:
            cleaned.append(f" {character} ")
        else:
            cleaned.append(" " if kind == "Zs" or character in "\t\n\r" else character)
    results = []
    for word in "".join(cleaned).lower().split():
        bare = "".join(c for c in unicodedata.normalize("NFD", word) if unicodedata.category(c) != "Mn")
        for character in bare:
            if unicodedata.category(character)[0] == "P" or character in "$+<=>^`|~":
                bare = bare.replace(character, f" {character} ")
        results += bare.split()
    return results


def test_the_golden_texts_tell_a_plain_port_from_the_tokenizer() -> None:
    tokenizer = make_tokenizer()
    wrong = set()
    for name, text in texts_for(tokenizer, 16).items():
        theirs = tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(text))
        if plain_port(text) != [word for word, _ in theirs]:
            wrong.add(name)
    assert wrong >= {
        "Greek capitals, final sigma", "marks since Unicode 9", "format characters", "punctuation since Unicode 9",
        "unassigned and noncharacters", "ideographs of extensions", "marks of changed class", "canonical decomposition",
    }  # fmt: skip
    assert not wrong & {"one word", "accents", "ideographs", "Hangul", "composed and decomposed", "niqqud"}


def test_added_tokens_and_special_tokens_have_texts_of_their_own() -> None:
    from tokenizers import AddedToken

    tokenizer = make_tokenizer()
    tokenizer.add_tokens([AddedToken("NewTok", normalized=True), AddedToken("cat", single_word=True)])
    texts = texts_for(tokenizer, 16)
    assert set(texts) == {*TEXTS, "special tokens in the text", "added tokens in the text", "longer than a window"}
    tokens = tokenizer.encode(texts["added tokens in the text"]).tokens
    assert tokens.count("newtok") >= 6 and tokens.count("cat") == 6, "cat not in xcat and cat7"
    assert "[PAD]" in tokenizer.encode(texts["special tokens in the text"]).tokens


@pytest.mark.parametrize(("task", "head", "n"), [("pair", (2,), 2), ("similarity", (8,), 0), ("qa", None, 0)])
def test_golden_texts_of_two_texts(task: str, head: Any, n: int, bundle: Path) -> None:
    """A pair that is too long in both texts, and each class in a second text; vectors get two classes at once."""
    from edgebert.bundle.engine import Engine
    from edgebert.bundle.golden import edge_cases

    engine = Engine(find_task(task), make_tokenizer(), ("no", "yes")[:n], None, 16, 0)  # type: ignore[arg-type]
    result = edge_cases(engine)
    seconds = {texts[1] for texts in result} | ({texts[0] for texts in result} if task == "similarity" else set())
    assert seconds >= set(TEXTS.values())
    assert len(result) == (17 if task == "similarity" else 34 + 2)
    if task == "pair":
        both = next(texts for texts, name in result.items() if name == "two long texts")
        (window,) = engine.encode([engine.task.read_texts(*both)])
        assert [window.type_ids.count(kind) for kind in (0, 1)] == [8, 8], (
            "13 tokens: 6 and 7, the odd one to the second"
        )


def test_golden_outputs_that_are_no_numbers_are_refused(bundle: Path, tmp_path: Path) -> None:
    edited = copy(bundle, tmp_path)
    lines = (edited / "golden.jsonl").read_text().splitlines()
    item = json.loads(lines[0])
    item["windows"][0]["padded"]["outputs"]["logits"][0][0] = float("inf")
    (edited / "golden.jsonl").write_text("\n".join([json.dumps(item), *lines[1:]]) + "\n")
    seal(edited, DIGESTED)
    with pytest.raises(ParityError, match="padded to 16 tokens: window 0: logits differ by up to inf"):
        check_bundle(edited)
