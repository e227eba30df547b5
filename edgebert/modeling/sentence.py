"""What sentence-transformers computes after the encoder: modules.json read as a whole, or refused by the module's name.

Pooling in every mode, Dense, LayerNorm and Normalize are computed exactly (`edgebert.modeling.headed`). What a folder says
beyond that, such as a default prompt, is refused: `SentenceTransformer.encode` would give something else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebert.errors import TeacherError
from edgebert.modeling.folder import MODULES, encoder_folder, inner, read_json, read_object

if TYPE_CHECKING:
    from torch import Tensor

    from edgebert.modeling.config import ModelConfig

POOLINGS = ("mean", "cls", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
FLAGS = {  # before 5.4, in the order in which several are joined
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
ACTIVATIONS = ("Identity", "Tanh", "ReLU", "GELU", "Sigmoid", "SiLU", "ELU", "LeakyReLU", "Softplus", "Hardtanh")
SENTENCE_CONFIG = "config_sentence_transformers.json"
BARE_POOLING = Path("1_Pooling/config.json")
STATES = "last_hidden_state"
EMPTY = ("tokenizer_args", "processor_kwargs", "config_args", "config_kwargs", "processing_kwargs", "query_expansion")


@dataclass(frozen=True)
class SentenceModules:
    """What makes a vector of an encoder's states.

    Attributes:
        pooling: modes joined by +, whose vectors are joined in that order.
        steps: after it, in order: {"step": "dense", "width", "bias", "activation", "residual"}, {"step": "layer-norm"},
            {"step": "normalize"}.
        folders: of the weights of each step.
        max_length: tokens that are read of a text; None leaves it to the tokenizer and the encoder.
        notes: what was not needed.
    """

    pooling: str = "mean"
    steps: tuple[Mapping[str, Any], ...] = ({"step": "normalize"},)
    folders: tuple[Path, ...] = ()
    max_length: int | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def settings(self) -> dict[str, Any]:
        """Attributes of a config that say the same: `edgebert_heads` only where there is more than a length of 1."""
        normalized = [step["step"] for step in self.steps]
        results: dict[str, Any] = {"edgebert_pooling": self.pooling}
        if normalized in ([], ["normalize"]):
            return results | ({} if normalized else {"edgebert_normalize": False})
        head = {"name": "", "kind": "sentence-embedding", "steps": [dict(step) for step in self.steps]}
        return results | {"edgebert_heads": [head]}


def pooling_of(folder: Path, config: ModelConfig) -> str:
    """How heads of whole texts best read an encoder's states: as its own head of ours does, or as the modules of
    sentence-transformers pool them. "cls" where nothing is said, or more than a head can read."""
    for head in getattr(config, "edgebert_heads", None) or ():
        if "reads" in head:
            return str(head["reads"])
    try:
        pooling = read_modules(folder).pooling if (folder / MODULES).is_file() else "cls"
    except TeacherError:  # of what its vectors need beyond pooling, which a head of labels does not
        return "cls"
    return "cls" if "+" in pooling else pooling


def read_modules(folder: Path) -> SentenceModules:
    """Of a checkpoint without modules.json: the mean of its states, of length 1.

    Raises:
        TeacherError: a module or a setting whose effect cannot be kept, named.
    """
    path = folder / MODULES
    if not path.is_file():
        bare = folder / BARE_POOLING
        return SentenceModules(_pooling(read_object(bare), bare)) if bare.is_file() else SentenceModules()
    listed = read_json(path)
    encoder_folder(folder)  # raises where it is no list of modules
    kinds = [_kind(item, path) for item in listed]
    if kinds[0] != "Transformer":
        raise _refused(f"its first module is {kinds[0]}, no transformer", path)
    if "Pooling" not in kinds[1:2]:
        after = kinds[1] if len(kinds) > 1 else "nothing"
        raise _refused(f"{after} comes after the transformer, where a Pooling is expected", path)
    folders = [inner(folder, item.get("path", ""), path) for item in listed]
    notes = _check_prompts(folder)
    pooling = _pooling(read_object(folders[1] / "config.json"), folders[1] / "config.json")
    pairs = list(zip(kinds[2:], folders[2:], strict=True))
    created = [(_step(kind, place, path), place) for kind, place in pairs if kind != "Dropout"]
    return SentenceModules(
        pooling,
        tuple(step for step, _ in created),
        tuple(place for _, place in created),
        _transformer_length(folder),
        tuple(notes),
    )


def _kind(module: Any, path: Path) -> str:
    """The class of a module of sentence-transformers; its package has moved more than once."""
    name = module.get("type") if isinstance(module, dict) else None
    if not isinstance(name, str):
        raise TeacherError("it lists a module without a type", where=str(path))
    if not name.startswith("sentence_transformers."):
        raise _refused(f"{name} is code of the checkpoint's own", path)
    return name.split(".")[-1]


def _refused(what: str, where: Path) -> TeacherError:
    hint = "edgebert computes Transformer, Pooling, Dense, LayerNorm and Normalize of sentence-transformers."
    return TeacherError(what, where=str(where), hint=hint)


def _config_of(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    return read_object(path) if path.is_file() else {}


def _pooling(description: Mapping[str, Any], path: Path) -> str:
    """Modes joined by +, in the order in which sentence-transformers joins their vectors; mean where none is named."""
    named = description.get("pooling_mode")
    if named is None:
        named = [mode for flag, mode in FLAGS.items() if description.get(flag)] or ["mean"]
    modes = [named] if isinstance(named, str) else named
    if not isinstance(modes, list) or not modes or not all(mode in POOLINGS for mode in modes):
        raise TeacherError(f"pooling_mode is {named!r}", where=str(path), hint=f"Known: {', '.join(POOLINGS)}.")
    return "+".join(modes)


def _step(kind: str, folder: Path, path: Path) -> dict[str, Any]:
    description, where = _config_of(folder), folder / "config.json"
    for side in ("module_input_name", "module_output_name"):
        if description.get(side, "sentence_embedding") not in ("sentence_embedding", None):
            raise _refused(f"{kind} works on {description[side]}, not on the sentence's vector", where)
    if kind == "Normalize":
        return {"step": "normalize"}
    if kind == "LayerNorm":
        return {"step": "layer-norm"}
    if kind != "Dense":
        raise _refused(f"the module {kind} cannot be kept", path)
    name = str(description.get("activation_function", "torch.nn.modules.activation.Tanh"))
    activation = name.split(".")[-1]
    if not name.startswith("torch.nn.") or activation not in ACTIVATIONS:
        raise _refused(f"Dense has the activation {name}", where)
    width = description.get("out_features")
    if not isinstance(width, int) or isinstance(width, bool) or width < 1:
        raise TeacherError(f"out_features is {width!r}, not a count", where=str(where))
    bias, residual = bool(description.get("bias", True)), bool(description.get("use_residual", False))
    return {"step": "dense", "width": width, "bias": bias, "activation": activation, "residual": residual}


def _transformer_length(folder: Path) -> int | None:
    """max_seq_length of sentence_bert_config.json, once the rest of that file is known to change nothing."""
    paths = sorted({*encoder_folder(folder).glob("sentence_*_config.json"), *folder.glob("sentence_*_config.json")})
    length = None
    for path in paths:
        description = read_object(path)
        if changed := [name for name in EMPTY if description.get(name)]:
            raise _refused(f"{changed[0]} is {description[changed[0]]!r}, whose effect cannot be kept", path)
        task = description.get("transformer_task", "feature-extraction")
        if task != "feature-extraction":
            raise _refused(f"transformer_task is {task!r}", path)
        text = (description.get("modality_config") or {}).get("text") or {}
        if (text.get("method", "forward"), text.get("method_output_name", STATES)) != ("forward", STATES):
            raise _refused(f"its transformer gives {text.get('method_output_name')} of {text.get('method')}", path)
        given = description.get("max_seq_length")
        if given is not None and (not isinstance(given, int) or isinstance(given, bool) or given < 1):
            raise TeacherError(f"max_seq_length is {given!r}, not a count", where=str(path))
        length = given if length is None else length
    return length


def _check_prompts(folder: Path) -> list[str]:
    """encode() puts the default prompt before every text: refused, as a bundle would not. Others are asked for by name."""
    path = folder / SENTENCE_CONFIG
    description = read_object(path) if path.is_file() else {}
    kind = description.get("model_type") or "SentenceTransformer"
    if kind != "SentenceTransformer":
        raise _refused(f"this is a {kind}, which gives no single vector of a text", path)
    prompts, default = description.get("prompts") or {}, description.get("default_prompt_name")
    if not isinstance(prompts, dict) or (default is not None and default not in prompts):
        raise TeacherError(f"default_prompt_name is {default!r}, which prompts does not hold", where=str(path))
    if default is not None and prompts[default]:
        hint = "Set default_prompt_name to null there, and begin your texts with the prompt."
        what = f"encode() begins every text with the prompt {prompts[default]!r} ('{default}'), which edgebert does not"
        raise TeacherError(what, where=str(path), hint=hint)
    named = [name for name, text in prompts.items() if text]
    notes = (
        [f"the prompts {', '.join(named)} are not put before texts: encode() does so only where asked"] if named else []
    )
    similarity = description.get("similarity_fn_name")
    if similarity not in (None, "cosine"):
        notes.append(f"similarity is measured by the cosine, where the checkpoint says {similarity}")
    return notes


def step_weights(modules: SentenceModules, *, allow_pickle: bool) -> dict[str, Tensor]:
    """The weights of all steps, by the names that they have in `edgebert.modeling.headed`: "0.linear.weight"."""
    from edgebert.modeling.weights import read_weights, weight_files

    results: dict[str, Any] = {}
    for i, (step, folder) in enumerate(zip(modules.steps, modules.folders, strict=True)):
        if step["step"] != "normalize":
            weights = read_weights(weight_files(folder, allow_pickle=allow_pickle))
            results |= {f"{i}.{name}": value for name, value in weights.items()}
    return results


def check_alone(modules: SentenceModules, where: Path) -> None:
    """Raises TeacherError where a vector needs layers of its own, for a model that is to have other heads too."""
    kinds: Sequence[str] = [str(step["step"]) for step in modules.steps if step["step"] != "normalize"]
    if kinds:
        raise _refused(f"its {kinds[0]} module cannot stand beside other heads", where / MODULES)
