"""The graph that holds its tokenizer, against Hugging Face's on every kind of text."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from edgebert.converters import _onnx_tokenizer
from edgebert.converters._onnx_tokenizer import TEXTS, TextSession, check, with_tokenizer
from edgebert.converters._onnx_wordpiece import wordpiece
from edgebert.converters.onnx import CONVERTER, OnnxSession
from edgebert.errors import ParityError, RequestError
from edgebert.modeling.graph import make_source
from edgebert.types import Artifact
from tests.families import tiny

pytest.importorskip("onnxruntime_extensions")
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
WORDS = ["boston", "Boston", "flight", "s", "show", "me", "cafe", "cr", "sao", "北", "京", "e", "é", "ı", "x"]
TAILS = ["##s", "##ton", "##eme", "##e", "##x", "##ight", "##и", "##ᅡ", "##ᄂ"]
MARKS = [".", ",", "!", "(", ")", "'", "-", "$", "…", "м", "ᄒ", "ё", "е"]


def make(path: Path, *, cased: bool = False) -> Path:
    vocab = {token: i for i, token in enumerate(SPECIAL + WORDS + TAILS + MARKS)}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=not cased, strip_accents=None)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.enable_padding(length=40)  # as checkpoints carry it
    tokenizer.save(str(path))
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    source = make_source(tiny("bert", max_position_embeddings=160), labels=("O", "B-A", "I-A", "B-B", "I-B"))
    return CONVERTER.export(source, tmp_path_factory.mktemp("onnx"))


@pytest.fixture(scope="module")
def tokenizer_json(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("tokenizer") / "tokenizer.json")


@pytest.fixture(scope="module")
def joined(model: Artifact, tokenizer_json: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return with_tokenizer(model.path, tokenizer_json, tmp_path_factory.mktemp("joined"), golden=["flights, Boston!"])


def noise(n: int, seed: int) -> Sequence[str]:
    """Texts of words, marks and characters from everywhere, unassigned ones too."""
    rng = random.Random(seed)
    near = [chr(code) for code in range(1, 0x3100)]
    far = [chr(code) for code in range(1, 0x110000) if not 0xD800 <= code < 0xE000]
    pools = [near, far, list("Boston flights, show-me. São 北京 é"), WORDS]
    return ["".join(rng.choice(rng.choice(pools)) for _ in range(rng.randrange(30))) for _ in range(n)]


def test_ids_and_offsets_are_the_tokenizers_on_texts_of_all_kinds(joined: Artifact, tokenizer_json: Path) -> None:
    tokenizer = Tokenizer.from_file(str(tokenizer_json))
    tokenizer.no_padding()
    session = TextSession(joined.path, 1)
    texts = [*TEXTS, *noise(400, seed=1)]
    known = 0
    for text in texts:
        wanted = tokenizer.encode(text)
        assert session.tokens(text) == (wanted.ids, wanted.offsets), repr(text)
        known += sum(number > 3 for number in wanted.ids)
    assert known > 500  # the vocabulary is small, but it is met


def test_offsets_are_places_in_the_text_as_it_was(joined: Artifact) -> None:
    text = " Cre\u0300me,北京 안"
    ids, offsets = TextSession(joined.path, 1).tokens(text)
    assert offsets is not None
    assert [text[start:end] for start, end in offsets] == ["", "Cr", "e\u0300me", ",", "北", "京", "안", ""]
    assert ids[-2] == 1  # Hangul that the vocabulary does not hold is one unknown word


def test_the_model_reads_what_the_tokenizer_wrote(joined: Artifact, model: Artifact, tokenizer_json: Path) -> None:
    tokenizer = Tokenizer.from_file(str(tokenizer_json))
    tokenizer.no_padding()
    session = TextSession(joined.path, 1)
    assert session.labels == ("O", "B-A", "I-A", "B-B", "I-B")
    for text in ("show me flights", "", "Boston!"):
        ids = np.array([tokenizer.encode(text).ids])
        rows = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        result = session.run(text)
        assert result["input_ids"].tolist() == ids.tolist()
        assert np.array_equal(result["logits"], OnnxSession(model.path, 1).run(rows)["logits"])


def test_a_cased_tokenizer_keeps_case_and_accents(model: Artifact, tmp_path: Path) -> None:
    created = with_tokenizer(model.path, make(tmp_path / "tokenizer.json", cased=True), tmp_path, golden=["Boston é"])
    ids, _ = TextSession(created.path, 1).tokens("Boston boston é É")
    names = SPECIAL + WORDS + TAILS + MARKS
    assert [names[number] for number in ids] == ["[CLS]", "Boston", "boston", "é", "[UNK]", "[SEP]"]


def test_without_offsets_the_file_has_none(model: Artifact, tokenizer_json: Path, tmp_path: Path) -> None:
    created = with_tokenizer(model.path, tokenizer_json, tmp_path, offsets=False)
    assert [item.name for item in onnx.load(created.path).graph.output] == ["logits", "input_ids"]
    assert TextSession(created.path, 1).tokens("show me")[1] is None


def test_a_graph_that_reads_one_text_otherwise_is_not_kept(
    model: Artifact, tokenizer_json: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer, rules = wordpiece(tokenizer_json)
    monkeypatch.setattr(_onnx_tokenizer, "wordpiece", lambda path: (tokenizer, replace(rules, longest=3)))
    with pytest.raises(ParityError, match="the graph reads 'show me flights from Boston"):
        with_tokenizer(model.path, tokenizer_json, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_wrong_place_is_caught(joined: Artifact, tokenizer_json: Path) -> None:
    class Shifted(TextSession):
        def tokens(self, text: str) -> tuple[list[int], list[tuple[int, int]] | None]:
            ids, offsets = super().tokens(text)
            assert offsets is not None
            return ids, [(start, end + (start > 0)) for start, end in offsets]

    tokenizer, _ = wordpiece(tokenizer_json)
    with pytest.raises(ParityError, match=r"places token 2 of 'show me' at \(5, 8\), the tokenizer at \(5, 7\)"):
        check(Shifted(joined.path, 1), tokenizer, ["show me"])


def test_other_kinds_of_tokenizers_are_refused_by_name(model: Artifact, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    Tokenizer(models.BPE({"a": 0}, [])).save(str(path))
    with pytest.raises(RequestError, match="this one is BPE after no normalizer and no pre-tokenizer"):
        with_tokenizer(model.path, path, tmp_path)
    path.write_text("{}")
    with pytest.raises(RequestError, match="the tokenizer cannot be read"):
        with_tokenizer(model.path, path, tmp_path)
