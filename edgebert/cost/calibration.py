"""A cost model of one device, fitted to what was measured on it: the time of each kind of operator, by its shape.

The time of a pass is a sum of terms, each a count that follows from the config and the length, times a price in ms:

- of each kind of product (dense; of attention, `inner`; of an LSTM's input): multiply-adds, the same with rows
  and columns filled up to tiles of 16, elements read, written and kept, runs of it, and products within a run;
- of softmax, activations and norms: elements and rows; of all element-wise operators together: elements and runs;
- weights that no cache holds: megabytes read in a pass, once the model's own weights are larger than `STREAM`, fading
  out where there are rows enough to hide behind arithmetic (`HIDDEN_BY` rows);
- of an LSTM: steps, and the weights read in each; again once they are larger than `STEP` megabytes, and where a direction's
  width is a multiple of `ALIAS` (int8 in Chromium: a quarter more, seen on two machines; rows may share a cache's sets).

Prices are at least zero (non-negative least squares), chosen for the least relative error. An architecture's own error
is told by leaving it out of the fit, one after the other: from these come the errors that are stored, and the interval,
which holds them all: of architectures like the n probes, it holds the next with a chance of about (n - 1) / (n + 1).
What lies far outside the probes (edgebert.measure.probes) is an extrapolation, and not covered by them.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebert.errors import RequestError, RunError
from edgebert.files import user_folder
from edgebert.modeling.operators import Operator, operators
from edgebert.types import QUIETEST

if TYPE_CHECKING:
    import numpy as np

    from edgebert.modeling.config import ModelConfig
    from edgebert.types import DeviceProfile

TERMS = 3  # version of what `terms` counts; prices of another are not read
BYTES = {"fp32": 4, "fp16": 2, "int8": 1}  # of one weight
TILE = 16  # rows and columns of the kernels' tiles, about: AVX-512 and NEON work in 12 x 32, 6 x 16, 8 x 8 …
STREAM = (0.5, 1, 2, 4, 8, 16, 32, 64)  # MB: sizes that caches have; which of them count is found by the fit
HIDDEN_BY = (16, 64)  # rows
FULL = 1.25  # times a cache's size, from which nothing is found in it again
STEP = (0.1, 0.25, 0.5, 1, 2)  # MB
ALIAS = 128  # see the module
ACTIVATIONS = {"gelu": "gelu", "relu": "relu"}  # by a config's hidden_act; the others are polynomials of tanh
ELEMENTS = ("softmax", "layer norm", "norm", "relu", "scale and mask")  # priced by themselves


@dataclass(frozen=True)
class Point:
    """One measured time: an architecture at a length. `config` is transformers'."""

    name: str  # of the architecture
    config: ModelConfig
    length: int
    p50_ms: float


@dataclass(frozen=True)
class Calibration:
    """Prices of one device in one runtime, precision and number of threads, and how far they can be trusted.

    Attributes:
        prices: ms of one unit of each term of `terms`.
        low, high: a prediction p is given as [p * low, p * high]: all left-out times lie within.
        error_p50, error_p90: of the left-out times, |predicted / measured - 1|.
        probes: what was measured: each with its name, lengths, p50_ms, and all timed runs in order.
    """

    device: str
    soc: str  # of the profile at the time
    target: str  # as it was asked for: "here"
    measured_on: str  # what the target calls itself
    format: str
    runtime: str
    runtime_version: str
    precision: str  # what products are computed in
    threads: int
    prices: Mapping[str, float]
    low: float
    high: float
    error_p50: float
    error_p90: float
    n_architectures: int
    n_points: int
    created: str
    probes: Sequence[Mapping[str, Any]] = ()
    terms: int = TERMS
    statistic: str = QUIETEST  # of the times that it was fitted to, so of what it predicts

    def predict_ms(self, config: ModelConfig, seq_len: int) -> float:
        """p50 of one inference of batch 1."""
        result = terms(config, seq_len, self.precision)
        return sum(self.prices.get(name, 0.0) * amount for name, amount in result.items())

    @property
    def description(self) -> str:
        """One line: when, on what, with what, and how well."""
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        return (
            f"calibrated on {self.created[:10]} on {self.measured_on} by {self.target}: {self.format} {self.precision}, "
            f"{self.runtime} {self.runtime_version}, {threads}; {self.n_architectures} architectures, each left out in turn: "
            f"error {100 * self.error_p50:.0f} % at the median and {100 * self.error_p90:.0f} % at the 90th percentile, "
            f"interval {100 * (self.low - 1):+.0f} to {100 * (self.high - 1):+.0f} % (all lie within)"
        )


# ---------------------------------------------------------------- terms


def terms(config: ModelConfig, seq_len: int, precision: str) -> dict[str, float]:
    """What a pass over `seq_len` tokens consists of: an amount a term. See the module."""
    results: dict[str, float] = defaultdict(float)
    results["one pass"] = 1.0
    ops = operators(config, seq_len)
    # Layers that share their weights (ALBERT) read the same ones again.
    n_layers = config.num_hidden_layers or 1  # a static model has none
    shared = n_layers / (getattr(config, "num_hidden_groups", None) or n_layers)
    megabytes = BYTES[precision] / 1e6
    held = sum(op.count * op.weights for op in ops) / shared * megabytes
    for op in ops:
        if op.shape is not None:
            _product(results, op, held, megabytes)
        elif op.weights:
            _steps(results, op, seq_len, megabytes)
        else:
            _elements(results, op, config, seq_len)
    return {name: amount for name, amount in results.items() if amount}


def _product(results: dict[str, float], op: Operator, held: float, megabytes: float) -> None:
    assert op.shape is not None
    m, k, n = op.shape
    together = max(1, round(op.flops / (2 * m * k * n)))  # products in one run: heads
    kind = "inner" if not op.weights else "lstm" if op.name.startswith("lstm") else "dense"
    runs = op.count * together
    results[f"{kind} multiply-adds"] += runs * m * k * n
    results[f"{kind} multiply-adds, whole rows"] += runs * _whole(m) * k * n
    results[f"{kind} multiply-adds, whole columns"] += runs * m * k * _whole(n)
    results[f"{kind} multiply-adds, whole sides"] += runs * m * _whole(k) * _whole(n)
    results[f"{kind} read"] += runs * m * k
    results[f"{kind} written"] += runs * m * n
    results[f"{kind} right side"] += runs * k * n
    results[f"{kind} runs"] += op.count
    if kind == "inner":
        results["inner products"] += runs
        return
    read = op.count * op.weights * megabytes
    for size in STREAM:
        beyond = read * _ramp(held, size)
        results[f"weights beyond {size} MB"] += beyond
        for rows in HIDDEN_BY:
            results[f"weights beyond {size} MB, under {rows} rows"] += beyond * max(0.0, 1 - m / rows)


def _steps(results: dict[str, float], op: Operator, seq_len: int, megabytes: float) -> None:
    """Of a recurrence: `op.weights` are read in each step."""
    steps, weights = op.count * seq_len, op.weights * megabytes
    results["steps"] += steps
    results["steps, weights"] += steps * weights
    results["steps, width"] += steps * op.weights**0.5
    if round((op.weights / 4) ** 0.5) % ALIAS == 0:  # width of one direction
        results["steps, weights of aliased rows"] += steps * weights
    for size in STEP:
        results[f"steps, weights beyond {size} MB"] += steps * weights * _ramp(weights, size)


def _elements(results: dict[str, float], op: Operator, config: ModelConfig, seq_len: int) -> None:
    elements = op.count * op.activations / 2
    kind = op.name if op.name in ELEMENTS else "moved"
    if op.name == "gelu":
        kind = ACTIVATIONS.get(
            str(getattr(config, "hidden_act", None) or getattr(config, "activation", "gelu")), "tanh"
        )
    results[f"{kind} elements"] += elements
    results["element-wise runs"] += op.count
    if kind == "softmax":
        results["softmax rows"] += elements / seq_len
    elif kind in ("layer norm", "norm"):
        results[f"{kind} rows"] += op.count * seq_len


def _whole(n: int) -> int:
    return -(-n // TILE) * TILE


def _ramp(size: float, cache: float) -> float:
    """0 up to the cache's size, 1 from FULL times that on. A long ramp would let one probe at its foot set the price of
    all that lies above."""
    return min(1.0, max(0.0, (size / cache - 1) / (FULL - 1)))


# ---------------------------------------------------------------- the fit


@dataclass(frozen=True)
class Fitted:
    """The part of a `Calibration` that follows from the times."""

    prices: Mapping[str, float]
    low: float
    high: float
    error_p50: float
    error_p90: float
    n_architectures: int
    n_points: int


def fit(points: Sequence[Point], precision: str) -> Fitted:
    """Prices for the least relative error, and the errors of each architecture when it is left out.

    Raises:
        ValueError: fewer than two architectures, or a time that is not above zero.
    """
    import numpy as np

    names = list(dict.fromkeys(point.name for point in points))
    if len(names) < 2 or min(point.p50_ms for point in points) <= 0:
        raise ValueError("a fit needs two architectures and times above zero")
    rows = [terms(point.config, point.length, precision) for point in points]
    columns = sorted({name for row in rows for name in row})
    amounts = np.array([[row.get(name, 0.0) for name in columns] for row in rows])
    times = np.array([point.p50_ms for point in points])
    owner = np.array([names.index(point.name) for point in points])
    ratios = np.empty(len(points))  # predicted over measured
    for item in range(len(names)):
        out = owner == item
        ratios[out] = amounts[out] @ _prices(amounts[~out], times[~out]) / times[out]
    errors = np.abs(ratios - 1)
    actual = 1 / np.maximum(ratios, 1e-3)  # measured over predicted
    return Fitted(
        prices={name: float(f"{price:.6g}") for name, price in zip(columns, _prices(amounts, times), strict=True) if price},
        low=min(1.0, float(actual.min())),
        high=max(1.0, float(actual.max())),
        error_p50=float(np.quantile(errors, 0.5)),
        error_p90=float(np.quantile(errors, 0.9)),
        n_architectures=len(names),
        n_points=len(points),
    )  # fmt: skip


def _prices(amounts: np.ndarray, times: np.ndarray) -> np.ndarray:
    """x of at least zero for the least sum of (amounts x / times - 1)^2."""
    import numpy as np
    from scipy.optimize import nnls

    relative = amounts / times[:, None]
    scale = np.maximum(relative.max(axis=0), 1e-300)  # so that no term counts for its unit
    result, _ = nnls(relative / scale, np.ones(len(times)), maxiter=100 * amounts.shape[1])
    return result / scale


# ---------------------------------------------------------------- kept with the profile


def calibration_file(device: DeviceProfile) -> Path:
    """Beside a user's own profile; for a built-in one in the user's data folder."""
    if device.path is not None:
        return device.path.with_name(f"{device.path.stem}.calibration.json")
    return user_folder("XDG_DATA_HOME", ".local/share") / "calibrations" / f"{device.name}.json"


def calibrations_of(device: DeviceProfile) -> tuple[Calibration, ...]:
    """What the device was calibrated with; () where nobody did, or it was another chip under the same name.

    Raises:
        RequestError: the file is damaged.
    """
    path = kept_calibrations(device)
    return tuple(item for item in _read(path, path.stat().st_mtime_ns) if item.soc == device.soc) if path else ()


def kept_calibrations(device: DeviceProfile) -> Path | None:
    """The file of `calibration_file`; None where it is not there, or has no place to be at."""
    try:
        path = calibration_file(device)
        return path if path.is_file() else None
    except (OSError, RunError):
        return None


def find_calibration(
    device: DeviceProfile, *, precision: str, threads: int, format: str | None = None
) -> Calibration | None:
    """The calibration that serves a prediction; by default of the format that the profile names first."""
    format = format or (device.formats[0] if device.formats else None)
    wanted = (precision, threads, format)
    return next(
        (item for item in calibrations_of(device) if (item.precision, item.threads, item.format) == wanted), None
    )


def read_calibrations(path: Path) -> tuple[Calibration, ...]:
    """The calibrations of a file. Raises RequestError where it is not one that this version wrote."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))["calibrations"]
        results = [Calibration(**{**entry, "probes": tuple(entry["probes"])}) for entry in stored]
        for item in results:
            for field in fields(Fitted):
                value = getattr(item, field.name)
                numbers = value.values() if field.name == "prices" else (value,)
                if not all(isinstance(number, (int, float)) and number >= 0 for number in numbers):
                    raise ValueError(f"{field.name} is no number of at least zero")
    except (OSError, ValueError, OverflowError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise RequestError(f"the calibration cannot be read: {error}", where=str(path), hint=_AGAIN) from None
    if any(entry.terms != TERMS for entry in results):
        raise RequestError("another version of edgebert made the calibration", where=str(path), hint=_AGAIN)
    return tuple(results)


_AGAIN = "Delete the file, or measure again: edgebert calibrate --on TARGET."
_read = lru_cache(maxsize=8)(lambda path, changed: read_calibrations(path))


def write_calibrations(path: Path, new: Sequence[Calibration]) -> None:
    """Adds to the file; what was calibrated before in the same format, runtime, precision and threads is replaced.

    Raises:
        RequestError: the file that is there is no calibration, or it cannot be written.
    """
    from edgebert.files import write_atomic

    def key(calibration: Calibration) -> tuple[object, ...]:
        return calibration.device, calibration.soc, calibration.format, calibration.precision, calibration.threads

    fresh = {key(item) for item in new}
    kept = [item for item in (read_calibrations(path) if path.exists() else ()) if key(item) not in fresh]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps({"calibrations": [asdict(item) for item in (*kept, *new)]}) + "\n")
    except OSError as error:
        raise RequestError(f"cannot be written: {error.strerror}", where=str(path), hint="Choose --output.") from None
