"""Peak memory of this process."""

from __future__ import annotations

from edgebert.errors import EdgebertError
from edgebert.measure import runner


def peak_bytes() -> int:
    """`runner.peak_bytes`. Raises EdgebertError where the system does not tell."""
    result = runner.peak_bytes()
    if result is None:
        raise EdgebertError("this system does not tell a process its peak memory")
    return result
