"""Two tokenizers held against each other: whether a teacher can read its student's tokens one by one."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

ROLES = (("[PAD]", "<pad>"), ("[UNK]", "<unk>"), ("[CLS]", "<s>"), ("[SEP]", "</s>"), ("[MASK]", "<mask>"))


def teacher_ids(
    student: Tokenizer, teacher: Tokenizer, texts: Sequence[tuple[str, ...]]
) -> tuple[tuple[int, ...] | None, str]:
    """For each id of the student the teacher's id of the same token, None where they are equal; and "" or why not.

    Special tokens go by their role, whatever they are called: a vocabulary may hold BERT's names beside others that it
    uses, as MPNet's does, so those that are marked as special count first. That both split text alike is tried on `texts`, one or a pair
    each: where two texts are joined, RoBERTa and its kin put two separators.
    """
    ours, theirs = student.get_vocab(), teacher.get_vocab()
    used = [unknown_token(teacher), *(t.content for t in teacher.get_added_tokens_decoder().values() if t.special)]
    roles = {name: _of_role(names, used, theirs) for names in ROLES for name in names}
    results = {subword: theirs.get(roles.get(subword) or subword) for subword in ours}
    lost = sorted(
        subword for subword, number in results.items() if number is None and not subword.startswith("[unused")
    )
    if lost:
        return None, f"{len(lost)} of its {len(ours)} tokens are not the teacher's, the first is '{lost[0]}'"
    ids = [0] * (max(ours.values()) + 1)
    for token, number in ours.items():
        ids[number] = results[token] or 0
    for text in texts:
        first, second = text[0], text[1] if len(text) > 1 else None
        mine, other = student.encode(first, second).ids, teacher.encode(first, second).ids
        if [ids[number] for number in mine] != other:
            return None, f"it splits '{' and '.join(text)}' in another way than the teacher"
    return (None if all(number == i for i, number in enumerate(ids)) else tuple(ids)), ""


def _of_role(names: Sequence[str], used: Sequence[str], vocabulary: Collection[str]) -> str:
    """Which of the names a tokenizer uses: the first in `used`, else the first that it has; "" where it has none."""
    return next((item for item in used if item in names), next((name for name in names if name in vocabulary), ""))


def unknown_token(tokenizer: Tokenizer) -> str:
    """The token that stands for what the vocabulary cannot spell; "" where it can spell everything."""
    model = json.loads(tokenizer.to_str())["model"]
    if model["type"] == "Unigram":
        return str(model["vocab"][model["unk_id"]][0]) if model.get("unk_id") is not None else ""
    return str(model.get("unk_token") or "")


@dataclass(frozen=True)
class TokenCounts:
    n_tokens: int  # without special ones
    unknown: float  # share of them, 0 to 1


def token_counts(tokenizer: Tokenizer, texts: Sequence[tuple[str, ...]]) -> TokenCounts:
    """How many tokens a tokenizer makes of the texts, each one or a pair."""
    unknown = unknown_token(tokenizer)
    encodings = tokenizer.encode_batch([part for text in texts for part in text], add_special_tokens=False)
    tokens = [token for encoding in encodings for token in encoding.tokens]
    return TokenCounts(len(tokens), tokens.count(unknown) / max(1, len(tokens)))
