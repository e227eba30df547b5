"""Masked words: what continues a word, what is chosen, what it becomes, and the head that guesses it."""

from __future__ import annotations

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from edgebert.errors import RequestError
from edgebert.modeling.losses import IGNORED
from edgebert.training.mlm import LmHead, MaskedLm, choose, continues, hide, mask_id, special_ids
from edgebert.types import Student


def wordpiece() -> Tokenizer:
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "low", "##er", "##est", ",", "中", "国"]
    tokenizer = Tokenizer(models.WordPiece({token: i for i, token in enumerate(tokens)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(tokens[:5])
    return tokenizer


def bpe() -> Tokenizer:
    tokens = ["<s>", "</s>", "<mask>", "Ġ", "l", "o", "w", "e", "r", ",", "lo", "low", "er", "Ġlow"]
    merges = [("l", "o"), ("lo", "w"), ("e", "r"), ("Ġ", "low")]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.add_special_tokens(tokens[:3])
    return tokenizer


def unigram() -> Tokenizer:
    scores = {"<unk>": 0.0, "▁low": -2.0, "▁new": -2.5, "er": -3.0, "Ġ": -9.0, "▁": -8.0, ",": -8.0}
    tokenizer = Tokenizer(models.Unigram(list(scores.items()), unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.add_special_tokens(["<unk>", "<mask>"])
    return tokenizer


@pytest.mark.parametrize(
    ("make", "text", "expected"),
    [
        (
            wordpiece,
            "[CLS] lowerest, low 中国",
            {"[CLS]": 0, "low": 0, "##er": 1, "##est": 1, ",": 0, "中": 0, "国": 0},
        ),
        (bpe, "lower, low", {"Ġlow": 0, "er": 1, ",": 1}),  # punctuation that touches a word goes with it
        (unigram, "lower, new", {"▁low": 0, "er": 1, ",": 1, "▁new": 0}),  # although its vocabulary has a Ġ
    ],
)
def test_pieces_that_continue_a_word(make: object, text: str, expected: dict[str, int]) -> None:
    tokenizer = make()  # type: ignore[operator]
    follows, encoding = continues(tokenizer), tokenizer.encode(text)
    assert {token: int(follows[i]) for token, i in zip(encoding.tokens, encoding.ids, strict=True)} == expected
    assert not follows[special_ids(tokenizer)].any()


def test_without_marks_each_piece_is_a_word_and_ids_may_have_gaps() -> None:
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 7}, unk_token="a"))
    assert continues(tokenizer).tolist() == [False] * 8
    assert special_ids(tokenizer).dtype == torch.long and not len(special_ids(tokenizer))
    with pytest.raises(RequestError, match="no mask token"):
        mask_id(tokenizer, "somewhere")


def test_chosen_pieces_are_free_and_their_share_is_right() -> None:
    torch.manual_seed(0)
    free = torch.ones(200, 50, dtype=torch.bool)
    free[:, :5] = False
    chosen = choose(free, 0.15)
    assert not chosen[:, :5].any()
    assert chosen[:, 5:].float().mean().item() == pytest.approx(0.15, abs=0.01)


def test_whole_words_are_chosen_together_and_apart_from_each_other() -> None:
    """[CLS] a ##b c [SEP] ##d ##e f: words {1, 2}, {3}, {5, 6} and {7}."""
    torch.manual_seed(0)
    follows = torch.tensor([[0, 0, 1, 0, 0, 1, 1, 0]] * 4000).bool()
    free = torch.tensor([[0, 1, 1, 1, 0, 1, 1, 1]] * 4000).bool()
    chosen = choose(free, 0.4, follows)
    assert torch.equal(chosen[:, 1], chosen[:, 2]) and torch.equal(chosen[:, 5], chosen[:, 6])
    words = chosen[:, [1, 3, 5, 7]].float()
    assert words.mean(0).tolist() == pytest.approx([0.4] * 4, abs=0.03)
    both = words.T @ words / len(words)
    assert both[0, 1].item() == pytest.approx(0.16, abs=0.03)  # independent draws
    assert both[1, 2].item() == pytest.approx(0.16, abs=0.03)
    assert not chosen[:, [0, 4]].any()


def test_a_row_that_begins_inside_a_word() -> None:
    torch.manual_seed(0)
    chosen = choose(torch.ones(500, 3).bool(), 0.5, torch.tensor([[1, 1, 0]] * 500).bool())
    assert torch.equal(chosen[:, 0], chosen[:, 1])
    assert not torch.equal(chosen[:, 0], chosen[:, 2])


def test_of_the_chosen_80_percent_are_masked_10_changed_10_left() -> None:
    torch.manual_seed(0)
    ids = torch.full((100, 400), 7)
    chosen = torch.zeros_like(ids).bool()
    chosen[:, ::2] = True
    hidden = hide(ids, chosen, 4, 1000)
    assert torch.equal(hidden[~chosen], ids[~chosen])
    seen = hidden[chosen]
    assert (seen == 4).float().mean().item() == pytest.approx(0.8, abs=0.01)
    assert (seen == 7).float().mean().item() == pytest.approx(0.1, abs=0.01)
    assert seen.unique().numel() > 500


def test_the_head_reads_the_word_table_itself() -> None:
    table = torch.nn.Parameter(torch.eye(3))
    head = LmHead(2, table)
    assert head(torch.zeros(1, 2)).shape == (1, 3)
    assert [name for name, _ in head.named_parameters()] == [
        "bias",
        "dense.weight",
        "dense.bias",
        "norm.weight",
        "norm.bias",
    ]
    head.norm.weight.data.zero_()
    head.norm.bias.data.copy_(torch.tensor([1.0, 2.0, 3.0]))
    with torch.no_grad():
        assert head(torch.zeros(1, 2)).tolist() == [[1.0, 2.0, 3.0]]
        table.mul_(2)
        assert head(torch.zeros(1, 2)).tolist() == [[2.0, 4.0, 6.0]]


def test_masked_lm_hides_no_special_tokens_and_trains_the_table(teacher: Student) -> None:
    torch.manual_seed(0)
    objective = MaskedLm(teacher.model, teacher.tokenizer, share=0.5, whole_words=True)
    encoding = teacher.tokenizer.encode("zaville to bton")
    batch = {"input_ids": torch.tensor([encoding.ids] * 64)}
    batch |= {
        "attention_mask": torch.ones_like(batch["input_ids"]),
        "token_type_ids": torch.zeros_like(batch["input_ids"]),
    }
    hidden, wanted = objective.hidden_batch(batch)
    assert (wanted[:, [0, -1]] == IGNORED).all() and torch.equal(hidden["input_ids"][:, 0], batch["input_ids"][:, 0])
    there = wanted != IGNORED
    assert torch.equal(wanted[there], batch["input_ids"][there])
    assert encoding.tokens[1:3] == ["z", "##a"]
    assert torch.equal(there[:, 1], there[:, 2])
    objective(**batch)["loss"].backward()
    assert teacher.model.get_input_embeddings().weight.grad is not None
    nothing = MaskedLm(teacher.model, teacher.tokenizer, share=0.0)
    assert nothing(**batch)["loss"].item() == 0.0
