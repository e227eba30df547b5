"""What a bundle can be made for: one module a platform, its templates beside it.

A platform takes a proven file with its tokenizer, labels and golden vectors, and writes a package that the platform's own
tools take as it is: a Gradle module, a Swift package, an npm package, a wheel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from edgebert.bundle.ports.archive import zip_folder
from edgebert.registry import Registry, check_call

if TYPE_CHECKING:
    from edgebert.bundle.manifest import Manifest
    from edgebert.bundle.sbom import Library


class Writer(Protocol):
    """Writes a platform's package."""

    def __call__(self, bundle: Path, folder: Path, name: str) -> None:
        """Args:
            bundle: as `edgebert.bundle.write_bundle` left it, checked, of one of the platform's formats.
            folder: empty, to write in.
            name: that the package shall have; `check_name` let it pass.

        Raises:
            RequestError: the platform cannot copy the tokenizer or read answers of the task.
        """


class NameCheck(Protocol):
    """Says whether a package can have a name."""

    def __call__(self, name: str) -> str:
        """What is wrong with it and how a right one looks; "" where nothing is."""


class DefaultName(Protocol):
    """Makes a name that is legal on the platform."""

    def __call__(self, words: Sequence[str]) -> str:
        """Args:
        words: small letters and digits each, the first beginning with a letter: ("ner", "atis").
        """


class Archiver(Protocol):
    """Packs a written and sealed package into one file, as the platform's tools take it."""

    def __call__(self, folder: Path, parent: Path, name: str) -> Path:
        """Writes the archive into `parent` and returns its path."""


class Requires(Protocol):
    """Says which libraries a package has its platform's package manager bring."""

    def __call__(self, manifest: Manifest) -> Sequence[Library]:
        """Args:
        manifest: of the bundle.
        """


@dataclass(frozen=True)
class Platform:
    """The declaration `PLATFORM` of each module of this package.

    Attributes:
        formats: of files that the platform runs, the preferred one first.
        prove: the command that replays the golden vectors, to be given in the package's folder.
        engines: by which a package may run its model where an engine of its own must be proven; a package's manifest lists
            the proofs of them that the run keeps. () where there is no such choice.
        check_name, default_name, write, requires, archive: see their classes.
    """

    name: str
    title: str
    formats: tuple[str, ...]
    prove: str
    check_name: NameCheck
    default_name: DefaultName
    write: Writer
    requires: Requires = lambda manifest: ()
    archive: Archiver = zip_folder
    engines: tuple[str, ...] = ()


def _check(platform: Platform) -> None:
    """Raises TypeError for a declaration that breaks the contract."""
    check_call("check_name", platform.check_name, "name")
    check_call("default_name", platform.default_name, "words")
    check_call("write", platform.write, "bundle", "folder", "name")
    check_call("requires", platform.requires, "manifest")
    check_call("archive", platform.archive, "folder", "parent", "name")


PLATFORMS: Registry[Platform] = Registry("platform", __name__, "PLATFORM", Platform, where="--platform", check=_check)
