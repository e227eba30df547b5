"""Encoders that transformers does not have: one file a family, each made known to transformers' Auto classes.

A file declares `CONFIG` (a PretrainedConfig with a `model_type`) and `MODEL` (a PreTrainedModel that gives
`last_hidden_state`, and `hidden_states` where asked). Heads come from `edgebert.modeling.headed`. It may also declare
`layer_operators(config, seq_len)`, the operators of all its layers, for the cost model; or, where its heads give one answer
a text, `operators(config, seq_len)`, those of a whole pass.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from types import ModuleType


@cache
def families() -> dict[str, ModuleType]:
    """The families of this package by `model_type`, known to AutoConfig and AutoModel once this returns."""
    from transformers import AutoConfig, AutoModel

    results = {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        AutoConfig.register(module.CONFIG.model_type, module.CONFIG)
        AutoModel.register(module.CONFIG, module.MODEL)
        results[module.CONFIG.model_type] = module
    return results
