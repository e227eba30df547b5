"""A student of another shape or family: its config from the teacher's, and what of the teacher's weights fits into it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgebert.errors import RequestError
from edgebert.modeling.heads import HEADS, MULTI_TASK, Head, head_of
from edgebert.types import Student

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from edgebert.modeling.config import ModelConfig

CARRIED = (  # what a config says of the vocabulary, the task and our heads, in every family
    "vocab_size", "pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id", "mask_token_id",
    "num_labels", "id2label", "label2id", "problem_type", "edgebert_heads", "edgebert_pooling",
    "edgebert_normalize",
)  # fmt: skip
PLACES = 512  # rows of a new table of positions, where the teacher has none and reads thousands of tokens
SHIFTED = (  # RoBERTa and those that count positions as it does, from after the padding id
    "roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "roberta-prelayernorm", "data2vec-text", "ibert", "longformer",
    "luke", "xmod",
)  # fmt: skip


def config_like(config: ModelConfig, family: str, **sizes: object) -> ModelConfig:
    """The config of another family for the same vocabulary and task.

    Args:
        config: the teacher's, or what earlier methods made of it; its first architecture names its head.
        family: a model_type of transformers, or of `edgebert.modeling.families`.
        sizes: what is told to the family.
    """
    from transformers import AutoConfig

    from edgebert.modeling.families import families
    from edgebert.modeling.graph import position_limit

    own = families().get(family)
    known = {name: getattr(config, name) for name in CARRIED if getattr(config, name, None) is not None}
    known.setdefault("pad_token_id", 0)
    limit = position_limit(config)
    if own is None and getattr(config, "rope_parameters", None) is not None:
        limit = min(limit, PLACES)
    wanted = {**known, "max_position_embeddings": limit, "type_vocab_size": 2, **sizes}
    created = AutoConfig.for_model(family, **wanted)
    kind = head_of((config.architectures or [""])[0])
    if own is not None and kind.name != MULTI_TASK:  # transformers has no class of this family with a head
        created.edgebert_heads = [head_settings(config, kind.name)]
        kind = HEADS.get(MULTI_TASK)
    created.architectures = [kind.auto_model if kind.name == MULTI_TASK else f"Some{kind.mark}"]
    return created


def read_pooled(config: ModelConfig, reads: str) -> ModelConfig:
    """Lets heads of whole texts read the states of all tokens: a sequence head pooled in this mode, a vector as their mean.

    For an encoder whose first state has not read the text. In place; a list of heads that is the teacher's stays as it is.
    """
    config.edgebert_pooling = "mean"
    config.edgebert_heads = [{**head, **_reading(HEADS.get(head["kind"]), reads)} for head in config.edgebert_heads]
    return config


def _reading(head: Head, reads: str) -> dict[str, str]:
    """What `edgebert_heads` says of how a head of this kind reads the states, where it answers whole texts."""
    if head.per_token:
        return {}
    return {"pooling": "mean"} if head.gives_vectors else {"reads": reads}


def head_settings(config: ModelConfig, kind: str) -> dict[str, object]:
    """A single head as `edgebert_heads` has it."""
    results: dict[str, Any] = {"name": "", "kind": kind}
    head = HEADS.get(kind)
    if head.has_labels:
        results["n_labels"] = config.num_labels
    if head.labels_texts and getattr(config, "problem_type", None):
        results["problem"] = config.problem_type
    return results


def auto_model_of(config: ModelConfig) -> str:
    """The Auto class that builds the model of a config which names its architecture."""
    return (
        HEADS.get(MULTI_TASK).auto_model
        if hasattr(config, "edgebert_heads")
        else head_of(config.architectures[0]).auto_model
    )


def check_head(config: ModelConfig, where: str) -> None:
    """Raises RequestError where transformers has no model of this family with the head that the config names."""
    import transformers

    from edgebert.modeling.families import families

    families()
    auto_model = auto_model_of(config)
    auto = getattr(transformers, "AutoModel" if auto_model == HEADS.get(MULTI_TASK).auto_model else auto_model)
    if type(config) not in auto._model_mapping:
        what = f"transformers has no {config.model_type} model with a {head_of(config.architectures[0]).name} head"
        raise RequestError(what, where=where, hint="Choose a checkpoint of another family.")


def rebuilt(student: Student, config: ModelConfig, given: Mapping[str, Tensor] | None = None) -> Student:
    """A student of this config: weights in `given` by name, then those of the old student by name, then random ones.
    Names may lack the family's prefix; a weight of another shape is left out.

    Returns:
        In eval mode, with a note that says what share of its weights is not random.
    """
    import torch

    from edgebert.modeling.checkpoint import build_model

    given = given or {}
    model = build_model(config, auto_model_of(config)).eval()
    old = {_bare(name, student.model): value for name, value in student.model.state_dict().items()}
    n_known = 0
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            bare = _bare(name, model)
            result = next(
                (known[key] for known, key in ((given, name), (given, bare), (old, bare)) if key in known), None
            )
            if result is not None and result.shape == parameter.shape:
                parameter.copy_(result)
                n_known += parameter.numel()
    n_all = sum(parameter.numel() for parameter in model.parameters())
    note = f"{config.model_type} of {n_all:,} parameters, {100 * n_known / n_all:.0f} % of them from the teacher"
    return replace(student, model=model, notes=(*student.notes, note))


def _bare(name: str, model: PreTrainedModel) -> str:
    """A parameter's name without the prefixes of the family and of our wrapper."""
    encoder = getattr(model, "encoder", None)
    for prefix in (model.base_model_prefix, getattr(encoder, "base_model_prefix", "")):
        if prefix:
            name = name.removeprefix(f"{prefix}.")
    return name


def narrowed(table: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """The best factors of rank `width` of a table (rows, old_width): (rows, width) and (width, old_width).

    Eckart and Young 1936: T = U S Vᵀ, so T V_k V_kᵀ is the nearest table of that rank. V is read from TᵀT.
    """
    import torch

    _, vectors = torch.linalg.eigh(table.double().T @ table.double())
    basis = vectors[:, -width:].flip(1).T.to(table.dtype)
    return table @ basis.T, basis


def positions(model: PreTrainedModel) -> Tensor | None:
    """The teacher's table of positions (n, width) from position 0 on; None where it has none."""
    from edgebert.modeling.graph import position_limit

    tables = [m for name, m in model.named_modules() if name.endswith("position_embeddings") and hasattr(m, "weight")]
    if not tables:
        return None
    return tables[0].weight.detach()[-position_limit(model.config) :]
