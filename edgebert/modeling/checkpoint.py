"""Checkpoints on disk and in memory: loading without trusting, saving so that transformers can load it again."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebert.distributed import is_main
from edgebert.errors import TeacherError, first_line
from edgebert.modeling.heads import HEADS, SEVERAL, head_of, pooling_of
from edgebert.types import Student

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tokenizers import Tokenizer
    from torch import nn

TOKENIZER = "tokenizer.json"
TOKENIZER_SIDE_FILES = ("tokenizer_config.json", "special_tokens_map.json")
TEACHER_IDS = "teacher_ids.json"  # beside a student whose vocabulary was trimmed


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps transformers' load reports and bars off the user's terminal; what matters is checked and raised."""
    import transformers

    verbosity = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(verbosity)


def load_config(folder: Path) -> Any:
    """The transformers config of a checkpoint folder. Never runs code that the checkpoint carries."""
    from transformers import AutoConfig

    from edgebert.modeling.families import families

    families()  # so that AutoConfig knows ours
    try:
        json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except FileNotFoundError:
        raise TeacherError(
            "no config.json: this is not a checkpoint", where=str(folder), hint="Save one with save_pretrained()."
        ) from None
    except (OSError, ValueError, KeyError) as error:
        raise TeacherError(f"config.json cannot be used: {first_line(error)}", where=str(folder)) from None


def load_tokenizer(folder: Path) -> Tokenizer:
    """The checkpoint's fast tokenizer. Raises TeacherError where there is none."""
    from tokenizers import Tokenizer

    path = folder / TOKENIZER
    try:
        if path.exists():
            tokenizer = Tokenizer.from_file(str(path))
        else:
            from transformers import AutoTokenizer

            with quiet():
                loaded = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
            tokenizer = loaded.backend_tokenizer
        tokenizer.no_padding()  # a checkpoint may carry both, and both would be silent: rows are windowed, not cut
        tokenizer.no_truncation()
        return tokenizer
    except Exception as error:
        raise TeacherError(
            f"the tokenizer cannot be read: {first_line(error)}",
            where=str(path),
            hint="edgebert needs a fast tokenizer (tokenizer.json).",
        ) from None


def load_model(
    folder: Path,
    auto_model: str,
    labels: Sequence[str] | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    allow_pickle: bool = False,
) -> tuple[Any, bool]:
    """A model with the task's head, in eval mode, float32, on the CPU.

    Args:
        folder: a checkpoint folder.
        auto_model: name of transformers' Auto class for the task, or of ours.
        labels: the new head's labels; None keeps the checkpoint's.
        settings: attributes that a new head's config gets beside its labels.
        allow_pickle: read a pickle checkpoint where there is no safetensors file.

    Returns:
        The model, and whether its head came from the checkpoint.

    Raises:
        TeacherError: pickle without leave, truncated weights, missing encoder weights, an unknown family.
    """
    weights = check_weights(folder, allow_pickle=allow_pickle)
    config = load_config(folder)
    ours = auto_model == HEADS[SEVERAL].auto_model
    if (ours or _is_bare(auto_model)) and not hasattr(config, "edgebert_pooling"):
        config.edgebert_pooling = pooling_of(folder)
    own = load_config(folder) if ours and hasattr(config, "edgebert_heads") else None
    if labels is not None:
        set_labels(config, labels)
    for name, value in (settings or {}).items():
        setattr(config, name, value)
    if not ours:
        return _load_auto(folder, auto_model, config, weights, fresh=labels is not None)
    from edgebert.modeling.headed import HeadedEncoder, load_headed

    if own is None:
        encoder, _ = _load_auto(folder, "AutoModel", config, weights, fresh=True)
        return HeadedEncoder(encoder, config).eval(), False
    model = _reading(folder, lambda: load_headed(folder, own))
    same = (own.edgebert_heads, own.id2label) == (config.edgebert_heads, config.id2label)
    return (model, True) if same else (HeadedEncoder(model.encoder, config).eval(), False)


def _reading(folder: Path, read: Callable[[], Any]) -> Any:
    try:
        with quiet():
            return read()
    except Exception as error:
        raise TeacherError(f"the checkpoint cannot be loaded: {first_line(error)}", where=str(folder)) from None


def _load_auto(folder: Path, auto_model: str, config: Any, weights: Path, *, fresh: bool) -> tuple[Any, bool]:
    """A model of transformers, and whether all of its weights came from the checkpoint."""
    import torch
    import transformers

    def read() -> Any:
        return getattr(transformers, auto_model).from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            use_safetensors=weights.suffix == ".safetensors",
            trust_remote_code=False,
            local_files_only=True,
            attn_implementation="eager",  # attention probabilities can be read, and export stays plain
            ignore_mismatched_sizes=fresh,
            output_loading_info=True,
        )

    model, info = _reading(folder, read)
    missing = {str(key) for key in info["missing_keys"]} | {str(item[0]) for item in info["mismatched_keys"]}
    base = model.base_model_prefix
    bare = _is_bare(auto_model)
    lost = sorted(key for key in missing if (bare or key.startswith(f"{base}.")) and "pooler." not in key)
    if lost:
        raise TeacherError(
            f"{len(lost)} weights of the encoder are missing or have another shape, the first is {lost[0]}",
            where=str(folder),
            hint="The file is cut short or belongs to another config.json.",
        )
    return model.eval(), not {key for key in missing if not (bare and "pooler." in key)}


def _is_bare(class_name: str) -> bool:
    """An encoder alone: its keys have no prefix, and its pooler is nobody's."""
    return head_of(class_name).name == "sentence-embedding"


def build_model(config: Any, auto_model: str) -> Any:
    """The model of a config, with random weights."""
    import transformers

    from edgebert.modeling.headed import build_headed

    if auto_model == HEADS[SEVERAL].auto_model:
        return build_headed(copy.deepcopy(config))
    return getattr(transformers, auto_model).from_config(config, attn_implementation="eager")


def check_weights(folder: Path, *, allow_pickle: bool = False) -> Path:
    """The first weights file of a checkpoint, after its header and length were checked.

    Raises:
        TeacherError: no weights, a truncated safetensors file, or pickle without `allow_pickle`.
    """
    from safetensors import SafetensorError, safe_open

    files = sorted(folder.glob("*.safetensors"))
    for path in files:
        try:
            with safe_open(path, framework="np"):
                pass
        except (SafetensorError, OSError) as error:
            raise TeacherError(
                f"the weights are damaged or cut short: {error}", where=str(path), hint="Fetch the file again."
            ) from None
    pickles = sorted(folder.glob("pytorch_model*.bin"))
    if files:
        return files[0]
    if pickles and allow_pickle:
        return pickles[0]
    if pickles:
        raise TeacherError(
            "the checkpoint is a pickle, which can run code when it is read",
            where=str(pickles[0]),
            hint="Convert it to safetensors, or pass --allow-pickle if you trust its author.",
        )
    raise TeacherError("no model.safetensors in this folder", where=str(folder), hint="Save with save_pretrained().")


def set_labels(config: Any, labels: Sequence[str]) -> None:
    if not labels:
        return
    config.num_labels = len(labels)
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: i for i, label in enumerate(labels)}


def slice_head(model: Any, order: Sequence[int], labels: Sequence[str]) -> None:
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
    model.num_labels = len(order)


def save_checkpoint(folder: Path, student: Student, tokenizer_from: Path) -> None:
    """Config, safetensors weights, tokenizer.json and its side files, as transformers reads them.

    Args:
        folder: where to.
        student: the model and its tokenizer.
        tokenizer_from: the checkpoint folder whose tokenizer settings (casing, special tokens) still hold.
    """
    if not is_main():
        return
    with quiet():
        student.model.save_pretrained(folder)
    student.tokenizer.save(str(folder / TOKENIZER))
    for name in TOKENIZER_SIDE_FILES:
        if (tokenizer_from / name).exists() and tokenizer_from != folder:
            shutil.copyfile(tokenizer_from / name, folder / name)
    if student.teacher_ids is not None:
        (folder / TEACHER_IDS).write_text(json.dumps(list(student.teacher_ids)), encoding="utf-8")


def load_student(folder: Path) -> Student:
    """A student as `save_checkpoint` wrote it: its config names its class."""
    model, _ = load_model(folder, load_config(folder).architectures[0])
    ids = folder / TEACHER_IDS
    teacher_ids = tuple(json.loads(ids.read_text(encoding="utf-8"))) if ids.exists() else None
    return Student(model, load_tokenizer(folder), teacher_ids)


def copy_student(model: nn.Module, tokenizer: Tokenizer) -> Student:
    """A student that starts as its teacher and can change without touching it."""
    return Student(copy.deepcopy(model), tokenizer)


def give_head(student: Student, settings: Mapping[str, Any]) -> Student:
    """The student with the heads that `settings` ask for beyond its teacher's: a sentence vector of its own width."""
    from edgebert.modeling.headed import HeadedEncoder

    wanted = settings.get("edgebert_heads")
    if not wanted or isinstance(student.model, HeadedEncoder):
        return student
    config = student.model.config
    config.edgebert_heads = wanted
    return replace(student, model=HeadedEncoder(student.model, config).eval())


def n_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def accepted(model: nn.Module, batch: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs of `batch` that the model's forward takes (DistilBERT has no token types, for one)."""
    import inspect

    from edgebert.modeling.headed import HeadedEncoder

    model = model.encoder if isinstance(model, HeadedEncoder) else model
    names = inspect.signature(model.forward).parameters
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids") if name in names}
    if "token_type_ids" in inputs and getattr(model.config, "type_vocab_size", 2) < 2:
        del inputs["token_type_ids"]  # RoBERTa has one type and its tokenizer may say 1
    return inputs
