"""The tokenizer of a checkpoint gives what AutoTokenizer gives, from one tokenizer.json, for every family."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from edgebert.errors import TeacherError
from edgebert.modeling.checkpoint import load_tokenizer, save_checkpoint
from edgebert.modeling.source import find_teacher
from edgebert.modeling.tokenizer import save_tokenizer
from tests.conftest import make_tokenizer

CORPUS = [
    "Boston flights to New York on Monday",
    "the quick brown fox's café in Zürich",
    "北京 hotels, naïve ﬁsh e-mail",
]
TEXTS = [
    "Boston flights to New York", "boston FLIGHTS", "the café in ZÜRICH, naïve ﬁsh", "cafe\u0301 Zu\u0308rich", "北京hotels 北 京",
    "  two  spaces\tand\nlines ", "", "a", "ΣΑΣ ΟΔΟΣ \u1e9e", "\u200bhel\u200dlo \ufeffx", "[MASK] <mask> [UNK] </s> newtok NewTok NEWTOK",
    "☃ 😀 👩‍👩‍👧 ﷺ", "don't can't we'll", "x" * 120, "한국어 हिन्दी عربي", "1,234.50 $ #tag @who",
]  # fmt: skip
WORDS = [["Boston", "flights", "to", "New", "York"], ["ZÜRICH", ",", "café"], ["don't", "e-mail", "北京"], ["a"]]
SPECIAL = {
    "bert": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
    "roberta": ["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
}


def wordpiece(*, lower: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lower)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(
        [*CORPUS, *(text.lower() for text in CORPUS)],
        trainers.WordPieceTrainer(vocab_size=150, special_tokens=SPECIAL["bert"]),
    )
    return framed(tokenizer, "[CLS]", "[SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1")


def bytes_bpe(*, prefix: bool = False, special: str = "roberta") -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=SPECIAL[special], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(CORPUS * 3, trainer)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    if special == "bert":
        return framed(tokenizer, "[CLS]", "[SEP]")
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=prefix)
    return tokenizer


def unigram(cls: str, sep: str, special: Sequence[str], unk: str) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("  ", " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=90, special_tokens=list(special), unk_token=unk)
    tokenizer.train_from_iterator(CORPUS * 3, trainer)
    return framed(tokenizer, cls, sep)


def framed(tokenizer: Tokenizer, cls: str, sep: str, pair: str = "") -> Tokenizer:
    ids = [(token, tokenizer.token_to_id(token)) for token in (cls, sep)]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}", pair=pair or f"{cls} $A {sep} $B {sep}", special_tokens=ids
    )
    return tokenizer


XLM = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
ALBERT = ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")
DEBERTA = ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]")
FAMILIES: dict[str, tuple[str, Callable[[], Tokenizer], dict[str, Any]]] = {
    "bert uncased": ("bert", lambda: wordpiece(lower=True), {"tokenizer_class": "BertTokenizer"}),
    "bert cased": ("bert", lambda: wordpiece(lower=False), {"tokenizer_class": "BertTokenizer", "do_lower_case": False}),
    "distilbert": ("distilbert", lambda: wordpiece(lower=True), {"tokenizer_class": "DistilBertTokenizerFast"}),
    "electra": ("electra", lambda: wordpiece(lower=True), {}),
    "mpnet": ("mpnet", lambda: wordpiece(lower=True), {"tokenizer_class": "PreTrainedTokenizerFast"}),
    "roberta": ("roberta", bytes_bpe, {"tokenizer_class": "RobertaTokenizer"}),
    "roberta prefix": ("roberta", bytes_bpe, {"tokenizer_class": "RobertaTokenizerFast", "add_prefix_space": True}),
    "modernbert": (
        "modernbert", lambda: bytes_bpe(special="bert"),
        {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]",
         "sep_token": "[SEP]", "mask_token": "[MASK]"},
    ),
    "xlm-roberta": (
        "xlm-roberta", lambda: unigram("<s>", "</s>", XLM, "<unk>"), {"tokenizer_class": "XLMRobertaTokenizer"}
    ),
    "albert": ("albert", lambda: unigram("[CLS]", "[SEP]", ALBERT, "<unk>"), {"tokenizer_class": "AlbertTokenizer"}),
    "deberta-v2": (
        "deberta-v2", lambda: unigram("[CLS]", "[SEP]", DEBERTA, "[UNK]"), {"tokenizer_class": "DebertaV2Tokenizer"}
    ),
}  # fmt: skip


def folder_of(
    folder: Path, family: str, tokenizer: Tokenizer | None, settings: dict[str, Any] | None, **config: Any
) -> Path:
    from transformers import AutoConfig

    folder.mkdir(parents=True, exist_ok=True)
    ids = {f"{name}_token_id": i for i, name in enumerate(("pad", "bos", "eos", "cls", "sep"))}
    AutoConfig.for_model(family, vocab_size=500, **ids).save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save(str(folder / "tokenizer.json"))
    if settings is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def ids_of(tokenizer: Any) -> list[Any]:
    """Of texts, of a pair, of words: by transformers, or by tokenizers alone."""
    if isinstance(tokenizer, Tokenizer):
        results = [tokenizer.encode(text).ids for text in TEXTS]
        return [
            *results,
            tokenizer.encode(*TEXTS[:2]).ids,
            *(tokenizer.encode(w, is_pretokenized=True).ids for w in WORDS),
        ]
    results = [tokenizer(text)["input_ids"] for text in TEXTS]
    return [
        *results,
        tokenizer(*TEXTS[:2])["input_ids"],
        *(tokenizer(w, is_split_into_words=True)["input_ids"] for w in WORDS),
    ]


def check(folder: Path, saved: Path) -> Tokenizer:
    """Ours is AutoTokenizer's; so is what we save, read by tokenizers alone and by AutoTokenizer."""
    from transformers import AutoConfig, AutoTokenizer

    theirs = ids_of(AutoTokenizer.from_pretrained(folder))
    ours = load_tokenizer(folder)
    assert ids_of(ours) == theirs
    AutoConfig.from_pretrained(folder).save_pretrained(saved)
    save_tokenizer(saved, ours, folder)
    assert ids_of(Tokenizer.from_file(str(saved / "tokenizer.json"))) == theirs
    again = AutoTokenizer.from_pretrained(saved)
    assert ids_of(again) == theirs
    before = AutoTokenizer.from_pretrained(folder)
    assert (again.pad_token, again.cls_token, again.unk_token) == (before.pad_token, before.cls_token, before.unk_token)
    assert ids_of(load_tokenizer(saved)) == theirs
    return ours


@pytest.mark.parametrize("name", FAMILIES)
def test_each_family_reads_as_transformers_does(name: str, tmp_path: Path) -> None:
    family, make, settings = FAMILIES[name]
    check(folder_of(tmp_path / "m", family, make(), settings), tmp_path / "s")


@pytest.mark.parametrize(
    "settings",
    [
        None,
        {},
        {"do_lower_case": False},
        {"do_lower_case": False, "tokenizer_class": "BertTokenizer"},
        {"do_lower_case": False, "tokenizer_class": "PreTrainedTokenizerFast"},
        {"strip_accents": False, "tokenizer_class": "BertTokenizerFast"},
        {"do_lower_case": False, "strip_accents": True, "tokenizer_class": "BertTokenizer"},
        {"tokenize_chinese_chars": False, "tokenizer_class": "BertTokenizer"},
        {"tokenizer_class": "BertTokenizer", "unk_token": "[PAD]"},
        {"tokenizer_class": "BertTokenizer", "sep_token": "[MASK]"},
        {"tokenizer_class": "NoSuchTokenizer"},
        {"tokenizer_class": "BertTokenizer", "additional_special_tokens": ["newtok"]},
        {"tokenizer_class": "BertTokenizer", "model_max_length": 1000000000000000019884624838656},
        {"added_tokens_decoder": {"499": {"content": "NewTok", "normalized": False, "special": False}}},
        {"tokenizer_class": "BertTokenizer",
         "added_tokens_decoder": {"150": {"content": "NewTok", "normalized": True, "single_word": True, "special": False}}},
    ],
)  # fmt: skip
@pytest.mark.parametrize("lower", [True, False])
def test_settings_that_contradict_tokenizer_json(settings: dict[str, Any] | None, lower: bool, tmp_path: Path) -> None:
    check(folder_of(tmp_path / "m", "bert", wordpiece(lower=lower), settings), tmp_path / "s")


@pytest.mark.parametrize("said", [True, False, None])
@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("family", ["roberta", "modernbert"])
def test_a_space_before_each_word(family: str, stored: bool, said: bool | None, tmp_path: Path) -> None:
    """Texts read as AutoTokenizer does, whatever the files say; words with a space where they are asked for."""
    settings = {"tokenizer_class": "RobertaTokenizer" if family == "roberta" else "PreTrainedTokenizerFast"}
    settings |= {} if said is None else {"add_prefix_space": said}
    folder = folder_of(tmp_path / "m", family, bytes_bpe(prefix=stored), settings)
    check(folder, tmp_path / "s")
    spaced = load_tokenizer(folder, words=True).encode(["Boston", "flights"], is_pretokenized=True).tokens
    assert spaced == ["<s>", "ĠBoston", "Ġflights", "</s>"]


def test_a_split_before_the_bytes_gets_one_space_a_word(tmp_path: Path) -> None:
    """Qwen's and granite's kind: Split by a pattern, then ByteLevel, which would put a space into words."""
    from tokenizers import Regex

    tokenizer = bytes_bpe()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r" ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    folder = folder_of(tmp_path / "m", "modernbert", tokenizer, {"tokenizer_class": "PreTrainedTokenizerFast"})
    plain, words = load_tokenizer(folder), load_tokenizer(folder, words=True)
    text = "Boston flights don't"
    assert words.encode(text.split(), is_pretokenized=True).tokens == plain.encode(f" {text}").tokens


def test_only_a_vocabulary(tmp_path: Path) -> None:
    given = wordpiece(lower=True)
    tokens = sorted(given.get_vocab(), key=given.token_to_id)
    folder = folder_of(tmp_path / "m", "bert", None, None)
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")
    assert ids_of(check(folder, tmp_path / "s")) == ids_of(given)


@pytest.mark.parametrize(
    ("family", "file", "ids"),
    [
        ("xlm-roberta", "sentencepiece.bpe.model", {}),
        ("albert", "spiece.model", {"unk_id": 1, "bos_id": -1, "eos_id": -1, "pad_id": 0, "control_symbols": "[CLS],[SEP],[MASK]"}),
        ("deberta-v2", "spm.model", {"unk_id": 3, "bos_id": 1, "eos_id": 2, "pad_id": 0}),
        ("camembert", "sentencepiece.bpe.model", {}),
    ],
)  # fmt: skip
def test_only_a_sentencepiece_model(family: str, file: str, ids: dict[str, Any], tmp_path: Path) -> None:
    trainer = pytest.importorskip("sentencepiece", reason="sentencepiece is not installed").SentencePieceTrainer
    folder = folder_of(tmp_path / "m", family, None, None)
    (tmp_path / "lines.txt").write_text("\n".join(CORPUS * 4), encoding="utf-8")
    trainer.train(
        input=str(tmp_path / "lines.txt"), model_prefix=str(tmp_path / "sp"), vocab_size=80, minloglevel=2,
        hard_vocab_limit=False, **ids,
    )  # fmt: skip
    (tmp_path / "sp.model").rename(folder / file)
    check(folder, tmp_path / "s")


# ---------------------------------------------------------------- refused


def broken(folder: Path, settings: str | None = None) -> Path:
    """A whole checkpoint of the toy tokenizer, with a tokenizer_config.json as given."""
    from transformers import BertConfig, BertModel

    tokenizer = make_tokenizer()
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    BertModel(BertConfig(vocab_size=tokenizer.get_vocab_size(), **sizes)).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    if settings is not None:
        (folder / "tokenizer_config.json").write_text(settings)
    return folder


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("{", "cannot be read"),
        ("[]", "it holds list"),
        ("null", "it holds NoneType"),
        ('{"model_max_length": "512"}', "model_max_length is '512', not a number"),
        ('{"do_lower_case": "false"}', "do_lower_case is 'false', not true or false"),
        ('{"strip_accents": 1}', "strip_accents is 1, not true or false"),
        ('{"tokenizer_class": 3}', "tokenizer_class is 3, not a name"),
        ('{"unk_token": 7}', "unk_token is 7, not a token"),
        ('{"added_tokens_decoder": [1]}', "added_tokens_decoder is"),
        ('{"added_tokens_decoder": {"x": {"content": "y"}}}', "the tokenizer cannot be read"),
        ('{"tokenizer_class": "BertJapaneseTokenizer"}', "BertJapaneseTokenizer"),
        ('{"additional_special_tokens": ["<e>"], "tokenizer_class": "BertTokenizer"}', r"'<e>' \(82\)"),
        ('{"tokenizer_class": "RobertaTokenizer"}', "beyond the model's word table of 82 rows"),
    ],
)
def test_settings_that_cannot_be(settings: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match=told) as caught:
        find_teacher(str(broken(tmp_path / "m", settings)))
    assert str(tmp_path / "m") in str(caught.value)


def test_no_tokenizer_is_not_one_of_five_tokens(tmp_path: Path) -> None:
    folder = broken(tmp_path / "m", '{"tokenizer_class": "BertTokenizer"}')
    (folder / "tokenizer.json").unlink()
    with pytest.raises(TeacherError, match="there is no tokenizer in this folder"):
        find_teacher(str(folder))
    for content in ("", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n"):
        (folder / "vocab.txt").write_text(content)
        with pytest.raises(TeacherError, match="none of them is a word"):
            find_teacher(str(folder))


def test_tokens_beyond_the_word_table(tmp_path: Path) -> None:
    folder = broken(tmp_path / "m")
    tokenizer = make_tokenizer()
    tokenizer.add_tokens(["NewTok", "Other"])
    tokenizer.save(str(folder / "tokenizer.json"))
    with pytest.raises(TeacherError, match=r"2 tokens are beyond.* 82 rows, the first is 'NewTok' \(82\)"):
        find_teacher(str(folder))


def test_a_tokenizer_without_unk(tmp_path: Path) -> None:
    folder = broken(tmp_path / "m", '{"tokenizer_class": "PreTrainedTokenizerFast"}')
    state = json.loads((folder / "tokenizer.json").read_text())
    state["model"]["vocab"] = {("other" if k == "[UNK]" else k): v for k, v in state["model"]["vocab"].items()}
    state["added_tokens"] = [token for token in state["added_tokens"] if token["content"] != "[UNK]"]
    (folder / "tokenizer.json").write_text(json.dumps(state))
    with pytest.raises(TeacherError, match="cannot read a word that it does not know"):
        find_teacher(str(folder))


def test_a_pointer_of_git_lfs(tmp_path: Path) -> None:
    folder = broken(tmp_path / "m")
    (folder / "tokenizer.json").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")
    with pytest.raises(TeacherError, match="pointer of Git LFS"):
        find_teacher(str(folder))


def test_padding_and_truncation_of_a_file_are_left_out(tmp_path: Path) -> None:
    folder = broken(tmp_path / "m")
    tokenizer = make_tokenizer()
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=20)
    tokenizer.save(str(folder / "tokenizer.json"))
    assert (
        load_tokenizer(folder).encode("fly to aville on friday").ids
        == make_tokenizer().encode("fly to aville on friday").ids
    )


def test_a_saved_student_keeps_limits_and_names(teacher: Any, toy_checkpoint: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    save_checkpoint(tmp_path, teacher, toy_checkpoint)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert (loaded.pad_token, loaded.mask_token, loaded.cls_token) == ("[PAD]", "[MASK]", "[CLS]")
    padded = loaded(["fly to aville", "aville"], padding=True)["input_ids"]
    assert len(padded[0]) == len(padded[1]) == 5
