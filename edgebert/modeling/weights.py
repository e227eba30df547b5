"""Weights on disk: which files hold them, whether those are whole, and what of them a model has no place for."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatch
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from edgebert.errors import TeacherError, first_line
from edgebert.modeling.folder import (
    ADAPTER,
    ADAPTER_WEIGHTS,
    encoder_folder,
    inner,
    is_pointer,
    no_weights,
    pointer,
    read_json,
)

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from edgebert.modeling.config import ModelConfig

SAFE, PICKLE = "model.safetensors", "pytorch_model.bin"
# Heads of pretraining, and buffers that a config gives anyway: a fine-tuned model computes the same without them.
PRETRAINING = (
    "cls.*", "lm_head.*", "lm_predictions.*", "mask_predictions.*", "lm_loss.*", "predictions.*", "generator_predictions.*",
    "generator_lm_head.*", "discriminator_predictions.*", "sop_classifier.*", "nsp_*", "vocab_transform.*",
    "vocab_layer_norm.*", "vocab_projector.*", "decoder.bias", "decoder.weight", "mlm_head.*", "mlm.*",
)  # fmt: skip
BUFFERS = (
    "*position_ids",
    "*token_type_ids",
    "*inv_freq",
    "*relative_position_index",
    "loss.*",
    "loss_f*",
    "criterion.*",
)
SMALL = 1 << 24  # numbers more than are stored that a model may ask for: new heads, tables that a family computes
DEEPEST = 1024  # layers
POOLER = ("pooler.*", "*.pooler.*")


def check_weights(folder: Path, *, allow_pickle: bool = False) -> Path:
    """The first of `weight_files`."""
    return weight_files(folder, allow_pickle=allow_pickle)[0]


def weight_files(folder: Path, *, allow_pickle: bool = False) -> list[Path]:
    """The files of a checkpoint's weights, as transformers takes them, after headers and lengths were checked.

    Raises:
        TeacherError: no weights, a file of the list missing or truncated, or pickle without `allow_pickle`.
    """
    folder = encoder_folder(folder)
    for name in (SAFE, PICKLE):
        single, index = folder / name, folder / f"{name}.index.json"
        if not single.exists() and not index.exists():
            continue
        if name == PICKLE and not allow_pickle:
            raise TeacherError(
                "the checkpoint is a pickle, which can run code when it is read",
                where=str(single if single.exists() else index),
                hint="Convert it to safetensors, or pass --allow-pickle if you trust its author.",
            )
        shards = {} if single.exists() else _shards(index)
        files = sorted(shards) or [single]
        for path in files:
            names = _header(path)
            if lost := sorted(shards.get(path, set()) - names if names else ()):
                raise TeacherError(f"{path.name} lacks {lost[0]}, which the list promises", where=str(index))
        return files
    raise no_weights(folder)


def check_sizes(config: ModelConfig, files: Sequence[Path], folder: Path) -> None:
    """Raises TeacherError where config.json asks for a model far larger than the weights that are there: it would be built,
    out of memory or for hours, before the first weight is missed. A pickle's sizes are not known before it is read."""
    shapes = [shape for path in files for shape in _shapes(path)]
    if not shapes or config.model_type == "xlnet":  # whose own names these are not
        return
    stored, largest = sum(math.prod(shape) for shape in shapes), max(max(shape, default=1) for shape in shapes)
    width, depth = config.hidden_size, config.num_hidden_layers
    own = {
        name: getattr(config, name, 0) or 0
        for name in ("intermediate_size", "max_position_embeddings", "type_vocab_size")
    }
    asked = [
        ("vocab_size", config.vocab_size, max(largest, SMALL // max(1, width))),
        ("hidden_size", width * width, stored + SMALL),
        ("num_hidden_layers", depth, DEEPEST),
        ("num_hidden_layers", depth * width * width if config.model_type != "albert" else 0, stored + SMALL),
        *((name, width * value, stored + SMALL) for name, value in own.items()),
    ]
    if name := next((name for name, wanted, most in asked if wanted > most), None):
        what = f"{name} is {getattr(config, name):,}, and the weights hold {stored:,} numbers in {len(shapes)} tensors"
        raise TeacherError(what, where=str(folder / "config.json"), hint="Are config and weights of one model?")


def _shapes(path: Path) -> list[tuple[int, ...]]:
    from safetensors import safe_open

    if path.suffix != ".safetensors":
        return []
    with safe_open(path, framework="np") as file:
        return [tuple(file.get_slice(name).get_shape()) for name in file.keys()]  # noqa: SIM118 - it is no dict


def _shards(index: Path) -> dict[Path, set[str]]:
    """The files that a list of shards names, and the weights that each should hold."""
    description = read_json(index)
    table = description.get("weight_map") if isinstance(description, dict) else None
    if not isinstance(table, dict) or not table:
        raise TeacherError("it holds no weight_map", where=str(index), hint="Fetch the file again.")
    shards: dict[Path, set[str]] = {}
    for weight, file in table.items():
        shards.setdefault(inner(index.parent, file, index), set()).add(weight)
    if lost := sorted(path.name for path in shards if not path.is_file()):
        what = f"{len(lost)} of its {len(shards)} files are missing, the first is {lost[0]}"
        raise TeacherError(what, where=str(index), hint="Fetch the rest of the checkpoint.")
    return shards


def _header(path: Path) -> set[str]:
    """The names in a safetensors file, whose length is checked on the way; nothing of a pickle."""
    from safetensors import SafetensorError, safe_open

    try:
        if is_pointer(path):
            raise pointer(path)
        if path.suffix != ".safetensors":
            return set()
        with safe_open(path, framework="np") as file:
            return set(file.keys())
    except (SafetensorError, OSError) as error:
        raise TeacherError(
            f"the weights are damaged or cut short: {error}", where=str(path), hint="Fetch the file again."
        ) from None


def read_weights(files: Sequence[Path]) -> dict[str, Tensor]:
    """All weights by name. Pickles are read without running code of theirs."""
    import torch
    from safetensors.torch import load_file

    results: dict[str, Tensor] = {}
    for path in files:
        if path.suffix == ".safetensors":
            results |= load_file(path)
            continue
        try:
            given = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # UnpicklingError, RuntimeError of a damaged archive, EOFError, …
            refused = re.search(r"Unsupported \w+: (GLOBAL )?([\w.]+)", str(error))
            what = f"it holds more than weights: {refused[2]}" if refused else f"it cannot be read: {first_line(error)}"
            raise TeacherError(
                what, where=str(path), hint="edgebert reads tables of weights, and runs no code."
            ) from None
        for outer in ("state_dict", "model_state_dict"):
            given = given.get(outer, given) if isinstance(given, Mapping) else given
        if not isinstance(given, Mapping) or not all(isinstance(item, torch.Tensor) for item in given.values()):
            raise TeacherError("it holds something else than a table of weights", where=str(path))
        results |= given
    return results


def unread_files(folder: Path) -> list[str]:
    """Notes on files beside the weights that change what other tools compute, and that are not read."""
    encoder = encoder_folder(folder)
    notes = []
    adapters = [name for name in (ADAPTER, *ADAPTER_WEIGHTS) if (encoder / name).exists()]
    if adapters:
        notes.append(
            f"the adapter beside the weights ({', '.join(adapters)}) is not applied: the weights are read as they are"
        )
    notes += [
        f"{name} is not read: the encoder alone is"
        for name in ("model_head.pkl", "crf.bin")
        if (folder / name).exists()
    ]
    return notes


# ---------------------------------------------------------------- what a model has no place for


def check_placed(
    unplaced: Iterable[str], model: PreTrainedModel, folder: Path, *, own_head: bool, old_head: Iterable[str] = ()
) -> list[str]:
    """Notes on weights that are left out without harm.

    Args:
        unplaced: names in the file that the model has no module for.
        own_head: the checkpoint's head is used; otherwise what lies outside its encoder is a head that is thrown away.
        old_head: patterns of weights that belong to a head which nobody asked for.

    Raises:
        TeacherError: weights that the checkpoint's model computes with and this one does not.
    """
    encoder = getattr(model, model.base_model_prefix, model)
    prefix, inside = f"{model.base_model_prefix}.", tuple(f"{name}." for name, _ in encoder.named_children())
    lost, unused, harmless = [], [], []
    for name in sorted(unplaced):
        bare = name.removeprefix(prefix)
        if _like(name, BUFFERS):
            continue
        if _like(bare, (*PRETRAINING, *POOLER)):
            harmless.append(name)
        elif name.startswith(prefix) or bare.startswith(inside) or own_head or (old_head and not _like(name, old_head)):
            lost.append(name)
        else:
            unused.append(name)
    if lost:
        raise _unplaced(lost, model, folder)
    notes = [f"left out, as no head of a fine-tuned model needs it: {groups(harmless)}"] if harmless else []
    return notes + ([f"the checkpoint's own head is not used: {groups(unused)}"] if unused else [])


def _unplaced(lost: list[str], model: PreTrainedModel, folder: Path) -> TeacherError:
    depth, kept = getattr(model.config, "num_hidden_layers", None), type(model).__name__
    what = f"{kept} has no place for these weights, and would compute something else without them: {groups(lost)}"
    numbers = [int(part) for name in lost for part in name.split(".") if part.isdigit()]
    hint = (
        f"To go on without them, write a checkpoint that has none: transformers' {kept}.from_pretrained(FOLDER)"
        ".save_pretrained(DIR), and the tokenizer too."
    )
    if isinstance(depth, int) and numbers and min(numbers) >= depth:
        hint = f"num_hidden_layers in config.json is {depth}; the weights are of {max(numbers) + 1} layers."
    return TeacherError(what, where=str(folder), hint=hint)


def groups(names: Sequence[str]) -> str:
    """Names of weights by what they begin with, counted: "crf (3), bert.encoder.layer.1 (16)"."""
    results = [(key, len(list(group))) for key, group in groupby(sorted(names), key=_stem)]
    message = ", ".join(f"{name} ({n})" for name, n in results[:4])
    return f"{message} and {len(results) - 4} more" if len(results) > 4 else message


def _stem(name: str) -> str:
    """Up to the number of a layer, else the first part, or two where that is a family's own prefix."""
    parts = name.split(".")
    number = next((i for i, part in enumerate(parts) if part.isdigit()), None)
    return ".".join(parts[: number + 1]) if number is not None else ".".join(parts[: max(1, min(2, len(parts) - 1))])


def _like(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)
