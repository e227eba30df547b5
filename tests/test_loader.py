"""A teacher is read as transformers and sentence-transformers read it, or refused with the part that is to blame."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import edgebert
from edgebert.converters import CONVERTERS
from edgebert.errors import EdgebertError, RequestError, TeacherError
from edgebert.modeling.checkpoint import labels_of, load_config, load_model, load_student, load_tokenizer
from edgebert.modeling.graph import TorchSession
from edgebert.modeling.source import find_teacher
from edgebert.modeling.weights import weight_files
from edgebert.runtime.batching import run_features
from edgebert.tasks import find_task
from edgebert.teachers.fitting import fitting_head, words_tokenizer
from edgebert.training.run import evaluate
from edgebert.types import Row, Student
from tests.conftest import make_tokenizer
from tests.test_loader_tokenizers import bytes_bpe

SIZES = {
    "vocab_size": make_tokenizer().get_vocab_size(), "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 64, "max_position_embeddings": 64,
}  # fmt: skip
TAGGER = "AutoModelForTokenClassification"


def save(folder: Path, kind: str = "BertForTokenClassification", **changes: Any) -> Path:
    """A checkpoint with its tokenizer; weights large enough to show in the outputs."""
    import transformers

    torch.manual_seed(0)
    config = transformers.BertConfig(**(SIZES | {"num_labels": 3, "initializer_range": 0.3} | changes))
    getattr(transformers, kind)(config).save_pretrained(folder)
    make_tokenizer().save(str(folder / "tokenizer.json"))
    return folder


def configure(folder: Path, **changes: Any) -> Path:
    """Fields of config.json; None takes one out."""
    path = folder / "config.json"
    description = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({name: value for name, value in description.items() if value is not None}))
    return folder


def reweigh(folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Path:
    path = folder / "model.safetensors"
    weights = {name: value.clone() for name, value in load_file(path).items()}
    save_file(change(weights), path, metadata={"format": "pt"})
    return folder


def added(**more: torch.Tensor) -> Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]:
    return lambda weights: weights | {name.replace("__", "."): value for name, value in more.items()}


@pytest.fixture(scope="module")
def tagger_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("tagger") / "m")


@pytest.fixture
def tagger(tagger_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tagger_once, tmp_path / "m"))


def opened(folder: Path, auto_model: str = TAGGER, **options: Any) -> tuple[Any, list[str]]:
    """As `convert` opens it."""
    source = find_teacher(str(folder), allow_pickle=options.get("allow_pickle", False))
    notes: list[str] = []
    model, whole = load_model(source.folder, auto_model, notes=notes, **options)
    assert whole
    return model, notes


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        return model(input_ids=torch.arange(5, 25)[None], attention_mask=torch.ones(1, 20, dtype=torch.int64)).logits


# ---------------------------------------------------------------- config.json


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"hidden_size": "32"}, "hidden_size.*expected int, got str"),
        ({"num_hidden_layers": -1}, "num_hidden_layers is -1, not a count"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0, not a count"),
        ({"num_hidden_layers": 1.5}, "num_hidden_layers.*expected int, got float"),
        ({"num_hidden_layers": 3}, r"16 weights of the encoder are missing.*encoder\.layer\.2"),
        ({"num_hidden_layers": 1}, r"bert\.encoder\.layer\.1 \(16\)\n.*num_hidden_layers in config.json is 1; the weights are of 2"),
        ({"num_attention_heads": 5}, "not a multiple of the number of attention heads"),
        ({"vocab_size": 200}, "word_embeddings.weight: 82x32 in the file, 200x32 by config"),
        ({"vocab_size": 50}, r"32 tokens are beyond the model's word table of 50 rows, the first is '##t' \(50\)"),
        ({"max_position_embeddings": 32}, "position_embeddings.weight: 64x32 in the file, 32x32 by config"),
        ({"intermediate_size": 63}, r"intermediate\.dense\.bias: 64 in the file, 63 by config"),
        ({"hidden_act": "glue"}, "hidden_act is 'glue', which transformers does not have"),
        ({"pad_token_id": 999}, "pad_token_id is 999, outside the 82 tokens"),
        ({"layer_norm_eps": "x"}, "layer_norm_eps.*expected float"),
        ({"dtype": "float17"}, "float17"),
        ({"problem_type": "weird"}, "problem_type is 'weird'"),
        ({"architectures": "BertForTokenClassification"}, "architectures is 'BertForTokenClassification'"),
        ({"model_type": None}, "it names no model_type"),
        ({"model_type": "brt"}, "transformers has no model_type 'brt'"),
        ({"model_type": "new", "auto_map": {"AutoModel": "x.Y"}}, "needs the code that the checkpoint brings along"),
        ({"quantization_config": {"quant_method": "gptq"}}, r"quantized \(gptq\)"),
        ({"id2label": {"1": "a", "2": "b", "3": "c"}}, "id2label names the outputs 1, 2, 3, which are counted from 0 to 2"),
        ({"id2label": {"0": "a", "2": "b"}}, "id2label names the outputs 0, 2"),
        ({"id2label": {"a": 0, "b": 1, "c": 2}}, "id2label is {'a': 0"),
        ({"id2label": {"0": "a", "1": "", "2": "c"}}, "id2label is"),
        ({"id2label": "abc"}, "id2label is 'abc'"),
        ({"id2label": {"0": "a", "1": "b"}}, "classifier.bias has another shape than config.json says: 3 in the file, 2 by"),
        ({"id2label": {"0": "a", "1": "b", "2": "c"}, "label2id": {"a": 2, "b": 1, "c": 0}}, "label2id says that 'a' is 2"),
        ({"num_labels": 5}, "num_labels is 5, and id2label names 3"),
    ],
)  # fmt: skip
def test_configs_that_cannot_be(changes: dict[str, Any], told: str, tagger: Path) -> None:
    with pytest.raises(TeacherError, match=told) as caught:
        opened(configure(tagger, **changes))
    assert str(tagger) in str(caught.value)


@pytest.mark.parametrize("content", ["{", "[]", "null", "3", '{"model_type": ["bert"]}', "\ufeff{}"])
def test_what_is_no_config(content: str, tagger: Path) -> None:
    (tagger / "config.json").write_text(content, encoding="utf-8")
    with pytest.raises(TeacherError, match=r"config\.json cannot be used"):
        find_teacher(str(tagger))


@pytest.mark.parametrize(
    ("given", "labels"),
    [
        ({"0": 0, "1": 1, "2": 2}, ("0", "1", "2")),
        (["neg", "pos", "mixed"], ("neg", "pos", "mixed")),
        ({"2": "c", "0": "a", "1": "b"}, ("a", "b", "c")),
        ({"0": False, "1": True, "2": 2.0}, ("false", "true", "2")),
        ({"00": "a", "1": "b", "2": "c"}, ("a", "b", "c")),
    ],
)
def test_labels_in_other_forms(given: Any, labels: tuple[str, ...], tagger: Path) -> None:
    model, _ = opened(configure(tagger, id2label=given, label2id=None))
    assert labels_of(model.config) == labels


def test_two_outputs_of_one_name(tagger: Path) -> None:
    config = load_config(configure(tagger, id2label={"0": "a", "1": "a", "2": "b"}, label2id=None))
    with pytest.raises(TeacherError, match="two outputs are called 'a'"):
        labels_of(config)


def test_everything_is_float32_whatever_was_stored(tagger: Path) -> None:
    """The config's dtype builds models of its own where nobody says otherwise."""
    before = logits(opened(tagger)[0])
    configure(reweigh(tagger, lambda weights: {k: v.bfloat16() for k, v in weights.items()}), dtype="bfloat16")
    model, _ = opened(tagger)
    assert model.dtype == model.config.dtype == torch.float32
    assert 0 < (logits(model) - before).abs().max() < 0.5


def test_a_bfloat16_teacher_with_several_heads(tagger: Path, tmp_path: Path) -> None:
    """Its encoder was built in bfloat16, and its heads in float32."""
    from edgebert.modeling.checkpoint import build_model, save_checkpoint

    configure(reweigh(tagger, lambda weights: {k: v.bfloat16() for k, v in weights.items()}), dtype="bfloat16")
    heads = [{"name": "a", "kind": "token-classification", "n_labels": 2}, {"name": "b", "kind": "question-answering"}]
    model, _ = load_model(tagger, "HeadedEncoder", (), settings={"edgebert_heads": heads})
    save_checkpoint(tmp_path / "s", Student(model, load_tokenizer(tagger)), tagger)
    for item in (model, load_student(tmp_path / "s").model, build_model(model.config, "HeadedEncoder")):
        assert {parameter.dtype for parameter in item.parameters()} == {torch.float32}


# ---------------------------------------------------------------- weights


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"crf__transitions": torch.zeros(3, 3), "crf__start_transitions": torch.zeros(3)}, r"crf \(2\)"),
        ({"dense__weight": torch.zeros(3, 3)}, r"dense \(1\)"),
        ({"lstm__weight_ih_l0": torch.zeros(3, 3)}, r"lstm \(1\)"),
        ({"classifier2__weight": torch.zeros(7, 32)}, r"classifier2 \(1\)"),
        ({"bert__encoder__layer__0__output__adapters__a__weight": torch.zeros(3)}, r"bert\.encoder\.layer\.0 \(1\)"),
        ({"bert__encoder__layer__0__attention__self__query__lora_A__default__weight": torch.zeros(3)}, "no place for these"),
        ({"bert__embeddings__extra__weight": torch.zeros(3)}, r"bert\.embeddings \(1\)"),
    ],
)  # fmt: skip
def test_weights_that_no_module_takes(more: dict[str, torch.Tensor], told: str, tagger: Path) -> None:
    with pytest.raises(TeacherError, match=told):
        opened(reweigh(tagger, added(**more)))


def test_harmless_weights_are_named(tagger: Path) -> None:
    before = logits(opened(tagger)[0])
    more = {
        "cls__predictions__bias": torch.zeros(3), "cls__seq_relationship__weight": torch.zeros(2, 32),
        "bert__pooler__dense__weight": torch.zeros(32, 32), "bert__embeddings__position_ids": torch.arange(64)[None],
    }  # fmt: skip
    model, notes = opened(reweigh(tagger, added(**more)))
    assert torch.equal(logits(model), before)
    assert notes == [
        "left out, as no head of a fine-tuned model needs it: bert.pooler (1), cls.predictions (1), cls.seq_relationship (1)"
    ]


def test_names_of_tensorflow_and_nested_pickles_are_read(tagger: Path) -> None:
    before = logits(opened(tagger)[0])
    names = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    reweigh(tagger, lambda weights: {_renamed(k, names): v for k, v in weights.items()})
    assert torch.equal(logits(opened(tagger)[0]), before)
    torch.save({"state_dict": load_file(tagger / "model.safetensors"), "epoch": 3}, tagger / "pytorch_model.bin")
    (tagger / "model.safetensors").unlink()
    assert torch.equal(logits(opened(tagger, allow_pickle=True)[0]), before)


def _renamed(name: str, names: Mapping[str, str]) -> str:
    for old, new in names.items():
        name = name.replace(old, new)
    return name


def test_a_pickle_of_objects_is_not_run(tagger: Path) -> None:
    torch.save(nn.Linear(2, 2), tagger / "pytorch_model.bin")
    (tagger / "model.safetensors").unlink()
    with pytest.raises(TeacherError, match=r"it holds more than weights: torch\.nn\.modules\.linear\.Linear"):
        opened(tagger, allow_pickle=True)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda w: {k: v for k, v in w.items() if k != "classifier.bias"}, "1 weights of its own head are missing"),
        (lambda w: w | {"classifier.weight": torch.zeros(5, 32)}, "classifier.weight: 5x32 in the file, 3x32 by config"),
        (lambda w: {f"module.{k}": v for k, v in w.items()}, "37 weights of the encoder are missing"),
        (lambda w: w | {"classifier.bias": torch.full((3,), float("nan"))}, "classifier.bias holds values that are no numbers"),
        (lambda w: {k.replace("query.weight", "query.base_layer.weight"): v for k, v in w.items()}, "query.weight"),
    ],
)  # fmt: skip
def test_weights_that_are_not_whole(change: Any, told: str, tagger: Path) -> None:
    with pytest.raises(TeacherError, match=told):
        opened(reweigh(tagger, change))


def shard(folder: Path) -> Path:
    """The weights in two files with a list of them, as save_pretrained writes large models."""
    weights, names = (
        load_file(folder / "model.safetensors"),
        ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"),
    )
    table = {key: names[i % 2] for i, key in enumerate(sorted(weights))}
    for name in names:
        save_file(
            {k: weights[k].clone() for k in weights if table[k] == name}, folder / name, metadata={"format": "pt"}
        )
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": table}))
    return folder


def test_shards_are_one_model(tagger: Path) -> None:
    before = logits(opened(tagger)[0])
    assert torch.equal(logits(opened(shard(tagger))[0]), before)
    assert [path.name[:11] for path in weight_files(tagger)] == ["model-00001", "model-00002"]


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda f: (f / "model-00002-of-00002.safetensors").unlink(), "1 of its 2 files are missing, the first is model-00002"),
        (lambda f: _cut(f / "model-00002-of-00002.safetensors"), "damaged or cut short"),
        (lambda f: _index(f, "model-00002-of-00002", "../elsewhere"), r"'\.\./elsewhere\.safetensors' is no path inside"),
        (lambda f: _index(f, '"model-00002-of-00002.safetensors"', "3"), "3 is no path inside"),
        (lambda f: _index(f, '"weight_map": {', '"weight_map": {"more.weight": "model-00002-of-00002.safetensors", '),
         "model-00002-of-00002.safetensors lacks more.weight"),
        (lambda f: (f / "model.safetensors.index.json").write_text("{"), "cannot be read"),
        (lambda f: (f / "model.safetensors.index.json").write_text('{"weight_map": []}'), "it holds no weight_map"),
        (lambda f: (f / "model.safetensors.index.json").unlink(), "parts of the weights are there"),
    ],
)  # fmt: skip
def test_shards_that_are_not_whole(spoil: Callable[[Path], Any], told: str, tagger: Path) -> None:
    spoil(shard(tagger))
    with pytest.raises(TeacherError, match=told):
        find_teacher(str(tagger))


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def _index(folder: Path, old: str, new: str) -> None:
    path = folder / "model.safetensors.index.json"
    path.write_text(path.read_text().replace(old, new))


def test_files_of_training_are_not_taken_for_the_weights(tagger: Path) -> None:
    before = logits(opened(tagger)[0])
    for name in ("adapter_model.safetensors", "optimizer.safetensors", "aaa.safetensors"):
        save_file({"x": torch.zeros(1)}, tagger / name)
    for name in ("training_args.bin", "optimizer.pt", "rng_state.pth", "scheduler.pt"):
        torch.save({}, tagger / name)
    model, notes = opened(tagger)
    assert torch.equal(logits(model), before)
    assert notes == [
        "the adapter beside the weights (adapter_model.safetensors) is not applied: the weights are read as they are"
    ]
    torch.save(load_file(tagger / "model.safetensors"), tagger / "pytorch_model.bin")
    (tagger / "model.safetensors").unlink()
    with pytest.raises(TeacherError, match="--allow-pickle") as caught:
        find_teacher(str(tagger))
    assert caught.value.where == str(tagger / "pytorch_model.bin")
    (tagger / "pytorch_model.bin").unlink()
    with pytest.raises(TeacherError, match=r"not a whole model|no model\.safetensors") as caught:
        find_teacher(str(tagger), allow_pickle=True)
    assert "--allow-pickle" not in str(caught.value)


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"adapter_config.json": '{"peft_type": "LORA", "base_model_name_or_path": "some/base"}'},
         "this is a LoRA adapter of some/base, not a whole model\n.*merge_and_unload"),
        ({"adapter_config.json": '{"peft_type": "PROMPT_TUNING"}'}, "an adapter .PROMPT_TUNING.*\n.*cannot be merged"),
        ({"adapter_model.safetensors": ""}, "this is an adapter"),
        ({"checkpoint-20/config.json": "{}"}, "Did you mean .*checkpoint-20"),
        ({"0_Transformer/config.json": "{}", "1_Pooling/config.json": "{}"}, "Did you mean .*0_Transformer"),
        ({"tf_model.h5": ""}, "this is TensorFlow weights"),
        ({"model.onnx": ""}, "this is an ONNX file"),
        ({}, "no config.json: this is not a checkpoint"),
    ],
)  # fmt: skip
def test_folders_of_other_kinds(files: dict[str, str], told: str, tmp_path: Path) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    with pytest.raises(TeacherError, match=told):
        find_teacher(str(tmp_path))


# ---------------------------------------------------------------- the key of a stage


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model-00002-of-00002.safetensors", None), ("tokenizer.json", None), ("config.json", None),
        ("tokenizer_config.json", '{"do_lower_case": false}'), ("vocab.txt", "a"), ("special_tokens_map.json", "{}"),
        ("1_Pooling/config.json", '{"pooling_mode": "cls"}'), ("sentence_bert_config.json", '{"max_seq_length": 9}'),
    ],
)  # fmt: skip
def test_the_key_covers_every_file_that_is_read(name: str, content: str | None, tagger: Path) -> None:
    shard(tagger)
    before = find_teacher(str(tagger))
    (tagger / "README.md").write_text("another card")
    (tagger / "optimizer.safetensors").write_bytes(b"x")
    assert find_teacher(str(tagger)).key == before.key
    path = tagger / name
    path.parent.mkdir(exist_ok=True)
    if name.endswith(".safetensors"):
        weights = {key: value + 1 for key, value in load_file(path).items()}
        save_file(weights, path, metadata={"format": "pt"})
    else:
        path.write_text(content if content is not None else path.read_text() + "\n")
    after = find_teacher(str(tagger))
    assert after.key != before.key
    assert (after.sha256 != before.sha256) == name.endswith(".safetensors")


# ---------------------------------------------------------------- labels


def classifier(folder: Path, *labels: str) -> Path:
    names = dict(enumerate(labels))
    return save(folder, "BertForSequenceClassification", num_labels=len(labels), id2label=names)


@pytest.mark.parametrize(
    ("head", "data", "order"),
    [
        (("LABEL_0", "LABEL_1"), ("0", "1"), [0, 1]),
        (("LABEL_0", "LABEL_1"), ("1", "0"), [1, 0]),
        (("LABEL_0", "LABEL_1", "LABEL_2"), ("0.0", "1.0", "2.0"), [0, 1, 2]),
        (("LABEL_0", "LABEL_1"), ("false", "true"), [0, 1]),
        (("0", "1"), ("False", "True"), [0, 1]),
        (("0", "1", "2"), ("LABEL_2", "LABEL_0"), [2, 0]),
        (("NEG", "pos"), ("neg", "pos"), [0, 1]),
        (("pos", "NEG"), ("neg", "pos"), [1, 0]),
        (("LABEL_0", "LABEL_1"), ("1", "2"), None),
        (("LABEL_0", "LABEL_1"), ("neg", "pos"), None),
        (("LABEL_0", "LABEL_1", "LABEL_2"), ("false", "true"), None),
        (("0", "1"), ("1", "1.0"), None),
    ],
)  # fmt: skip
def test_labels_are_matched(head: tuple[str, ...], data: tuple[str, ...], order: list[int] | None) -> None:
    assert find_task("classify").match_labels(head, data) == order


def test_a_numbered_head_serves_numbers(tmp_path: Path) -> None:
    task, folder = find_task("classify"), classifier(tmp_path / "m", "LABEL_0", "LABEL_1")
    result = fitting_head(folder, task, ("1", "0"))
    own, _ = load_model(folder, "AutoModelForSequenceClassification")
    assert torch.allclose(logits(result.model)[:, [1, 0]], logits(own))
    assert labels_of(result.model.config) == ("1", "0")
    assert result.note == "the checkpoint's own head, its outputs in the data's order, LABEL_1 called 1 and so on"


def test_why_a_head_is_thrown_away(tmp_path: Path) -> None:
    task, folder = find_task("classify"), classifier(tmp_path / "m", "LABEL_0", "LABEL_1")
    assert fitting_head(folder, task, ("neg", "pos")).note == (
        "the checkpoint's own head has other labels (LABEL_0, LABEL_1) than the data (neg, pos)"
    )
    assert fitting_head(folder, find_task("ner"), ("O",)).note == (
        "config.json names BertForSequenceClassification, no token-classification head"
    )
    configure(folder, problem_type="multi_label_classification")
    assert "is for multi_label_classification" in fitting_head(folder, task, ("0", "1")).note


def test_a_new_head_needs_nothing_of_the_old_one(tmp_path: Path) -> None:
    """A CRF over a head that is thrown away is told, and not missed."""
    folder = reweigh(classifier(tmp_path / "m", "a", "b"), added(crf__transitions=torch.zeros(2, 2)))
    notes: list[str] = []
    load_model(folder, TAGGER, ("O", "B-X", "I-X"), notes=notes)
    assert notes == [
        "left out, as no head of a fine-tuned model needs it: bert.pooler (2)",
        "the checkpoint's own head is not used: crf (1)",
    ]


def test_rows_whose_labels_are_spelt_otherwise(tmp_path: Path) -> None:
    """`convert --data`: labels 0 and 1 are the model's LABEL_0 and LABEL_1."""
    folder = classifier(tmp_path / "m", "LABEL_0", "LABEL_1")
    lines = "".join(
        f"fly to {'i ' * (i // 4)}{city},{i % 2}\n" for i, city in enumerate(["aville", "bton", "cburg", "dham"] * 10)
    )
    (tmp_path / "rows.csv").write_text(f"text,label\n{lines}")
    result = edgebert.convert(
        str(folder), "onnx", precisions=("fp32",), output=str(tmp_path / "o"), task="classify",
        data=(f"train={tmp_path / 'rows.csv'}",),
    )  # fmt: skip
    likeness = result.conversions[0].comparison
    assert likeness is not None and likeness.score == likeness.reference_score  # type: ignore[attr-defined]
    assert 0 < likeness.score.value < 1  # type: ignore[attr-defined]
    assert any("0 is LABEL_0, 1 is LABEL_1" in note for note in result.notes)


# ---------------------------------------------------------------- words of byte-level tokenizers


def byte_tagger(folder: Path, family: str, *, spaced: bool, settings: Mapping[str, Any]) -> tuple[Path, list[Row]]:
    """A tagger that is right on its rows, its words read as told; tokenizer.json puts no space before them."""
    import transformers

    torch.manual_seed(0)
    tokenizer = bytes_bpe()
    ids = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "cls_token_id": 0, "sep_token_id": 2}
    config = transformers.AutoConfig.for_model(
        family, **(SIZES | ids | {"vocab_size": tokenizer.get_vocab_size(), "hidden_size": 64}), num_labels=3,
        id2label={0: "O", 1: "B-CITY", 2: "I-CITY"},
    )  # fmt: skip
    model = transformers.AutoModelForTokenClassification.from_config(config, attn_implementation="eager").eval()
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    words, tags = ("the", "brown", "hotels", "Boston", "York", "Zürich"), ("O", "O", "O", "B-CITY", "B-CITY", "B-CITY")
    rows = [Row(words[i:] + words[:i], tags[i:] + tags[:i]) for i in range(6)]
    model.save_pretrained(folder)
    reader = load_tokenizer(folder, words=spaced)
    features = find_task("ner").encode(rows, reader, ("O", "B-CITY", "I-CITY"), 64)
    inside = nn.Identity()
    head, model.classifier = model.classifier, inside
    states = run_features(TorchSession(model), features)
    here = np.concatenate([out["logits"][np.array(f.words) >= 0] for f, out in zip(features, states, strict=True)])
    wanted = np.concatenate([np.array(f.labels)[np.array(f.words) >= 0] for f in features])
    given = np.hstack([here, np.ones((len(here), 1))])
    solved = np.linalg.solve(given.T @ given + 1e-4 * np.eye(65), given.T @ np.eye(3)[wanted])  # ridge regression
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(solved[:-1].T))
        head.bias.copy_(torch.from_numpy(solved[-1]))
    model.classifier = head
    model.save_pretrained(folder)
    return folder, rows


ROBERTA, GENERIC = {"tokenizer_class": "RobertaTokenizer"}, {"tokenizer_class": "PreTrainedTokenizerFast"}


@pytest.mark.parametrize(
    ("family", "spaced", "settings"),
    [
        ("roberta", True, ROBERTA), ("roberta", True, ROBERTA | {"add_prefix_space": True}),
        ("roberta", True, ROBERTA | {"add_prefix_space": False}), ("roberta", False, ROBERTA),
        ("modernbert", True, GENERIC), ("modernbert", True, GENERIC | {"add_prefix_space": True}), ("modernbert", False, GENERIC),
    ],
)  # fmt: skip
def test_a_tagger_reads_words_as_it_learnt_them(
    family: str, spaced: bool, settings: dict[str, Any], tmp_path: Path
) -> None:
    folder, rows = byte_tagger(tmp_path / "m", family, spaced=spaced, settings=settings)
    task, labels = find_task("ner"), ("O", "B-CITY", "I-CITY")
    model, _ = opened(folder)
    tokenizer, note = words_tokenizer(model, folder, task, labels, rows, 64)
    assert evaluate(Student(model, tokenizer), task, labels, rows, "dev", 64).value == 1.0
    other = load_tokenizer(folder, words=not spaced)
    assert evaluate(Student(model, other), task, labels, rows, "dev", 64).value < 1.0 or settings.get(
        "add_prefix_space"
    )
    assert (note == "") == (settings == ROBERTA | {"add_prefix_space": True})
    assert note == "" or note.endswith("read with one" if spaced else "read without")


def test_convert_and_fit_read_a_roberta_tagger_alike(tmp_path: Path) -> None:
    folder, rows = byte_tagger(tmp_path / "m", "roberta", spaced=True, settings=ROBERTA)
    for i, split in enumerate(("train", "dev", "test")):
        own = [
            "".join(f"{w}\t{t}\n" for w, t in zip(row.words, row.tags, strict=True)) for row in rows[2 * i : 2 * i + 2]
        ]
        (tmp_path / f"{split}.conll").write_text("\n".join(own), encoding="utf-8")
    result = edgebert.convert(
        str(folder), "onnx", precisions=("fp32",), output=str(tmp_path / "o"), task="ner",
        data=tuple(f"{split}={tmp_path / split}.conll" for split in ("train", "dev", "test")),
    )  # fmt: skip
    assert result.exit_code == 0
    assert "words are read with one" in result.notes[0]
    likeness = result.conversions[0].comparison
    assert likeness is not None and likeness.score.value == 1.0  # type: ignore[attr-defined]
    written = load_words(result.folder)
    assert written.encode(["Boston"], is_pretokenized=True).tokens == ["<s>", "ĠBoston", "</s>"]


def load_words(folder: Path) -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(folder / "tokenizer.json"))


# ---------------------------------------------------------------- sentence-transformers

TEXTS = [
    "fly to New aville",
    "show trains to bton on Friday please quartzed",
    "a",
    "i like CBURG a lot " * 12,
    "Ünï fly",
]
OLD = {"word_embedding_dimension": 32, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}


def sentence(
    folder: Path,
    pooling: Mapping[str, Any] = OLD,
    after: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    inner: str = "",
    bert: Mapping[str, Any] | None = None,
    said: Mapping[str, Any] | None = None,
    package: str = "sentence_transformers.models",
) -> Path:
    """A folder of sentence-transformers, as its versions write it.

    Args:
        after: modules after pooling, by their class, with their config; Dense and LayerNorm get weights.
        inner: folder of the transformer.
    """
    place = folder / inner
    save(place, "BertModel")
    modules = [
        ("Transformer", inner),
        ("Pooling", "1_Pooling"),
        *((kind, f"{i}_{kind}") for i, kind in enumerate(after or (), 2)),
    ]
    for name, said_of in (
        ("1_Pooling", pooling),
        *((f"{i}_{kind}", v) for i, (kind, v) in enumerate((after or {}).items(), 2)),
    ):
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(json.dumps(said_of))
        torch.manual_seed(3)
        if "in_features" in said_of:
            linear = {"linear.weight": torch.randn(said_of["out_features"], said_of["in_features"]) / 4}
            bias = {"linear.bias": torch.randn(said_of["out_features"])} if said_of.get("bias", True) else {}
            save_file(linear | bias, folder / name / "model.safetensors")
        if "dimension" in said_of:
            weights = {"norm.weight": torch.rand(said_of["dimension"]), "norm.bias": torch.rand(said_of["dimension"])}
            save_file(weights, folder / name / "model.safetensors")
    listed = [
        {"idx": i, "name": str(i), "path": path, "type": f"{package}.{kind}"} for i, (kind, path) in enumerate(modules)
    ]
    (folder / "modules.json").write_text(json.dumps(listed))
    if bert is not None:
        (place / "sentence_bert_config.json").write_text(json.dumps(bert))
    if said is not None:
        (folder / "config_sentence_transformers.json").write_text(json.dumps(said))
    return folder


def vectors(folder: Path) -> np.ndarray:
    """(n, width) of TEXTS, as the task `embed` gets them."""
    source, task = find_teacher(str(folder)), find_task("embed")
    model, _ = opened(folder, "AutoModel")
    tokenizer = load_tokenizer(folder, vectors=True)
    features = task.encode([Row(text=text) for text in TEXTS], tokenizer, (), source.reads("sentence-embedding"))
    return np.stack([feature["sentence_embedding"] for feature in run_features(TorchSession(model), features)])


def states_of(folder: Path, max_length: int = 64) -> list[torch.Tensor]:
    """(n_tokens, 32) of each text, by transformers alone."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        return [
            model(**tokenizer(text, return_tensors="pt", truncation=True, max_length=max_length)).last_hidden_state[0]
            for text in TEXTS
        ]


def dense(given: int, wanted: int, **more: Any) -> dict[str, Any]:
    return {"in_features": given, "out_features": wanted, **more}


IDENTITY = {"activation_function": "torch.nn.modules.linear.Identity"}
FORMULAS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "cls": lambda s: s[0],
    "mean": lambda s: s.mean(0),
    "max": lambda s: s.max(0).values,
    "mean_sqrt_len_tokens": lambda s: s.sum(0) / len(s) ** 0.5,
    "weightedmean": lambda s: (s * torch.arange(1, len(s) + 1)[:, None]).sum(0) / (len(s) * (len(s) + 1) / 2),
    "lasttoken": lambda s: s[-1],
}
KINDS: dict[str, dict[str, Any]] = {
    **{f"{mode}, new spelling": {"pooling": {"pooling_mode": mode, "embedding_dimension": 32}} for mode in FORMULAS},
    "no mode": {"pooling": OLD | {"pooling_mode_mean_tokens": False}},
    "cls and mean": {"pooling": OLD | {"pooling_mode_cls_token": True}},
    "mean and cls, new spelling": {"pooling": {"pooling_mode": ["mean", "cls"], "embedding_dimension": 32}},
    "old layout": {"inner": "0_Transformer", "bert": {"max_seq_length": 16, "do_lower_case": False}},
    "lower case": {"bert": {"max_seq_length": 32, "do_lower_case": True}},
    "Normalize": {"after": {"Normalize": {}}},
    "Dense": {"after": {"Dense": dense(32, 16)}},
    "Dense, ReLU, no bias, Normalize": {
        "after": {
            "Dense": dense(32, 48, bias=False, activation_function="torch.nn.modules.activation.GELU"),
            "Normalize": {},
        }
    },
    "Dense over two modes": {
        "pooling": OLD | {"pooling_mode_max_tokens": True},
        "after": {"Dense": dense(64, 8, **IDENTITY)},
    },
    "LayerNorm": {"after": {"LayerNorm": {"dimension": 32}, "Dropout": {"dropout": 0.1}}},
}


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_are_those_of_encode(kind: str, tmp_path: Path) -> None:
    folder = sentence(tmp_path / "m", **KINDS[kind])
    SentenceTransformer = pytest.importorskip(
        "sentence_transformers", reason="sentence-transformers is not installed"
    ).SentenceTransformer
    theirs = SentenceTransformer(str(folder), device="cpu").encode(TEXTS, batch_size=2)
    assert np.abs(vectors(folder) - theirs).max() < 1e-5


@pytest.mark.parametrize("mode", FORMULAS)
def test_pooling_by_its_formula(mode: str, tmp_path: Path) -> None:
    """Without sentence-transformers: by transformers' states and the formula."""
    folder = sentence(tmp_path / "m", {"pooling_mode": mode})
    expected = torch.stack([FORMULAS[mode](states) for states in states_of(folder)])
    assert np.abs(vectors(folder) - expected.numpy()).max() < 1e-5


def test_dense_and_normalize_by_their_formula(tmp_path: Path) -> None:
    folder = sentence(tmp_path / "m", after={"Dense": dense(32, 16), "Normalize": {}}, bert={"max_seq_length": 12})
    weights = load_file(folder / "2_Dense" / "model.safetensors")
    pooled = torch.stack([states.mean(0) for states in states_of(folder, 12)])
    created = torch.tanh(pooled @ weights["linear.weight"].T + weights["linear.bias"])
    assert np.abs(vectors(folder) - (created / created.norm(dim=1, keepdim=True)).numpy()).max() < 1e-5


def test_lower_case_before_the_tokenizer(tmp_path: Path) -> None:
    """With a tokenizer that keeps case, only the setting can make these equal."""
    folder = sentence(tmp_path / "m", bert={"do_lower_case": True})
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false, "tokenizer_class": "BertTokenizer"}')
    bare, lower = load_tokenizer(folder), load_tokenizer(folder, vectors=True)
    assert lower.encode("FLY to Aville").ids == bare.encode("fly to aville").ids != bare.encode("FLY to Aville").ids


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        *(({"after": {name: {}}}, f"the module {name} cannot be kept")
          for name in ("WordWeights", "CNN", "LSTM", "Asym", "Router", "WeightedLayerPooling", "Thing")),
        ({"package": "custom_st"}, r"custom_st\.Transformer is code of the checkpoint's own"),
        ({"pooling": {"pooling_mode": "median"}}, "pooling_mode is 'median'"),
        ({"after": {"Dense": dense(32, 8, activation_function="my.Swish")}}, r"Dense has the activation my\.Swish"),
        ({"after": {"Dense": dense(32, 8, module_input_name="token_embeddings")}}, "Dense works on token_embeddings"),
        ({"after": {"Dense": dense(30, 8)}}, "the checkpoint cannot be loaded"),
        ({"after": {"Dense": {}}}, "out_features is None"),
        ({"bert": {"max_seq_length": "128"}}, "max_seq_length is '128', not a count"),
        ({"bert": {"transformer_task": "fill-mask"}}, "transformer_task is 'fill-mask'"),
        ({"bert": {"tokenizer_args": {"lowercase": True}}}, "tokenizer_args is"),
        ({"said": {"prompts": {"query": "q: "}, "default_prompt_name": "query"}}, "begins every text with the prompt 'q: '"),
        ({"said": {"prompts": {}, "default_prompt_name": "query"}}, "default_prompt_name is 'query'"),
        ({"said": {"model_type": "SparseEncoder"}}, "this is a SparseEncoder"),
    ],
)  # fmt: skip
def test_modules_that_cannot_be_kept(kind: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match=told):
        vectors(sentence(tmp_path / "m", **kind))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "cannot be read"),
        ("{}", "no list of modules"),
        ("[]", "no list of modules"),
        *(
            (json.dumps([{"path": path, "type": "sentence_transformers.models.Transformer"}]), "no path inside")
            for path in ("../x", "x" * 300, "é" * 128, "a\0b", "a\ud800" * 90)  # of more than 255 bytes no name is
        ),
    ],
)
def test_a_broken_list_of_modules(content: str, told: str, tmp_path: Path) -> None:
    folder = sentence(tmp_path / "m")
    (folder / "modules.json").write_text(content)
    with pytest.raises(TeacherError, match=told):
        find_teacher(str(folder))


def test_modules_matter_to_vectors_alone(tmp_path: Path) -> None:
    """A tagger on the encoder of any folder of sentence-transformers has its own head."""
    folder = sentence(tmp_path / "m", after={"CNN": {}})
    model, whole = load_model(find_teacher(str(folder)).folder, TAGGER, ("O", "B-X"))
    assert type(model).__name__ == "BertForTokenClassification" and not whole


def test_prompts_and_other_similarities_are_told(tmp_path: Path) -> None:
    description = {
        "prompts": {"query": "q: ", "document": ""},
        "default_prompt_name": None,
        "similarity_fn_name": "dot",
    }
    _, notes = opened(sentence(tmp_path / "m", said=description), "AutoModel")
    assert notes == [
        "the prompts query are not put before texts: encode() does so only where asked",
        "similarity is measured by the cosine, where the checkpoint says dot",
    ]


def test_max_seq_length_is_for_vectors(tmp_path: Path) -> None:
    source = find_teacher(str(sentence(tmp_path / "m", bert={"max_seq_length": 16})))
    assert (source.max_length, source.reads("sentence-embedding"), source.reads("token-classification")) == (64, 16, 64)


def test_a_projection_of_colbert_is_not_dropped(tmp_path: Path) -> None:
    folder = reweigh(save(tmp_path / "m", "BertModel"), added(linear__weight=torch.zeros(8, 32)))
    with pytest.raises(TeacherError, match=r"BertModel has no place for these weights.*linear \(1\)"):
        load_model(configure(folder, architectures=["HF_ColBERT"]), "AutoModel")


def test_what_a_cross_encoder_adds_is_told(tmp_path: Path) -> None:
    folder = save(tmp_path / "m", "BertForSequenceClassification", num_labels=1)
    configure(folder, sentence_transformers={"activation_fn": "torch.nn.modules.activation.Sigmoid", "version": "5.0"})
    _, notes = opened(folder, "AutoModelForSequenceClassification")
    assert notes == ["the outputs are logits: sentence-transformers' CrossEncoder puts Sigmoid after them"]


def test_vectors_of_a_classifier_leave_its_head(tmp_path: Path) -> None:
    notes: list[str] = []
    load_model(save(tmp_path / "m", "BertForSequenceClassification"), "AutoModel", notes=notes)
    assert notes == ["the checkpoint's own head is not used: classifier (2)"]


def test_a_student_of_a_dense_teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """compress keeps the modules, convert writes them, and the file gives what the student gives."""
    monkeypatch.chdir(tmp_path)
    folder = sentence(tmp_path / "m", after={"Dense": dense(32, 16), "Normalize": {}})
    lines = [f"{verb} to {city} on {day}" for verb in ("fly", "show") for city in ("aville", "bton", "cburg", "dham", "efield")
             for day in ("monday", "friday", "sunday")]  # fmt: skip
    (tmp_path / "texts.txt").write_text("\n".join(lines))
    created = edgebert.compress(
        str(folder), "drop-layers+kd", task="embed", data=(str(tmp_path / "texts.txt"),), output=str(tmp_path / "s"),
        params={"drop-layers.n_layers": 1}, epochs=1,
    )  # fmt: skip
    student = load_student(created.folder)
    assert type(student.model).__name__ == "HeadedEncoder" and student.model.config.num_hidden_layers == 1
    result = edgebert.convert(str(created.folder), "onnx", precisions=("fp32",), output=str(tmp_path / "o"))
    assert result.exit_code == 0
    session = CONVERTERS.get("onnx").open(result.conversions[0].artifact.path, 1)
    features = find_task("embed").encode([Row(text=text) for text in TEXTS], student.tokenizer, (), 64)
    ours, file = (run_features(item, features) for item in (TorchSession(student.model), session))
    for a, b in zip(ours, file, strict=True):
        assert (
            a["sentence_embedding"].shape == (16,)
            and np.abs(a["sentence_embedding"] - b["sentence_embedding"]).max() < 1e-5
        )


def test_a_width_of_its_own_replaces_the_modules(tmp_path: Path) -> None:
    from edgebert.modeling.checkpoint import copy_student, give_head

    folder = sentence(tmp_path / "m", after={"Dense": dense(32, 16)})
    teacher = Student(opened(folder, "AutoModel")[0], load_tokenizer(folder))
    settings = find_task("embed").configured({"dimension": 8}).model_settings(())
    student = give_head(copy_student(teacher.model, teacher.tokenizer), settings)
    features = find_task("embed").encode([Row(text="fly")], teacher.tokenizer, (), 64)
    assert run_features(TorchSession(student.model), features)[0]["sentence_embedding"].shape == (8,)


def test_modules_do_not_stand_beside_other_heads(tmp_path: Path) -> None:
    folder = sentence(tmp_path / "m", after={"Dense": dense(32, 16)})
    heads = [{"name": "v", "kind": "sentence-embedding"}, {"name": "q", "kind": "question-answering"}]
    with pytest.raises(TeacherError, match="its dense module cannot stand beside other heads"):
        load_model(folder, "HeadedEncoder", (), settings={"edgebert_heads": heads})


# ---------------------------------------------------------------- before anything long


@pytest.mark.parametrize("command", ["convert", "compress", "fit", "student"])
def test_every_command_refuses_at_once(
    command: str, tagger: Path, toy_checkpoint: Path, toy_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bad = reweigh(tagger, added(bert__encoder__extra=torch.zeros(3)))
    run = {"task": "ner", "data": (str(toy_data),)}
    calls: dict[str, Callable[[], Any]] = {
        "convert": lambda: edgebert.convert(str(bad), "onnx"),
        "compress": lambda: edgebert.compress(str(bad), "kd", **run),
        "fit": lambda: edgebert.fit("rpi4", teacher=str(bad), **run),
        "student": lambda: edgebert.fit("rpi4", teacher=str(toy_checkpoint), student=str(bad), recipe="kd", **run),
    }
    with pytest.raises(EdgebertError, match="no place for these weights"):
        calls[command]()
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_length_beyond_the_cut_is_refused(tmp_path: Path) -> None:
    folder = sentence(tmp_path / "m", bert={"max_seq_length": 16})
    with pytest.raises(RequestError, match="the model reads 1 to 16"):
        edgebert.convert(str(folder), "onnx", lengths=(32,), output=str(tmp_path / "o"))
    assert replace(find_teacher(str(folder)), max_length=8).reads("sentence-embedding") == 8
