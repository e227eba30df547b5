"""What the students of one request start from: each checkpoint with the task's head, held against teacher and rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgebert.errors import EdgebertError, RequestError
from edgebert.methods import METHODS
from edgebert.modeling.checkpoint import load_config, load_model, load_tokenizer, set_labels
from edgebert.modeling.heads import HEADS, MULTI_TASK, parts_of
from edgebert.modeling.sentence import read_modules
from edgebert.modeling.source import TeacherSource, find_teacher
from edgebert.modeling.vocabulary import teacher_ids, token_counts
from edgebert.search.plan import check_shapes
from edgebert.search.starts import TEACHER, Start, find_checkpoints, prefixes
from edgebert.tasks import Task
from edgebert.teachers.fitting import fitting_head, new_head
from edgebert.types import Dataset, FitRequest, Recipe
from edgebert.workflows.recipe import check_mask, check_methods, check_text, formats_of_families

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from edgebert.modeling.config import ModelConfig

FINETUNE = "finetune"
ALIGNED_ON = 200  # rows on which two tokenizers must agree
COUNTED_ON = 1000  # rows on which their tokens are counted
MORE_TOKENS = 1.25  # times the teacher's: a vocabulary of other text
MORE_UNKNOWN = 0.01  # share of its tokens that are unknown, beyond the teacher's


@dataclass(frozen=True)
class StartRequirements:
    """What every start must serve."""

    request: FitRequest
    task: Task
    dataset: Dataset
    recipe: Recipe
    source: TeacherSource  # of the teacher
    config: ModelConfig  # the teacher's, with the task's head


def named_start(wanted: StartRequirements) -> Start | None:
    """The checkpoint of `--student`; None where it names none.

    Raises:
        TeacherError: not found, or damaged.
    """
    name = wanted.request.student
    if name in (None, TEACHER):
        return None
    source = find_teacher(name, allow_pickle=wanted.request.allow_pickle)
    config = task_config(wanted.task, wanted.dataset.labels, source)
    why = alignment(source, wanted.source, wanted.dataset, wanted.task)[1]
    return Start(source.name, config, source, why_own_tokenizer=why)


def check_answers(start: Start, recipe: Recipe) -> list[str]:
    """A note on what a student with other tokens than its teacher's learns.

    Raises:
        RequestError: answers are of places in the text, which such a student cannot learn.
    """
    if not start.why_own_tokenizer:
        return []
    kinds = {part.kind for part in parts_of(start.config, start.config.architectures[0])}
    learns = [call.method for call in recipe.calls if METHODS.get(call.method).stage == "train"]
    by_word = all(HEADS.get(kind).by_word for kind in kinds)
    if not by_word and any(HEADS.get(kind).per_token for kind in kinds) and learns != [FINETUNE]:
        what = f"the teacher's answers are of its own tokens, and {start.why_own_tokenizer}"
        hint = f"Choose a student of the teacher's tokenizer, or the method {FINETUNE}, which learns from labels alone."
        raise RequestError(what, where="--student", hint=hint)
    return [
        f"its tokens are not the teacher's ({start.why_own_tokenizer}): students learn the teacher's answer to each "
        f"{'word' if by_word else 'text'}, and no changed rows"
    ]


def find_starts(wanted: StartRequirements, max_length: int, formats: Sequence[str]) -> tuple[list[Start], list[str]]:
    """The checkpoints that students may start from beside the teacher's own layers, and notes on what was found.

    Args:
        max_length: tokens of a window that each must read.
        formats: that each must be written as.

    Raises:
        RequestError: `--starts` names no folder of checkpoints, or stands beside `--student`.
    """
    request = wanted.request
    if request.student is not None:
        if request.starts:
            raise RequestError("--student names the only start", where="--starts", hint="Give one of the two.")
        message = f"--student {TEACHER} means the teacher's own layers; the folder of that name is ./{TEACHER}"
        return [], [message] if request.student == TEACHER and Path(TEACHER).is_dir() else []
    sources, notes = find_checkpoints(wanted.source, wanted.config, request.starts)
    starts = []
    for source, prefix in zip(sources, prefixes(source.name for source in sources), strict=True):
        try:
            start, description = _checked(wanted, source, prefix, max_length, formats)
        except EdgebertError as error:
            notes.append(f"students do not start from {source.name} ({source.origin}): {error.what}")
            continue
        starts.append(start)
        notes += [f"{source.name}: {note}" for note in description]
    if starts:
        names = " and ".join(f"{start.name} ({start.source.origin})" for start in starts if start.source)
        notes.append(f"students may start from {names} too; --student {TEACHER} keeps to the teacher's own layers")
    return starts, notes


def _checked(
    wanted: StartRequirements, source: TeacherSource, prefix: str, max_length: int, formats: Sequence[str]
) -> tuple[Start, list[str]]:
    """A found checkpoint as a start, and what of it is left out. Raises EdgebertError where it cannot serve."""
    task, labels, recipe, notes = wanted.task, wanted.dataset.labels, wanted.recipe, list[str]()
    if source.reads(task.head) < max_length:
        raise RequestError(f"it reads {source.reads(task.head)} tokens at once, and windows have {max_length}")
    config = task_config(task, labels, source)
    if task.asks_teacher and config.hidden_size != wanted.config.hidden_size and not hasattr(config, "edgebert_heads"):
        raise RequestError(f"its vectors have {config.hidden_size} numbers, the teacher's {wanted.config.hidden_size}")
    _check_vocabulary(wanted, source)
    why = alignment(source, wanted.source, wanted.dataset, task)[1]
    check_methods(recipe, task.head, why)
    families = check_shapes(config, recipe, wanted.config, max_length)
    if families != {config.model_type}:
        raise RequestError(
            f"the recipe makes students of another family ({', '.join(sorted(families))}), not of its layers"
        )
    if len(formats_of_families(families, wanted.config.model_type, formats, formats)[0]) < len(formats):
        raise RequestError("a format that is asked for cannot express it")
    tokenizer = task_tokenizer(source.folder, task)
    check_mask(recipe, tokenizer)
    check_text(recipe, tokenizer, wanted.dataset.splits["train"])
    auto_model, settings = new_head(source.folder, task, labels)
    load_model(source.folder, auto_model, labels, settings=settings, notes=notes)
    start = Start(source.name, config, source, prefix, why)
    return start, [*notes, *check_answers(start, recipe)]


def _check_vocabulary(wanted: StartRequirements, source: TeacherSource) -> None:
    """Raises RequestError where a checkpoint's vocabulary was made for other text than the training rows."""
    texts = _texts(wanted.dataset, wanted.task, COUNTED_ON)
    mine, theirs = (token_counts(task_tokenizer(item.folder, wanted.task), texts) for item in (source, wanted.source))
    if mine.n_tokens > MORE_TOKENS * theirs.n_tokens:
        times = mine.n_tokens / theirs.n_tokens
        raise RequestError(f"it splits the training rows into {times:.2f} times the teacher's tokens, as a vocabulary "
                           "of another language or of other letters does")  # fmt: skip
    if mine.unknown > theirs.unknown + MORE_UNKNOWN:
        raise RequestError(f"{100 * mine.unknown:.1f} % of the training rows' tokens are unknown to its vocabulary, "
                           f"{100 * theirs.unknown:.1f} % to the teacher's")  # fmt: skip


# ---------------------------------------------------------------- a checkpoint and a task


def task_config(task: Task, labels: tuple[str, ...], source: TeacherSource) -> ModelConfig:
    """The config of a checkpoint with the task's head."""
    config = load_config(source.folder)
    if HEADS.get(task.head).gives_vectors and not hasattr(config, "edgebert_pooling"):
        for name, value in read_modules(source.folder).settings.items():
            setattr(config, name, value)
    set_labels(config, labels)
    for name, value in (new_head(source.folder, task, labels)[1] | task.model_settings(labels)).items():
        setattr(config, name, value)
    head = HEADS.get(MULTI_TASK if hasattr(config, "edgebert_heads") else task.head)
    config.architectures = [head.auto_model if head.name == MULTI_TASK else f"Some{head.mark}"]
    return config


def checkpoint_notes(
    source: TeacherSource, student: TeacherSource | None, task: Task, labels: tuple[str, ...], *, allow_pickle: bool
) -> list[str]:
    """What of the checkpoints is left out, once both were read whole: what is wrong with them is found before training."""
    notes: list[str] = []
    result = fitting_head(source.folder, task, labels, allow_pickle=allow_pickle, notes=notes)
    if result.model is None:
        auto_model, settings = new_head(source.folder, task, labels)
        load_model(source.folder, auto_model, labels, settings=settings, allow_pickle=allow_pickle, notes=notes)
    if student:
        own: list[str] = []
        auto_model, settings = new_head(student.folder, task, labels)
        load_model(student.folder, auto_model, labels, settings=settings, allow_pickle=allow_pickle, notes=own)
        notes += [f"--student: {note}" for note in own]
    return notes


def task_tokenizer(folder: Path, task: Task) -> Tokenizer:
    """A checkpoint's tokenizer as the task reads: words one by one, or texts as sentence-transformers would."""
    return load_tokenizer(folder, words=task.reads_words, vectors=HEADS.get(task.head).gives_vectors)


def alignment(
    student: TeacherSource, source: TeacherSource, dataset: Dataset, task: Task
) -> tuple[tuple[int, ...] | None, str]:
    """`teacher_ids` of a student's checkpoint and its teacher's, tried on training rows."""
    texts = _texts(dataset, task, ALIGNED_ON)
    return teacher_ids(task_tokenizer(student.folder, task), task_tokenizer(source.folder, task), texts)


def _texts(dataset: Dataset, task: Task, most: int) -> list[tuple[str, ...]]:
    """Training rows spread evenly over all, each as a text or a pair; two texts where the task reads each by itself."""
    rows = dataset.splits["train"]
    rows = rows[:: max(1, len(rows) // most)][:most]
    firsts = [" ".join(row.words) if row.words else row.text or "" for row in rows]
    texts: list[tuple[str, ...]] = [
        (first,) if row.second is None else (first, row.second) for first, row in zip(firsts, rows, strict=True)
    ]
    return [(part,) for text in texts for part in text] if task.paired else texts
