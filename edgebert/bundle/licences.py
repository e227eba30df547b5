"""Licences by the identifiers that others read: those of SPDX in a bill of materials, those of Hugging Face on a card."""

from __future__ import annotations

SPDX = (
    "AFL-3.0", "AGPL-3.0", "Apache-2.0", "Artistic-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC-BY-2.0", "CC-BY-3.0",
    "CC-BY-4.0", "CC-BY-NC-2.0", "CC-BY-NC-3.0", "CC-BY-NC-4.0", "CC-BY-NC-ND-4.0", "CC-BY-NC-SA-4.0", "CC-BY-ND-4.0",
    "CC-BY-SA-3.0", "CC-BY-SA-4.0", "CC0-1.0", "ECL-2.0", "EUPL-1.2", "GPL-2.0", "GPL-3.0", "ISC", "LGPL-2.1", "LGPL-3.0",
    "MIT", "MPL-2.0", "MS-PL", "NCSA", "OFL-1.1", "OSL-3.0", "PostgreSQL", "Unlicense", "WTFPL", "Zlib",
)  # fmt: skip
_BY_SMALL_LETTERS = {name.lower(): name for name in SPDX}


def spdx_id(licence: str) -> str:
    """SPDX's identifier of a licence that is named by it, in whatever case; "" for any other text."""
    return _BY_SMALL_LETTERS.get(licence.strip().lower(), "")


def hub_id(licence: str) -> str:
    """What Hugging Face's hub calls a licence: "other" where it is none that both lists know, "unknown" where none is told."""
    return spdx_id(licence).lower() or ("other" if licence.strip() else "unknown")
