"""The files of the package: what lies between a text and its answer, and whether they are still what was proven."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import ModelError

DATA = Path(__file__).parent / "data"
SETTINGS, TOKENIZER, GOLDEN = "edgebert.json", "tokenizer.json", "golden.jsonl.gz"
_BLOCK = 1 << 20


def read_settings() -> dict[str, Any]:
    """edgebert.json, once the files that it lists are as it says.

    Raises:
        ModelError: a file is missing or was changed.
    """
    try:
        settings: dict[str, Any] = json.loads((DATA / SETTINGS).read_text(encoding="utf-8"))
        listed = settings["files"].items()
        changed = [name for name, facts in listed if _sha256(DATA / name) != facts["sha256"]]
    except FileNotFoundError as error:
        raise ModelError(f"{Path(error.filename).name} is missing: install the package again") from None
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise ModelError(f"{SETTINGS} or a file that it lists cannot be read: {error}") from None
    if changed:
        raise ModelError(f"{', '.join(changed)} was changed since the package was made: install it again")
    return settings


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def per_token_outputs(settings: Mapping[str, Any]) -> dict[str, bool]:
    """Of each output whether it has an entry a token. Where the file has several lengths, or any, its second size varies as
    that of the inputs does; else its name says it."""
    length = settings["model"]["inputs"][0]["shape"][1]
    results = {}
    for output in settings["model"]["outputs"]:
        name, shape = output["name"], output["shape"]
        span = name.endswith(("start_logits", "end_logits"))
        varies, named = shape[1:2] == [length], span or (name.endswith("logits") and len(shape) == 3)
        results[name] = varies if isinstance(length, str) else named
    return results
