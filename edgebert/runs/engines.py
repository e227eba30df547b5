"""What each engine answered of a run's files: one JSON file a proof in RUN/engines, the newest of equal conditions.

A proof is about one file by its sha256. A file that was changed since has none.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from edgebert.errors import RunError
from edgebert.faults import faults_as_errors
from edgebert.files import digest, from_plain, plain, write_atomic
from edgebert.results import EngineProof
from edgebert.runs.folder import ENGINES

N_DIGITS = 16  # of the sum in a proof's name


def write_proof(run: Path, proof: EngineProof) -> None:
    """Keeps a proof in place of an earlier one of the same file, engine, browser, adapter and version.

    Raises:
        RunError: the system refuses it.
    """
    conditions = digest((proof.sha256, proof.device, proof.adapter, proof.runtime_version), N_DIGITS)
    with faults_as_errors(run):
        (run / ENGINES).mkdir(exist_ok=True)
        write_atomic(run / ENGINES / f"{proof.engine}-{conditions}.json", json.dumps(plain(proof), indent=1) + "\n")


def read_proofs(run: Path, sha256: Sequence[str]) -> tuple[EngineProof, ...]:
    """Every proof of files with these sums, in the order of the sums, then of engines.

    Raises:
        RunError: one cannot be read: nothing may pass for proven, or for never tried, by that.
    """
    results = []
    for path in sorted((run / ENGINES).glob(f"*-{'?' * N_DIGITS}.json")):
        try:
            results.append(from_plain(EngineProof, json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
            hint = "Remove it, and prove the file again: edgebert profile RUN --on browser"
            raise RunError(f"no proof of an engine that can be read ({error})", where=str(path), hint=hint) from None
    wanted = list(sha256)
    return tuple(
        sorted((item for item in results if item.sha256 in wanted), key=lambda item: wanted.index(item.sha256))
    )
