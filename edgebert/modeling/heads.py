"""What a checkpoint is for, told by the class that its config names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgebert.errors import RequestError, unknown
from edgebert.modeling.folder import MODULES
from edgebert.modeling.sentence import BARE_POOLING


@dataclass(frozen=True)
class Head:
    """A task head of transformers.

    Attributes:
        name: as the field says it.
        mark: what the class says: BertForTokenClassification, XLNetForQuestionAnsweringSimple.
        auto_model: name of transformers' Auto class, or of ours.
        outputs: names of the graph's outputs; shapes in `edgebert.converters.Session.run`.
    """

    name: str
    mark: str
    auto_model: str
    outputs: tuple[str, ...]


MULTI_TASK = "several"  # heads of ours over one encoder, see `edgebert.modeling.headed`
HEADS = {
    head.name: head
    for head in (
        Head("token-classification", "ForTokenClassification", "AutoModelForTokenClassification", ("logits",)),
        Head("sequence-classification", "ForSequenceClassification", "AutoModelForSequenceClassification", ("logits",)),
        Head("question-answering", "ForQuestionAnswering", "AutoModelForQuestionAnswering",
             ("start_logits", "end_logits")),
        Head("sentence-embedding", "Model", "AutoModel", ("sentence_embedding",)),
        Head(MULTI_TASK, "HeadedEncoder", "HeadedEncoder", ()),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Part:
    """One head of a model as it stands.

    Attributes:
        name: of one head of several; "" where there is one.
        kind: a name of HEADS.
        outputs: names of the model's outputs that are this head's.
        problem: transformers' problem_type of a sequence head.
        pooling: modes of sentence-transformers joined by +, see `edgebert.modeling.sentence`.
        normalize: a sentence vector is brought to length 1.
        width: of a sentence vector; 0 is the encoder's.
        steps: what its teacher's sentence-transformers modules do after pooling.
        reads: of a sequence head, how the text's state is made of its tokens' states: the first one's (cls), or pooled.
    """

    name: str
    kind: str
    outputs: tuple[str, ...]
    n_labels: int = 0
    problem: str = "single_label_classification"
    pooling: str = "mean"
    normalize: bool = True
    width: int = 0
    steps: tuple[Mapping[str, Any], ...] = ()
    reads: str = "cls"

    @property
    def prefix(self) -> str:
        """Before the names of its outputs and targets."""
        return f"{self.name}_" if self.name else ""


def parts_of(config: Any, class_name: str) -> tuple[Part, ...]:
    """The heads of a model of this class with this config."""
    vector: dict[str, Any] = {
        "pooling": getattr(config, "edgebert_pooling", "mean"),
        "normalize": getattr(config, "edgebert_normalize", True),
    }
    if class_name != HEADS[MULTI_TASK].auto_model:
        kind = head_of(class_name)
        problem = getattr(config, "problem_type", None) or "single_label_classification"
        return (Part("", kind.name, kind.outputs, config.num_labels, problem, **vector),)
    return tuple(_part(item, vector) for item in config.edgebert_heads)


def _part(item: Mapping[str, Any], vector: Mapping[str, Any]) -> Part:
    prefix = f"{item['name']}_" if item["name"] else ""
    outputs = tuple(prefix + output for output in HEADS[item["kind"]].outputs)
    rest = {key: value for key, value in item.items() if key not in ("name", "kind") and value is not None}
    return Part(item["name"], item["kind"], outputs, **{**vector, **rest})


def find_head(folder: Path, config: Any, wanted: str | None = None) -> Head:
    """The head of a checkpoint, or the `wanted` one.

    Raises:
        RequestError: an unknown name, or the checkpoint has no head that can be exported.
    """
    if wanted is not None:
        if wanted not in HEADS:
            raise unknown("head", wanted, HEADS, where="--head")
        return HEADS[wanted]
    names = list(getattr(config, "architectures", None) or [])
    for name in names:
        if (head := head_of(name)).name != "sentence-embedding":
            return head
    if (folder / MODULES).exists() or (folder / BARE_POOLING).exists():
        return HEADS["sentence-embedding"]
    has = f"its config names {', '.join(names)}" if names else "its config names no class"
    raise RequestError(
        f"the checkpoint has no task head: {has}",
        where=str(folder / "config.json"),
        hint=f"Fine-tune it first, or pass --head sentence-embedding to pool its states. Heads: {', '.join(HEADS)}.",
    )


def head_of(class_name: str) -> Head:
    """The head of a class of transformers; a class without one of ours gives its states, to be pooled."""
    return next((head for head in HEADS.values() if head.mark in class_name), HEADS["sentence-embedding"])
