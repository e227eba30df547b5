"""The device of a request: its profile, whose formats and target are known here."""

from __future__ import annotations

from edgebert.converters import CONVERTERS
from edgebert.devices.profiles import load_device
from edgebert.errors import unknown
from edgebert.measure.targets import TARGETS
from edgebert.types import DeviceProfile


def find_device(name_or_path: str) -> DeviceProfile:
    """A profile by its name, or by the path of a .toml file.

    Raises:
        RequestError: as `edgebert.devices.profiles.load_device`, and for a format or a target that does not exist.
    """
    profile = load_device(name_or_path)
    if profile.path is None:  # our own
        return profile
    for name in profile.formats:
        if name not in CONVERTERS.all():
            raise unknown("format", name, CONVERTERS.all(), where=f"{name_or_path}, formats")
    if profile.target and profile.target not in TARGETS.all():
        raise unknown("target", profile.target, TARGETS.all(), where=f"{name_or_path}, target")
    return profile
