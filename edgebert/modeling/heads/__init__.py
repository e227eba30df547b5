"""Heads: one file a kind, found by the registry; and what a checkpoint is for, told by the class that its config names.

A head declares its outputs, its layers, what it minimises with true labels and with a teacher's answers, and the form of
its answers. transformers' own classes serve single heads; ours stand over any encoder (`edgebert.modeling.headed`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from edgebert.errors import RequestError, unknown
from edgebert.modeling.folder import MODULES
from edgebert.modeling.sentence import BARE_POOLING
from edgebert.registry import Registry, check_call
from edgebert.runtime.specs import BATCH, OutputSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

Layers = Mapping[str, "nn.Module"]  # by the names that their weights are saved under
# Of an answer, see `edgebert.verify.answers.Answer`.
Form = Literal["label", "labels", "scores", "tags", "span", "vector"]
MULTI_TASK = "several"  # heads of ours over one encoder, see `edgebert.modeling.headed`
VECTORS = "sentence-embedding"  # what a class of transformers without a head of ours gives: states, to be pooled


class MakeLayers(Protocol):
    """(width of the states, the head as it stands, dropout probability) -> its layers, with first weights."""

    def __call__(self, width: int, part: Part, dropout: float) -> Layers: ...


class Forward(Protocol):
    """(layers, states (batch, seq, width), mask (batch, seq) or None) -> a tensor for each of the head's outputs."""

    def __call__(self, layers: Layers, states: Tensor, mask: Tensor | None, *, part: Part) -> tuple[Tensor, ...]: ...


class OfStates(Protocol):
    """(states (batch, seq, width), mask (batch, seq) or None) -> a tensor for each of the head's outputs."""

    def __call__(self, states: Tensor, mask: Tensor | None, part: Part) -> tuple[Tensor, ...]: ...


class HardLoss(Protocol):
    """The loss on true labels: a scalar, 0.0 where the batch has no target for the head.

    `own` are the model's outputs in the order of the head's, `targets` those of `Feature.targets` by name with the batch
    axis first (`labels` of tokens too), `weights` those of the labels, () where they weigh alike.
    """

    def __call__(
        self, own: Sequence[Tensor], targets: Mapping[str, Tensor], part: Part, weights: Sequence[float]
    ) -> Tensor | float: ...


class SoftLoss(Protocol):
    """The distance from the teacher's answers `theirs`, which have the order of `own`: a scalar; mask (batch, seq), bool."""

    def __call__(
        self, own: Sequence[Tensor], theirs: Sequence[Tensor], mask: Tensor, temperature: float, part: Part
    ) -> Tensor: ...


@dataclass(frozen=True)
class Head:
    """A kind of head; the declaration `HEAD` of each module of this package. Declaring imports nothing heavy.

    Attributes:
        name: as the field says it.
        mark: what transformers' class says: BertForTokenClassification, XLNetForQuestionAnsweringSimple; "" where
            transformers has none.
        auto_model: name of transformers' Auto class, or of ours; "" where the head is always one of ours.
        outputs: () is for several heads, whose outputs are theirs; else all functions below are declared.
        layers, forward: the head as one of ours.
        of_states: the outputs of an encoder of transformers' Auto class, which has no layers for them; None where it has.
        hard_loss, soft_loss: what training minimises.
        answer: (part) -> the form in which parity compares its answers.
        has_labels: it has a column of logits for each label of the model.
        by_word: the tokenizer is given words one by one, and a word is answered at its first token.
        mean: what is averaged where several teachers answer: probabilities of its logits, vectors that are brought to
            length 1 again, or the values as they are.
    """

    name: str
    mark: str = ""
    auto_model: str = ""
    outputs: tuple[OutputSpec, ...] = ()
    layers: MakeLayers | None = None
    forward: Forward | None = None
    of_states: OfStates | None = None
    hard_loss: HardLoss | None = None
    soft_loss: SoftLoss | None = None
    answer: Callable[[Part], Form] | None = None
    has_labels: bool = False
    by_word: bool = False
    mean: Literal["probabilities", "vectors", "values"] = "probabilities"

    @property
    def per_token(self) -> bool:
        """Whether it answers tokens: labels of them, or places among them."""
        return any(spec.per_token for spec in self.outputs)

    @property
    def labels_texts(self) -> bool:
        """Whether it labels whole texts."""
        return self.has_labels and not self.per_token

    @property
    def finds_places(self) -> bool:
        """Whether its answers are places among the tokens of its text, which another text or tokenizer does not have."""
        return self.per_token and not self.by_word

    @property
    def gives_vectors(self) -> bool:
        """Whether its answers are vectors, made as sentence-transformers makes them."""
        return self.mean == "vectors"


@dataclass(frozen=True)
class Part:
    """One head of a model as it stands.

    Attributes:
        name: of one head of several; "" where there is one.
        kind: a head's name.
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

    @property
    def head(self) -> Head:
        return HEADS.get(self.kind)

    @property
    def specs(self) -> tuple[OutputSpec, ...]:
        """Its outputs as its head declares them, by the names that they have in the model."""
        return tuple(replace(spec, name=name) for spec, name in zip(self.head.outputs, self.outputs, strict=True))


def _check(head: Head) -> None:
    """Raises TypeError or ValueError for a declaration that breaks the contract."""
    if not head.outputs:
        if head.name != MULTI_TASK:
            raise ValueError("outputs is empty")
        return
    for spec in head.outputs:
        if not isinstance(spec, OutputSpec):
            raise TypeError(f"outputs must be of OutputSpec, and {spec!r} is in it")
        if spec.axes[:1] != (BATCH,):
            raise ValueError(f"outputs: the first of the axes of '{spec.name}' must be {BATCH}")
    check_call("layers", head.layers, width=0, part=None, dropout=0.0)
    check_call("forward", head.forward, "layers", "states", "mask", part=None)
    check_call("hard_loss", head.hard_loss, "own", "targets", "part", "weights")
    check_call("soft_loss", head.soft_loss, "own", "theirs", "mask", "temperature", "part")
    check_call("answer", head.answer, "part")
    if head.of_states:
        check_call("of_states", head.of_states, "states", "mask", "part")


HEADS: Registry[Head] = Registry("head", __name__, "HEAD", Head, where="--head", check=_check)


def check_head(name: str, field: str) -> None:
    """Raises RequestError, which offers the nearest names, where a field of another plug-in names a head that is none."""
    if name not in HEADS.all():
        raise unknown("head", name, HEADS.all(), where=field)


def is_per_token(name: str, rank: int) -> bool:
    """Whether a model's output has one entry a token, as the head declares it whose output's name ends this one.

    Args:
        name: with or without the name of the head and what else stands before it.
        rank: number of its axes, the batch's too.
    """
    specs = [spec for head in HEADS.all().values() for spec in head.outputs]
    fitting = [spec for spec in specs if name.endswith(spec.name) and len(spec.axes) == rank]
    return bool(fitting) and max(fitting, key=lambda spec: len(spec.name)).per_token


def parts_of(config: Any, class_name: str) -> tuple[Part, ...]:
    """The heads of a model of this class with this config."""
    vector: dict[str, Any] = {
        "pooling": getattr(config, "edgebert_pooling", "mean"),
        "normalize": getattr(config, "edgebert_normalize", True),
    }
    if class_name != HEADS.get(MULTI_TASK).auto_model:
        kind = head_of(class_name)
        problem = getattr(config, "problem_type", None) or "single_label_classification"
        outputs = tuple(spec.name for spec in kind.outputs)
        return (Part("", kind.name, outputs, config.num_labels, problem, **vector),)
    return tuple(_part(item, vector) for item in config.edgebert_heads)


def _part(item: Mapping[str, Any], vector: Mapping[str, Any]) -> Part:
    prefix = f"{item['name']}_" if item["name"] else ""
    outputs = tuple(prefix + spec.name for spec in HEADS.get(item["kind"]).outputs)
    rest = {key: value for key, value in item.items() if key not in ("name", "kind") and value is not None}
    return Part(item["name"], item["kind"], outputs, **{**vector, **rest})


def find_head(folder: Path, config: Any, wanted: str | None = None) -> Head:
    """The head of a checkpoint, or the `wanted` one.

    Raises:
        RequestError: an unknown name, or the checkpoint has no head that can be exported.
    """
    if wanted is not None:
        return HEADS.get(wanted)
    names = list(getattr(config, "architectures", None) or [])
    for name in names:
        if (head := head_of(name)).name != VECTORS:
            return head
    if (folder / MODULES).exists() or (folder / BARE_POOLING).exists():
        return HEADS.get(VECTORS)
    has = f"its config names {', '.join(names)}" if names else "its config names no class"
    raise RequestError(
        f"the checkpoint has no task head: {has}",
        where=str(folder / "config.json"),
        hint=f"Fine-tune it first, or pass --head {VECTORS} to pool its states. Heads: {', '.join(HEADS.all())}.",
    )


def head_of(class_name: str) -> Head:
    """The head of a class of transformers; a class without one of ours gives its states, to be pooled."""
    marked = [head for head in HEADS.all().values() if head.mark and head.mark in class_name]
    return max(marked, key=lambda head: len(head.mark), default=HEADS.get(VECTORS))
