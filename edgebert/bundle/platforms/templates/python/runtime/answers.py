"""What calls return: plain dictionaries, as JSON holds them. Offsets count characters (code points) of the given text."""

from __future__ import annotations

from typing import TypedDict


class Entity(TypedDict):
    """`text` is `given[start:end]`."""

    text: str
    type: str
    start: int
    end: int


class Tag(TypedDict):
    """A word with its tag."""

    text: str
    tag: str
    start: int
    end: int


class Label(TypedDict):
    """A label with its probability. `label` is None for "none of these" where the model has no name for it."""

    label: str | None
    score: float


class Int8Vector(TypedDict):
    """A vector in 8 bits: multiply by `scale` to have it back. A cosine does not need the scale."""

    values: list[int]
    scale: float


class Embedding(TypedDict):
    vector: list[float]
    int8: Int8Vector


class Candidate(TypedDict):
    """A part of the context, or "no answer": "", None, None. `score` is its share among the candidates."""

    text: str
    start: int | None
    end: int | None
    score: float


class Answer(Candidate):
    """The best candidate, and all of them, the best first."""

    candidates: list[Candidate]
