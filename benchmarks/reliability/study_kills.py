"""Workers of a shared study, killed at random moments: which trials that they had recorded are lost, and how many are judged
again.

Four processes take part in one study in a PostgreSQL of its own; one at a time is killed by SIGKILL after a random time, and
another takes its place. A worker says of each trial that it is recorded, after it is.

    python -m benchmarks.reliability.study_kills [--kills 50] [--workers 4]

Measured on 2026-12-01 (PostgreSQL 15, Optuna 5.0.0, psycopg 3.3.9, 2 cores that others used too): 50 kills and 4 at the end in
107 s; 474 trials were said to be recorded, 0 of them lost; 33 were given back and judged again.
"""

from __future__ import annotations

import argparse
import random
import time

from edgebert.methods._supernet import grid
from edgebert.search.storage import Members, Place
from edgebert.search.study import completed
from tests.postgres import running
from tests.study_worker import N_LAYERS
from tests.test_study_shared import Worker, cuts_of

ENDLESS = 100_000  # trials, while workers are killed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--workers", type=int, default=4)
    arguments = parser.parse_args()
    rng, began = random.Random(0), time.monotonic()
    with running() as server:
        first = Worker(server.url, "first", ENDLESS, 0.1)
        first.read("judging")
        workers = [first, *(Worker(server.url, f"w{i}", ENDLESS, 0.1) for i in range(1, arguments.workers))]
        said: list[str] = []
        for number in range(arguments.kills):
            victim = workers.pop(0)
            said += victim.read("begins") if number >= arguments.workers else []
            time.sleep(rng.uniform(0, 3))  # from its first connection to within its trials
            said += victim.kill()
            workers.append(Worker(server.url, f"k{number}", ENDLESS, 0.1))
        for worker in workers:
            said += worker.kill()
        with Members(Place(url=server.url)) as members:
            n_done = len(completed(members.trials()))
        last = Worker(server.url, "last", n_done + 20, 0.0)  # waits until what was begun has been given back
        said += last.end()
        with Members(Place(url=server.url)) as members:
            trials = members.trials()
    there = [item.cut for item in completed(trials)]
    states = {
        name: sum(trial.state.name == name for trial in trials) for name in ("COMPLETE", "FAIL", "RUNNING", "WAITING")
    }
    errors = [line for line in said if line.startswith(("error", "Traceback"))]
    print(f"{arguments.kills + arguments.workers} kills, {arguments.workers} workers, {time.monotonic() - began:.0f} s")
    print(f"trials {states}; last worker ended with {last.process.returncode}; errors {errors}")
    print(
        f"{sum(line.startswith('judged') for line in said)} said to be recorded, {len(cuts_of(said) - set(there))} lost"
    )
    print(f"{len(set(grid(N_LAYERS)) - set(there))} of {len(grid(N_LAYERS))} that had to be judged are missing")


if __name__ == "__main__":
    main()
