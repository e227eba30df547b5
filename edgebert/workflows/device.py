"""The device of a request: its profile, whose formats, runtimes and target are known here."""

from __future__ import annotations

from edgebert.converters import CONVERTERS
from edgebert.devices.profiles import HERE, device_profiles, load_device
from edgebert.errors import unknown
from edgebert.measure.targets import TARGETS
from edgebert.types import DeviceProfile


def find_device(name_or_path: str) -> DeviceProfile:
    """A profile by its name, or by the path of a .toml file.

    Raises:
        RequestError: as `edgebert.devices.profiles.load_device`, and for a format, a runtime or a target that does not exist.
    """
    profile = load_device(name_or_path)
    if profile.path is None:  # our own
        return profile
    for name in profile.formats:
        if name not in CONVERTERS.all():
            raise unknown("format", name, CONVERTERS.all(), where=f"{name_or_path}, formats")
    known = _runtimes()
    for name in profile.runtimes:
        if name not in known:
            raise unknown("runtime", name, known, where=f"{name_or_path}, runtimes")
    if profile.target and profile.target not in TARGETS.all():
        raise unknown("target", profile.target, TARGETS.all(), where=f"{name_or_path}, target")
    return profile


def _runtimes() -> set[str]:
    """Those of the built-in profiles; for a format that none of these has, the module that its converter names."""
    ours = [profile for name, profile in device_profiles().items() if name != HERE]
    formats = {name for profile in ours for name in profile.formats}
    others = {converter.runtime for name, converter in CONVERTERS.all().items() if name not in formats}
    return {name for profile in ours for name in profile.runtimes} | others
