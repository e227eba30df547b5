"""What a phone tells of itself: model, chip, Android, cores, clocks and temperature."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from edgebert.measure.targets._adb_client import SECONDS, Phone

MOST = "cpuinfo_max_freq"
NOW = "scaling_cur_freq"
CPUS = "/sys/devices/system/cpu"
CLOCKS = f"grep -H . {CPUS}/cpu[0-9]*/cpufreq/"  # the pattern is expanded by the phone's shell


def of_phone(phone: Phone) -> dict[str, Any]:
    """device, processor, system, and each core's highest clock in MHz; without what the phone does not tell."""
    android = _property(phone, "ro.build.version.release")
    results = {
        "device": name_of(phone),
        "serial": phone.serial,
        "processor": _property(phone, "ro.soc.model") or _property(phone, "ro.board.platform"),
        "system": f"Android {android}" if android else "",
        "core_clocks_mhz": _clocks(phone, MOST),
    }
    return {key: value for key, value in results.items() if value}


def name_of(phone: Phone) -> str:
    """Maker and model: "Google Pixel 6"; the serial number where it tells neither."""
    notes = (_property(phone, f"ro.product.{name}") for name in ("manufacturer", "model"))
    return " ".join(part for part in notes if part) or phone.serial


def now(phone: Phone) -> dict[str, float]:
    """clock_mhz of the fastest core and temperature_c, of the battery where no thermal zone of the CPU can be read."""
    results = {}
    if clocks := _clocks(phone, NOW):
        results["clock_mhz"] = max(clocks)
    if (degrees := _temperature(phone)) is not None:
        results["temperature_c"] = degrees
    return results


def pairs(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, Any]:
    """clock_mhz and temperature_c as [before, after]."""
    return {key: [before[key], after[key]] for key in before if key in after}


def _property(phone: Phone, name: str) -> str:
    return phone.words("getprop", name).out.strip()


def _clocks(phone: Phone, name: str) -> list[float]:
    """MHz of each core, in the order of their numbers; [] where they cannot be read."""
    description = phone.shell(CLOCKS + name, SECONDS)
    result = re.findall(rf"^{CPUS}/cpu(\d+)/cpufreq/{name}:(\d+)$", description.out, re.MULTILINE)
    return [int(khz) / 1e3 for _, khz in sorted(result, key=lambda pair: int(pair[0]))]


def _temperature(phone: Phone) -> float | None:
    """Degrees Celsius: the warmest zone whose type names the CPU, else the battery."""
    types = phone.shell("grep -H . /sys/class/thermal/thermal_zone*/type", SECONDS).out
    zones = set(re.findall(r"^(/sys/class/thermal/thermal_zone\d+)/type:.*cpu", types, re.MULTILINE | re.IGNORECASE))
    description = phone.shell("grep -H . /sys/class/thermal/thermal_zone*/temp", SECONDS).out if zones else ""
    result = re.findall(r"^(/sys/class/thermal/thermal_zone\d+)/temp:(\d+)$", description, re.MULTILINE)
    degrees = [int(value) / (1e3 if int(value) > 1000 else 1) for zone, value in result if zone in zones]
    if degrees:
        return max(degrees)
    battery = re.search(r"^\s*temperature: (\d+)$", phone.words("dumpsys", "battery").out, re.MULTILINE)
    return int(battery[1]) / 10 if battery else None
