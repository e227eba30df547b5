"""Train with weights and activations rounded to 8 bits, so that the int8 file computes what was trained.

Zafrir, Boudoukh, Izsak, Wasserblat (2019), "Q8BERT: Quantized 8Bit BERT", arXiv 1910.06188, section 2: in each forward pass
the weights of linear layers and embeddings, and what linear layers read, are rounded to whole multiples of a scale,

    Q(x) = clip(round(x / s), -m, m),   m = 2^(bits-1) - 1
    s = max|W| / m  of a weight,   s = EMA(max|x|) / m  of what a layer reads (their S is 1 / s)

and the gradient passes as if they had not been: ∂Q(x)·s / ∂x = 1 (the straight-through estimator). Softmax, GELU, layer
norms, biases and the products inside attention stay float.

Two steps: `edgebert.quantization.fake.prepare` puts the rounding in, training follows, and `convert` leaves a plain
checkpoint whose weights are whole multiples of their scales, with quantization.json, from which int8 files take exactly
these ranges and scales.

Differences: a weight has a scale for each output, a table for each row, as runtimes offer them; theirs has one. What a layer
reads reaches from -m - 1, where runtimes saturate. With `ranges=learned` its step is trained (Esser et al. 2020, "Learned
Step Size Quantization", arXiv 1902.08153). They fine-tune on labels; here the student learns the teacher's answers as in kd,
`hard_label_weight` of it the labels. `bits` below 8 store weights of fewer steps in the same bytes: with 7, products never
overflow on x86 processors without VNNI, which add pairs of them in 16 bits.

Formats: ONNX computes the same numbers but for the order of sums. Core ML (`int8-static`) has the same scales, and float16
between them. Others are refused: TFLite's product of 8 bits also rounds what it gives, by a range that this training does not
find and a rounding that it does not imitate; OpenVINO and ExecuTorch files are made by quantizers that find ranges
themselves, and nothing here writes given ones.

It needs a student that was trained before: name it after the distillation, as in drop-layers+kd+q8bert. Nothing can be
trained after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgebert.errors import RequestError
from edgebert.methods import Method, Paper, Param
from edgebert.methods._prediction import EPOCHS, HARD, REPLACE, TEMPERATURE, learn_predictions
from edgebert.training.context import MethodContext, plain_answers
from edgebert.types import Student

if TYPE_CHECKING:
    from edgebert.modeling.config import ModelConfig


def check(config: ModelConfig, teacher: ModelConfig, **params: object) -> None:
    """Raises RequestError for a model with weights in other layers."""
    import copy

    import torch

    from edgebert.modeling.checkpoint import build_model
    from edgebert.modeling.rebuild import auto_model_of
    from edgebert.quantization.fake import why_not

    with torch.device("meta"):
        model = build_model(copy.deepcopy(config), auto_model_of(config))
    if why := why_not(model):
        raise RequestError(why, where="q8bert", hint="Leave q8bert out: int8 files are then quantized after training.")


def apply(
    student: Student, context: MethodContext, *, epochs: float, rate: float, ranges: Any, momentum: float, bits: int,
    temperature: float, hard_label_weight: float, replace: float,
) -> Student:  # fmt: skip
    """The student with weights on their steps, and its quantization."""
    from edgebert.quantization.fake import FakeQuantization, convert, prepare

    prepare(student.model, FakeQuantization(bits, ranges=ranges, momentum=momentum))
    learn_predictions(
        student, context, "q8bert", epochs or context.settings.epochs, temperature=temperature,
        hard_label_weight=hard_label_weight, replace=replace, learning_rate=rate * context.settings.learning_rate,
    )  # fmt: skip
    student.quantization = spec = convert(student.model)
    student.notes += (
        f"trained in {bits} bits: {len(spec.weights)} weights, and what {len(spec.activations)} layers read",
    )
    return student


METHOD = Method(
    name="q8bert",
    title="Train with weights and activations in 8 bits, for int8 files that compute what was trained",
    paper=Paper("Q8BERT: Quantized 8Bit BERT", "Zafrir, Boudoukh, Izsak, Wasserblat", 2019, "1910.06188"),
    stage="train",
    last=True,
    apply=apply,
    check=check,
    formats=("onnx", "coreml"),
    params=(
        EPOCHS,
        Param("rate", float, 0.3, "peak learning rate, in units of the other trainings'", minimum=0.001),
        Param(
            "ranges", str, "ema", "of what layers read: an average of each batch's largest number, or trained",
            choices=("ema", "learned"),
        ),
        Param("momentum", float, 0.99, "of that average, 0 to 1", minimum=0, maximum=1),
        Param("bits", int, 8, "of a weight; files store 2 to 8 in a byte", minimum=2, maximum=8),
        TEMPERATURE,
        HARD,
        REPLACE,
    ),
    answers=plain_answers,
    any_tokenizer=True,
    toy={"epochs": 1, "rate": 1.0},
)  # fmt: skip
