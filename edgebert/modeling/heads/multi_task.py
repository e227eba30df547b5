"""Heads of ours over one encoder, several or one; see `edgebert.modeling.headed`. Its outputs are those of its heads."""

from __future__ import annotations

from edgebert.modeling.heads import MULTI_TASK, Head

HEAD = Head(name=MULTI_TASK, mark="HeadedEncoder", auto_model="HeadedEncoder")
