"""Several programs of one fixed length each as functions of one package, which share their weights (iOS 18, macOS 15).

coremltools stores equal constants once (its guide, "Multifunction Models"). Core ML opens a function by its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coremltools.models import MLModel

NAME = "main_len_{length}"  # as Core AI names its functions


def merged(models: Mapping[int, MLModel], folder: Path) -> MLModel:
    """One model, of which the longest function runs where none is named.

    Args:
        models: by length. What they say of inputs and outputs is kept; author, labels and the like are not.
        folder: to write in, and to keep until the result is saved.
    """
    from coremltools.models import MLModel
    from coremltools.models.utils import MultiFunctionDescriptor, save_multifunction

    description = MultiFunctionDescriptor()
    for length, model in sorted(models.items()):
        path = str(folder / f"{length}.mlpackage")
        model.save(path)
        description.add_function(path, "main", NAME.format(length=length))
    description.default_function_name = NAME.format(length=max(models))
    place = str(folder / "merged.mlpackage")
    save_multifunction(description, place)
    return MLModel(place, skip_model_load=True)
