"""Holds a bundle against itself: are its files whole, and does this machine compute what its golden vectors say?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgebert.bundle.engine import Engine, open_engine
from edgebert.bundle.golden import read_golden
from edgebert.bundle.manifest import AGAIN, GOLDEN, damage, read_manifest
from edgebert.errors import DataError, ParityError

if TYPE_CHECKING:
    from edgebert.types import Feature, Outputs


def tolerance(precision: str) -> dict[str, float]:
    """How far outputs may lie from the golden ones on another machine: `absolute`, or `relative` to the text's largest.

    Float kernels of different CPUs sum in different orders: differences near 1e-5 in the logits, so 1e-3 is ample and
    still far below any that a wrong weight makes. Dynamic int8 rounds every activation to 1 of 255 steps: a difference
    of 1e-6 before the rounding can become a whole step, 0.4 % of the tensor's range, and a few layers add several up.
    5 % leaves room for that; wrong ids or a wrong file differ by the size of the logits themselves.
    """
    return {"absolute": 1e-3, "relative": 0.0 if precision == "fp32" else 0.05}


def check_bundle(folder: Path) -> None:
    """Verifies every file's sha256, then runs the golden texts: ids exactly, logits within the manifest's tolerance.

    Raises:
        RequestError: there is no readable manifest.
        DataError: a file is missing or was changed.
        ParityError: this machine, with this version of edgebert and its runtime, computes something else.
    """
    manifest = read_manifest(folder)
    if wrong := damage(folder, manifest):
        raise DataError("; ".join(f"{name} {what}" for name, what in wrong.items()), where=str(folder), hint=AGAIN)
    engine = open_engine(folder, manifest)
    for number, line in enumerate(read_golden(folder / GOLDEN), 1):
        if difference := _difference(engine, line, manifest["tolerance"]):
            hint = "Another version of edgebert, tokenizers or the runtime reads the text or the model differently."
            raise ParityError(difference, where=f"{folder / GOLDEN}:{number}", hint=hint)


def _difference(engine: Engine, line: Mapping[str, Any], allowed: Mapping[str, float]) -> str | None:
    """What of a golden line is not reproduced here, in words; None when all of it is."""
    row = engine.task.read_texts(*line["texts"])
    if [list(row.words), [list(span) for span in row.offsets]] != [line["words"], line["offsets"]]:
        return "the text is split into other words"
    features = engine.encode([row])
    if len(features) != len(line["windows"]):
        return f"{len(features)} windows here, {len(line['windows'])} in the bundle"
    golden = [{name: np.array(array) for name, array in one["outputs"].items()} for one in line["windows"]]
    for i, (feature, window) in enumerate(zip(features, line["windows"], strict=True)):
        if what := _ids_differ(feature, window):
            return f"window {i}: {what}"
    if what := _outputs_differ(engine.outputs(features), golden, allowed):
        return what
    # From the golden outputs, not from ours: two labels that are nearly level may change places within the tolerance.
    answer = engine.answers([row], features, golden)[0]
    return None if answer == line["answer"] else f"the golden outputs give the answer {answer}, not {line['answer']}"


def _ids_differ(feature: Feature, window: Mapping[str, Any]) -> str | None:
    found = {"input_ids": feature.input_ids, "type_ids": feature.type_ids, "words": feature.words}
    for name, values in found.items():
        if len(values) != len(window[name]):
            return f"{len(values)} {name} here, {len(window[name])} in the bundle"
        for piece, (ours, theirs) in enumerate(zip(values, window[name], strict=True)):
            if ours != theirs:
                return f"{name} differ at piece {piece}: {ours} here, {theirs} in the bundle"
    return None


def _outputs_differ(ours: Sequence[Outputs], golden: Sequence[Outputs], allowed: Mapping[str, float]) -> str | None:
    for name in golden[0] if golden else ():
        largest = max(float(np.abs(one[name]).max()) for one in golden)
        limit = max(allowed["absolute"], allowed["relative"] * largest)
        for i, (mine, theirs) in enumerate(zip(ours, golden, strict=True)):
            if mine[name].shape != theirs[name].shape:
                return f"window {i}: {name} are {mine[name].shape} here, {theirs[name].shape} in the bundle"
            worst = float(np.abs(mine[name] - theirs[name]).max())
            if not worst <= limit:  # written so that NaN fails
                return f"window {i}: {name} differ by up to {worst:.3g}, allowed is {limit:.3g}"
    return None
