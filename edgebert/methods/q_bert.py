"""Store each layer's weights in as many bits as the loss needs there, a scale a group of weights, and train on that grid.

Shen, Dong, Ye, Ma, Yao, Gholami, Mahoney, Keutzer (2019), "Q-BERT: Hessian Based Ultra Low Precision Quantization of BERT",
arXiv 1909.05840. Ω_i of layer i is the mean over batches of rows of the largest eigenvalue of the Hessian of the loss by its
weights, by power iteration, and its standard deviation added (`edgebert.quantization.sensitivity`). Bits b_i are those of `choices`
that minimise what rounding is expected to add, within `mean_bits` a weight on average:

    Σ_i Ω_i |Q_b(W_i) - W_i|²        (Dong et al. 2019, HAWQ-V2, arXiv 1911.03852, have the mean trace in place of Ω)

A group is `group` neighbours of a row. With m its number of largest magnitude, ONNX Runtime's own rule:

    s = m / -2^(b-1),   Q_b(w) = s · clip(round(w / s), -2^(b-1), 2^(b-1) - 1)

Then the student learns the teacher's answers as in kd, with Q_b(W) in place of W and gradients passed straight through.
Bits are kept beside the checkpoint (quantization.json), and `--precision int4` writes each layer's products in its own;
`int4-all` the word table in 4 bits too, for which round-embedding may stand before.

Differences: Q-BERT sets bits by hand from Ω and quantizes groups of heads; it also rounds activations to 8 bits in training,
which ONNX Runtime here does at run time, by the block. The word table and the head have bits of their own: those of the
precision. The paper fine-tunes on labels alone (`hard_label_weight` 1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgebert.errors import RequestError
from edgebert.methods import Method, Paper, Param
from edgebert.methods._prediction import EPOCHS, HARD, REPLACE, TEMPERATURE, learn_predictions
from edgebert.methods._stack import check_stack
from edgebert.training.context import MethodContext, plain_answers
from edgebert.types import Student

if TYPE_CHECKING:
    from torch import nn

    from edgebert.modeling.config import ModelConfig
    from edgebert.quantization.sensitivity import Sensitivity

BITS = (2, 4, 8)  # of which ONNX Runtime's MatMulNBits has kernels
GROUPS = (16, 32, 64, 128)
BATCH = 16  # rows of a batch over which an eigenvalue is found


def check(
    config: ModelConfig, teacher: ModelConfig, *, mean_bits: float, choices: tuple[int, ...], **_: object
) -> None:
    """Raises RequestError for bits that no file can store, for a budget under the fewest, and without a list of layers."""
    if not choices or not set(choices) <= set(BITS):
        what = f"weights of {', '.join(map(str, sorted(set(choices) - set(BITS)))) or 'no'} bits cannot be stored"
        raise RequestError(what, where="q-bert.choices", hint=f"Choose among {', '.join(map(str, BITS))}.")
    if mean_bits < min(choices):
        what = f"{mean_bits:g} bits on average are fewer than the fewest of q-bert.choices, {min(choices)}"
        raise RequestError(what, where="q-bert.mean_bits", hint=f"Ask for {min(choices)} to {max(choices)}.")
    check_stack(config, "q-bert")


def parts_of(model: nn.Module) -> dict[str, dict[str, nn.Linear]]:
    """For each layer of the encoder, by its number from 1, its linear layers by their names in the model."""
    from torch import nn

    from edgebert.modeling.layers import encoder_layers

    number = {id(part): str(i + 1) for i, layer in enumerate(encoder_layers(model)) for part in layer.modules()}
    results: dict[str, dict[str, nn.Linear]] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and id(module) in number:
            results.setdefault(number[id(module)], {})[name] = module
    return results


def choose_bits(
    student: Student, context: MethodContext, *, mean_bits: float, choices: tuple[int, ...], group: int, rows: int,
    iterations: int,
) -> tuple[dict[str, int], dict[str, Sensitivity]]:  # fmt: skip
    """Bits and sensitivity of each layer, by its number from 1. Raises RequestError where an iteration found no end."""
    import torch

    from edgebert.methods._gradients import batches_of, loss_of
    from edgebert.quantization.groupwise import grouped
    from edgebert.quantization.sensitivity import assign_bits, sensitivities

    student.model.eval()
    parts, loss = parts_of(student.model), loss_of(student, context)
    batches = batches_of(student, context, rows, BATCH)
    weights = {name: [module.weight for module in modules.values()] for name, modules in parts.items()}
    found = sensitivities(
        batches, lambda batch: loss(batch) / len(next(iter(batch.values()))), weights, iterations=iterations
    )
    if lost := [name for name, item in found.items() if not item.converged]:
        what = f"no largest eigenvalue was found in {iterations} steps for layer {', '.join(lost)}"
        raise RequestError(what, where="q-bert.iterations", hint="Allow more steps, or more rows with q-bert.rows.")
    with torch.no_grad():
        costs = {
            name: {
                bits: found[name].omega
                * sum(float((grouped(w, bits, group) - w).square().sum()) for w in weights[name])
                for bits in choices
            }
            for name in parts
        }
    return assign_bits(costs, {name: sum(w.numel() for w in own) for name, own in weights.items()}, mean_bits), found


def apply(
    student: Student, context: MethodContext, *, mean_bits: float, choices: tuple[int, ...], group: int, rows: int,
    iterations: int, epochs: float, temperature: float, hard_label_weight: float, replace: float,
) -> Student:  # fmt: skip
    """The student whose weights lie on the grid of their bits, and its QuantSpec."""
    from edgebert.quantization import QuantSpec, TensorSpec
    from edgebert.quantization.groupwise import on_grid, settle

    check(student.model.config, context.teacher.config, mean_bits=mean_bits, choices=choices)
    bits, found = choose_bits(
        student, context, mean_bits=mean_bits, choices=choices, group=group, rows=rows, iterations=iterations
    )
    parts = parts_of(student.model)
    modules = {name: (module, bits[part]) for part, own in parts.items() for name, module in own.items()}
    for module, n in modules.values():
        on_grid(module, n, group)
    learn_predictions(
        student, context, "q-bert", epochs or context.settings.epochs, temperature=temperature,
        hard_label_weight=hard_label_weight, replace=replace,
    )  # fmt: skip
    for module, _ in modules.values():
        settle(module)
    specs = {f"{name}.weight": TensorSpec(n, "group", group=group) for name, (_, n) in modules.items()}
    student.quantization = QuantSpec(weights=specs)
    student.notes += (_note(bits, found),)
    return student


def _note(bits: dict[str, int], found: dict[str, Sensitivity]) -> str:
    """What each layer has, and why."""
    each = ", ".join(f"{name}: {n} (Ω {found[name].omega:.3g})" for name, n in bits.items())
    some = [name for name, item in found.items() if item.converged < 1]
    unsure = f"; in layer {', '.join(some)} not all batches gave an eigenvalue" if some else ""
    return f"bits of the layers' weights, as --precision int4 stores them: {each}{unsure}"


def reshape(config: ModelConfig, *, mean_bits: float, **_: object) -> ModelConfig:
    config.edgebert_weight_bits = mean_bits
    return config


METHOD = Method(
    name="q-bert",
    title="Give each layer's weights the bits that the loss needs there",
    paper=Paper(
        "Q-BERT: Hessian Based Ultra Low Precision Quantization of BERT",
        "Shen, Dong, Ye, Ma, Yao, Gholami, Mahoney, Keutzer",
        2019,
        "1909.05840",
    ),
    stage="train",
    last=True,
    apply=apply,
    reshape=reshape,
    check=check,
    formats=("onnx",),
    params=(
        Param("mean_bits", float, 4.0, "bits of a weight of the layers on average, at most", minimum=2, maximum=8),
        Param("choices", tuple, BITS, "the bits that a layer may have"),
        Param("group", int, 32, "neighbouring weights of a row that share a scale", choices=GROUPS),
        Param("rows", int, 64, "training rows over which the Hessian is looked at", minimum=1),
        Param("iterations", int, 50, "steps of the power iteration, at most", minimum=2),
        EPOCHS, TEMPERATURE, HARD, REPLACE,
    ),
    answers=plain_answers,
    any_tokenizer=True,
    fixes_shape=True,
    toy={"mean_bits": 6.0, "rows": 16, "group": 16, "epochs": 1},
)  # fmt: skip
