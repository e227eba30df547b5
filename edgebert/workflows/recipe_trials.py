"""The default recipe is chosen, not fixed: it competes in short trainings, judged on the development rows.

Where students may start from several checkpoints, these compete first; then the ways to shape the student (which layers it
keeps), both fine-tuned on the labels; then the trainings, on the shape that won. Methods declare the settings that they
compete with (`Method.trials`). Plain fine-tuning takes part to the end, and a training that is not better than it by the
development score does not take its place. A recipe that the user names is not touched, nor is a method whose parameters
the user sets. Test rows are never read. How many trials there are, and how long, follows from the effort.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgebert.distributed import is_main, wait_for_everyone
from edgebert.errors import RequestError
from edgebert.files import from_plain, write_atomic
from edgebert.methods import METHODS
from edgebert.results import TrialLine
from edgebert.runs.store import Stage
from edgebert.search.halving import Rung, successive_halving
from edgebert.search.plan import reshaped
from edgebert.training.run import evaluate
from edgebert.types import Candidate, MethodCall, Plan, Recipe
from edgebert.workflows.recipe import TRAINING_ADDED, check_methods, recipe_text
from edgebert.workflows.request import Fit, check_answer_kinds
from edgebert.workflows.stages import RecipeRun

DEV_ROWS = 1000  # on which trials are compared
LEAST_DEV_ROWS = 50  # of fewer, one row more or less decides
# Where nothing can be compared. With unlabelled text and so few rows a label, it is labels that spread: 7 points better than
# the teacher's answers with 3 rows a label (banking77), and than logistic regression on frozen states with 2 (clinc150);
# with 10 they were worse than that by 4. Otherwise what comes near plain fine-tuning on every corpus that was tried.
FEW_ROWS = 5
FEW = MethodCall("kd", {"hard_label_weight": 0.5, "temperature": 1.0, "replace": 0.0, "answers": "spread"})
UNTRIED = MethodCall("kd", {"hard_label_weight": 0.9, "replace": 0.0})


@dataclass(frozen=True)
class Choice:
    """What the trials came to.

    Attributes:
        recipe: that won.
        start: that won, by its name.
        others: recipes that came next, best first.
        table: a line a trial: what competed, recipe, rows seen in training, development score, whether it won.
    """

    recipe: Recipe
    start: str
    others: tuple[Recipe, ...] = ()
    table: tuple[TrialLine, ...] = ()


@dataclass(frozen=True)
class TrialsRecord:
    """What the stage of the trials records; `ranked` are the recipes from the winner on."""

    start: str
    ranked: tuple[tuple[MethodCall, ...], ...]
    table: tuple[TrialLine, ...]


def choose_recipe(job: Fit, plan: Plan, teacher: Stage) -> Choice:
    """Trials on the largest candidate of each start, where the recipe is left to us and the effort has trials."""
    taken = [candidate for candidate in plan.candidates if candidate.taken]
    first: dict[str, Candidate] = {}
    for item in taken:  # the largest come first
        first.setdefault(item.start, item)
    unchanged = Choice(taken[0].recipe, taken[0].start)
    if job.request.recipe is not None or not job.level.trials:
        return unchanged
    shapes = {entry.name: shape_alternatives(job, entry) for entry in first.values()}
    trainings = {entry.name: training_alternatives(job, entry) for entry in first.values()}
    if len(first) == 1 and len(shapes[taken[0].name]) * len(trainings[taken[0].name]) == 1:
        return unchanged
    if (n_dev := len(job.dataset.splits["dev"])) < LEAST_DEV_ROWS:
        if len(trainings[taken[0].name]) == 1:  # the user's own
            return unchanged
        recipe = _untried(job, taken[0])
        how = "the labels, spread to texts like theirs" if FEW in recipe.calls else "mostly the true labels"
        text = f"{n_dev} development rows are too few to choose a recipe by: students learn {how}"
        job.run.log(event="note", text=text)
        return Choice(recipe, taken[0].start)
    stage = trials_stage(job, list(first.values()), teacher, shapes, trainings)
    record = from_plain(TrialsRecord, stage.result)
    first_recipe, *others = (Recipe(calls) for calls in record.ranked)
    return Choice(first_recipe, record.start, tuple(others), record.table)


def with_choice(plan: Plan, choice: Choice, *, n_candidates: int) -> Plan:
    """The plan with the recipe that won, and of the candidates taken, at most so many of the start that won."""
    left, candidates = n_candidates, []
    for candidate in plan.candidates:
        if candidate.taken and candidate.start == choice.start and left:
            left -= 1
            candidate = replace(candidate, recipe=_with_sizes_of(choice.recipe, candidate.recipe))
        elif candidate.taken:
            candidate = replace(
                candidate, taken=False, reason="fits; another start or shape was preferred after trials"
            )
        candidates.append(candidate)
    return replace(plan, candidates=tuple(candidates))


# ---------------------------------------------------------------- what competes


def shape_alternatives(job: Fit, candidate: Candidate) -> list[Candidate]:
    """The candidate with every setting that its shaping methods compete with, but for what the user set."""
    results = [candidate.recipe]
    for i, call in enumerate(candidate.recipe.calls):
        method = METHODS.get(call.method)
        fixed = {key.partition(".")[2] for key in job.request.params if key.startswith(f"{method.name}.")}
        free = [trial for trial in method.trials if not fixed & trial.keys()]
        if method.stage != "train" and free:
            results = [_replaced(item, i, {**item.calls[i].params, **trial}) for item in results for trial in free]
    return _possible(job, candidate, results)


def training_alternatives(job: Fit, candidate: Candidate) -> list[Candidate]:
    """The candidate with each training that can follow its shape, plain fine-tuning first."""
    shape, own = _parts(candidate.recipe)
    if any(key.partition(".")[0] in {call.method for call in own} for key in job.request.params):
        return [candidate]
    methods = [method for method in METHODS.all().values() if method.stage == "train" and method.trials]
    methods.sort(key=lambda method: method.name != TRAINING_ADDED)
    return _possible(
        job, candidate, [Recipe((*shape, MethodCall(item.name, trial))) for item in methods for trial in item.trials]
    )


def _untried(job: Fit, candidate: Candidate) -> Recipe:
    """The candidate's shape, and the training that is taken where nothing can be compared."""
    few = len(job.dataset.splits["train"]) <= FEW_ROWS * len(job.dataset.labels)
    calls = (FEW, UNTRIED) if few else (UNTRIED,)
    return _possible(job, candidate, [Recipe((*_parts(candidate.recipe)[0], call)) for call in calls])[0].recipe


def _parts(recipe: Recipe) -> tuple[tuple[MethodCall, ...], tuple[MethodCall, ...]]:
    """What comes before the training, and the training."""
    training = tuple(call for call in recipe.calls if METHODS.get(call.method).stage == "train")
    return tuple(call for call in recipe.calls if call not in training), training


def _replaced(recipe: Recipe, i: int, params: Mapping[str, object]) -> Recipe:
    return Recipe((*recipe.calls[:i], replace(recipe.calls[i], params=params), *recipe.calls[i + 1 :]))


def _possible(job: Fit, candidate: Candidate, recipes: Sequence[Recipe]) -> list[Candidate]:
    """The candidate with each of the recipes that can be, or as it is where none can."""
    start, results = job.start_of(candidate), []
    for recipe in recipes:
        try:
            check_methods(recipe, job.task.head, start.why_own_tokenizer)
            check_answer_kinds(recipe, job.task, job.source, job.dataset.labels, job.unlabelled)
            reshaped(start.config, recipe, METHODS.all(), job.teacher_config)
        except RequestError:
            continue
        results.append(replace(candidate, recipe=recipe))
    return results or [candidate]


def _with_sizes_of(chosen: Recipe, recipe: Recipe) -> Recipe:
    """`chosen` with the sizes that the planner gave to `recipe`."""
    planned = {call.method: call.params for call in recipe.calls}
    calls = []
    for call in chosen.calls:
        sized = [param.name for param in METHODS.get(call.method).params if param.search is not None]
        own = {name: value for name, value in planned.get(call.method, {}).items() if name in sized}
        calls.append(replace(call, params={**call.params, **own}))
    return Recipe(tuple(calls))


# ---------------------------------------------------------------- the trials


def trials_stage(
    job: Fit,
    candidates: Sequence[Candidate],
    teacher: Stage,
    shapes: Mapping[str, Sequence[Candidate]],
    trainings: Mapping[str, Sequence[Candidate]],
) -> Stage:
    """The competition: of the starts, of the shapes, of the trainings. Its result is a `TrialsRecord`."""
    rungs, trials = job.level.trials, _Trials(job, teacher)

    def make(folder: Path) -> TrialsRecord:
        trials.kept = folder / "work" / "scores.json"
        first = {name: own[0] for name, own in trainings.items()}
        start = trials.compete(
            "start", [_with_training(candidate, first[candidate.name]) for candidate in candidates], rungs[:1]
        )[0]
        shaped = [_with_training(item, first[start.name]) for item in shapes[start.name]]
        shape = trials.compete("layers", shaped, rungs[:1])[0]  # whose score stands for its training below, too
        competing = [_with_training(shape, training) for training in trainings[start.name]]
        always = next((item for item in competing if item.recipe.calls[-1].method == TRAINING_ADDED), None)
        ranked = trials.compete("training", competing, rungs, always)
        return TrialsRecord(start.start, tuple(item.recipe.calls for item in ranked), tuple(trials.table))

    all_of_them = [*candidates, *(item for group in (*shapes.values(), *trainings.values()) for item in group)]
    visits = round(rungs[0].effort)
    inputs = {
        "runs": [RecipeRun.of(job, item, teacher, visits=visits).inputs for item in all_of_them],
        "rungs": rungs,
        "dev": DEV_ROWS,
    }
    return job.run.stage("recipe", inputs, make, resumable=True, version=3)


def _with_training(shape: Candidate, training: Candidate) -> Candidate:
    return replace(shape, recipe=Recipe((*_parts(shape.recipe)[0], *_parts(training.recipe)[1])))


class _Trials:
    """Trains and scores; what was scored before a kill is not trained again."""

    kept: Path

    def __init__(self, job: Fit, teacher: Stage) -> None:
        self.job, self.teacher = job, teacher
        self.dev = job.dataset.splits["dev"][:DEV_ROWS]
        self.table: list[TrialLine] = []

    def compete(
        self, what: str, candidates: Sequence[Candidate], rungs: Sequence[Rung], always: Candidate | None = None
    ) -> list[Candidate]:
        """The candidates from the winner on: by the rung that they reached, then by score."""
        if len(candidates) == 1:
            return list(candidates)
        by_name = {self.name_of(candidate): candidate for candidate in candidates}
        best, tried = successive_halving(
            list(by_name), rungs, lambda name, visits: self.score(name, by_name[name], round(visits)),
            always=self.name_of(always) if always else "",
        )  # fmt: skip
        self.table += [
            {"what": what, "recipe": item.name, "rows": round(rungs[item.rung].effort), "dev": item.score,
             "chosen": item.name == best}
            for item in tried
        ]  # fmt: skip
        newest = {item.name: (item.rung, item.score) for item in tried}
        return [by_name[name] for name in sorted(newest, key=lambda name: (name == best, newest[name]), reverse=True)]

    def name_of(self, candidate: Candidate) -> str:
        prefix = self.job.start_of(candidate).prefix
        return f"{prefix}: {recipe_text(candidate.recipe)}" if prefix else recipe_text(candidate.recipe)

    def score(self, name: str, candidate: Candidate, visits: int) -> float:
        """On the development rows, 0 to 1, after a training that sees so many rows."""
        job, key = self.job, f"{name} {visits}"
        done = json.loads(self.kept.read_text(encoding="utf-8")) if self.kept.exists() else {}
        if key not in done:
            work = self.kept.parent / "training"
            run = RecipeRun.of(job, candidate, self.teacher, visits=visits)
            student = run.student(work, self.steps_only, scores_epochs=False)
            result = evaluate(
                student, job.task, job.dataset.labels, self.dev, "dev", job.max_length,
                mixed_precision=run.settings.mixed_precision,
            )  # fmt: skip
            done[key] = round(result.value, 5)
            wait_for_everyone()
            if is_main():
                shutil.rmtree(work, ignore_errors=True)
                write_atomic(self.kept, json.dumps(done))
            wait_for_everyone()
            job.run.log(event="recipe-trial", recipe=name, rows=visits, dev=done[key])
        return float(done[key])

    def steps_only(self, **event: object) -> None:
        if event["event"] == "step":
            self.job.run.log(**{**event, "training": f"trial, {event['training']}"})
