"""A process that takes part in a study whose networks are judged by arithmetic: study_worker.py URL NAME TRIALS SECONDS.

A line for each trial that is recorded, after it is: what is printed must not be lost.
"""

from __future__ import annotations

import sys
import time

from edgebert.errors import EdgebertError
from edgebert.methods._supernet import Subnetwork, grid
from edgebert.search import storage
from edgebert.search.storage import Place
from edgebert.search.study import Judged, Judgement, study

N_LAYERS, FACTS = 3, {"judged by": "arithmetic", "trials": 0}
storage.BEAT_S, storage.GRACE_S, storage.LOOK_S, storage.AGAIN_S = 0.3, 1.5, 0.1, 0.2


def main(url: str, name: str, trials: str, seconds: str) -> int:
    def judge(cut: Subnetwork) -> Judgement:
        print("judging", flush=True)
        time.sleep(float(seconds))
        return Judgement(sum(cut.widths) / 3, sum(cut.widths), 0.0)

    def told(number: int, judged: Judged) -> None:
        print("judged", *judged.cut.layers, *judged.cut.widths, flush=True)

    place = Place(url=url, worker=name, joins=name != "first", note=lambda text: print("note", text, flush=True))
    print("begins", flush=True)
    try:
        study(N_LAYERS, judge, int(trials), place, seed=0, first=grid(N_LAYERS), facts=FACTS, told=told)
    except EdgebertError as error:
        print("error", error, flush=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
