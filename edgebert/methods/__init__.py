"""Compression methods: one file a paper, found by the registry.

A method is a declaration (`METHOD`) and one function. The planner reads `reshape` to know a student's size before it
exists, the command line reads `params`, the contract tests read all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgebert.errors import RequestError, unknown
from edgebert.types import Row, Student, TrainSettings

if TYPE_CHECKING:
    from edgebert.tasks import Task

Stage = Literal["vocabulary", "shape", "train"]  # the order in which a recipe may apply them
STAGES: tuple[Stage, ...] = ("vocabulary", "shape", "train")


@dataclass(frozen=True)
class Paper:
    title: str
    authors: str
    year: int
    arxiv: str = ""


@dataclass(frozen=True)
class Param:
    """One parameter of a method: what the command line, the planner and the documents know of it."""

    name: str
    type: type
    default: Any
    help: str
    choices: tuple[Any, ...] = ()
    minimum: float | None = None
    search: Callable[[Any], Sequence[Any]] | None = None  # config -> values the planner tries when the user sets none

    def read(self, value: Any, method: str) -> Any:
        """`value` as this parameter's type. Raises RequestError that names the method and the parameter."""
        place = f"{method}.{self.name}"
        try:
            if self.type is tuple:
                parts = value.replace(",", " ").split() if isinstance(value, str) else value
                value = tuple(int(part) for part in parts)
            elif self.type is bool and isinstance(value, str):
                value = {"true": True, "false": False}[value.lower()]
            else:
                value = self.type(value)
        except (TypeError, ValueError, KeyError):
            raise RequestError(f"{value!r} is not {self.type.__name__}", where=place, hint=self.help) from None
        if self.choices and value not in self.choices:
            raise unknown("value", str(value), [str(choice) for choice in self.choices], where=place)
        if self.minimum is not None and value < self.minimum:
            raise RequestError(f"{value} is below {self.minimum:g}", where=place, hint=self.help)
        return value


@dataclass(frozen=True)
class Workshop:
    """What a method may use beside the student."""

    teacher: Any  # the torch module, in eval mode
    task: Task
    labels: tuple[str, ...]
    train: Sequence[Row]
    dev: Sequence[Row]
    settings: TrainSettings
    work: Path  # a folder of this method's own: checkpoints from which training goes on after a kill
    log: Callable[..., None] = field(default=lambda **event: None)  # structured events, shown as progress


@dataclass(frozen=True)
class Method:
    name: str
    title: str
    paper: Paper | None
    stage: Stage
    apply: Callable[..., Student]  # (student, workshop, **params) -> student
    params: tuple[Param, ...] = ()
    formats: tuple[str, ...] = ("onnx", "tflite", "coreml")
    reshape: Callable[..., Any] = field(default=lambda config, **params: config)  # (config, **params) -> new config

    def read_params(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Every parameter with its value, given or default. Raises RequestError for an unknown name."""
        known = {param.name: param for param in self.params}
        for name in given:
            if name not in known:
                raise unknown(f"parameter of {self.name}", name, known, where="--recipe")
        return {
            param.name: param.read(given[param.name], self.name) if param.name in given else param.default
            for param in self.params
        }
