"""A compact BERT that first reads, then learns the teacher's answers on text, then the labels.

Turc, Chang, Lee, Toutanova (2019), "Well-Read Students Learn Better: On the Importance of Pre-training Compact Models",
arXiv 1908.08962. The student has L layers of width H, H / 64 heads and 4 H in the middle of a layer (its table 1):

- tiny 2 × 128, mini 4 × 256, small 4 × 512, medium 8 × 512; `n_layers` and `width` make others.

Three phases, by share of the epochs: `pretrain` guesses hidden tokens, `distil` learns the teacher's answers alone, both
on `--unlabelled` and the texts of the training rows; the rest fine-tunes on the labels.

    L_distil = - Σ_l softmax(z_T)_l · log softmax(z_S)_l          section 3; T is 1 unless `temperature` says otherwise

The tokenizer is the teacher's, the family is BERT whatever the teacher's is. With `init=teacher` the word table is the
teacher's, narrowed to its best factors of rank H (`edgebert.modeling.rebuild.narrowed`), and its table of positions
follows by the same basis; where the widths agree, both are taken whole. A teacher without such a table of positions leaves
them random; the layers are random in any case.

Differences: the paper starts from random weights (`init=random`) and pre-trains on BERT's own text; ours is as large as
what is given, which is why the tables start from the teacher. The paper's loss on hidden tokens has BERT's next sentence
beside it; ours has not. A width below 64 has one head.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edgebert.errors import RequestError
from edgebert.methods import Method, Paper, Param
from edgebert.methods._phases import learn_labels
from edgebert.methods._prediction import EPOCHS, TEMPERATURE, learn_predictions
from edgebert.training.context import MethodContext, plain_answers
from edgebert.types import Student

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from edgebert.modeling.config import ModelConfig

SIZES = {"tiny": (2, 128), "mini": (4, 256), "small": (4, 512), "medium": (8, 512)}  # layers, width
HEAD_WIDTH = 64


def shape(size: str, n_layers: int, width: int) -> tuple[int, int]:
    """Layers and width: the size's, where they are not given."""
    layers_of_size, width_of_size = SIZES[size]
    return n_layers or layers_of_size, width or width_of_size


def reshape(config: ModelConfig, *, size: str, n_layers: int, width: int, **_: object) -> ModelConfig:
    from edgebert.modeling.rebuild import config_like

    n_layers, width = shape(size, n_layers, width)
    return config_like(
        config,
        "bert",
        num_hidden_layers=n_layers,
        hidden_size=width,
        num_attention_heads=max(1, width // HEAD_WIDTH),
        intermediate_size=4 * width,
    )


def narrowed_tables(model: PreTrainedModel, width: int) -> tuple[Tensor, Tensor | None]:
    """The model's tables of words and of positions at this width; at its own width, as they are; None where it has none."""
    from edgebert.modeling.rebuild import narrowed, positions

    words, places = model.get_input_embeddings().weight.detach(), positions(model)
    if places is not None and places.shape[1] != words.shape[1]:
        places = None
    if width == words.shape[1]:
        return words, places
    table, basis = narrowed(words, width)
    return table, None if places is None else places @ basis.T


def built(student: Student, config: ModelConfig, init: str) -> Student:
    """The compact BERT, random but for the tables where they are the teacher's."""
    import torch

    from edgebert.modeling.checkpoint import build_model, n_parameters
    from edgebert.modeling.rebuild import auto_model_of, positions

    model = build_model(config, auto_model_of(config)).eval()
    note = f"bert of {n_parameters(model):,} parameters, all random"
    if init == "teacher":
        words, places = narrowed_tables(student.model, config.hidden_size)
        with torch.no_grad():
            model.get_input_embeddings().weight.copy_(words)
            table = positions(model)  # a view of BERT's whole one
            if table is not None and places is not None:
                table.copy_(places)
        which = "words" if places is None else "words and positions"
        note = note.replace("all random", f"its {which} from the teacher's tables")
    return replace(student, model=model, notes=(*student.notes, note))


def apply(
    student: Student, context: MethodContext, *, size: str, n_layers: int, width: int, init: str,
    epochs: float, pretrain: float, distil: float, temperature: float,
) -> Student:  # fmt: skip
    """The compact student after its phases."""
    from edgebert.training.mlm import MaskedLm
    from edgebert.training.run import train_student

    student = built(student, reshape(student.model.config, size=size, n_layers=n_layers, width=width), init)
    text_epochs, epochs = context.text_epochs(epochs), epochs or context.settings.epochs
    rows = context.transfer
    if pretrain:
        words = MaskedLm(student.model, student.tokenizer, where="well-read.pretrain")
        train_student(words, student, context, "well-read-pretrain", pretrain * text_epochs, rows=rows, scored=False)
    if distil:
        learn_predictions(
            student,
            context,
            "well-read",
            distil * text_epochs,
            rows=rows,
            temperature=temperature,
            hard_label_weight=0.0,
        )
    if pretrain + distil < 1:
        learn_labels(student, context, "well-read", (1 - pretrain - distil) * epochs)
    return student


def check(
    config: ModelConfig, teacher: ModelConfig, *, size: str, n_layers: int, width: int, init: str, pretrain: float, distil: float, **_: object
) -> None:  # fmt: skip
    from edgebert.modeling.operators import embedding_width

    width = shape(size, n_layers, width)[1]
    if width > HEAD_WIDTH and width % HEAD_WIDTH:
        what = f"{width} is not a multiple of {HEAD_WIDTH}, the width of a head"
        raise RequestError(what, where="well-read.width")
    if init == "teacher" and width > embedding_width(config):
        what = f"a word table of width {embedding_width(config)} cannot be narrowed to {width}"
        raise RequestError(what, where="well-read.width", hint="Choose a smaller size, or --set well-read.init=random.")
    if pretrain + distil > 1:
        what = f"shares of {pretrain:g} and {distil:g} are more than all epochs"
        raise RequestError(what, where="well-read.distil")


METHOD = Method(
    name="well-read",
    title="A compact BERT that reads, learns the teacher's answers, then the labels",
    paper=Paper(
        "Well-Read Students Learn Better: On the Importance of Pre-training Compact Models",
        "Turc, Chang, Lee, Toutanova",
        2019,
        "1908.08962",
    ),
    stage="train",
    apply=apply,
    reshape=reshape,
    check=check,
    params=(
        Param("size", str, "mini", "layers × width; left open, the planner chooses", choices=tuple(SIZES),
              search=lambda config: tuple(SIZES)),
        Param("n_layers", int, 0, "in place of the size's; 0 keeps it", minimum=0),
        Param("width", int, 0, "a multiple of 64, in place of the size's; 0 keeps it", minimum=0),
        Param("init", str, "teacher", "where the tables of words and positions start", choices=("teacher", "random")),
        EPOCHS,
        Param("pretrain", float, 0.3, "share of the epochs that guesses hidden tokens", minimum=0, maximum=1),
        Param("distil", float, 0.5, "share of the epochs that learns the teacher's answers", minimum=0, maximum=1),
        replace(TEMPERATURE, default=1.0),
    ),
    excludes={
        "drop-layers": "the compact student has layers of its own",
        "round-embedding": "a narrowed word table leaves the grid that it was rounded to",
    },
    answers=plain_answers,
    hides_tokens=lambda *, pretrain, **_: pretrain > 0,
    reads_text=True,
    toy={"n_layers": 2, "width": 32, "epochs": 1},
)  # fmt: skip
