"""What `edgebert cut` was asked for, and what is wrong with it before the checkpoint is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgebert.converters import find_precision, usable_converter
from edgebert.devices.profiles import HERE
from edgebert.errors import RequestError
from edgebert.files import name_of
from edgebert.modeling.folder import named_folder
from edgebert.types import DeviceProfile
from edgebert.workflows.device import find_device


@dataclass(frozen=True)
class CutRequest:
    """What `edgebert cut` was asked for. Without a shape the best that was scored is taken within the limits.

    Attributes:
        device: whose cost model predicts times; by default this machine.
        width, depth: shares of heads and neurons, and of the layers.
        layers, widths: in their place, numbers of the layers that stay, from 0, and a share for each.
        max_latency_ms, max_size_mb: limits; of a device that is named without them and without a shape, its profile's.
        formats, precision: of the file that is predicted; by default the device's, and int8.
        length: tokens of the pass that is predicted; by default the training rows' 95th percentile.
    """

    model: str
    device: str | None = None
    width: float | None = None
    depth: float | None = None
    layers: tuple[int, ...] = ()
    widths: tuple[float, ...] = ()
    max_latency_ms: float | None = None
    max_size_mb: float | None = None
    formats: tuple[str, ...] = ()
    precision: str = "int8"
    length: int | None = None

    @property
    def has_shape(self) -> bool:
        return bool(self.layers or self.widths or self.width or self.depth)


def cut_request(model: str, output: str | None, **options: Any) -> tuple[Path, CutRequest]:
    """The smaller checkpoint's folder, and the request. Raises EdgebertError for what needs no checkpoint to be refused."""
    request = CutRequest(model, **options)
    named_folder(model)
    if not Path(model).is_dir():
        raise RequestError(f"{model} is no folder", where="MODEL", hint="Give the checkpoint that dynabert made.")
    find_format(request, find_device(request.device or HERE))
    if not (request.has_shape or request.device or request.max_latency_ms or request.max_size_mb):
        hint = "Give --device, --max-latency-ms or --max-size-mb, or a shape: --width 0.5 --depth 0.5."
        raise RequestError("nothing says how small the network shall be", where="--device", hint=hint)
    if (request.layers or request.widths) and (request.width or request.depth):
        what = "layers and their widths are given one by one, and as shares of all too"
        raise RequestError(what, where="--layers, --widths", hint="Leave out --width and --depth.")
    for name, value in (("--width", request.width), ("--depth", request.depth)):
        if value is not None and not 0 < value <= 1:
            raise RequestError(f"{value:g} is no share", where=name, hint="Shares are over 0, and 1 keeps all.")
    return Path(output or f"{name_of(model)}-cut"), request


def find_format(request: CutRequest, device: DeviceProfile) -> tuple[str, str]:
    """The format and precision of the file that is predicted. Raises RequestError where there is no such file."""
    formats = request.formats or device.formats
    if request.precision == "fp32":
        return formats[0], request.precision
    for format in formats:
        if request.precision in usable_converter(format).precisions:
            return format, request.precision
    find_precision(formats[0], request.precision)  # raises, with the names that there are
    raise AssertionError("the first format has this precision")
