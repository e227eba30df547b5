"""Holds a bundle against itself: is it whole, does nothing in it contradict another part of it, and does this machine
compute what its golden vectors say?

That proves wholeness and agreement, not who made it: whoever rewrites model, golden vectors and manifest alike has made
another bundle, which is as sound as this one. The digest that `check` tells, and that ends its README, is what a
pipeline compares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgebert.bundle.agreement import check_digest, open_bundle, read_vectors
from edgebert.bundle.agreement import tolerance as tolerance
from edgebert.bundle.engine import Engine
from edgebert.bundle.golden import DATA
from edgebert.bundle.manifest import GOLDEN, SCHEMA
from edgebert.errors import ParityError
from edgebert.runtime.specs import INPUT_IDS

if TYPE_CHECKING:
    from edgebert.types import Feature, Outputs, Row


@dataclass(frozen=True)
class BundleCheck:
    """What was checked of a sound bundle.

    Attributes:
        n_texts: golden texts that were run.
        n_padded: those of them that were also run padded.
        digest: of all that the bundle says of itself, see `edgebert.bundle.manifest.digest_of`; "" in schema 2.
    """

    n_texts: int
    n_padded: int
    digest: str
    notes: tuple[str, ...] = ()


def check_bundle(folder: Path) -> BundleCheck:
    """Compares every file with its sha256 and every fact with the other places where it stands, then runs the golden
    texts: ids exactly, outputs within the tolerance of the precision.

    Raises:
        RequestError: there is no readable manifest, or no runtime for the model here.
        DataError: a file is missing, was changed, is not listed, or says something else than another.
        ParityError: this machine, with this version of edgebert and its runtime, computes something else.
    """
    manifest, engine = open_bundle(folder)
    lines = read_vectors(folder, manifest, engine)
    rows = [engine.task.read_texts(*line["texts"]) for line in lines]
    for number, (line, row, features) in enumerate(zip(lines, rows, engine.windows(rows), strict=True), 1):
        if difference := _difference(engine, line, row, features, manifest["tolerance"]):
            name = line.get("class", DATA)
            what = difference if name == DATA else f"{name}: {difference}"
            hint = "Another version of edgebert, tokenizers or the runtime reads the text or the model differently."
            raise ParityError(what, where=f"{folder / GOLDEN}:{number}", hint=hint)
    n_padded = sum("padded" in window for line in lines for window in line["windows"])
    old = (
        f"the bundle has schema {manifest['schema']}: it holds fewer texts, and none that is padded; fit makes it anew"
    )
    digest = check_digest(folder, manifest)
    return BundleCheck(len(lines), n_padded, digest, (old,) if manifest["schema"] < SCHEMA else ())


def _difference(
    engine: Engine, line: Mapping[str, Any], row: Row, features: Sequence[Feature], allowed: Mapping[str, float]
) -> str | None:
    """What of a golden line is not reproduced here, in words; None when all of it is."""
    if [list(row.words), [list(span) for span in row.offsets]] != [line["words"], line["offsets"]]:
        return "the text is split into other words"
    windows = line["windows"]
    if len(features) != len(windows):
        return f"{len(features)} windows here, {len(windows)} in the bundle"
    for i, (feature, window) in enumerate(zip(features, windows, strict=True)):
        if what := _ids_differ(feature, window):
            return f"window {i}: {what}"
    golden = [_arrays(window["outputs"]) for window in windows]
    if what := _outputs_differ(engine.outputs(features), golden, allowed):
        return what
    if windows and "padded" in windows[0]:
        length, padded = windows[0]["padded"]["length"], _arrays(windows[0]["padded"]["outputs"])
        if what := _outputs_differ([engine.padded_outputs(features[0], length)], [padded], allowed):
            return f"padded to {length} tokens: {what}"
    return _answer_differs(engine, line["answer"], row, features, golden)


def _answer_differs(
    engine: Engine, message: Any, row: Row, features: Sequence[Feature], golden: Sequence[Outputs]
) -> str | None:
    # From the golden outputs, not from ours: two labels that are nearly level may change places within the tolerance.
    try:
        answer = engine.answers([row], features, golden)[0]
    except (IndexError, KeyError, TypeError, ValueError) as error:
        return f"the golden outputs give no answer: {error}"
    return None if answer == message else f"the golden outputs give the answer {answer}, not {message}"


def _ids_differ(feature: Feature, window: Mapping[str, Any]) -> str | None:
    results: dict[str, Sequence[Any]] = {
        INPUT_IDS: feature.input_ids, "type_ids": feature.type_ids, "words": feature.words,
        "spans": [list(span) for span in feature.spans],
    }  # fmt: skip
    for name, values in results.items():
        if name not in window:  # spans, in schema 2
            continue
        if len(values) != len(window[name]):
            return f"{len(values)} {name} here, {len(window[name])} in the bundle"
        for token, (ours, theirs) in enumerate(zip(values, window[name], strict=True)):
            if ours != theirs:
                return f"{name} differ at token {token}: {ours} here, {theirs} in the bundle"
    return None


def _arrays(outputs: Mapping[str, object]) -> dict[str, np.ndarray]:
    return {name: np.array(values) for name, values in outputs.items()}


def _outputs_differ(ours: Sequence[Outputs], golden: Sequence[Outputs], allowed: Mapping[str, float]) -> str | None:
    for name in golden[0] if golden else ():
        largest = max(float(np.abs(item[name]).max()) for item in golden)
        limit = max(allowed["absolute"], allowed["relative"] * largest)
        for i, (mine, theirs) in enumerate(zip(ours, golden, strict=True)):
            if mine[name].shape != theirs[name].shape:
                return f"window {i}: {name} are {mine[name].shape} here, {theirs[name].shape} in the bundle"
            worst = float(np.abs(mine[name] - theirs[name]).max())
            if not worst <= limit < np.inf:  # written so that NaN and infinity fail
                return f"window {i}: {name} differ by up to {worst:.3g}, allowed is {limit:.3g}"
    return None
