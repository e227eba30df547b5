"""What a process of several must know, without loading torch when there is only one.

`accelerate launch -m edgebert fit …` starts one process a GPU. All of them walk the pipeline; only the main one writes
and measures, all of them train.
"""

from __future__ import annotations

import os


def world_size() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    return int(os.environ.get("RANK", "0")) == 0


def wait_for_everyone() -> None:
    """Returns when every process has come here. Waits as long as the slowest stage takes."""
    if world_size() > 1:
        from datetime import timedelta

        import torch
        from accelerate import PartialState

        PartialState(cpu=not torch.cuda.is_available(), timeout=timedelta(hours=24)).wait_for_everyone()
