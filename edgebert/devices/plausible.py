"""Figures that no device has, which most often are right figures in another unit; and names of instruction sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# Sets of instructions that matter to a small model: how the kernel calls them (flags of /proc/cpuinfo) -> how profiles do.
FLAGS: Mapping[str, str] = {
    "asimd": "neon",
    "asimdhp": "fp16",
    "asimddp": "dotprod",
    "i8mm": "i8mm",
    "avx2": "avx2",
    "fma": "fma",
    "avx512f": "avx512f",
    "avx_vnni": "avx_vnni",
    "avx512_vnni": "avx512_vnni",
    "amx_int8": "amx_int8",
}
# With those that a profile may name and that are not detected.
INSTRUCTIONS = (*FLAGS.values(), "wasm-simd128", "bf16", "sve", "sve2", "sme", "sse4", "avx", "rvv")


@dataclass(frozen=True)
class Plausible:
    """The figures of a key that a device may have (our judgement, wide on purpose), and how other units convert.

    Attributes:
        low, high: both belong to it.
        unit: of the key.
        others: unit -> what a figure in it is multiplied by to be one in `unit`; what is likeliest comes first.
    """

    low: float
    high: float
    unit: str
    others: Mapping[str, float] = field(default_factory=dict)

    def advice(self, value: float) -> str:
        """What to write instead of a value outside: converted from the first unit that brings it inside."""
        value = min(value, 1e300)  # a file may hold a longer whole number, which is no float
        for unit, factor in self.others.items():
            if self.low <= value * factor <= self.high:
                return f"If {value:g} is in {unit}, write {value * factor:.6g}: the key is in {self.unit}."
        return f"The key is in {self.unit}: look the figure up again."


PLAUSIBLE: Mapping[str, Plausible] = {
    "ram_mb": Plausible(48, 4_194_304, "MB", {"GB": 1024, "kB": 1 / 1024, "bytes": 1e-6}),
    "memory_gb_per_s": Plausible(0.05, 2000, "GB/s", {"MB/s": 1e-3}),
    "dispatch_us": Plausible(0.05, 2000, "microseconds", {"milliseconds": 1e3, "nanoseconds": 1e-3}),
    "threads": Plausible(1, 1024, "threads"),
    "cores.count": Plausible(1, 1024, "cores"),
    "cores.clock_ghz": Plausible(0.03, 10, "GHz", {"MHz": 1e-3, "Hz": 1e-9}),
    "cores.fp32_flops_per_cycle": Plausible(
        0.01, 1024, "operations of a cycle", {"operations a second at 1 GHz": 1e-9}
    ),
    "cores.int8_ops_per_cycle": Plausible(0.01, 8192, "operations of a cycle", {"operations a second at 1 GHz": 1e-9}),
    "budget.latency_ms": Plausible(0.1, 60_000, "milliseconds", {"microseconds": 1e-3, "seconds": 1e3, "ns": 1e-6}),
    "budget.size_mb": Plausible(0.1, 10_000, "MB", {"bytes": 1e-6, "kB": 1e-3, "GB": 1e3}),
    "budget.memory_mb": Plausible(1, 100_000, "MB", {"bytes": 1e-6, "kB": 1e-3, "GB": 1e3}),
    "budget.drop_points": Plausible(0.05, 100, "points of the metric, 1 of 100", {"a share of 1": 100}),
}
