"""Another vocabulary under a model: its word table, the ids that its config and its tokenizer name, and what it costs text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from edgebert.modeling.rebuild import SHIFTED
from edgebert.modeling.vocabulary import unknown_token
from edgebert.types import Row

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor
    from transformers import PreTrainedModel

    from edgebert.modeling.config import ModelConfig

TOKENS = (
    "pad_token_id",
    "bos_token_id",
    "eos_token_id",
    "sep_token_id",
    "cls_token_id",
    "mask_token_id",
)  # of a config


def words_of(rows: Iterable[Row]) -> Iterator[list[list[str]]]:
    """The rows' words in lots: their own, or what stands between whitespace."""
    texts = (list(row.words) if row.words else f"{row.text or ''} {row.second or ''}".split() for row in rows)
    while lot := list(islice(texts, 1000)):
        yield lot


def renumber(node: object, new_ids: Mapping[int, int]) -> None:
    """Special token ids of a post-processor: lists `ids` of templates, pairs [token, id] of BERT's and RoBERTa's."""
    if isinstance(node, list):
        for item in node:
            renumber(item, new_ids)
    if not isinstance(node, dict):
        return
    for name, value in node.items():
        if name == "ids":
            node[name] = [new_ids[old] for old in value]
        elif name in ("sep", "cls") and isinstance(value, list):
            node[name] = [value[0], new_ids[value[1]]]
        else:
            renumber(value, new_ids)


def put_table(model: PreTrainedModel, table: Tensor, new_ids: Mapping[int, int]) -> None:
    """Gives the model another word table, in place.

    Args:
        table: (tokens, width).
        new_ids: old id -> new id, at least of the tokens that the config names; one that is missing is not there any more.
    """
    from torch import nn

    old = model.get_input_embeddings()
    pad = model.config.pad_token_id
    new = nn.Embedding(len(table), table.shape[1], padding_idx=None)
    new.weight = nn.Parameter(table)
    model.set_input_embeddings(new)
    model.config.vocab_size = len(table)
    for name in TOKENS:
        _renumber_token(model.config, name, new_ids)
    if old.padding_idx is not None:
        new.padding_idx = new_ids.get(pad)
    if model.config.model_type in SHIFTED and pad is not None:
        _shift_positions(model, pad, model.config.pad_token_id or 0)


def resized(config: ModelConfig, size: int) -> ModelConfig:
    """The config of a vocabulary of `size` tokens, in place."""
    config.vocab_size = size
    if (config.pad_token_id or 0) >= size:  # where padding will stand is not known yet, but it will
        config.pad_token_id = size - 1
    return config


def named_ids(config: ModelConfig) -> set[int]:
    """Ids of the tokens that a config names; some fields may name several."""
    given = [getattr(config, name, None) for name in TOKENS]
    return {i for value in given for i in (value if isinstance(value, list) else [value]) if i is not None}


def _renumber_token(config: ModelConfig, name: str, new_ids: Mapping[int, int]) -> None:
    """A special token's id, or several. One that the tokenizer does not have names no row any more."""
    old = getattr(config, name, None)
    if isinstance(old, list):
        setattr(config, name, [new_ids[i] for i in old if i in new_ids])
    elif old is not None:
        setattr(config, name, new_ids.get(old))


def _shift_positions(model: PreTrainedModel, old_pad: int, new_pad: int) -> None:
    """RoBERTa counts positions from after the padding id: the rows move with it, those before it go to the end."""
    import torch

    for module in model.modules():
        table = getattr(module, "position_embeddings", None)
        if table is not None and getattr(module, "padding_idx", None) == old_pad:
            module.padding_idx = table.padding_idx = new_pad
            with torch.no_grad():
                table.weight.copy_(table.weight.roll(new_pad - old_pad, 0))


def figures(tokenizer: Tokenizer, rows: Sequence[Row]) -> tuple[float, float]:
    """Unknown words in percent, and tokens a word, of the rows' words."""
    unk = tokenizer.token_to_id(unknown_token(tokenizer))
    words = [word for lot in words_of(rows) for text in lot for word in text]
    encodings = tokenizer.encode_batch([[word] for word in words], is_pretokenized=True, add_special_tokens=False)
    n_unknown = sum(unk in encoding.ids for encoding in encodings)
    return 100 * n_unknown / max(1, len(words)), sum(len(e.tokens) for e in encodings) / max(1, len(words))


def unknown_report(before: Tokenizer, after: Tokenizer, rows: Sequence[Row]) -> str:
    """Unknown words and tokens a word on held-out text, before and after."""
    (unk_0, pieces_0), (unk_1, pieces_1) = figures(before, rows), figures(after, rows)
    return (
        f"vocabulary {before.get_vocab_size():,} to {after.get_vocab_size():,}; on dev: unknown words {unk_0:.2f} % to "
        f"{unk_1:.2f} %, tokens a word {pieces_0:.3f} to {pieces_1:.3f}"
    )
