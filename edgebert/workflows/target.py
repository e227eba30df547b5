"""Where a fit's files are measured beside this machine: what `--on` names, or the device's own target if it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgebert.devices.profiles import HERE
from edgebert.errors import EdgebertError, RequestError
from edgebert.measure.targets import TARGETS, DeviceInfo, Target, parse_address
from edgebert.types import DeviceProfile

NOWHERE = "none"
WITHOUT = f"--on {NOWHERE} predicts the latency on the device instead."


@dataclass(frozen=True)
class MeasurementTarget:
    """A target that answered."""

    on: str  # as --on takes it
    target: Target
    formats: tuple[str, ...]  # of the fit's, those that it can run
    called: str  # what it calls itself; "" where it tells only when it measures
    is_device: bool  # what is measured there is measured on the device of the fit
    notes: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        return parse_address(self.on)[1]


def find_target(
    on: str | None, device: DeviceProfile, formats: Sequence[str]
) -> tuple[MeasurementTarget | None, list[str]]:
    """The place to measure on, and what a user should know of one that is not taken. `none` asks no device.

    Raises:
        RequestError: a target was named that is unknown, does not answer, or runs none of the files.
    """
    if on is not None and on != NOWHERE:
        return _named(on, device, formats), []
    if device.target and on is None:
        return _own(device, formats)
    return None, []


def _named(on: str, device: DeviceProfile, formats: Sequence[str]) -> MeasurementTarget:
    kind, address = parse_address(on)
    target = TARGETS.get(kind)
    if why := target.answers(address):
        raise RequestError(why, where=f"--on {on}", hint=WITHOUT)
    wanted = [name for name in formats if name in target.formats]
    seen = _seen(target, address, wanted)
    left = {name: f"it runs {' and '.join(target.formats)} files" for name in formats if name not in wanted}
    left |= seen.lacks
    if len(left) == len(set(formats)):
        reasons = "; ".join(dict.fromkeys(left.values()))
        raise RequestError(f"it cannot run {' or '.join(formats)} files: {reasons}", where=f"--on {on}", hint=WITHOUT)
    notes = [f"{name} files are not measured on {on}: {why}" for name, why in left.items()]
    is_device = is_device_of(kind, device)
    if not is_device:
        notes.append(
            f"{on} is not the {device.name}: its figures are shown, and the latency budget is judged by the prediction"
        )
    return MeasurementTarget(
        on, target, tuple(name for name in wanted if name not in left), seen.called, is_device, tuple(notes)
    )


def is_device_of(kind: str, device: DeviceProfile) -> bool:
    """Whether a target of this kind can be the device: this machine is only itself, and a profile that declares a target
    is reached by that one. Else the user is believed."""
    if kind == "here" or device.name == HERE:
        return kind == "here" and device.name == HERE
    return device.target in ("", kind)


def _own(device: DeviceProfile, formats: Sequence[str]) -> tuple[MeasurementTarget | None, list[str]]:
    """The device's own target, asked once. A target that tells what the device is called must call it by its title."""
    kind = device.target
    if kind not in TARGETS.all():
        known = ", ".join(TARGETS.all())
        raise RequestError(f"there is no target '{kind}'", where=f"{device.path}, target", hint=f"Known: {known}.")
    target = TARGETS.get(kind)
    if target.answers("") or not (wanted := [name for name in formats if name in target.formats]):
        return None, []
    try:
        seen = _seen(target, "", wanted)
    except EdgebertError:
        return None, []
    there = f"{kind} answers ({target.title})" + (f" and is called {seen.called}" if seen.called else "")
    if target.look and seen.called.casefold().split() != device.title.casefold().split():
        return None, [f"{there}: --on {kind} measures on it"]
    if len(seen.lacks) == len(wanted):
        return None, [f"{there}, but nothing is measured on it: {'; '.join(dict.fromkeys(seen.lacks.values()))}"]
    notes = [f"{name} files are not measured on {kind}: {why}" for name, why in seen.lacks.items()]
    ready = tuple(name for name in wanted if name not in seen.lacks)
    return MeasurementTarget(
        kind, target, ready, seen.called, is_device=True, notes=(f"{there}: files are measured there", *notes)
    ), []


def _seen(target: Target, address: str, formats: Sequence[str]) -> DeviceInfo:
    return target.look(address, formats) if target.look and formats else DeviceInfo("")
