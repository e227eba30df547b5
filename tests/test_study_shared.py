"""A study in a database: several workers, kills, a database that goes away, and what is refused."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgebert.errors import RequestError, RunError
from edgebert.methods._supernet import Subnetwork, grid
from edgebert.search import storage
from edgebert.search.storage import Members, Place
from edgebert.search.study import Judgement, completed, study
from tests.postgres import PASSWORD, Postgres, running
from tests.study_worker import FACTS, N_LAYERS
from tests.test_study import judge

WORKER = Path(__file__).parent / "study_worker.py"


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running() as item:
        yield item


@pytest.fixture
def database(server: Postgres) -> str:
    server.clear()
    return server.url


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {"BEAT_S": 0.1, "GRACE_S": 0.5, "LOOK_S": 0.05, "AGAIN_S": 0.1, "PATIENCE_S": 0.5}.items():
        monkeypatch.setattr(storage, name, seconds)


class Worker:
    """A process of `study_worker.py`."""

    def __init__(self, url: str, name: str, trials: int, seconds: float = 0.0) -> None:
        command = [sys.executable, WORKER, url, name, str(trials), str(seconds)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def read(self, until: str) -> list[str]:
        """Lines up to the first that begins so."""
        results: list[str] = []
        assert self.process.stdout
        for line in self.process.stdout:
            results.append(line.rstrip("\n"))
            if line.startswith(until):
                break
        return results

    def kill(self) -> list[str]:
        """Ends it at once. What it had said by then."""
        self.process.kill()
        return self.end()

    def end(self) -> list[str]:
        with self.process as process:
            assert process.stdout
            return process.stdout.read().splitlines()


def cuts_of(lines: list[str]) -> set[Subnetwork]:
    values = [line.split()[1:] for line in lines if line.startswith("judged")]
    half = [(item[: len(item) // 2], item[len(item) // 2 :]) for item in values]
    return {Subnetwork(tuple(map(int, layers)), tuple(map(float, widths))) for layers, widths in half}


def check(url: str, said: list[str], n_trials: int, n_workers: int) -> int:
    """Every trial that a worker said was recorded is there, and every network that had to be judged was. How many trials
    were given back."""
    with Members(Place(url=url)) as members:
        trials = members.trials()
    there = [item.cut for item in completed(trials)]
    assert cuts_of(said) <= set(there)
    assert n_trials <= len(there) < n_trials + n_workers and set(there) >= set(grid(N_LAYERS))
    assert not any(line.startswith(("error", "Traceback")) for line in said), said
    return sum(trial.state.name == "FAIL" for trial in trials)


def test_four_workers_of_whom_two_are_killed(database: str) -> None:
    slow = Worker(database, "first", 40, 100)
    assert slow.read("judging")[-1] == "judging"  # so that every other has something to join
    workers = [Worker(database, name, 40, 0.05) for name in ("a", "b", "c")]
    said = workers[0].read("judged") + workers[0].kill() + slow.kill()
    for worker in workers[1:]:
        said += worker.end()
        assert worker.process.returncode == 0
    assert check(database, said, 40, 4) >= 1  # the slow one's, and what the other may have begun


def test_a_database_that_goes_away_and_comes_back(server: Postgres, database: str) -> None:
    worker = Worker(database, "first", 20, 0.1)
    said = worker.read("judged")
    server.stop()
    said += worker.read("note")
    server.start()
    said += worker.end()
    notes = [line for line in said if line.startswith("note")]
    assert worker.process.returncode == 0 and len(notes) == 2 and notes[1].endswith("answers again")
    assert PASSWORD not in "".join(said)
    check(database, said, 20, 1)


# ---------------------------------------------------------------- in this process


@pytest.fixture
def lite(tmp_path: Path, hasty: None) -> str:
    return f"sqlite:///{tmp_path / 'study.db'}"


def test_another_study_in_the_same_database_is_refused(lite: str) -> None:
    facts = {"device": "pixel6", "versions": {"torch": "2.9", "numpy": "2"}, "request": {"run": "a"}}
    judged = study(N_LAYERS, judge, 5, Place(url=lite, worker="a"), seed=0, facts=facts)
    assert len(judged) <= 5
    same = {**facts, "request": {"run": "b"}}
    place = Place(url=lite, worker="b", joins=True)
    assert study(N_LAYERS, judge, 5, place, seed=1, facts=same) == judged
    other = {"device": "rpi4", "versions": {"torch": "2.8", "numpy": "2"}, "rows": 3}
    told = r"device is pixel6 there and rpi4 here; rows is None .* 3 here; versions, torch is 2\.9 there and 2\.8 here"
    with pytest.raises(RequestError, match=told):
        study(N_LAYERS, judge, 5, place, seed=0, facts=other)


def test_two_workers_with_one_name(lite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second is refused as long as the first is seen to be alive, and goes on for it once it is gone."""
    n_trials, asked = len(grid(N_LAYERS)), []
    worker = Worker(lite, "first", n_trials, 100)
    worker.read("judging")

    def judge_here(cut: Subnetwork) -> Judgement:
        asked.append(cut)
        return judge(cut)

    def take_part() -> None:
        place = Place(url=lite, worker="first", joins=True)
        study(N_LAYERS, judge_here, n_trials, place, seed=0, facts=FACTS)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "GRACE_S", 60)
        with pytest.raises(RequestError, match="another worker is at work there as first") as caught:
            take_part()
    assert "--name" in str(caught.value) and not asked
    worker.kill()
    take_part()
    assert asked[-1] == grid(N_LAYERS)[0]  # which the killed one had begun


def test_a_network_that_ends_its_workers_is_given_up(lite: str) -> None:
    asked: list[Subnetwork] = []

    def ends(cut: Subnetwork) -> Judgement:
        asked.append(cut)
        if cut == grid(N_LAYERS)[0]:
            raise KeyboardInterrupt
        return judge(cut)

    place = Place(url=lite, worker="a")
    for _ in range(1 + storage.MOST_RETRIES):
        with pytest.raises(KeyboardInterrupt):
            study(N_LAYERS, ends, 20, place, seed=0, first=grid(N_LAYERS), facts=FACTS)
    study(N_LAYERS, ends, 20, Place(url=lite, worker="b", joins=True), seed=0, facts=FACTS)
    assert asked.count(grid(N_LAYERS)[0]) == 1 + storage.MOST_RETRIES


def test_a_database_that_stays_away(lite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy.exc import OperationalError

    def away(*_: object) -> None:
        raise OperationalError("SELECT", {}, Exception(f"no route to postgresql://me:{PASSWORD}@host"))

    notes: list[str] = []
    place = Place(url=lite, worker="a", note=notes.append)
    monkeypatch.setattr("edgebert.search.study._record", away)
    began = time.monotonic()
    with pytest.raises(RunError, match="has not answered for 0 s: no route") as caught:
        study(N_LAYERS, judge, 5, place, seed=0)
    assert time.monotonic() - began > storage.PATIENCE_S and len(notes) == 1
    assert PASSWORD not in f"{caught.value}{notes}"


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("nonsense", "no URL of a database"),
        (f"nonsense://me:{PASSWORD}@host/db", "no URL of a database"),
        (f"postgresql://me:{PASSWORD}@127.0.0.1:1/db", "cannot be used"),
        (f"postgresql://me@127.0.0.1:1/db?password={PASSWORD}", "cannot be used"),
        (f"mysql+nodriver://me:{PASSWORD}@host/db", "no URL of a database"),
        (f"mysql+pymysql://me:{PASSWORD}@host/db", "driver of this database is not installed"),
        ("sqlite:////nowhere/at/all.db", "cannot be used"),
    ],
)
def test_what_is_no_database_is_refused(url: str, what: str) -> None:
    with pytest.raises(RequestError, match=what) as caught:
        Members(Place(url=url))
    assert PASSWORD not in str(caught.value)


def test_a_wrong_password_is_refused_and_not_told(server: Postgres) -> None:
    with pytest.raises(RequestError, match="password authentication failed") as caught:
        Members(Place(url=server.url.replace(PASSWORD, "wr0ng")))
    assert "wr0ng" not in str(caught.value)
