"""A reduced file's own weights and operators held against the float32 file's that it was made from.

Rows show only what they read: a damaged vector of a word in no row, a table of positions beyond the longest row, a
softmax over the wrong axis that rounding hides. What a precision may change of a weight is known beforehand, and of
the other operators it may change none.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgebert.converters import Contents, Converter, Precision
from edgebert.quantization import QuantSpec
from edgebert.types import Artifact

SHOWN = 3  # findings of a kind that are told in full
RECOGNISED = 0.1  # of a table's rows are equal: it is that table
SAMPLE = 64  # values by which the counterpart of a weight is found
# Half precision stores no finer steps. A key's bias, whose gradient is zero, can be as small as that throughout: softmax
# does not see it, and neither shall a file be refused for it.
FINEST = 2.0**-24
ROUNDED = 0.35  # root mean square of rounding, in steps: 1/sqrt(12), and a fifth more


@dataclass(frozen=True)
class WeightTolerance:
    """What a precision may change of a weight.

    Attributes:
        value: largest change of one value, in units of the tensor's largest.
        tensor: root mean square change, in units of the tensor's own root mean square.
        row: the same of one row, or column; rows smaller than half of the others are judged by half of theirs.
        scale: how far the slope of ours on theirs may lie from 1.
    """

    value: float
    tensor: float
    row: float
    scale: float


# By the bits that a weight is stored in. With one scale a tensor or one a channel, perhaps of a bit less ("reduced
# range"); a palette of few bits cuts outliers off.
WEIGHTS = {
    32: WeightTolerance(1e-6, 1e-6, 1e-5, 1e-6),
    16: WeightTolerance(1e-3, 1e-3, 4e-3, 1e-3),
    8: WeightTolerance(0.02, 0.15, 0.3, 0.02),
    6: WeightTolerance(0.5, 0.15, 0.5, 0.02),
    0: WeightTolerance(0.8, 0.3, 0.7, 0.06),
}


def file_failures(
    converter: Converter,
    artifact: Artifact,
    origin: Artifact,
    tables: Mapping[str, np.ndarray],
    spec: QuantSpec | None = None,
) -> list[str]:
    """`contents_failures` of a file; [] where its format cannot be looked into.

    Args:
        origin: the float32 file of its format, which may be the file itself.
        spec: whose scales the file takes. The float32 file's weights lie on their steps, so it holds the same ones.
    """
    if converter.contents is None:
        return []
    precision = converter.precisions.get(artifact.precision)
    first = converter.contents(origin.path) if precision is not None else None
    found = converter.contents(artifact.path)
    if spec is None or precision is None:
        return contents_failures(found, precision, origin=first, tables=tables)
    exact = replace(precision, bits=precision.rest_bits, embedding_bits=precision.rest_bits, one_scale=False)
    return [*contents_failures(found, exact, origin=first, tables=tables), *_scales(found, spec)]


def _scales(found: Contents, spec: QuantSpec) -> Iterator[str]:
    """A scale of what layers read changes answers no more than rounding does, so that rows hardly show a wrong one."""
    wanted = {float(np.float32(scale)) for how in spec.activations.values() for scale in how.scale}
    for told, scales in (("lacks", wanted - found.fixed_scales), ("has", found.fixed_scales - wanted)):
        if scales:
            other = "that the model was trained with" if told == "lacks" else "that the model was not trained with"
            yield f"the file {told} {len(scales)} scales {other}, the first is {min(scales):.6g}"


def contents_failures(
    created: Contents, precision: Precision | None, *, origin: Contents | None, tables: Mapping[str, np.ndarray]
) -> list[str]:
    """What is wrong with a file beside its answers.

    Args:
        precision: None of float32.
        origin: the float32 file that it was made from; None of that file itself.
        tables: the model's own embedding tables, the words' first, which a float32 file must hold as they are.
    """
    if origin is None or precision is None:
        return list(_tables(created.weights, tables))
    words = next(iter(tables.values())).size if tables else 0
    limits = {at: next(WEIGHTS[bits] for bits in WEIGHTS if bits <= most)
              for at, most in ((words, precision.embedding_bits), (0, precision.bits))}  # fmt: skip
    bits = precision.bits if precision.one_scale else 0
    results = list(_weights(created.weights, origin.weights, limits, bits))
    more = [f"{len(results) - SHOWN} more weights differ"] if len(results) > SHOWN else []
    return [*results[:SHOWN], *more, *_operators(created, origin)]


# ---------------------------------------------------------------- weights


def _weights(
    created: Mapping[str, np.ndarray],
    origin: Mapping[str, np.ndarray],
    limits: Mapping[int, WeightTolerance],
    one_scale: int,
) -> Iterator[str]:
    by_size: dict[int, list[np.ndarray]] = {}
    for name, array in created.items():
        by_size.setdefault(array.size, []).append(array)
        if not np.isfinite(array).all():
            yield f"weight {name} holds NaN or infinity"
    seen = set()  # a file of several graphs has several names for one array
    for name, theirs in origin.items():
        named = created.get(name)
        if (pair := (id(theirs), id(named))) in seen:
            continue
        seen.add(pair)
        alike = [named] if named is not None and named.size == theirs.size else by_size.get(theirs.size)
        ours = _counterpart(theirs, alike or _padded(theirs, created))
        if ours is None:
            yield f"weight {name} is nowhere in the file"
        elif why := _changed(ours, theirs, _explained(theirs, limits.get(theirs.size, limits[0]), one_scale)):
            yield f"weight {name} {why}, more than its bits explain"


def _tables(created: Mapping[str, np.ndarray], tables: Mapping[str, np.ndarray]) -> Iterator[str]:
    """A file may hold fewer positions than the model, and no table that its inputs do not read; but all words."""
    yield from (f"weight {name} holds NaN or infinity" for name, item in created.items() if not np.isfinite(item).all())
    for i, (name, theirs) in enumerate(tables.items()):
        results = [
            item for item in created.values() if item.ndim == 2 and item.shape[1] == theirs.shape[1] and len(item) > 1
        ]
        equal = [_equal_rows(item, theirs) for item in results if i or len(item) >= len(theirs)]
        same = max(equal, key=lambda rows: float(rows.mean()), default=np.zeros(0, bool))
        if same.sum() > RECOGNISED * len(same):  # it is this table
            if not same.all():
                yield f"the table {name} differs in {(~same).sum()} rows, the first is {int(same.argmin())}"
        elif not i:
            yield f"the table {name} of {len(theirs)} rows is nowhere in the file"


def _equal_rows(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Of the rows that both have."""
    n = min(len(ours), len(theirs))
    same: np.ndarray = (np.abs(ours[:n] - theirs[:n]) <= 1e-6 * np.abs(theirs).max()).all(1)
    return same


def _padded(theirs: np.ndarray, created: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Tables with more rows, without these: palettes want a multiple of a number."""
    if theirs.ndim != 2:
        return []
    rows, width = theirs.shape
    return [item[:rows] for item in created.values() if item.ndim == 2 and item.shape[1] == width and len(item) > rows]


def _counterpart(theirs: np.ndarray, candidates: Sequence[np.ndarray]) -> np.ndarray | None:
    """The array, perhaps turned, that is nearest to this one at a sample of places."""
    at = np.random.default_rng(0).integers(0, theirs.size, SAMPLE)  # equal steps could be a square's diagonal
    seen, best, least = theirs.ravel()[at], None, np.inf
    for candidate in candidates:
        turned = [candidate] if candidate.ndim != 2 else [candidate, candidate.T]
        for array in turned:
            if array.ndim > 1 and theirs.ndim > 1 and array.squeeze().shape != theirs.squeeze().shape:
                continue
            apart = float(np.nan_to_num(np.square(array.ravel()[at] - seen), nan=1e30, posinf=1e30).sum())
            if apart < least:
                best, least = array.reshape(theirs.shape), apart
    return best


def _explained(theirs: np.ndarray, allowed: WeightTolerance, one_scale: int) -> WeightTolerance:
    """What so many bits in one scale for the whole tensor (0: one a channel) explain: rounding to the steps that its largest
    number makes, which may be coarse beside all others."""
    if not one_scale or not np.any(theirs):
        return allowed
    step = float(np.abs(theirs).max()) / (2 ** (one_scale - 1) - 1)
    rounding = ROUNDED * step / _size(theirs)
    return replace(allowed, tensor=max(allowed.tensor, rounding), row=max(allowed.row, 2 * rounding))


def _changed(ours: np.ndarray, theirs: np.ndarray, allowed: WeightTolerance) -> str:
    if not np.isfinite(ours).all():
        return ""  # said before
    change = ours - theirs
    if allowed is not WEIGHTS[32]:
        change = np.where(np.abs(change) > FINEST, change, 0)
    size, largest = _size(theirs), float(np.abs(theirs).max())
    if largest == 0:
        return f"is zero in the float32 file and reaches {np.abs(ours).max():.2g} here" if np.any(ours) else ""
    if (whole := _size(change) / size) > allowed.tensor:
        return f"differs by {whole:.2g} of its size"
    slope = 1 + float((change * theirs).sum(dtype=np.float64)) / (size**2 * theirs.size)
    if abs(slope - 1) > allowed.scale:
        return f"has {slope:.3f} times its scale"
    if (most := float(np.abs(change).max()) / largest) > allowed.value:
        return f"differs in a value by {most:.2g} of its largest"
    for axis in range(theirs.ndim if theirs.ndim == 2 else 0):
        norms = np.sqrt(np.mean(np.square(theirs), axis=1 - axis))
        rows = np.sqrt(np.mean(np.square(change), axis=1 - axis)) / np.maximum(norms, 0.5 * size)
        if rows.max() > allowed.row:
            return f"differs in {('row', 'column')[axis]} {int(rows.argmax())} by {rows.max():.2g} of its size"
    return ""


def _size(array: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(array), dtype=np.float64)))


# ---------------------------------------------------------------- operators


def _operators(created: Contents, origin: Contents) -> list[str]:
    """Operators that reach a result, and what reaches what through those that a precision may change."""
    if not created.operators or not origin.operators:
        return []
    ours, theirs = _live(created), _live(origin)
    failures = [
        f"{ours[kind]} operators {kind} lead to the outputs, {theirs[kind]} do in the float32 file"
        for kind in sorted(ours | theirs)
        if ours[kind] != theirs[kind]
    ]
    if not failures and _shape(created) != _shape(origin):
        failures.append("its operators read one another otherwise than the float32 file's do")
    return failures[:SHOWN]


def _makers(contents: Contents) -> dict[str, int]:
    return {name: i for i, operator in enumerate(contents.operators) for name in operator.outputs}


def _live(contents: Contents) -> Counter[str]:
    """How many of each kind lead to an output."""
    makers, seen, wanted = _makers(contents), set(), list(contents.outputs)
    while wanted:
        at = makers.get(wanted.pop())
        if at is not None and at not in seen:
            seen.add(at)
            wanted += contents.operators[at].inputs
    return Counter(contents.operators[at].kind for at in seen if contents.operators[at].kind)


def _shape(contents: Contents) -> list[str]:
    """A digest of each output: of the kinds that it is made by, and of those that they read, to the inputs."""
    makers = _makers(contents)
    read: dict[str, frozenset[str]] = {}

    def before(name: str) -> frozenset[str]:
        """Digests of the nearest operators with a kind that lead to a name."""
        stack = [name]
        while stack:
            top = stack[-1]
            at = makers.get(top)
            if at is None:
                read[top] = frozenset()
            open_inputs = (
                [element for element in contents.operators[at].inputs if element not in read] if at is not None else []
            )
            if open_inputs:
                stack += open_inputs
                continue
            if at is not None:
                entry = contents.operators[at]
                result = frozenset().union(*(read[item] for item in entry.inputs))
                for output in entry.outputs:
                    read[output] = (
                        frozenset({_digest(entry.kind, result, output, entry.outputs)}) if entry.kind else result
                    )
            stack.pop()
        return read[name]

    return [_digest("", before(name), name, (name,)) for name in contents.outputs]


def _digest(kind: str, result: frozenset[str], output: str, outputs: tuple[str, ...]) -> str:
    return hashlib.sha256("\0".join([kind, str(outputs.index(output)), *sorted(result)]).encode()).hexdigest()[:16]
