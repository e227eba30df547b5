"""Device profiles: TOML files, one a device, and the machine that runs this program, which is detected.

A profile says what the cores, the memory and the runtimes of a device are, the budget it grants a model, and where
each figure comes from. The schema is `types.DeviceProfile` with `[[cores]]`, `[budget]` and `[sources]`.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from edgebert.devices.machine import usable_cores
from edgebert.devices.plausible import FLAGS, INSTRUCTIONS, PLAUSIBLE
from edgebert.errors import RequestError, shown, unknown
from edgebert.faults import is_installed
from edgebert.files import read_toml
from edgebert.types import Budget, Cores, DeviceProfile

Schema = Mapping[str, type]

DEVICE: Schema = {
    "name": str,
    "title": str,
    "soc": str,
    "instructions": list,
    "ram_mb": int,
    "memory_gb_per_s": float,
    "runtimes": list,
    "formats": list,
    "threads": int,
    "dispatch_us": float,
    "notes": str,
    "target": str,
}
CORES: Schema = {
    "name": str,
    "count": int,
    "clock_ghz": float,
    "fp32_flops_per_cycle": float,
    "int8_ops_per_cycle": float,
}
BUDGET: Schema = {"latency_ms": float, "size_mb": float, "memory_mb": float, "drop_points": float}
SOURCES = (
    "soc",
    "cores",
    "flops_per_cycle",
    "instructions",
    "ram_mb",
    "memory_gb_per_s",
    "runtimes",
    "threads",
    "dispatch_us",
    "budget",
)
TABLES = ("cores", "budget", "sources")
KINDS = {str: "a string", int: "a whole number", float: "a number", list: "a list of strings"}

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
INDEX = re.compile(r"\[\d+\]")  # of a table, in a dotted key

HERE = "this-machine"


def device_profiles() -> dict[str, DeviceProfile]:
    """The built-in profiles by name, in the order of their files, and this machine last."""
    return {**_built_in(), HERE: this_machine()}


def load_device(name_or_path: str) -> DeviceProfile:
    """A built-in profile by its name, or a user's own by the path of a .toml file.

    Raises RequestError for an unknown name, a file that cannot be read, or a file that breaks the schema. Whether its formats
    and its target are known, `edgebert.workflows.device.find_device` says.
    """
    if name_or_path.endswith(".toml"):
        path = Path(name_or_path)
        return replace(read_profile(read_toml(path), str(path)), path=path)
    if name_or_path == HERE:
        return this_machine()
    if name_or_path not in _built_in():
        more = "List them with: edgebert devices. Your own: --device path/to/device.toml"
        raise unknown("device", name_or_path, [*_built_in(), HERE], where="--device", more=more)
    return _built_in()[name_or_path]


@cache
def _built_in() -> dict[str, DeviceProfile]:
    profiles = []
    for file in sorted(files("edgebert.device_profiles").iterdir(), key=lambda file: file.name):
        if file.name.endswith(".toml"):
            with as_file(file) as path:
                profiles.append(read_profile(read_toml(path), file.name))
    return {profile.name: profile for profile in profiles}


# ---------------------------------------------------------------- reading and checking


def read_profile(table: Mapping[str, Any], where: str) -> DeviceProfile:
    """The profile of a TOML document. Raises RequestError that names `where`, the table and the key."""
    flat = {key: value for key, value in table.items() if key not in TABLES}
    flat = _checked(flat, DEVICE, where, "", optional=("notes", "target"))
    cores = table.get("cores")
    if not isinstance(cores, list) or not cores:
        raise _broken("no [[cores]] table", where, "cores", "Write one [[cores]] a cluster, the fastest first.")
    clusters = tuple(Cores(**_checked(item, CORES, where, f"cores[{i}]")) for i, item in enumerate(cores))
    profile = DeviceProfile(
        **flat,
        cores=clusters,
        budget=Budget(**_checked(table.get("budget"), BUDGET, where, "budget", optional=BUDGET)),
        sources=_checked(table.get("sources"), dict.fromkeys(SOURCES, str), where, "sources"),
    )
    if (
        Path(profile.name).name != profile.name
        or "\\" in profile.name
        or not profile.name.isprintable()
        or profile.name == ".."
    ):
        raise _broken(f"{profile.name!r} is a path, not a name", where, "name", "Runs are named after it: pixel6, say.")
    n_cores = sum(cluster.count for cluster in clusters)
    if profile.threads > n_cores:
        raise _broken(f"{profile.threads} threads on {n_cores} cores", where, "threads", "Ask for at most all cores.")
    if (profile.budget.memory_mb or 0) > profile.ram_mb:
        what = f"{profile.budget.memory_mb:g} MB on a device of {profile.ram_mb} MB"
        raise _broken(what, where, "budget.memory_mb", "Grant a model a part of ram_mb.")
    return profile


def _checked(table: Any, schema: Schema, where: str, name: str, optional: Iterable[str] = ()) -> dict[str, Any]:
    """`table` with every key known, present unless optional, and of its kind."""
    if not isinstance(table, dict):
        raise _broken(f"no [{name}] table", where, name, f"It holds {', '.join(schema)}.")
    for key in table:
        if key not in schema:
            known = [*schema, *TABLES] if not name else schema
            raise unknown("key", key, known, where=_place(where, f"{name}.{key}" if name else key))
    return {key: _value(table, key, schema[key], where, name) for key in schema if key in table or key not in optional}


def _value(table: Mapping[str, Any], key: str, kind: type, where: str, name: str) -> Any:
    dotted = f"{name}.{key}" if name else key
    if key not in table:
        estimate = ' Say where the figure comes from; an estimate is written "ours: why".' if name == "sources" else ""
        raise _broken("missing key", where, dotted, f"Every profile needs it: {KINDS[kind]}.{estimate}")
    value = table[key]
    if not _is_kind(value, kind):
        raise _broken(f"{shown(repr(value))} is not {KINDS[kind]}", where, dotted, f"Write {KINDS[kind]}.")
    if kind in (int, float):
        _check_figure(value, where, dotted)
    if key != "notes":
        _check_texts(value if kind is list else [value] if kind is str else [], where, dotted)
    if dotted == "instructions" and (others := [name for name in value if name not in INSTRUCTIONS]):
        raise unknown("set of instructions", others[0], INSTRUCTIONS, where=_place(where, dotted))
    if dotted == "name" and not NAME.fullmatch(value):
        hint = "A name has letters, digits, dots, dashes and underscores, at most 64: run folders are named after it."
        raise _broken(f"'{shown(value)}' cannot name a device", where, dotted, hint)
    return float(value) if kind is float else tuple(value) if kind is list else value


def _check_figure(value: float, where: str, dotted: str) -> None:
    """Raises RequestError for a figure that no device has, with the unit that was likely meant."""
    if not value > 0:  # not a number, too
        hint = "A limit that is left out does not bind." if dotted.startswith("budget.") else "Write a positive number."
        raise _broken(f"{shown(str(value))} is not above zero", where, dotted, hint)
    plausible = PLAUSIBLE[INDEX.sub("", dotted)]
    if not plausible.low <= value <= plausible.high:
        what = f"{shown(str(value))} is not plausible: devices have {plausible.low:g} to {plausible.high:,.10g} {plausible.unit}"
        raise _broken(what, where, dotted, plausible.advice(value))


def _check_texts(texts: Iterable[str], where: str, dotted: str) -> None:
    for text in texts:
        if not text.strip():
            raise _broken("empty string", where, dotted, "Write a string.")
        if not text.isprintable():
            raise _broken(f"'{shown(text)}' holds a control character", where, dotted, "Write it on one line.")


def _is_kind(value: object, kind: type) -> bool:
    if kind is list:
        return isinstance(value, list) and bool(value) and all(isinstance(item, str) for item in value)
    return isinstance(value, (int, float) if kind is float else kind) and not isinstance(value, bool)


def _place(where: str, dotted: str) -> str:
    return f"{where}, {dotted}"


def _broken(what: str, where: str, dotted: str, hint: str) -> RequestError:
    return RequestError(what, where=_place(where, dotted), hint=hint)


# ---------------------------------------------------------------- this machine


@cache
def this_machine() -> DeviceProfile:
    """The machine that runs this program: cores it may use, clock, instruction sets and memory."""
    import psutil

    info = _cpuinfo()
    flags = frozenset(info.get("flags", info.get("Features", "")).split())
    soc = info.get("model name") or platform.processor() or platform.machine() or "unknown processor"
    fp32, int8, rule = lanes(flags)
    clock, clock_source = _clock_ghz(info)
    openvino = "avx2" in flags and is_installed("openvino") and is_installed("nncf")
    executorch = is_installed("executorch") and is_installed("torchao")
    more = [*([("OpenVINO", "openvino")] if openvino else []), *([("ExecuTorch", "executorch")] if executorch else [])]
    return DeviceProfile(
        name=HERE,
        title="This machine",
        soc=soc,
        cores=(Cores(soc, _physical_cores(), clock, fp32, int8),),
        instructions=instruction_sets(flags),
        ram_mb=psutil.virtual_memory().total // 10**6,
        memory_gb_per_s=20.0,
        runtimes=("ONNX Runtime", *(runtime for runtime, _ in more)),
        formats=("onnx", *(format for _, format in more)),
        threads=1,
        dispatch_us=2.0,
        budget=Budget(latency_ms=20, size_mb=25, memory_mb=500, drop_points=2.0),
        sources={
            "soc": "detected: /proc/cpuinfo on Linux, else what Python's platform module says",
            "cores": f"detected: physical cores this process may use; clock {clock_source}",
            "flops_per_cycle": rule,
            "instructions": "detected: flags of /proc/cpuinfo; none where there is no such file",
            "ram_mb": "detected: psutil",
            "memory_gb_per_s": "ours: an assumption, about one channel of DDR4; not detected",
            "runtimes": "ours: the runtime that edgebert installs; OpenVINO, on an x86 processor, and ExecuTorch where they are installed",
            "threads": "ours: one, so that a prediction compares with the one-thread measurement",
            "dispatch_us": "ours: estimate for one operator of ONNX Runtime on a desktop core, not measured",
            "budget": "ours: moderate, for trying things out",
        },
        notes="Detected, and measured when a model is fitted: trust the measurement.",
    )


def lanes(flags: frozenset[str]) -> tuple[float, float, str]:
    """fp32 flops and int8 operations of one core and cycle from CPU flags, and the rule that gave them."""
    if "avx512f" in flags:
        fp32, rule = 64.0, "AVX-512 with two 512-bit FMA units (some cores have one)"
    elif {"avx2", "fma"} <= flags:
        fp32, rule = 32.0, "AVX2 with two 256-bit FMA units"
    else:
        fp32, rule = 16.0, "16 where neither AVX2 nor AVX-512 is seen (two 128-bit FMA units, as in Cortex-A76)"
    if flags & {"avx512_vnni", "avx_vnni", "asimddp"}:
        return fp32, 4 * fp32, f"ours: {rule}; int8 dot products do four times the work of fp32"
    return fp32, 1.3 * fp32, f"ours: {rule}; int8 without dot products taken as 1.3 times fp32, an estimate"


def instruction_sets(flags: frozenset[str]) -> tuple[str, ...]:
    """The instruction sets that matter to a small model, in the names of the profiles, from CPU flags."""
    return tuple(name for flag, name in FLAGS.items() if flag in flags)


def _cpuinfo() -> dict[str, str]:
    """Fields of the first processor of /proc/cpuinfo; empty where there is no such file."""
    try:
        first = Path("/proc/cpuinfo").read_text("utf-8", "replace").split("\n\n")[0]
    except OSError:
        return {}
    fields = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in fields}


def _physical_cores() -> int:
    """Cores of silicon that this process may run on: two threads of one core share its arithmetic."""
    import psutil

    usable = usable_cores()
    return min(usable, psutil.cpu_count(logical=False) or usable)


def _clock_ghz(info: Mapping[str, str]) -> tuple[float, str]:
    """Clock and how it was found: psutil's maximum, then /proc/cpuinfo, then an assumption."""
    import psutil

    try:
        result = psutil.cpu_freq()
    except (OSError, NotImplementedError, RuntimeError):
        result = None
    mhz = (result.max or result.current) if result else 0
    if mhz:
        return round(mhz / 1000, 2), "from psutil"
    if "cpu MHz" in info:
        return round(float(info["cpu MHz"]) / 1000, 2), "from /proc/cpuinfo"
    return 2.0, "unknown, taken as 2.0 GHz (ours)"
