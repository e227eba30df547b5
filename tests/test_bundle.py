"""A bundle made of a tiny real ONNX model, run by ONNX Runtime, and everything that can go wrong with it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgebert.bundle.check import check_bundle, tolerance
from edgebert.bundle.edge_texts import OLD_TEXTS, TEXTS
from edgebert.bundle.manifest import DIGEST, NEW_FIELDS, PAGES, describe_files, digest_of, read_digest, read_manifest
from edgebert.bundle.predictor import Predictor
from edgebert.bundle.write import write_bundle
from edgebert.errors import DataError, ParityError, RequestError, RunError
from edgebert.files import sha256_file
from edgebert.tasks import find_task
from edgebert.types import Artifact, DataSource, Row

VOCABULARY = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "show",
    "me",
    "flights",
    "from",
    "boston",
    "to",
    "denver",
    "##ly",
    ".",
]
LABELS = ("O", "B-city", "I-city")
CITIES = {"boston", "denver"}
MAX_LENGTH = 16
WHITESPACE = " \t\n"


def weights() -> np.ndarray:
    """(vocabulary, labels): a city is B-city by 2, every other token is O by 1."""
    table = np.tile(np.array([1.0, 0.25, -0.5], np.float32), (len(VOCABULARY), 1))
    for city in CITIES:
        table[VOCABULARY.index(city)] = [0.5, 2.5, 0.125]
    return table


def make_model(path: Path, table: np.ndarray) -> Artifact:
    """logits = table[input_ids]; the graph has no token_type_ids, so a session has to leave them out."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    inputs = [
        helper.make_tensor_value_info(n, TensorProto.INT64, ["batch", "seq"]) for n in ("input_ids", "attention_mask")
    ]
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "seq", len(LABELS)])
    node = helper.make_node("Gather", ["table", "input_ids"], ["logits"], axis=0)
    graph = helper.make_graph([node], "tiny", inputs, [output], [numpy_helper.from_array(table, "table")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return Artifact("tiny-fp32", "onnx", "fp32", path, path.stat().st_size, sha256_file(path))


def make_student(folder: Path) -> Path:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordPiece({token: i for i, token in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    # As published sentence encoders do; a bundle has to see past it.
    tokenizer.enable_padding(length=32)
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps({"pad_token_id": 0}))
    return folder


@pytest.fixture
def parts(tmp_path: Path) -> dict[str, Any]:
    """Arguments of write_bundle."""
    return {
        "artifact": make_model(tmp_path / "tiny.onnx", weights()),
        "student": make_student(tmp_path / "student"),
        "task": find_task("ner"),
        "labels": LABELS,
        "golden": [
            Row(("show", "me", "flights", "to", "denver"), ("O",) * 5),
            Row(("from", "boston"), text="from  boston.", offsets=((0, 4), (6, 12))),
            Row(("from", "boston"), text="from  boston.", offsets=((0, 4), (6, 12))),
        ],
        "max_length": MAX_LENGTH,
        "facts": {"data": DataSource("toy", "CC0", "nowhere", "00"), "teacher": "a teacher", "score": 0.5},
    }


@pytest.fixture
def bundle(tmp_path: Path, parts: dict[str, Any]) -> Path:
    return write_bundle(tmp_path / "run" / "bundle", **parts)


def golden(bundle: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (bundle / "golden.jsonl").read_text(encoding="utf-8").splitlines()]


def rewrite_golden(bundle: Path, lines: list[dict[str, Any]]) -> None:
    """Changes the golden vectors and makes the manifest agree, so that only running them can tell."""
    (bundle / "golden.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps(manifest | {"files": describe_files(bundle)}))


def test_files_and_manifest(bundle: Path, parts: dict[str, Any]) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    names = {"model.fp32.onnx", "tokenizer.json", "labels.json", "golden.jsonl", "README.md", "MODEL_CARD.md"}
    names.add("sbom.cdx.json")
    assert {path.name for path in bundle.iterdir()} == names | {"manifest.json"}
    assert set(manifest["files"]) == names
    assert manifest["files"]["model.fp32.onnx"] == {
        "sha256": parts["artifact"].sha256,
        "size_bytes": parts["artifact"].size_bytes,
    }
    assert json.loads((bundle / "labels.json").read_text()) == list(LABELS) == manifest["labels"]
    assert manifest["inputs"] == [
        {"name": "input_ids", "type": "int64", "shape": ["batch", "seq"]},
        {"name": "attention_mask", "type": "int64", "shape": ["batch", "seq"]},
    ]
    assert manifest["outputs"] == [{"name": "logits", "type": "float32", "shape": ["batch", "seq", 3]}]
    assert (manifest["max_length"], manifest["pad_id"], manifest["precision"]) == (MAX_LENGTH, 0, "fp32")
    assert manifest["facts"]["data"]["licence"] == "CC0"
    assert manifest["facts"]["score"] == 0.5


def test_golden_vectors_are_the_table_rows_of_their_ids(bundle: Path) -> None:
    first, table = golden(bundle)[0], weights()
    assert first["texts"] == ["show me flights to denver"]
    assert first["offsets"] == [[0, 4], [5, 7], [8, 15], [16, 18], [19, 25]]
    window = first["windows"][0]
    assert window["input_ids"] == [2, 4, 5, 6, 9, 10, 3]
    assert window["words"] == [-1, 0, 1, 2, 3, 4, -1]
    assert window["outputs"]["logits"] == table[window["input_ids"]].tolist()
    assert first["answer"] == [{"text": "denver", "type": "city", "start": 19, "end": 25}]


def test_golden_texts_keep_raw_text_and_cover_the_edges(bundle: Path) -> None:
    lines = golden(bundle)
    texts = [line["texts"][0] for line in lines]
    assert texts[1] == "from  boston."
    assert lines[1]["answer"] == [{"text": "boston", "type": "city", "start": 6, "end": 12}]
    assert len(texts) == len(set(texts)) == 2 + len(TEXTS) + 1
    assert [line["class"] for line in lines] == ["data", "data", *TEXTS, "longer than a window"]
    for wanted in ("ã", "🙂", "北"):
        assert any(wanted in text for text in texts)
    assert any(len(line["words"]) == 1 for line in lines)
    long = lines[-1]
    assert len(long["words"]) == MAX_LENGTH + 1
    assert len(long["windows"]) > 1
    assert sorted(w for window in long["windows"] for w in window["words"] if w >= 0) == list(range(MAX_LENGTH + 1))
    assert len(long["answer"]) == sum(word in CITIES for word in long["words"])


def test_every_fourth_line_is_also_run_padded(bundle: Path) -> None:
    """To the longest window and half as far, by turns: 7 tokens to 16, 12 to 14."""
    lines = golden(bundle)
    firsts = {i: line["windows"][0] for i, line in enumerate(lines) if line["windows"]}
    padded = {i: window["padded"] for i, window in firsts.items() if "padded" in window}
    n_tokens = {i: len(window["input_ids"]) for i, window in firsts.items() if i % 4 == 0}
    assert n_tokens[0] == 7 and padded[0]["length"] == MAX_LENGTH
    wanted = {i: MAX_LENGTH if i % 8 == 0 else (n + MAX_LENGTH) // 2 for i, n in n_tokens.items() if n < MAX_LENGTH}
    assert {i: item["length"] for i, item in padded.items()} == wanted and len(wanted) > 4
    assert padded[0]["outputs"] == lines[0]["windows"][0]["outputs"], "this model reads each token alone"


def test_each_golden_line_says_what_its_answer_depends_on(bundle: Path) -> None:
    settings = {"task": "ner", "task_options": {}, "max_length": MAX_LENGTH, "pad_id": 0}
    assert all(line["settings"] == settings for line in golden(bundle))


def test_logits_are_rounded_to_six_decimals_and_still_reproduce(tmp_path: Path, parts: dict[str, Any]) -> None:
    thirds = make_model(tmp_path / "thirds.onnx", weights() / 3)
    bundle = write_bundle(tmp_path / "thirds", **parts | {"artifact": thirds})
    assert golden(bundle)[0]["windows"][0]["outputs"]["logits"][0] == [0.333333, 0.083333, -0.166667]
    check_bundle(bundle)


def test_check_accepts_a_whole_bundle(bundle: Path) -> None:
    result = check_bundle(bundle)
    n_padded = sum("padded" in window for line in golden(bundle) for window in line["windows"])
    assert (result.n_texts, result.n_padded, result.notes) == (len(golden(bundle)), n_padded, ())
    assert (bundle / "README.md").read_text(encoding="utf-8").endswith(f"`manifest.json` says: `{result.digest}`\n")


def make_old(bundle: Path) -> None:
    """The bundle as schema 2 had it: four edge texts and a long one, nothing padded, no digest."""
    kept = [line for line in golden(bundle) if line["class"] in ("data", "longer than a window")
            or line["texts"][0] in OLD_TEXTS]  # fmt: skip
    for line in kept:
        del line["class"], line["settings"]
        for window in line["windows"]:
            window.pop("padded", None)
            del window["spans"]
    for page in PAGES:
        (bundle / page).unlink()
    readme = (bundle / "README.md").read_text(encoding="utf-8").rpartition("\nDigest of")[0]
    (bundle / "README.md").write_text(readme, encoding="utf-8")
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest = {name: value for name, value in manifest.items() if name not in NEW_FIELDS} | {"schema": 2}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    rewrite_golden(bundle, kept)


def test_a_bundle_of_schema_2_still_opens(bundle: Path) -> None:
    make_old(bundle)
    result = check_bundle(bundle)
    assert (result.n_texts, result.n_padded, result.digest) == (7, 0, "")
    assert result.notes[0].startswith("the bundle has schema 2: it holds fewer texts, and none that is padded")
    assert Predictor(bundle).predict(["to denver"])[0][0]["text"] == "denver"
    lines = golden(bundle)
    rewrite_golden(bundle, lines[:3] + lines[4:])
    with pytest.raises(DataError, match="the text 'Zoë flew"):
        check_bundle(bundle)


def test_a_bundle_from_before_the_card_and_the_bill_still_opens(bundle: Path) -> None:
    for page in PAGES:
        (bundle / page).unlink()
    manifest = json.loads((bundle / "manifest.json").read_text())
    page, _ = read_digest(bundle)
    manifest["files"] = {name: facts for name, facts in manifest["files"].items() if name not in PAGES}
    (bundle / "README.md").write_text(f"{page}{DIGEST}`{digest_of(manifest, page)}`\n", encoding="utf-8")
    (bundle / "manifest.json").write_text(json.dumps(manifest | {"files": describe_files(bundle)}))
    assert check_bundle(bundle).n_texts > 20
    assert Predictor(bundle).predict(["to denver"])[0][0]["text"] == "denver"


def test_a_bill_of_other_files_is_refused(bundle: Path) -> None:
    """The manifest agrees with it: what they say of the model is not the same."""
    path = bundle / "sbom.cdx.json"
    bill = json.loads(path.read_text(encoding="utf-8"))
    parts = bill["metadata"]["component"]["components"]
    assert {item["name"] for item in parts} == {"model.fp32.onnx", "tokenizer.json", "labels.json"}
    parts[0]["hashes"][0]["content"] = "0" * 64
    for wrong in (bill, {"metadata": []}):
        path.write_text(json.dumps(wrong), encoding="utf-8")
        manifest = read_manifest(bundle)
        (bundle / "manifest.json").write_text(json.dumps(manifest | {"files": describe_files(bundle)}))
        with pytest.raises(DataError, match=r"sbom.cdx.json says something else of labels.json|cannot be compared"):
            check_bundle(bundle)


def test_a_bundle_of_a_later_schema_says_what_to_do(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps(manifest | {"schema": 4}))
    with pytest.raises(RequestError, match="A newer edgebert made it"):
        check_bundle(bundle)


@pytest.mark.parametrize(
    "name", ["model.fp32.onnx", "tokenizer.json", "labels.json", "golden.jsonl", "README.md", "sbom.cdx.json"]
)
def test_a_changed_file_is_caught(bundle: Path, name: str) -> None:
    raw = bytearray((bundle / name).read_bytes())
    raw[len(raw) // 2] ^= 1
    (bundle / name).write_bytes(raw)
    with pytest.raises(DataError, match=f"{name} has another sha256"):
        check_bundle(bundle)
    with pytest.raises(RequestError, match=name):
        Predictor(bundle)


def test_a_missing_or_short_file_is_caught(bundle: Path) -> None:
    (bundle / "labels.json").unlink()
    with (bundle / "tokenizer.json").open("a") as stream:
        stream.write(" ")
    with pytest.raises(DataError, match=r"labels.json is missing; tokenizer.json has \d+ bytes, the manifest says \d+"):
        check_bundle(bundle)


def test_other_ids_are_named(bundle: Path) -> None:
    lines = golden(bundle)
    lines[0]["windows"][0]["input_ids"][3] = 7
    rewrite_golden(bundle, lines)
    with pytest.raises(ParityError, match=r"golden.jsonl:1: window 0: input_ids differ at token 3: 6 here, 7 in"):
        check_bundle(bundle)


@pytest.mark.parametrize(("shift", "caught"), [(0.0009, False), (0.0011, True), (float("nan"), True)])
def test_logits_may_differ_by_a_thousandth_in_float(bundle: Path, shift: float, caught: bool) -> None:
    lines = golden(bundle)
    lines[1]["windows"][0]["outputs"]["logits"][0][2] += shift
    rewrite_golden(bundle, lines)
    if caught:
        with pytest.raises(ParityError, match=r"golden.jsonl:2: window 0: logits differ by up to"):
            check_bundle(bundle)
    else:
        check_bundle(bundle)


@pytest.mark.parametrize(("shift", "caught"), [(0.12, False), (0.13, True)])
def test_int8_logits_may_differ_by_a_twentieth_of_the_largest(
    tmp_path: Path, parts: dict[str, Any], shift: float, caught: bool
) -> None:
    # The largest logit of the first text is 2.5, of denver: 5 % of it is 0.125.
    artifact = replace(parts["artifact"], precision="int8")
    bundle = write_bundle(tmp_path / "bundle", **parts | {"artifact": artifact})
    lines = golden(bundle)
    lines[0]["windows"][0]["outputs"]["logits"][0][2] += shift
    rewrite_golden(bundle, lines)
    if caught:
        with pytest.raises(ParityError, match=r"allowed is 0.125"):
            check_bundle(bundle)
    else:
        check_bundle(bundle)
    assert tolerance("fp32") == {"absolute": 1e-3, "relative": 0.0}


def test_another_answer_is_caught(bundle: Path) -> None:
    lines = golden(bundle)
    lines[0]["answer"][0]["type"] = "town"
    rewrite_golden(bundle, lines)
    with pytest.raises(ParityError, match="the golden outputs give the answer"):
        check_bundle(bundle)


def test_predictor_gives_entities_in_the_order_of_the_texts(bundle: Path) -> None:
    for path in (bundle, bundle.parent):
        result = Predictor(path).predict(["from boston to denver", "", "show me", WHITESPACE, "Denver."])
        assert result == [
            [
                {"text": "boston", "type": "city", "start": 5, "end": 11},
                {"text": "denver", "type": "city", "start": 15, "end": 21},
            ],
            [],
            [],
            [],
            [{"text": "Denver", "type": "city", "start": 0, "end": 6}],
        ]
    assert Predictor(bundle).predict([]) == []


def test_predictor_answers_like_the_golden_vectors(bundle: Path) -> None:
    lines = golden(bundle)
    assert Predictor(bundle).predict([line["texts"][0] for line in lines]) == [line["answer"] for line in lines]


def test_predictor_reads_a_run_that_has_its_own_manifest(bundle: Path) -> None:
    run = bundle.parent
    (run / "request.toml").write_text("")
    (run / "manifest.json").write_text('{"schema": 1, "stages": []}')
    assert Predictor(run).folder == bundle


def test_predictor_says_what_is_not_there(tmp_path: Path, bundle: Path) -> None:
    with pytest.raises(RequestError, match="there is no bundle here"):
        Predictor(tmp_path / "nowhere")
    (tmp_path / "request.toml").write_text("")
    with pytest.raises(RequestError, match="this run has no bundle"):
        Predictor(tmp_path)
    (bundle / "manifest.json").write_text("{")
    with pytest.raises(RequestError, match="the manifest cannot be read"):
        Predictor(bundle)
    (bundle / "manifest.json").write_text('{"schema": 99}')
    with pytest.raises(RequestError, match="no manifest of schema 2"):
        Predictor(bundle)


def test_predictor_imports_neither_torch_nor_transformers(bundle: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from edgebert.bundle.predictor import Predictor;"
        "found = Predictor(Path(sys.argv[1])).predict(['to denver']);"
        "print(found[0][0]['text'], sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code, str(bundle)], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "denver []"


def test_the_example_in_the_readme_runs(bundle: Path) -> None:
    readme = (bundle / "README.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", readme, re.S)
    assert code is not None
    done = subprocess.run([sys.executable, "-c", code[1]], cwd=bundle, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "show O", "me O", "flights O", "from O", "boston B-city", "to O", "denver B-city",
    ]  # fmt: skip
    assert "Data: toy, licence: CC0, from nowhere" in readme
    assert "Teacher: a teacher, licence: not recorded" in readme


def test_a_failed_write_leaves_the_old_bundle(tmp_path: Path, bundle: Path, parts: dict[str, Any]) -> None:
    before = {path.name: path.read_bytes() for path in bundle.iterdir()}
    (parts["student"] / "tokenizer.json").unlink()
    with pytest.raises(RunError, match=r"tokenizer.json"):
        write_bundle(bundle, **parts)
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == before
    assert [path.name for path in bundle.parent.iterdir()] == ["bundle"]


def test_a_new_bundle_replaces_the_old_one(bundle: Path, parts: dict[str, Any]) -> None:
    write_bundle(bundle, **parts | {"artifact": replace(parts["artifact"], precision="int8")})
    assert not (bundle / "model.fp32.onnx").exists()
    check_bundle(bundle)
    assert [path.name for path in bundle.parent.iterdir()] == ["bundle"]


def test_a_student_without_a_pad_id_is_refused(tmp_path: Path, parts: dict[str, Any]) -> None:
    (parts["student"] / "config.json").write_text("{}")
    with pytest.raises(RunError, match="no pad_token_id"):
        write_bundle(tmp_path / "bundle", **parts)
    assert not (tmp_path / "bundle").exists()
