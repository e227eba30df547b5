"""Answers from a small language model on this machine, without torch or transformers: `open()` returns a `Model`."""

from __future__ import annotations

from .answers import Answer, Candidate, Embedding, Entity, Int8Vector, Label, Tag
from .errors import ModelError
from .model import Model
from .model import open_model as open

__all__ = [
    "Answer",
    "Candidate",
    "Embedding",
    "Entity",
    "Int8Vector",
    "Label",
    "Model",
    "ModelError",
    "Tag",
    "open",
]
