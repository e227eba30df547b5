"""Checkpoints on disk and in memory: loading without trusting, saving so that transformers can load it again."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from edgebert.distributed import is_main
from edgebert.errors import TeacherError
from edgebert.modeling.config import labels_of, load_config, whole_text
from edgebert.modeling.heads import HEADS, MULTI_TASK, head_of
from edgebert.modeling.ragged import from_config, ragged_class
from edgebert.modeling.sentence import SentenceModules, check_alone, read_modules, step_weights
from edgebert.modeling.tokenizer import TOKENIZER, load_tokenizer, save_tokenizer
from edgebert.modeling.weights import (
    check_placed,
    check_sizes,
    check_weights,
    read_weights,
    unread_files,
    weight_files,
)
from edgebert.quantization import read_spec, write_spec
from edgebert.runtime.quiet import quiet
from edgebert.runtime.specs import INPUT_NAMES, TOKEN_TYPE_IDS
from edgebert.types import Student

__all__ = [  # the door to what lies in the modules beside this one
    "TOKENIZER", "check_weights", "labels_of", "load_config", "load_tokenizer", "save_tokenizer",
]  # fmt: skip

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import nn
    from transformers import PreTrainedModel

    from edgebert.modeling.config import ModelConfig

Read = TypeVar("Read")
TEACHER_IDS = "teacher_ids.json"  # beside a student whose vocabulary was trimmed


def load_model(
    folder: Path,
    auto_model: str,
    labels: Sequence[str] | None = None,
    *,
    settings: Mapping[str, object] | None = None,
    allow_pickle: bool = False,
    notes: list[str] | None = None,
) -> tuple[PreTrainedModel, bool]:
    """A model with the task's head, in eval mode, float32, on the CPU.

    Args:
        folder: a checkpoint folder.
        auto_model: name of transformers' Auto class for the task, or of ours.
        labels: the new head's labels; None keeps the checkpoint's.
        settings: attributes that a new head's config gets beside its labels.
        allow_pickle: read a pickle checkpoint where there is no safetensors file.
        notes: gets what was left out without harm.

    Returns:
        The model, and whether its head came from the checkpoint.

    Raises:
        TeacherError: pickle without leave, truncated weights, weights missing, of another shape, not numbers, or without
            a place in the model; an unknown family.
    """
    files = weight_files(folder, allow_pickle=allow_pickle)
    config = load_config(folder)
    check_sizes(config, files, folder)
    ours = auto_model == HEADS.get(MULTI_TASK).auto_model
    own = copy.deepcopy(config) if ours and hasattr(config, "edgebert_heads") else None
    modules = None
    if (ours or _is_bare(auto_model)) and not hasattr(config, "edgebert_pooling"):
        modules = read_modules(folder)
        _set(config, modules.settings if not ours else {"edgebert_pooling": modules.pooling})
    if labels is not None:
        set_labels(config, labels)
    _set(config, settings or {})
    description: list[str] = [*unread_files(folder), *(modules.notes if modules else ()), *_activation_notes(config)]
    if own is not None:
        model, whole = _load_own(folder, files, own, config)
    elif ours or (modules is not None and hasattr(config, "edgebert_heads")):
        model, whole = _with_our_head(
            folder, files, config, modules, ours=ours, allow_pickle=allow_pickle, notes=description
        )
    else:
        model, whole = _load_auto(folder, files, auto_model, config, fresh=labels is not None, notes=description)
    if notes is not None:
        notes += description
    return model, whole


def _activation_notes(config: ModelConfig) -> list[str]:
    """A cross-encoder of sentence-transformers puts a function after its logits, which the head does not have."""
    description = getattr(config, "sentence_transformers", None)
    name = description.get("activation_fn") if isinstance(description, dict) else None
    if not name or str(name).endswith("Identity"):
        return []
    return [f"the outputs are logits: sentence-transformers' CrossEncoder puts {str(name).split('.')[-1]} after them"]


def _set(config: ModelConfig, values: Mapping[str, object]) -> None:
    for name, value in values.items():
        setattr(config, name, value)


def _load_own(
    folder: Path, files: Sequence[Path], own: ModelConfig, wanted: ModelConfig
) -> tuple[PreTrainedModel, bool]:
    """A model with heads of ours, or its encoder with new ones where others are wanted."""
    from edgebert.modeling.headed import HeadedEncoder, load_headed

    model = _reading(folder, lambda: load_headed(files[0].parent, own))
    same = (own.edgebert_heads, own.id2label) == (wanted.edgebert_heads, wanted.id2label)
    return (model, True) if same else (HeadedEncoder(model.encoder, wanted).eval(), False)


def _with_our_head(
    folder: Path,
    files: Sequence[Path],
    config: ModelConfig,
    modules: SentenceModules | None,
    *,
    ours: bool,
    allow_pickle: bool,
    notes: list[str],
) -> tuple[PreTrainedModel, bool]:
    """An encoder of transformers with new heads of ours, or with the modules that make its vectors."""
    from edgebert.modeling.headed import HeadedEncoder

    encoder, _ = _load_auto(folder, files, "AutoModel", config, fresh=ours, notes=notes)
    if ours:
        if modules is not None and any(HEADS.get(head["kind"]).gives_vectors for head in config.edgebert_heads):
            check_alone(modules, folder)
        return HeadedEncoder(encoder, config).eval(), False
    assert modules is not None
    model = HeadedEncoder(encoder, config).eval()
    weights = step_weights(modules, allow_pickle=allow_pickle)
    head: Any = model.heads["head"]
    _reading(folder, lambda: head.steps.load_state_dict(weights))
    return model, True


def _reading(folder: Path, read: Callable[[], Read]) -> Read:
    try:
        with quiet("transformers"):
            return read()
    except TeacherError:
        raise
    except Exception as error:
        raise TeacherError(f"the checkpoint cannot be loaded: {whole_text(error)}", where=str(folder)) from None


def _load_auto(
    folder: Path, files: Sequence[Path], auto_model: str, config: ModelConfig, *, fresh: bool, notes: list[str]
) -> tuple[PreTrainedModel, bool]:
    """A model of transformers, and whether all of its weights came from the checkpoint."""
    import torch

    created = _class_of(auto_model, config, folder)

    def read() -> PreTrainedModel:
        return created.from_pretrained(
            None,  # weights are read by us: transformers would apply an adapter beside them where peft is installed
            config=config,
            state_dict=read_weights(files),
            dtype=torch.float32,
            attn_implementation="eager",  # attention probabilities can be read, and export stays plain
            ignore_mismatched_sizes=True,  # those are looked at below
            output_loading_info=True,
        )

    model, info = _reading(folder, read)
    head_is_ours = _check_found(model, info, folder, bare=_is_bare(auto_model), fresh=fresh, notes=notes)
    old_head = _old_head(config) if _is_bare(auto_model) and not fresh else ()
    notes += check_placed(
        info["unexpected_keys"],
        model,
        folder,
        own_head=head_is_ours and not fresh and not _is_bare(auto_model),
        old_head=old_head,
    )
    return model.eval(), head_is_ours


def _class_of(name: str, config: ModelConfig, folder: Path) -> type[PreTrainedModel]:
    """A class of transformers by its own name, or the family's by the name of an Auto class."""
    import transformers
    from transformers.models.auto.auto_factory import _get_model_class

    created = getattr(transformers, name, None)
    known = getattr(created, "_model_mapping", None)
    if created is None or (known is not None and type(config) not in known):
        what = f"transformers has no {name.removeprefix('Auto')} of the family {config.model_type}"
        raise TeacherError(what, where=str(folder))
    return ragged_class(created if known is None else _get_model_class(config, known), config)


def _check_found(
    model: PreTrainedModel, info: Mapping[str, Any], folder: Path, *, bare: bool, fresh: bool, notes: list[str]
) -> bool:
    """Whether the head came from the checkpoint whole. Raises TeacherError where the encoder did not, or the file holds
    what is no number."""
    import torch

    shapes = {str(name): (tuple(there), tuple(here)) for name, there, here in info["mismatched_keys"]}
    missing = {str(key) for key in info["missing_keys"]} | set(shapes)
    missing = {key for key in missing if not (bare and "pooler." in key)}
    base = f"{model.base_model_prefix}."
    lost = sorted(key for key in missing if (bare or key.startswith(base)) and "pooler." not in key)
    hint = "The file is cut short or belongs to another config.json."
    if lost:
        note = f"{len(lost)} weights of the encoder are missing or have another shape, the first is {lost[0]}"
        raise TeacherError(note + _shape(shapes, lost[0]), where=str(folder), hint=hint)
    for name, value in model.named_parameters():
        if name not in missing and not bool(torch.isfinite(value).all()):
            raise TeacherError(f"{name} holds values that are no numbers", where=str(folder), hint="Fetch it again.")
    head = {name for name, _ in model.named_parameters() if not name.startswith(base)}
    if missing and head - missing and not fresh:
        first = sorted(missing)[0]
        note = f"{len(missing)} weights of its own head are missing or have another shape, the first is {first}"
        raise TeacherError(note + _shape(shapes, first), where=str(folder), hint=hint)
    if shapes and not fresh:
        first = sorted(shapes)[0]
        raise TeacherError(f"{first} has another shape than config.json says{_shape(shapes, first)}", where=str(folder))
    return not missing


def _shape(shapes: Mapping[str, tuple[Sequence[int], Sequence[int]]], name: str) -> str:
    if name not in shapes:
        return ""
    there, here = ("x".join(map(str, shape)) for shape in shapes[name])
    return f": {there} in the file, {here} by config.json"


def _old_head(config: ModelConfig) -> tuple[str, ...]:
    """Patterns of the weights outside the encoder of the class that the config names: a head that nobody asked for."""
    import torch
    import transformers

    created = getattr(transformers, (config.architectures or [""])[0], None)
    if created is None or not hasattr(created, "base_model_prefix"):
        return ("-",)  # nothing: weights of a class that transformers does not have may belong to the vector
    with torch.device("meta"):
        names = {name for name, _ in created(copy.deepcopy(config)).named_parameters()}
    return tuple(name for name in names if not name.startswith(f"{created.base_model_prefix}.")) or ("-",)


def _is_bare(class_name: str) -> bool:
    """An encoder alone: its keys have no prefix, and its pooler is nobody's."""
    return head_of(class_name).of_states is not None


def build_model(config: ModelConfig, auto_model: str) -> PreTrainedModel:
    """The model of a config, with random weights in float32."""
    from edgebert.modeling.headed import build_headed

    if auto_model == HEADS.get(MULTI_TASK).auto_model:
        return build_headed(copy.deepcopy(config))
    return from_config(auto_model, config)


def set_labels(config: ModelConfig, labels: Sequence[str]) -> None:
    if not labels:
        return
    config.num_labels = len(labels)
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: i for i, label in enumerate(labels)}


def slice_head(model: PreTrainedModel, order: Sequence[int], labels: Sequence[str]) -> None:
    """Reorders a head so that output i is its old output order[i]. In place.

    Raises:
        TeacherError: no linear layer of the model gives one output a label.
    """
    import torch
    from torch import nn

    n_old = model.config.num_labels
    heads = [m for m in model.modules() if isinstance(m, nn.Linear) and m.out_features == n_old]
    if not heads:
        raise TeacherError(f"no linear head with {n_old} outputs in {type(model).__name__}")
    head, index = heads[-1], torch.tensor(list(order))
    head.weight = nn.Parameter(head.weight.detach()[index].clone())
    if head.bias is not None:
        head.bias = nn.Parameter(head.bias.detach()[index].clone())
    head.out_features = len(order)
    set_labels(model.config, labels)
    if ours := getattr(model.config, "edgebert_heads", None):
        model.config.edgebert_heads = [{**ours[0], "n_labels": len(order)}]
    model.num_labels = len(order)


def save_checkpoint(folder: Path, student: Student, tokenizer_from: Path) -> None:
    """Config, safetensors weights and the tokenizer, as transformers reads them.

    Args:
        folder: where to.
        student: the model and its tokenizer.
        tokenizer_from: the checkpoint folder whose tokenizer settings (special tokens, limits) still hold.
    """
    if not is_main():
        return
    with quiet("transformers"):
        student.model.save_pretrained(folder)
    save_tokenizer(folder, student.tokenizer, tokenizer_from)
    if student.teacher_ids is not None:
        (folder / TEACHER_IDS).write_text(json.dumps(list(student.teacher_ids)), encoding="utf-8")
    if student.quantization is not None:
        write_spec(folder, student.quantization)


def load_student(folder: Path) -> Student:
    """A student as `save_checkpoint` wrote it: its config names its class."""
    model, _ = load_model(folder, load_config(folder).architectures[0])
    ids = folder / TEACHER_IDS
    teacher_ids = tuple(json.loads(ids.read_text(encoding="utf-8"))) if ids.exists() else None
    return Student(model, load_tokenizer(folder), teacher_ids, quantization=read_spec(folder))


def copy_student(model: nn.Module, tokenizer: Tokenizer) -> Student:
    """A student that starts as its teacher and can change without touching it."""
    return Student(copy.deepcopy(model), tokenizer)


def give_head(student: Student, settings: Mapping[str, object]) -> Student:
    """The student with the heads that `settings` ask for beyond its teacher's: a sentence vector of its own width."""
    from edgebert.modeling.headed import HeadedEncoder

    wanted = settings.get("edgebert_heads")
    config = student.model.config
    if not wanted or getattr(config, "edgebert_heads", None) == wanted:
        return student
    config.edgebert_heads = wanted
    encoder = student.model.encoder if isinstance(student.model, HeadedEncoder) else student.model
    return replace(student, model=HeadedEncoder(encoder, config).eval())


def n_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def accepted(model: nn.Module, batch: Mapping[str, object]) -> dict[str, object]:
    """The inputs of `batch` that the model's forward takes (DistilBERT has no token types, for one)."""
    import inspect

    from edgebert.modeling.headed import HeadedEncoder

    model = model.encoder if isinstance(model, HeadedEncoder) else model
    names = inspect.signature(model.forward).parameters
    inputs = {name: batch[name] for name in INPUT_NAMES if name in names}
    if TOKEN_TYPE_IDS in inputs and getattr(model.config, "type_vocab_size", 2) < 2:
        del inputs[TOKEN_TYPE_IDS]  # RoBERTa has one type and its tokenizer may say 1
    return inputs
