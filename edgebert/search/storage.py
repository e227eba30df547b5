"""Where a study is kept, and who takes part in it: a journal for one process, or a database for any number.

A worker marks the trial that it is at with its name, and while it judges with the time, every BEAT_S. Others see by their
own clocks whether that changes: where it has not for GRACE_S the worker is gone, and its network waits for another. Optuna's
own heartbeat (5.0) knows no journal, and passes over a trial whose worker was killed before its first beat.
"""

from __future__ import annotations

import json
import logging
import math
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from edgebert.errors import RequestError, RunError, first_line, shown, without_password
from edgebert.runtime.quiet import quiet

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, Trial

T = TypeVar("T")

JOURNAL, STUDY = "study.journal", "edgebert"
BEAT_S, GRACE_S, LOOK_S = 5.0, 30.0, 0.5
PATIENCE_S, AGAIN_S = 600.0, 1.0  # in which a database may come back, and after which it is asked again
TRIES = 5  # of several workers that make the tables at the same moment all but one fail
MOST_RETRIES = 3  # of a network: it may be what ends its workers
FACTS, WORKER, TOKEN, BEAT, ASKED, RETRIES = "facts", "worker", "token", "beat", "asked", "retries"
GOES_ON = "What was judged is kept: the same command goes on."


@dataclass(frozen=True)
class Place:
    """Where a study is kept, and who asks.

    Attributes:
        folder: of the journal, in which one process at a time takes part; used where there is no URL.
        url: of a database, as SQLAlchemy writes it.
        worker: a name that no other worker has meanwhile.
        joins: takes part in a study that another process began.
        note: told what the user should know.
    """

    folder: Path | None = None
    url: str | None = None
    worker: str = ""
    joins: bool = False
    note: Callable[[str], None] = field(default=lambda text: None)

    @property
    def shown(self) -> str:
        """As it may be shown to anyone."""
        return without_password(self.url) if self.url else str(self.folder)


class Members:
    """A study, as one of those sees it who take part.

    Raises:
        RequestError: the URL is none, its driver is not installed, or the database does not answer.
    """

    def __init__(self, place: Place) -> None:
        import optuna

        optuna.logging.set_verbosity(logging.WARNING)
        self.place, self.token = place, uuid.uuid4().hex
        self._signs: dict[str, tuple[object, float, bool]] = {}  # of whom, the last, since when, and whether it changed
        self._first: float = math.inf  # number of the first trial that this one began
        self._storage = _open(place)
        with quiet("optuna"):
            self.study: Study = self.patiently(
                lambda: optuna.create_study(
                    storage=self._storage, study_name=STUDY, directions=["maximize", "minimize"], load_if_exists=True
                )
            )

    def __enter__(self) -> Members:
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the connections."""
        if engine := getattr(self._storage, "engine", None):
            self._storage.remove_session()
            engine.dispose()

    def patiently(self, call: Callable[[], T]) -> T:
        """What the call returns, made again while the database does not answer. Raises RunError after PATIENCE_S."""
        from optuna.exceptions import StorageInternalError
        from sqlalchemy.exc import SQLAlchemyError

        began, tries = time.monotonic(), 0
        while True:
            try:
                result = call()
            except (StorageInternalError, SQLAlchemyError) as error:
                tries += 1
                why = _reason(error)
                if time.monotonic() - began > PATIENCE_S:
                    what = f"the study's database has not answered for {PATIENCE_S:.0f} s: {why}"
                    raise RunError(what, where=self.place.shown, hint=GOES_ON) from None
                if tries == 2:  # the first may be two workers that wrote at the same moment
                    text = f"the study's database does not answer, and is asked again for {PATIENCE_S:.0f} s: {why}"
                    self.place.note(text)
                time.sleep(AGAIN_S)
            else:
                if tries > 1:
                    self.place.note("the study's database answers again")
                return result

    def facts(self) -> dict[str, Any]:
        """What the study is of, as its first member published it; {} before."""
        return dict(self.patiently(lambda: self.study.user_attrs).get(FACTS, {}))

    def publish(self, facts: Mapping[str, Any]) -> None:
        """Says what the study is of. Raises RequestError where it is one of something else."""
        known = self.facts()
        if not known or self.place.url is None:  # of a journal the stage's key has decided
            self.patiently(lambda: self.study.set_user_attr(FACTS, dict(facts)))
            known = self.facts()
        if self.place.url:
            refuse_others(self.place, known, facts)

    def trials(self) -> list[FrozenTrial]:
        return self.patiently(lambda: self.study.get_trials(deepcopy=False))

    def may_begin(self, n_trials: int) -> bool:
        """Waits until there is a trial to begin; False where `n_trials` are complete.

        Raises:
            RequestError: another worker has this one's name.
        """
        from optuna.trial import TrialState

        while True:
            trials = self.trials()
            n_done = sum(trial.state == TrialState.COMPLETE for trial in trials)
            if n_done >= n_trials:
                return False
            running = [
                trial
                for trial in trials
                if trial.state == TrialState.RUNNING and trial.user_attrs.get(TOKEN) != self.token
            ]
            gone = [trial for trial in running if self._is_gone(trial)]
            for trial in gone:
                self.patiently(lambda trial=trial: self._give_back(trial))  # type: ignore[misc]
            waits = [self._is_namesake(trial) for trial in running if trial not in gone]
            if n_done + len(waits) < n_trials and not any(waits):
                return True
            time.sleep(LOOK_S)

    @contextmanager
    def trial(self) -> Iterator[Trial]:
        """One trial, for as long as it is judged. Stopped within it, what it proposed waits for another worker."""
        trial = self.patiently(self.study.ask)
        self._first = min(self._first, trial.number)
        ended = threading.Event()
        beats = threading.Thread(target=self._beat, args=(trial, ended), daemon=True)
        try:
            self.patiently(lambda: self._mark(trial))
            if self.place.url:
                beats.start()
            yield trial
        except BaseException as error:
            retried = not isinstance(error, Exception)  # stopped, not wrong
            self._leave(trial.number, retried)
            raise
        finally:
            ended.set()
            if beats.is_alive():
                beats.join()

    def complete(self, trial: Trial, record: Callable[[], None]) -> bool:
        """Records a trial. False where another worker took this one for gone meanwhile, and gave the network back."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        def once() -> bool:
            try:
                record()
            except (UpdateFinishedTrialError, ValueError):
                state = self.study.get_trials(deepcopy=False)[trial.number].state
                if not state.is_finished():
                    raise
                return bool(state == TrialState.COMPLETE)  # the database went away after it had written
            return True

        return self.patiently(once)

    def _mark(self, trial: Trial) -> None:
        trial.set_user_attr(WORKER, self.place.worker)
        trial.set_user_attr(TOKEN, self.token)
        trial.set_user_attr(BEAT, time.time())

    def _beat(self, trial: Trial, ended: threading.Event) -> None:
        while not ended.wait(BEAT_S):
            try:
                trial.set_user_attr(BEAT, time.time())
            except Exception:  # the database is away, or the trial has ended: its own thread sees that
                continue

    def _is_gone(self, trial: FrozenTrial) -> bool:
        if self.place.url is None:  # the run folder is locked: there is no other process
            return True
        whose, sign, now = _whose(trial), (trial.number, trial.user_attrs.get(BEAT)), time.monotonic()
        before, since, changed = self._signs.get(whose, (sign, now, False))
        if sign != before:
            since, changed = now, True
        self._signs[whose] = sign, since, changed
        return now - since > GRACE_S

    def _is_namesake(self, trial: FrozenTrial) -> bool:
        """Whether it may be of a worker of this one's name, which is not known to be alive. Raises RequestError where it is."""
        if trial.user_attrs.get(WORKER) != self.place.worker or trial.number > self._first:
            return False
        if self._signs[_whose(trial)][2]:
            what = f"another worker is at work there as {shown(self.place.worker)}"
            raise RequestError(what, where=self.place.shown, hint="Choose another --name.")
        return True

    def _give_back(self, trial: FrozenTrial, retried: bool = True) -> None:
        """Ends a trial, and lets its network wait for another worker."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        try:
            self.study.tell(trial.number, state=TrialState.FAIL)
        except (UpdateFinishedTrialError, ValueError):  # another worker was first, or it has ended after all
            return
        asked, n = trial.user_attrs.get(ASKED) or trial.params, trial.user_attrs.get(RETRIES, 0)
        if asked and retried and n < MOST_RETRIES:
            self.study.enqueue_trial(asked, user_attrs={ASKED: asked, RETRIES: n + 1})

    def _leave(self, number: int, retried: bool) -> None:
        """Without waiting: another worker sees that this one is gone."""
        try:
            self._give_back(self.study.get_trials(deepcopy=False)[number], retried)
        except Exception:
            return


def _whose(trial: FrozenTrial) -> str:
    """The worker's token; of a worker that was killed before it marked the trial, the trial."""
    return trial.user_attrs.get(TOKEN) or f"trial {trial.number}"


def _open(place: Place) -> BaseStorage:
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError, SQLAlchemyError

    if place.url is None:
        assert place.folder is not None
        place.folder.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(str(place.folder / JOURNAL)))
    where, hint = place.shown, "Write it as SQLAlchemy does, such as postgresql://name@host/database."
    try:
        url = make_url(place.url)
        if url.drivername == "postgresql":  # which driver that means differs between versions of SQLAlchemy
            url = url.set(drivername="postgresql+psycopg")
        for tries in range(TRIES):
            try:
                text = url.render_as_string(hide_password=False)
                with quiet("optuna"):
                    return RDBStorage(text, engine_kwargs={"pool_pre_ping": True})
            except OperationalError:
                raise
            except SQLAlchemyError:
                if tries == TRIES - 1:
                    raise
                time.sleep(AGAIN_S)
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise RequestError("this is no URL of a database", where=where, hint=hint) from None
    except ImportError as error:
        what = f"the driver of this database is not installed: {first_line(error.__cause__ or error)}"
        raise RequestError(what, where=where, hint="Install it with pip, or name another driver in the URL.") from None
    except (SQLAlchemyError, RuntimeError) as error:
        what = f"the study's database cannot be used: {_reason(error)}"
        raise RequestError(what, where=where, hint="See that it runs, and that the URL is right.") from None
    raise AssertionError("unreachable")


def _reason(error: BaseException) -> str:
    """What the driver says, without a password."""
    cause = error.__cause__ or error
    return without_password(first_line(getattr(cause, "orig", None) or cause))


def refuse_others(place: Place, known: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Raises RequestError where a study is of something else than these facts."""
    if differing := _differences(known, facts):
        what = f"the study there is of something else: {'; '.join(differing)}"
        hint = "Take part with the same request, rows, versions and network, or give this study a database of its own."
        raise RequestError(what, where=place.shown, hint=hint)


def _differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """What differs of two, by name, with short values."""
    here = json.loads(json.dumps(here))
    results = []
    for name in sorted({*there, *here}):
        old, new = there.get(name), here.get(name)
        if old == new or name == "request":
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            results += [f"{name}, {item}" for item in _differences(old, new)]
        else:
            results.append(f"{name} is {shown(str(old), 40)} there and {shown(str(new), 40)} here")
    return results
