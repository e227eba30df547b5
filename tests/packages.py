"""Bundles of every task with tokenizers of every kind that ports copy, each with a small ONNX file of seeded weights whose
answers depend on every token: what packages of all platforms are tried on."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from edgebert.bundle.write import write_bundle
from edgebert.files import sha256_file
from edgebert.tasks import find_task
from edgebert.types import Artifact, Row

CORPUS = [
    "show me flights from boston to denver on monday", "what is the price of a ticket to new york", "who wrote the report",
    "The report was written by Ada in May.", "a man plays a guitar", "someone makes music", "Zoë flew from São Paulo to Malmö",
    "我想从北京飞到上海", "שלום עולם", "नमस्ते दुनिया", "don't stop, it's 5.00 o'clock", "I'll pay $12,000.50 (or 3%)",
]  # fmt: skip
AWKWARD = ("B-\"quo'te\\", "I-\"quo'te\\", "B-<b>&amp;</b>", "I-<b>&amp;</b>", "B-$HOME ${x} $(y)", "I-$HOME ${x} $(y)",
           "B-line\nbreak", "I-line\nbreak", "B-🙂", "I-🙂")  # fmt: skip
WIDTH = 16
MAX_LENGTH = 24


# ---------------------------------------------------------------- tokenizers


def _wordpiece(normalizer: normalizers.Normalizer, cls: str = "[CLS]", sep: str = "[SEP]") -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", cls, sep, "[MASK]"]
    tokenizer.train_from_iterator(
        CORPUS * 3, trainers.WordPieceTrainer(vocab_size=260, special_tokens=special, show_progress=False)
    )
    ids = [(token, tokenizer.token_to_id(token)) for token in (cls, sep)]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}", pair=f"{cls} $A {sep} $B:1 {sep}:1", special_tokens=ids
    )
    return tokenizer


def _with_added_tokens() -> Tokenizer:
    tokenizer = _wordpiece(normalizers.BertNormalizer())
    tokenizer.add_tokens(
        [AddedToken("NewTok", normalized=True), AddedToken("cat", single_word=True, normalized=False),
         AddedToken("Straße", normalized=True, single_word=True), AddedToken("<x>", lstrip=True, normalized=False),
         AddedToken("<y>", rstrip=True, normalized=False), AddedToken("NewTokens", normalized=True)]
    )  # fmt: skip
    tokenizer.add_special_tokens([AddedToken("<z>", lstrip=True, rstrip=True, normalized=False)])
    return tokenizer


def _byte_level(*, prefix: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS * 3, trainer)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=prefix)
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False)])
    return tokenizer


@cache
def charsmap() -> bytes:
    """SentencePiece's table nmt_nfkc, as XLM-R, ALBERT and DeBERTa-v2 have it."""
    from sentencepiece import SentencePieceTrainer, sentencepiece_model_pb2

    words = [a + b + c for a in "bcdfg" for b in "aeiou" for c in "klmnp"]
    texts = iter([" ".join(words[i : i + 9]) for i in range(100)])
    model = io.BytesIO()
    SentencePieceTrainer.train(sentence_iterator=texts, model_writer=model, vocab_size=120, minloglevel=2)
    proto = sentencepiece_model_pb2.ModelProto.FromString(model.getvalue())
    return bytes(proto.normalizer_spec.precompiled_charsmap)


def _unigram(*before: normalizers.Normalizer, split: str = "always") -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    spaces = normalizers.Replace(Regex(" {2,}"), " ")
    tokenizer.normalizer = normalizers.Sequence([*before, normalizers.Precompiled(charsmap()), spaces])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=split)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.UnigramTrainer(vocab_size=300, special_tokens=special, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(CORPUS * 3, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False)])
    return tokenizer


def _modernbert() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["[PAD]", "[CLS]", "[SEP]"]
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS * 3, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return tokenizer


TOKENIZERS: dict[str, Callable[[], Tokenizer]] = {
    "uncased": lambda: _wordpiece(normalizers.BertNormalizer()),
    "cased": lambda: _wordpiece(normalizers.BertNormalizer(lowercase=False)),
    "accents-kept": lambda: _wordpiece(normalizers.BertNormalizer(strip_accents=False)),
    "steps": lambda: _wordpiece(
        normalizers.Sequence(
            [
                normalizers.Replace("``", '"'),
                normalizers.NFKD(),
                normalizers.StripAccents(),
                normalizers.Lowercase(),
                normalizers.Strip(),
            ]
        )
    ),
    "added-tokens": _with_added_tokens,
    "byte-level": lambda: _byte_level(prefix=False),
    "byte-level-prefix": lambda: _byte_level(prefix=True),
    "modernbert": _modernbert,
    "xlm-roberta": _unigram,
    "albert": lambda: _unigram(
        normalizers.Replace("``", '"'), normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()
    ),
    "deberta-v2": lambda: _unigram(normalizers.Strip(), split="first"),
}


# ---------------------------------------------------------------- models


def _model(path: Path, vocab_size: int, task: str, n_labels: dict[str, int]) -> Artifact:
    """Per token: a row of a table. Per text: the mean of such rows over the mask. A vector: that mean of length 1.

    `n_labels`: of each head, by its name; "" for a task of one head.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(7)
    nodes = [
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "two"], ["mask3"]),
        helper.make_node("ReduceSum", ["mask", "one"], ["length"], keepdims=1),
        helper.make_node("Cast", ["token_type_ids"], ["types"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["types", "two"], ["types3"]),
    ]
    weights = [numpy_helper.from_array(np.array([n], np.int64), name) for n, name in ((1, "one"), (2, "two"))]
    outputs = []

    def rows(name: str, width: int) -> str:
        table = random.normal(0, 2, (vocab_size, width)).astype(np.float32)
        shift = random.normal(0, 0.5, (1, 1, width)).astype(np.float32)
        weights.extend(
            [numpy_helper.from_array(table, f"{name}.table"), numpy_helper.from_array(shift, f"{name}.shift")]
        )
        nodes.extend(
            [helper.make_node("Gather", [f"{name}.table", "input_ids"], [f"{name}.rows"], axis=0),
             helper.make_node("Mul", ["types3", f"{name}.shift"], [f"{name}.shifted"]),
             helper.make_node("Add", [f"{name}.rows", f"{name}.shifted"], [f"{name}.sum"])]
        )  # fmt: skip
        return f"{name}.sum"

    def mean(name: str, width: int, to: str) -> None:
        nodes.extend(
            [helper.make_node("Mul", [rows(name, width), "mask3"], [f"{name}.masked"]),
             helper.make_node("ReduceSum", [f"{name}.masked", "one"], [f"{name}.total"], keepdims=0),
             helper.make_node("Div", [f"{name}.total", "length"], [to])]
        )  # fmt: skip

    for name, kind in (part.split("=") for part in task.split(",")) if "=" in task else [("", task)]:
        prefix = f"{name}_" if name else ""
        if kind in ("ner", "tag"):
            nodes.append(helper.make_node("Identity", [rows(name + "t", n_labels[name])], [f"{prefix}logits"]))
            outputs.append((f"{prefix}logits", ["batch", "seq", n_labels[name]]))
        elif kind in ("classify", "pair"):
            mean(name + "c", n_labels[name], f"{prefix}logits")
            outputs.append((f"{prefix}logits", ["batch", n_labels[name]]))
        elif kind == "qa":
            for side in ("start", "end"):
                nodes += [
                    helper.make_node("Squeeze", [rows(name + side, 1), "two"], [f"{prefix}{side}_logits"]),
                ]
                outputs.append((f"{prefix}{side}_logits", ["batch", "seq"]))
        else:
            mean(name + "v", WIDTH, name + "v.mean")
            nodes.append(
                helper.make_node("LpNormalization", [name + "v.mean"], [f"{prefix}sentence_embedding"], axis=-1, p=2)
            )
            outputs.append((f"{prefix}sentence_embedding", ["batch", WIDTH]))
    graph = helper.make_graph(
        nodes,
        "small",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "seq"])
            for name in ("input_ids", "attention_mask", "token_type_ids")
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return Artifact("small-fp32", "onnx", "fp32", path, path.stat().st_size, sha256_file(path))


TASKS = {
    "ner": {},
    "tag": {},
    "classify": {"threshold": 0.3, "out_of_scope": "oos"},
    "classify-several": {"multi_label": True, "threshold": 0.4},
    "pair": {},
    "similarity": {},
    "embed": {},
    "qa": {"no_answer": 0.5},
    "slots=ner,intent=classify": {},
    "slots=ner,intent=classify,same=pair,vector=embed": {},
    "intent=classify,same=pair": {},
}
# What runtimes in all languages are tried on: every task, and the tokenizers whose windows differ most. Tokens of every
# tokenizer are compared beside that.
COMBINATIONS = (
    *((task, "uncased") for task in TASKS),
    ("ner", "accents-kept"),
    ("ner", "modernbert"),
    ("ner", "albert"),
    ("qa", "byte-level-prefix"),
    ("qa", "xlm-roberta"),
    ("similarity", "added-tokens"),
)
_LABELS = {
    "ner": ("O", *AWKWARD),
    "tag": ("ADJ", "NOUN", "VERB", AWKWARD[0]),
    "classify": ("price", "book <flight>", 'it\'s "quoted"', "back\\slash $1 🙂"),
    "pair": ("no", "yes"),
}


def make_bundle(folder: Path, task: str = "ner", tokenizer: str = "uncased") -> Path:
    """A bundle in `folder`/bundle.

    Args:
        task: one of TASKS.
        tokenizer: one of TOKENIZERS.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = task.removesuffix("-several")
    configured = find_task(name).configured(TASKS[task])
    parts = dict(item.split("=") for item in name.split(",")) if "=" in name else {"": name}
    labels = {head: _LABELS.get(kind, ()) for head, kind in parts.items()}
    made = TOKENIZERS[tokenizer]()
    student = folder / "student"
    student.mkdir(exist_ok=True)
    made.save(str(student / "tokenizer.json"))
    pad = made.token_to_id("[PAD]") if made.token_to_id("[PAD]") is not None else made.token_to_id("<pad>")
    (student / "config.json").write_text(json.dumps({"model_type": "bert", "pad_token_id": pad}))
    artifact = _model(folder / "model.onnx", made.get_vocab_size(), name, {k: len(v) for k, v in labels.items()})
    two = len(configured.inputs) == 2
    return write_bundle(
        folder / "bundle",
        artifact=artifact,
        student=student,
        task=configured,
        labels=[f"{head}/{label}" if head else label for head, own in labels.items() for label in own],
        golden=[Row(text=text, second=CORPUS[(i + 3) % len(CORPUS)] if two else None) for i, text in enumerate(CORPUS)],
        max_length=MAX_LENGTH,
        facts={"data": {"name": "toy", "licence": "CC0-1.0"}, "teacher": {"name": "none", "licence": "CC0-1.0"}},
    )
