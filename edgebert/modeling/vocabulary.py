"""Two tokenizers held against each other: whether a teacher can read its student's pieces one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

ROLES = (("[PAD]", "<pad>"), ("[UNK]", "<unk>"), ("[CLS]", "<s>"), ("[SEP]", "</s>"), ("[MASK]", "<mask>"))


def teacher_ids(
    student: Tokenizer, teacher: Tokenizer, texts: Sequence[tuple[str, ...]]
) -> tuple[tuple[int, ...] | None, str]:
    """For each id of the student the teacher's id of the same piece, None where they are equal; and "" or why not.

    Special tokens go by their role, whatever they are called. That both split text alike is tried on `texts`, one or a pair
    each: where two texts are joined, RoBERTa and its kin put two separators.
    """
    ours, theirs = student.get_vocab(), teacher.get_vocab()
    roles = {name: next((one for one in names if one in theirs), "") for names in ROLES for name in names}
    found = {piece: theirs.get(roles.get(piece) or piece) for piece in ours}
    lost = sorted(piece for piece, number in found.items() if number is None and not piece.startswith("[unused"))
    if lost:
        return None, f"{len(lost)} of its {len(ours)} pieces are not the teacher's, the first is '{lost[0]}'"
    ids = [0] * (max(ours.values()) + 1)
    for piece, number in ours.items():
        ids[number] = found[piece] or 0
    for text in texts:
        first, second = text[0], text[1] if len(text) > 1 else None
        mine, other = student.encode(first, second).ids, teacher.encode(first, second).ids
        if [ids[number] for number in mine] != other:
            return None, f"it splits '{' and '.join(text)}' in another way than the teacher"
    return (None if all(number == i for i, number in enumerate(ids)) else tuple(ids)), ""
