"""The tokenizer of a checkpoint: what transformers' AutoTokenizer gives, as one tokenizer.json that says it by itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, cast

from edgebert.errors import TeacherError
from edgebert.modeling.config import load_config, whole_text
from edgebert.modeling.folder import TOKENIZER_FILES, VOCABULARIES, check_file, encoder_folder, read_object
from edgebert.runtime.quiet import quiet

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

TOKENIZER = "tokenizer.json"
SETTINGS = "tokenizer_config.json"
KEPT = ("model_max_length", "model_input_names", "padding_side", "truncation_side", "clean_up_tokenization_spaces")
SWITCHES = ("do_lower_case", "strip_accents", "tokenize_chinese_chars", "add_prefix_space", "do_basic_tokenize")
UNSEEN = "\u2603 \ue000 \u16a0\U00013000 \u0378 ~"  # a snowman and others that few vocabularies have


Step = dict[str, Any]  # of a tokenizer; its `type` says which fields it has


class TokenizerState(TypedDict):
    """tokenizer.json of the library tokenizers: in it a part has its step."""

    model: Step
    added_tokens: list[Step]
    normalizer: Step | None
    pre_tokenizer: Step | None
    post_processor: Step | None
    decoder: Step | None


def load_tokenizer(folder: Path, *, words: bool = False, vectors: bool = False) -> Tokenizer:
    """What AutoTokenizer makes of a checkpoint folder, without padding or truncation: rows are windowed, not cut.

    Args:
        words: for rows of words, which byte-level tokenizers read with a space before each (`with_prefix`).
        vectors: for sentence vectors: sentence-transformers may lower-case before the tokenizer does anything.

    Raises:
        TeacherError: there is no tokenizer, it holds no words, or it cannot be read or saved as tokenizer.json.
    """
    from tokenizers import Tokenizer

    backend = Tokenizer.from_str(_auto_tokenizer(folder).backend_tokenizer.to_str())  # ours to change
    backend.no_padding()
    backend.no_truncation()
    if vectors and lower_cases(folder):
        backend = _lower_cased(backend)
    return with_prefix(backend) if words else backend


def _auto_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    from transformers import AutoTokenizer

    encoder = encoder_folder(folder)
    config = load_config(folder)
    _check_files(encoder)
    where = str(encoder / next(name for name in VOCABULARIES if (encoder / name).exists()))
    try:
        with quiet("transformers"):
            loaded = AutoTokenizer.from_pretrained(
                encoder, config=config, trust_remote_code=False, local_files_only=True
            )
    except Exception as error:
        named = read_settings(encoder).get("tokenizer_class")
        of = f" as {named}" if named else ""
        hint = "AutoTokenizer.from_pretrained of transformers 5 must open the folder, and give a fast tokenizer."
        raise TeacherError(f"the tokenizer cannot be read{of}: {whole_text(error)}", where=where, hint=hint) from None
    if not hasattr(loaded, "backend_tokenizer"):
        what = f"{type(loaded).__name__} is Python code, which tokenizer.json cannot hold"
        raise TeacherError(what, where=where, hint="Choose a checkpoint with a fast tokenizer (tokenizer.json).")
    return loaded


def _check_files(folder: Path) -> None:
    """There is a vocabulary, and what lies beside it has the types that it should have."""
    if not any((folder / name).exists() for name in VOCABULARIES):
        raise TeacherError(
            "there is no tokenizer in this folder: no " + ", ".join(VOCABULARIES[:3]) + " or sentencepiece model",
            where=str(folder),
            hint="Save the tokenizer that the model was trained with beside it: tokenizer.save_pretrained(FOLDER).",
        )
    for name in TOKENIZER_FILES:
        path = folder / name
        if path.exists():
            read_object(path) if path.suffix == ".json" else check_file(path)
    read_settings(folder)


def read_settings(folder: Path) -> dict[str, Any]:
    """tokenizer_config.json, {} where there is none. Raises TeacherError for a field of the wrong type."""
    path = encoder_folder(folder) / SETTINGS
    if not path.exists():
        return {}
    description = read_object(path)

    def check(name: str, kinds: tuple[type, ...], wanted: str) -> None:
        value = description.get(name)
        if value is not None and (not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)):
            raise TeacherError(f"{name} is {value!r}, not {wanted}", where=str(path), hint="Correct it there.")

    check("model_max_length", (int, float), "a number")
    check("tokenizer_class", (str,), "a name")
    check("added_tokens_decoder", (dict,), "an object of tokens by their ids")
    for name in SWITCHES:
        check(name, (bool,), "true or false")
    for name in description:
        if name.endswith("_token") and not name.startswith("add_"):
            check(name, (str, dict), "a token")
    return description


def check_tokenizer(tokenizer: Tokenizer, rows: int, folder: Path) -> None:
    """Raises TeacherError where the tokenizer cannot read text, or gives ids beyond the `rows` of the word table."""
    where = str(encoder_folder(folder))
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    special = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    if not vocabulary.keys() - special:
        what = (
            f"the tokenizer holds {len(vocabulary)} tokens and none of them is a word: every text would read as unknown"
        )
        hint = "Save the tokenizer that the model was trained with beside it: tokenizer.save_pretrained(FOLDER)."
        raise TeacherError(what, where=where, hint=hint)
    beyond = sorted((number, token) for token, number in vocabulary.items() if number >= rows)
    if beyond:
        number, token = beyond[0]
        what = (
            f"{len(beyond)} tokens are beyond the model's word table of {rows} rows, the first is '{token}' ({number})"
        )
        hint = (
            "Either the tokenizer is of another model, or tokens were added to it: then "
            "model.resize_token_embeddings(len(tokenizer)) and fine-tuning belong to it."
        )
        raise TeacherError(what, where=where, hint=hint)
    try:
        tokenizer.encode(UNSEEN)
    except Exception as error:
        hint = "Add the unknown token to the vocabulary, with a row of the word table."
        what = f"the tokenizer cannot read a word that it does not know: {whole_text(error)}"
        raise TeacherError(what, where=where, hint=hint) from None


# ---------------------------------------------------------------- words and cases


def reads_bytes_bare(tokenizer: Tokenizer) -> bool:
    """A byte-level tokenizer that puts no space before a text, so that words one by one look glued together."""
    return any(
        step["type"] == "ByteLevel" and not step["add_prefix_space"] for step in _splits(_state(tokenizer))
    ) and (not _prepends(_state(tokenizer)))


def with_prefix(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer with a space before each text or word, where it is byte-level: in its tokens a word begins with one,
    and taggers of RoBERTa's kind are trained on such (`add_prefix_space=True`)."""
    from tokenizers import Tokenizer

    if not reads_bytes_bare(tokenizer):
        return tokenizer
    state = _state(tokenizer)
    steps = _splits(state)
    if len(steps) == 1:
        steps[0]["add_prefix_space"] = True
    else:  # after another split, ByteLevel would put one before every part of a word
        rest = [state["normalizer"]] if state["normalizer"] else []
        state["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": " "}, *rest]}
    return Tokenizer.from_str(json.dumps(state))


def _state(tokenizer: Tokenizer) -> TokenizerState:
    return cast("TokenizerState", json.loads(tokenizer.to_str()))


def _splits(state: TokenizerState) -> list[Step]:
    """The steps of a tokenizer's pre_tokenizer."""
    step = state["pre_tokenizer"]
    if step is None:
        return []
    return list(step["pretokenizers"]) if step["type"] == "Sequence" else [step]


def _normalizers(state: TokenizerState) -> list[Step]:
    step = state["normalizer"]
    if step is None:
        return []
    return list(step["normalizers"]) if step["type"] == "Sequence" else [step]


def _prepends(state: TokenizerState) -> bool:
    return any(step["type"] == "Prepend" and step["prepend"] == " " for step in _normalizers(state))


def lower_cases(folder: Path) -> bool:
    """Whether sentence-transformers is told to lower-case every text (`do_lower_case` of sentence_bert_config.json)."""
    paths = sorted({*encoder_folder(folder).glob("sentence_*_config.json"), *folder.glob("sentence_*_config.json")})
    return any(bool(read_object(path).get("do_lower_case")) for path in paths)


def _lower_cased(tokenizer: Tokenizer) -> Tokenizer:
    """As sentence-transformers does it: Lowercase before the tokenizer's own normalizers, unless one of them is that."""
    from tokenizers import Tokenizer

    state = _state(tokenizer)
    steps = _normalizers(state)
    if any(step["type"] == "Lowercase" for step in steps):
        return tokenizer
    state["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, *steps]}
    return Tokenizer.from_str(json.dumps(state))


# ---------------------------------------------------------------- on disk


def save_tokenizer(folder: Path, tokenizer: Tokenizer, like: Path) -> None:
    """tokenizer.json, and a tokenizer_config.json by which AutoTokenizer reads that file as it is.

    Args:
        folder: where to.
        like: the checkpoint folder whose special tokens and limits still hold.
    """
    source = _auto_tokenizer(like)
    known = tokenizer.get_vocab(with_added_tokens=True)
    names = {name: str(token) for name, token in source.special_tokens_map.items() if isinstance(token, str)}
    settings = {name: getattr(source, name) for name in KEPT if getattr(source, name, None) is not None}
    settings |= {name: token for name, token in names.items() if token in known}
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"  # any other class is rebuilt from parts of tokenizer.json
    tokenizer.save(str(folder / TOKENIZER))
    (folder / SETTINGS).write_text(json.dumps(settings, indent=1, ensure_ascii=False), encoding="utf-8")
