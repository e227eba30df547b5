"""Learn a small vocabulary from the user's text, and let the student read both vocabularies until the new one is learnt.

Zhao, Gupta, Song, Zhou (2019), "Extremely Small BERT Models from Mixed-Vocabulary Training", arXiv 1909.11687, first titled
"Extreme Language Model Compression with Optimal Subwords and Shared Projections".

- Subwords. A WordPiece vocabulary of `size` tokens is learnt from the training and unlabelled texts. Normalisation,
  word boundaries and special tokens stay the teacher's; all characters of ASCII and of the text are in it. A token that the
  teacher has starts with its row of the word table, another with the mean of the teacher's pieces of it.
- Dual training. In `dual_epochs` passes each word is read by the new vocabulary with probability `mix`, by the teacher's
  otherwise, so that the new rows are learnt among rows that mean something already:  x_w = E_new[pieces_new(w)] or
  E_old[pieces_old(w)]. The old rows are then left behind.
- Shared projections. Meanwhile weights stay near the teacher's, added with the weight `reconstruct`:

    L_p = Σ ‖ V θ_T U - θ_S ‖² + ‖ θ_T - U θ_S V ‖²        down to the student's width, and up to the teacher's

  over weights θ of equal name; V (d_S × d_T) and U (d_T × d_S) are shared by all of them and by both terms.
- Choice of the size. The planner takes the most tokens that the budget admits; of sizes up to that, the smallest is kept that
  leaves no more of the development rows' words unknown and cuts them into at most `spare` more tokens: bytes are given back
  that buy nothing. A note lists what each size costs.

Differences: the paper mixes while it pre-trains the teacher on masked words, and distils a narrow student of the new
vocabulary then; here the student as it comes, a copy of the teacher, learns the teacher's answers to the rows from
mixed input, and methods behind this one shape and train it. It has the teacher's width unless it starts from a checkpoint of
its own, so U and V are mostly the identity: they are learnt only where the widths differ. The words that are mixed are drawn
once a row and pass. The paper's text was not at hand when this was written, only its abstract and descriptions of it.

Methods that compare tokens with the teacher's cannot follow. Of little text a learnt vocabulary cuts words no better than
trim-vocab's of the same size: of 1,600 tweets of btc, 5,000 tokens cut the words of 200 development rows into 1.98 each,
trim-vocab's 5,000 into 1.99 and its 20,000 into 1.78 (all-MiniLM-L6-v2). With 5,000 learnt tokens a student of 3 layers came
to 58.4 strict F1 of 700 test tweets, with trim-vocab's 20,000 to 64.0 (2 passes of kd, one seed): what a quarter of the
word table saves is not free there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebert.methods import Method, Paper, Param
from edgebert.methods._prediction import prediction_objective
from edgebert.methods._subwords import (
    base_tokens,
    both,
    learn_tokens,
    marked,
    pieces,
    split_texts,
    with_tokens,
    word_state,
)
from edgebert.methods._vocabulary import figures, named_ids, put_table, resized, unknown_report
from edgebert.training.context import MethodContext, plain_answers
from edgebert.types import Row, Student

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from edgebert.modeling.config import ModelConfig
    from edgebert.training.loop import Item, Objective

SIZES = (1000, 1500, 2000, 3000, 4000, 5000, 6000, 8000, 10000, 12000, 16000, 20000, 30000)


def first_rows(tokens: Sequence[str], tokenizer: Tokenizer, table: Tensor) -> Tensor:
    """(tokens, width): the old row of a token that the tokenizer has, the mean of the rows of its pieces, or of all tokens'."""
    import torch

    model, old = word_state(tokenizer)["model"], tokenizer.get_vocab(with_added_tokens=True)
    ids = [[old[token]] if token in old else pieces(token, model) for token in tokens]
    mean = table[sorted(old.values())].mean(0)  # a table may be longer than its vocabulary
    return torch.stack([table[found].mean(0) if found else mean for found in ids])


def reconstruction(theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor], v: Tensor, u: Tensor) -> Tensor:
    """L_p, a scalar, over the weights of equal name whose axes are equally long, or as long as the two widths.

    Args:
        theirs, ours: weights of the teacher and of the student by name, vectors and matrices.
        v: (d_S, d_T). It brings the first axis down to the student's width, and the last up to the teacher's.
        u: (d_T, d_S). It brings the last axis down, and the first up.
    """
    import torch

    def projected(weight: Tensor, first: Tensor | None, last: Tensor | None) -> Tensor:
        weight = weight if first is None else first @ weight
        return weight if last is None else weight @ last

    total = torch.zeros((), device=v.device)
    widths = (v.shape[1], v.shape[0])
    for name, mine in ours.items():
        other = theirs.get(name)
        if other is None or other.dim() != mine.dim() or mine.dim() not in (1, 2):
            continue
        pairs = list(zip(other.shape, mine.shape, strict=True))
        if any(a != b and (a, b) != widths for a, b in pairs):
            continue
        first, last = pairs[0][0] != pairs[0][1], len(pairs) == 2 and pairs[1][0] != pairs[1][1]
        down = projected(other, v if first else None, u if last else None)
        up = projected(mine, u if first else None, v if last else None)
        total = total + (down - mine).square().sum() + (other - up).square().sum()
    return total


def hold_near(objective: Objective, student: PreTrainedModel, teacher: PreTrainedModel, weight: float) -> None:
    """Adds `weight` · L_p to what the objective minimises; its projections are learnt with it."""
    import torch
    from torch import nn

    table = student.get_input_embeddings().weight
    ours = {name: value for name, value in student.named_parameters() if value is not table}
    wide, narrow = teacher.config.hidden_size, student.config.hidden_size
    learnt = wide != narrow
    part: Any = nn.Module()
    part.v = nn.Parameter(torch.eye(narrow, wide), requires_grad=learnt)
    part.u = nn.Parameter(torch.eye(wide, narrow), requires_grad=learnt)
    objective.projections = part

    def added(module: nn.Module, given: object, result: dict[str, Tensor]) -> dict[str, Tensor]:
        teacher.to(result["loss"].device)
        theirs = {name: value.detach() for name, value in teacher.named_parameters()}
        return {"loss": result["loss"] + weight * reconstruction(theirs, ours, part.v, part.u)}

    objective.register_forward_hook(added)


def learn_both(
    student: Student, context: MethodContext, tokens: Sequence[str], special: Sequence[str], rows_new: Tensor,
    epochs: float, mix: float, reconstruct: float,
) -> Tensor:  # fmt: skip
    """Trains the student on mixed text. Returns the new rows, (tokens, width); the student's own table gets longer by them."""
    import torch

    from edgebert.training.loop import train
    from edgebert.training.run import answered, pad_id

    old = student.tokenizer.get_vocab(with_added_tokens=True)
    table = student.model.get_input_embeddings().weight.detach()
    put_table(student.model, torch.cat([table, rows_new]), {i: i for i in range(len(table))})
    mixed = replace(
        student, tokenizer=both(student.tokenizer, tokens, special, len(table)), teacher_ids=None, own_tokenizer=True
    )
    settings, copies = context.settings, ceil(epochs)
    items: list[Item] = []
    for number in range(copies):
        rows = marked(context.transfer, student.tokenizer, mix, seed=settings.seed + number)
        windows = context.task.encode(rows, mixed.tokenizer, context.labels, settings.max_length)
        windows = answered(windows, context.transfer, mixed, context)
        paired: list[Item] = [tuple(pair) for _, pair in groupby(windows, lambda feature: feature.row)]
        items += paired if context.task.paired else windows
    objective = prediction_objective(mixed, context)
    if reconstruct:
        hold_near(objective, student.model, context.teacher, reconstruct)
    train(
        objective, items, replace(settings, epochs=epochs / copies, patience=0), Path(context.work) / "optimal-subwords",
        name="optimal-subwords", pad_id=pad_id(student), log=context.log,
    )  # fmt: skip
    student.notes = tuple(dict.fromkeys((*student.notes, *mixed.notes)))
    learnt = student.model.get_input_embeddings().weight.detach()
    result = learnt[len(table) :].clone()
    for i, token in enumerate(tokens):
        if token in special:  # those were read as the old ones
            result[i] = learnt[old[token]]
    return result


def chosen_size(student: Student, context: MethodContext, tokens: Sequence[str], n_base: int, spare: float) -> int:
    """The smallest of the sizes that cuts the development rows' words into at most `spare` more tokens than all `tokens` do,
    and leaves no more of them unknown. A note says what each costs."""
    sizes = [size for size in SIZES if n_base <= size < len(tokens)] + [len(tokens)]
    costs = {size: figures(with_tokens(student.tokenizer, tokens[:size]), context.dev) for size in sizes}
    unknown, split = costs[len(tokens)]
    least = next(n for n, cost in costs.items() if cost[0] <= unknown and cost[1] <= (1 + spare) * split)
    listed = ", ".join(f"{pieces:.3f} and {share:.2f} % with {size:,}" for size, (share, pieces) in costs.items())
    width = student.model.get_input_embeddings().embedding_dim
    student.notes += (
        f"tokens a word and unknown words on dev: {listed}; each thousand tokens weighs {width / 1000:.2f} MB in int8",
    )
    return least


def special_tokens(student: Student) -> list[str]:
    """Added, unknown and mask tokens, and those that the config names, in the order of their ids."""
    from edgebert.training.mlm import MASKS

    state, vocabulary = word_state(student.tokenizer), student.tokenizer.get_vocab(with_added_tokens=True)
    wanted = {token["content"] for token in state["added_tokens"]} | {state["model"]["unk_token"], *MASKS}
    named = named_ids(student.model.config)
    return sorted((t for t, i in vocabulary.items() if t in wanted or i in named), key=vocabulary.__getitem__)


def check_text(tokenizer: Tokenizer, rows: Sequence[Row], *, size: int, **_: object) -> None:
    state = word_state(tokenizer)
    special = {token["content"] for token in state["added_tokens"]} | {state["model"]["unk_token"]}
    base_tokens(tokenizer, split_texts(tokenizer, rows), sorted(special), size or tokenizer.get_vocab_size())


def apply(
    student: Student, context: MethodContext, *, size: int, spare: float, dual_epochs: float, mix: float,
    reconstruct: float,
) -> Student:  # fmt: skip
    """The student with a vocabulary of its own."""
    special, old = special_tokens(student), student.tokenizer
    wanted = size or old.get_vocab_size()
    tokens, n_base = learn_tokens(old, context.transfer, special, wanted)
    known, ranked = set(tokens), sorted(old.get_vocab(), key=old.get_vocab().__getitem__)
    others = [token for token in ranked if token not in known and not token.startswith("[unused")]
    tokens += others[: wanted - len(tokens)]  # the text gave no more
    tokens = tokens[: chosen_size(student, context, tokens, n_base, spare)]
    table = first_rows(tokens, old, student.model.get_input_embeddings().weight.detach())
    if dual_epochs and mix:
        table = learn_both(student, context, tokens, special, table, dual_epochs, mix, reconstruct)
    ids = old.get_vocab(with_added_tokens=True)
    put_table(student.model, table, {ids[token]: i for i, token in enumerate(tokens) if token in special})
    new = with_tokens(old, tokens)
    note = unknown_report(old, new, context.dev)
    return replace(student, tokenizer=new, teacher_ids=None, own_tokenizer=True, notes=(*student.notes, note))


def reshape(config: ModelConfig, *, size: int, **_: object) -> ModelConfig:
    return resized(config, size or config.vocab_size)


METHOD = Method(
    name="optimal-subwords",
    title="Learn a small vocabulary from the text, by training on both",
    paper=Paper(
        "Extremely Small BERT Models from Mixed-Vocabulary Training", "Zhao, Gupta, Song, Zhou", 2019, "1909.11687"
    ),
    stage="vocabulary",
    apply=apply,
    reshape=reshape,
    check_text=check_text,
    params=(
        Param(
            "size",
            int,
            0,
            "tokens at most; left open, the planner takes the most that the budget admits",
            minimum=1,
            search=lambda config: (*(size for size in SIZES if size < config.vocab_size), config.vocab_size),
        ),
        Param(
            "spare", float, 0.02, "share of more tokens a word for which fewer tokens are kept; 0 keeps all", minimum=0
        ),
        Param("dual_epochs", float, 1.0, "passes over the text with both vocabularies; 0 leaves it out", minimum=0),
        Param("mix", float, 0.5, "chance of a word to be read by the new vocabulary meanwhile", minimum=0, maximum=1),
        Param("reconstruct", float, 0.005, "weight of the distance from the teacher's weights meanwhile", minimum=0),
    ),
    heads=("token-classification", "sequence-classification", "sentence-embedding"),
    excludes={"trim-vocab": "both make the vocabulary"},
    answers=plain_answers,
    any_tokenizer=True,
    makes_tokenizer=True,
    reads_text=True,
    toy={"size": 160, "spare": 0.0},
)
