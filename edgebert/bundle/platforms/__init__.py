"""What a bundle can be made for: one module a platform, its templates beside it.

A platform takes a proven file with its tokenizer, labels and golden vectors, and writes a package that the platform's own
tools take as it is: a Gradle module, a Swift package, an npm package, a wheel.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgebert.registry import Registry, check_call


class Writer(Protocol):
    """Writes a platform's package."""

    def __call__(self, bundle: Path, folder: Path, name: str) -> None:
        """Args:
            bundle: as `edgebert.bundle.write_bundle` left it.
            folder: empty, to write in.
            name: that the package shall have.

        Raises:
            RequestError: the platform cannot run the file or copy its tokenizer, or the name is not legal there.
        """


@dataclass(frozen=True)
class Platform:
    """The declaration `PLATFORM` of each module of this package.

    Attributes:
        formats: of files that the platform runs, the preferred one first.
        write: see `Writer`.
    """

    name: str
    title: str
    formats: tuple[str, ...]
    write: Writer


def _check(platform: Platform) -> None:
    """Raises TypeError for a declaration that breaks the contract."""
    check_call("write", platform.write, "bundle", "folder", "name")


PLATFORMS: Registry[Platform] = Registry("platform", __name__, "PLATFORM", Platform, where="--platform", check=_check)
