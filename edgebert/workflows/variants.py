"""Which variant of a precision is kept: each is written and scored; the first of those that score alike is taken.

No time decides. A time on this machine says little of a device, and its noise would make another file of the same seed;
a converter declares its variants in the order of preference instead, the fastest first.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypedDict, TypeVar

from edgebert.converters import BYTE, CONVERTERS, Converter, QuantizationVariant
from edgebert.errors import RequestError
from edgebert.quantization.spec import FILE
from edgebert.runtime.scratch import library_scratch
from edgebert.runtime.session import Session, Source
from edgebert.types import Artifact
from edgebert.verify.parity import TOLERANCES

VARIANT_ROWS = 300  # on which the variants of a precision are compared
# Of a score from 0 to 1: variants nearer than this to the best are equal, the first declared wins. A variant that scores
# above the float file does so by chance, so its score counts as the float file's.
SCORE_TIE = 0.0025
# A variant keeps the predictions if this many more of them are equal than parity will ask for, on rows of its own.
ROOM = 0.01


Predictions = TypeVar("Predictions")  # whatever the evaluator compares


@dataclass(frozen=True)
class VariantEvaluator(Generic[Predictions]):
    """What variants are chosen by.

    Attributes:
        predict: of an opened file, on the rows of the variant.
        score: of predictions, 0 to 1.
        same: the share, 0 to 1, of a file's predictions (first) that are those of the float file (second).
    """

    predict: Callable[[Session], Predictions]
    score: Callable[[Predictions], float]
    same: Callable[[Predictions, Predictions], float]


class VariantLine(TypedDict):
    """A variant that was tried: its score on the development rows and the share of predictions kept, where both were asked."""

    variant: str
    dev_score: float | None
    equal: float | None
    bytes: int
    chosen: bool


@dataclass(frozen=True)
class _Tried:
    variant: QuantizationVariant
    artifact: Artifact
    score: float | None = None
    same: float | None = None


def export_float(converter: Converter, source: Source, folder: Path) -> Artifact:
    """The format's float32 file, at folder/FORMAT/fp32, which every reduced precision is made from."""
    place = folder / converter.name / "fp32"
    place.mkdir(parents=True)
    with library_scratch():
        return converter.export(source, place)


def without_stored(source: Source, formats: Sequence[str], precisions: Sequence[str]) -> list[str]:
    """A note on files in few bits that do not take what the model's QuantSpec says; [] where all do.

    Raises:
        RequestError: files in few bits of a format of which none can take it.
    """
    spec = source.quantization
    if spec is None or not spec.weights:
        return []
    names = []
    for format in formats:
        offered = CONVERTERS.get(format).precisions
        others = [
            name for name, item in offered.items() if name in precisions and item.bits <= BYTE and not item.takes(spec)
        ]
        names += [f"{format} {name}" for name in others]
        if others and not any(item.takes(spec) for item in offered.values()):
            taking = [
                name for name, item in CONVERTERS.all().items() if any(p.takes(spec) for p in item.precisions.values())
            ]
            raise RequestError(
                f"{format} {others[0]} would choose scales of its own, and the model was trained with those of {FILE}",
                where="--format",
                hint=f"Take {', '.join(taking) or 'another format'}, or --precision fp32 or fp16; or delete {FILE} from the "
                "checkpoint to leave all scales to the converters.",
            )
    told = "the model was trained in few bits, and these files choose scales of their own"
    return [f"{told}: {', '.join(names)}"] if names else []


def choose_variant(
    converter: Converter,
    source: Source,
    exported: Artifact,
    precision: str,
    folder: Path,
    *,
    evaluator: VariantEvaluator[Predictions],
    log: Callable[..., None],
) -> tuple[Artifact, list[VariantLine]]:
    """Writes every variant of a precision and keeps one at folder/FORMAT/PRECISION.

    Of the variants that keep the float file's predictions, or the one that keeps most of them where none does, the best
    score, but none above the float file's, wins; of variants within SCORE_TIE of it, the first declared. Spare variants
    are written only where no other keeps the predictions. A single variant is written and not scored: verification does
    that. Sessions have one thread, so that no score depends on how sums are split.

    Returns:
        The file, and a table of what was tried.
    """
    declared = converter.precisions[precision]
    variants = declared.variants_of(source.quantization)
    work = folder / "work" / f"{converter.name}-{precision}"
    enough = min(1.0, TOLERANCES[declared.kind].equal_predictions + ROOM)
    aim = evaluator.predict(converter.open(exported.path, 1)) if len(variants) > 1 else None

    def attempt(spare: bool) -> list[_Tried]:
        created = []
        for variant in (entry for entry in variants if entry.spare == spare):
            log(event="variant", name=f"{converter.name} {precision} {variant.name}")
            place = work / variant.name
            place.mkdir(parents=True)
            with library_scratch():
                item = _Tried(variant, converter.reduce(source, exported, precision, variant, place))
            if aim is not None:
                result = evaluator.predict(converter.open(item.artifact.path, 1))
                item = replace(
                    item, score=round(evaluator.score(result), 5), same=round(evaluator.same(result, aim), 5)
                )
            created.append(item)
        return created

    tried = attempt(spare=False)
    if not any(_keeps(entry, enough) for entry in tried):
        tried += attempt(spare=True)
    best = _best(tried, enough, evaluator.score(aim) if aim is not None else 0.0)
    place = folder / converter.name / precision
    place.mkdir(parents=True)
    target = place / best.artifact.path.name
    shutil.move(best.artifact.path, target)
    table: list[VariantLine] = [
        {"variant": entry.variant.name, "dev_score": entry.score, "equal": entry.same,
         "bytes": entry.artifact.size_bytes, "chosen": entry is best}
        for entry in tried
    ]  # fmt: skip
    shutil.rmtree(work)
    return replace(best.artifact, path=target), table


def _keeps(item: _Tried, enough: float) -> bool:
    return item.same is None or item.same >= enough


def _best(tried: Sequence[_Tried], enough: float, aim: float) -> _Tried:
    most = max(item.same or 0.0 for item in tried)
    valid = [item for item in tried if _keeps(item, min(enough, most))]
    least = min(max(item.score or 0.0 for item in valid), aim) - SCORE_TIE
    return next(item for item in valid if (item.score or 0.0) >= least)
