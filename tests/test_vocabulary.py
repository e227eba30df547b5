"""Two tokenizers held against each other."""

from __future__ import annotations

import json

from tokenizers import Tokenizer, processors

from edgebert.modeling.vocabulary import teacher_ids
from tests.conftest import make_tokenizer

TEXTS = [("fly from aville to new bton",), ("zebras",)]


def changed(**vocabulary: str) -> Tokenizer:
    """The toy tokenizer with tokens renamed."""
    state = json.loads(make_tokenizer().to_str())
    names = {old.replace("_", "#"): new for old, new in vocabulary.items()}
    state["model"]["vocab"] = {names.get(token, token): i for token, i in state["model"]["vocab"].items()}
    return Tokenizer.from_str(json.dumps(state))


def test_equal_ones_need_no_map() -> None:
    assert teacher_ids(make_tokenizer(), make_tokenizer(), TEXTS) == (None, "")


def test_special_tokens_go_by_their_role_and_pieces_by_their_text() -> None:
    state = json.dumps(json.loads(make_tokenizer().to_str()))
    for ours, theirs in (
        ("[PAD]", "<pad>"),
        ("[UNK]", "<unk>"),
        ("[CLS]", "<s>"),
        ("[SEP]", "</s>"),
        ("[MASK]", "<mask>"),
    ):
        state = state.replace(ours, theirs)
    moved = json.loads(state)
    tokens = list(moved["model"]["vocab"])
    moved["model"]["vocab"] = {token: i for i, token in enumerate([*tokens[:5], "extra", *tokens[5:]])}
    ids, why = teacher_ids(make_tokenizer(), Tokenizer.from_str(json.dumps(moved)), TEXTS)
    assert why == ""
    assert ids == (0, 1, 2, 3, 4, *range(6, 6 + len(tokens) - 5))


def test_a_piece_that_the_teacher_lacks_is_told() -> None:
    ids, why = teacher_ids(changed(aville="avil"), make_tokenizer(), TEXTS)
    assert ids is None and "the first is 'avil'" in why


def test_another_way_of_splitting_is_told() -> None:
    """The same tokens, but one tokenizer keeps capitals."""
    state = json.loads(make_tokenizer().to_str())
    state["normalizer"]["lowercase"] = False
    _, why = teacher_ids(Tokenizer.from_str(json.dumps(state)), make_tokenizer(), [("Fly",)])
    assert why == "it splits 'Fly' in another way than the teacher"


def test_pairs_that_are_joined_in_another_way_are_told() -> None:
    """RoBERTa puts two separators between texts; alone, both read every text alike."""
    other = make_tokenizer()
    other.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    assert teacher_ids(make_tokenizer(), other, TEXTS) == (None, "")
    _, why = teacher_ids(make_tokenizer(), other, [("fly", "far")])
    assert why == "it splits 'fly and far' in another way than the teacher"


def test_berts_names_that_a_vocabulary_only_holds_are_passed_over() -> None:
    """MPNet's vocabulary is BERT's with its own special tokens beside; [UNK] is still what it writes."""
    state = json.loads(make_tokenizer().to_str())
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *state["model"]["vocab"], "<mask>"]
    state["model"]["vocab"] = {token: i for i, token in enumerate(tokens)}
    state["added_tokens"] = []
    teacher = Tokenizer.from_str(json.dumps({**state, "post_processor": None}))
    teacher.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", "[UNK]", "<mask>"])
    teacher.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    ids, why = teacher_ids(make_tokenizer(), teacher, [*TEXTS, ("ü",)])
    assert why == ""
    assert ids is not None and ids[:6] == (1, 5, 0, 2, tokens.index("<mask>"), 9)
