"""config.json of a checkpoint: its fields are checked before transformers makes a model of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from edgebert.errors import TeacherError, control_in
from edgebert.modeling.folder import check_file, encoder_folder, no_checkpoint
from edgebert.modeling.heads import HEADS, MULTI_TASK
from edgebert.runtime.quiet import quiet

CONFIG = "config.json"
COUNTS = (  # fields that count something, where a family has them
    "vocab_size", "hidden_size", "embedding_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
    "max_position_embeddings",
)  # fmt: skip
ACTIVATIONS = ("hidden_act", "hidden_activation", "activation", "classifier_activation")
PROBLEMS = (None, "regression", "single_label_classification", "multi_label_classification")


class ModelConfig(Protocol):
    """What we read of a `transformers.PreTrainedConfig`. Named are the fields that every family of ours has; those that a
    family has of its own are read and set as attributes too.

    Attributes:
        model_type: the family: "bert".
        architectures: names of the model's class; of a model of ours the file names none, and this says ours.
        id2label: the label of each output.
        problem_type: of PROBLEMS.
    """

    model_type: str
    architectures: list[str]
    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    pad_token_id: int | None
    id2label: dict[int, str]
    num_labels: int
    problem_type: str | None

    def __getattr__(self, name: str, /) -> Any: ...

    def __setattr__(self, name: str, value: Any, /) -> None: ...

    def to_dict(self) -> dict[str, object]:
        """Every field by its name."""

    def save_pretrained(self, save_directory: Path) -> None:
        """Writes config.json into a folder."""


def whole_text(error: object) -> str:
    """An exception's text on one line, with its type where the text is a bare name."""
    text = " ".join(str(error).split())
    return text if " " in text else f"{type(error).__name__} {text}".strip()


def load_config(folder: Path) -> ModelConfig:
    """The transformers config of a checkpoint folder, for weights in float32. Never runs code of the checkpoint.

    Raises:
        TeacherError: no config.json, a family that transformers does not know, or a field that cannot be.
    """
    import torch
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    from edgebert.modeling.families import families

    families()  # so that transformers knows ours
    path = encoder_folder(folder) / CONFIG
    given = _read(path)
    family = given.get("model_type")
    if not isinstance(family, str) or family not in CONFIG_MAPPING:
        raise _unknown_family(given, path)
    labels = _labels(given, path)
    if given.get("quantization_config"):
        method = given["quantization_config"]
        method = method.get("quant_method") if isinstance(method, Mapping) else method
        raise _wrong(
            f"the weights are quantized ({method})", path, "Give the checkpoint in float32, float16 or bfloat16."
        )
    try:
        with quiet("transformers"):
            config = CONFIG_MAPPING[family].from_dict(given | ({"id2label": labels} if labels else {}))
    except Exception as error:  # each family validates its fields in its own way
        raise _wrong(whole_text(error), path) from None
    _check_fields(config, path)
    if not config.architectures and hasattr(config, "edgebert_heads"):  # as `HeadedEncoder` saves it
        config.architectures = [HEADS.get(MULTI_TASK).auto_model]
    config.dtype = torch.float32  # whatever the weights were stored in: transformers builds models in it
    return config


def labels_of(config: ModelConfig, where: Path | str = CONFIG) -> tuple[str, ...]:
    """The label of each output of a config's head. Raises TeacherError where two have one name."""
    labels = tuple(config.id2label[i] for i in range(config.num_labels))
    if twice := next((label for label in labels if labels.count(label) > 1), None):
        raise TeacherError(f"two outputs are called '{twice}'", where=str(where), hint="Name them apart in id2label.")
    return labels


def _wrong(what: str, path: Path, hint: str | None = None) -> TeacherError:
    return TeacherError(f"config.json cannot be used: {what}", where=str(path.parent), hint=hint)


def _read(path: Path) -> dict[str, object]:
    try:
        check_file(path)
        given = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise no_checkpoint(path.parent) from None
    except (OSError, ValueError, RecursionError) as error:
        raise _wrong(whole_text(error), path) from None
    if not isinstance(given, dict):
        raise _wrong(f"it holds {type(given).__name__}, not an object of fields", path)
    names = given.get("architectures")
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        hint = 'It is a list with the name of the model\'s class: ["BertForTokenClassification"].'
        raise _wrong(f"architectures is {names!r}", path, hint)
    return given


def _unknown_family(given: Mapping[str, object], path: Path) -> TeacherError:
    family = given.get("model_type")
    if family is None:
        return _wrong("it names no model_type", path, 'Add the family that it is of, such as "model_type": "bert".')
    if given.get("auto_map"):
        hint = "edgebert runs no code of a checkpoint. Choose one of a family that transformers itself has."
        return _wrong(f"model_type {family!r} needs the code that the checkpoint brings along", path, hint)
    return _wrong(
        f"transformers has no model_type {family!r}", path, "Is it misspelt, or newer than transformers here?"
    )


def _labels(given: Mapping[str, object], path: Path) -> dict[int, str] | None:
    """id2label, one text for each output from 0 on; None where the config names none."""
    named = given.get("id2label")
    if not named:
        return None
    if isinstance(named, list):
        named = dict(enumerate(named))
    if not isinstance(named, Mapping):
        raise _wrong(f"id2label is {named!r}", path, 'It maps numbers to labels: {"0": "no", "1": "yes"}.')
    try:
        labels = {int(key): _as_text(value) for key, value in named.items()}
    except (TypeError, ValueError):
        raise _wrong(
            f"id2label is {named!r}"[:200], path, 'It maps numbers to labels: {"0": "no", "1": "yes"}.'
        ) from None
    if label := control_in(labels.values()):
        raise _wrong(f"the label '{label}' holds a control character", path, "Rename it in id2label and label2id.")
    if sorted(labels) != list(range(len(labels))):
        numbers = ", ".join(map(str, sorted(labels)))
        what = f"id2label names the outputs {numbers}, which are counted from 0 to {len(labels) - 1}"
        raise _wrong(what, path, "Which label does each output have? Write it there, from 0 on.")
    counted = given.get("num_labels")
    if counted is not None and counted != len(labels):
        raise _wrong(f"num_labels is {counted!r}, and id2label names {len(labels)}", path, "Make them agree.")
    _check_turned_round(labels, given.get("label2id"), path)
    return dict(sorted(labels.items()))


def _check_turned_round(labels: Mapping[int, str], numbers: object, path: Path) -> None:
    """label2id may be absent or transformers' default; where it names the same labels, it must not contradict."""
    if not isinstance(numbers, Mapping) or set(map(str, numbers)) != set(labels.values()):
        return
    for number, label in labels.items():
        if str(numbers.get(label)) != str(number) and list(labels.values()).count(label) == 1:
            what = f"id2label calls output {number} '{label}', label2id says that '{label}' is {numbers.get(label)}"
            raise _wrong(what, path, "Make them agree.")


def _as_text(value: object) -> str:
    """A label as text: 1 and 1.0 are "1". Raises ValueError for what is no label."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float) and float(value).is_integer():
        return str(int(value))
    if isinstance(value, str) and value.strip():
        return value
    raise ValueError(value)


def _check_fields(config: ModelConfig, path: Path) -> None:
    from transformers.activations import ACT2FN

    for name in COUNTS:
        try:
            value = getattr(config, name, None)
        except NotImplementedError:  # XLNet has no limit of positions and says so
            continue
        least = -1 if name == "max_position_embeddings" else 1  # -1 and 0: no limit
        if name == "num_hidden_layers" and config.model_type == "static":
            least = 0
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
            raise _wrong(f"{name} is {value!r}, not a count", path)
    for name in ACTIVATIONS:
        value = getattr(config, name, None)
        if isinstance(value, str) and value not in ACT2FN:
            raise _wrong(f"{name} is {value!r}, which transformers does not have", path)
    pad = config.pad_token_id
    if pad is not None and not (isinstance(pad, int) and 0 <= pad < config.vocab_size):
        raise _wrong(f"pad_token_id is {pad!r}, outside the {config.vocab_size} tokens of the word table", path)
    if config.problem_type not in PROBLEMS:
        known = ", ".join(str(problem) for problem in PROBLEMS[1:])
        raise _wrong(f"problem_type is {config.problem_type!r}", path, f"Known: {known}.")
