"""edgebert makes a BERT-family model fit an edge device: compress, convert, prove, measure, package.

    import edgebert
    result = edgebert.fit(device="pixel6", task="ner")
    edgebert.predict(result.run, ["show me flights from boston to denver on monday"])

Importing this package loads neither torch nor transformers.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgebert.api import (
        Predictor,
        best_recipe,
        calibrate,
        check,
        compare,
        compress,
        convert,
        cut,
        fit,
        fit_config,
        gate,
        get_device,
        get_method,
        list_devices,
        list_methods,
        list_runs,
        load,
        package,
        predict,
        prepare_device,
        profile,
        search_state,
        search_worker,
        show_run,
        suggest_budget,
    )
    from edgebert.errors import EdgebertError

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # ONNX Runtime reports home unless it is told not to

__all__ = [
    "EdgebertError",
    "Predictor",
    "best_recipe",
    "calibrate",
    "check",
    "compare",
    "compress",
    "convert",
    "cut",
    "fit",
    "fit_config",
    "gate",
    "get_device",
    "get_method",
    "list_devices",
    "list_methods",
    "list_runs",
    "load",
    "package",
    "predict",
    "prepare_device",
    "profile",
    "search_state",
    "search_worker",
    "show_run",
    "suggest_budget",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'edgebert' has no attribute '{name}'")
    home = "edgebert.errors" if name == "EdgebertError" else "edgebert.api"
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return __all__
