"""`edgebert convert`: a checkpoint into files, each run and held against the model. `fit` uses the same converters."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from edgebert.converters import CALIBRATION_ROWS, CONVERTERS, find_precision
from edgebert.data.contents import exists, read_bytes
from edgebert.data.files import missing
from edgebert.data.text import check_encoding, lines
from edgebert.errors import DataError, RequestError
from edgebert.faults import faults_told
from edgebert.files import digest, link_tree, name_of, write_atomic
from edgebert.measure.footprint import peak_bytes
from edgebert.modeling.checkpoint import TOKENIZER, labels_of, load_config, load_model, load_tokenizer
from edgebert.modeling.graph import TorchSession, make_source, position_limit
from edgebert.modeling.heads import Head, find_head, parts_of
from edgebert.modeling.source import find_teacher
from edgebert.runtime.session import Batch, Session, Source
from edgebert.tasks import find_task
from edgebert.teachers.fitting import words_tokenizer
from edgebert.types import Artifact, Conversion, ConvertResult, Dataset, Feature, OutputComparison, Row
from edgebert.verify.contents import file_failures
from edgebert.verify.edges import batch_of, edge_batches
from edgebert.verify.parity import (
    Reference,
    compare,
    compare_task,
    failures_otherwise,
    make_reference,
    row_batches,
    share_decided,
    unbatched,
)
from edgebert.workflows.convert_output import NEW, REASON, REJECTED, holds_another, publish, work_folder
from edgebert.workflows.convert_request import (
    ConvertRequest,
    check_names,
    check_output,
    check_tokenizer_place,
    lengths_of,
)
from edgebert.workflows.variants import VARIANT_ROWS, VariantEvaluator, choose_variant

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from edgebert.tasks import Task

NOT_PLACED = (
    "It passed, but it would replace a file, and one made beside it was rejected: what was there stays as a whole. Leave the "
    "rejected --precision out, or choose another --output."
)
# Ours, for a model that comes without rows; each is a plain sentence, so that every vocabulary has something to read.
SAMPLE = (
    "Where can I buy a train ticket to Lisbon for next Friday?",
    "The committee met on 3 March and agreed to fund two new schools.",
    "turn the kitchen lights down to thirty percent please",
    "My order number 48213 never arrived and nobody answers the phone!",
    "Water boils at a lower temperature high in the mountains.",
    "She said that the museum in the old harbour opens at nine.",
    "I would not recommend this film to anyone who likes horses.",
    "remind me to call Doctor Alvarez when I get home",
)


@dataclass(frozen=True)
class _Rows:
    """What the files are calibrated and compared on."""

    calibration: Sequence[Batch]
    batches: Sequence[Batch]
    origin: str
    task: Task | None = None
    labelled: Sequence[Row] = ()
    features: Sequence[Feature] = ()


@dataclass(frozen=True)
class _Labelled:
    """The rows of --data, as the task reads them."""

    task: Task
    dataset: Dataset


def convert(request: ConvertRequest, on_event: Callable[[dict[str, Any]], None] | None = None) -> ConvertResult:
    """Writes every format in every precision, and proves each.

    Returns:
        The output folder and a Conversion a file. Files that fail parity are under rejected/ with the reason.

    Raises:
        RequestError, TeacherError, DataError: before anything is written.
        EdgebertError: the family cannot be expressed in a format.
    """

    def log(**event: Any) -> None:
        if on_event:
            on_event(event)

    check_names(request)
    with TemporaryDirectory() as place:
        opened = _open(request, Path(place))
        return _converted(request, opened, log)


@dataclass(frozen=True)
class _Opened:
    """A checkpoint read as transformers reads it, with the rows to compare on."""

    head: Head
    model: Any
    labels: tuple[str, ...]
    tokenizer: Tokenizer
    source: Source
    rows: _Rows
    output: Path
    key: str  # of the checkpoint and the head
    notes: tuple[str, ...]


def _open(request: ConvertRequest, place: Path) -> _Opened:
    """Everything that can be wrong with the request is found here.

    Args:
        place: a folder for the tokenizer.json that converters read.
    """
    found = find_teacher(request.model, allow_pickle=request.allow_pickle)
    config = load_config(found.folder)
    head = find_head(found.folder, config, request.head)
    lengths = lengths_of(request.lengths, min(position_limit(config), found.reads(head.name)))
    output = Path(request.output or f"{name_of(request.model)}-edge")
    check_output(output, request, found.folder)
    key = digest({"checkpoint": found.key, "head": head.name})
    if holds_another(output, key) and not request.force:
        raise RequestError(
            "files of another model are there", where=str(output),
            hint="Pass --force to replace them all, or choose another --output.",
        )  # fmt: skip
    notes: list[str] = []
    model, whole = load_model(found.folder, head.auto_model, allow_pickle=request.allow_pickle, notes=notes)
    if not whole:
        raise RequestError(
            f"the checkpoint has no weights for a {head.name} head", where=str(found.folder), hint="Fine-tune it first."
        )
    parts = parts_of(model.config, type(model).__name__)
    gives_labels = any(part.kind in ("token-classification", "sequence-classification") for part in parts)
    labels = labels_of(model.config, found.folder) if gives_labels else ()
    data = _labelled(request, head, labels, notes) if request.data else None
    if any(part.kind == "token-classification" for part in parts):
        task, dev = (data.task, data.dataset.splits["dev"]) if data else (find_task("ner"), ())
        tokenizer, told = words_tokenizer(model, found.folder, task, labels, dev, lengths[-1])
        notes += [told] if told else []
    else:
        tokenizer = load_tokenizer(found.folder, vectors=head.name == "sentence-embedding")
    check_tokenizer_place(output, request, tokenizer)
    tokenizer.save(str(place / TOKENIZER))
    rows = _rows(request, data, tokenizer, labels, lengths[-1], model.config.pad_token_id or 0)
    source = make_source(
        model,
        lengths=lengths,
        labels=labels,
        calibration=rows.calibration,
        tokenizer=place / TOKENIZER,
        title=f"{name_of(request.model)}, {head.name}",
        shape=request.shape,
    )
    return _Opened(head, model, labels, tokenizer, source, rows, output, key, tuple(notes))


def _converted(request: ConvertRequest, opened: _Opened, log: Callable[..., None]) -> ConvertResult:
    source, rows, output = opened.source, opened.rows, opened.output
    edges = edge_batches(source.vocab_size, source.lengths[-1], source.pad_id, opened.tokenizer)
    reference = make_reference(TorchSession(opened.model), rows.batches, edges, opened.labels)
    if rows.task is not None:
        with_teacher_labels = rows.task.with_teacher_labels(
            rows.labelled, rows.features, unbatched(reference.outputs, rows.features)
        )
        rows = replace(rows, labelled=with_teacher_labels)
    with faults_told(output), work_folder(output) as work:
        made = [
            conversion
            for format in request.formats
            for conversion in _convert_format(request, format, source, reference, rows, work, log)
        ]
        if request.tokenizer_inside:
            made = [_add_tokenizer(one, source, SAMPLE) for one in made]
        assert source.tokenizer is not None
        shutil.copyfile(source.tokenizer, work / NEW / TOKENIZER)  # which profile --texts and an app need
        placed = publish(work, output, opened.key, force=request.force)
        made = [_placed(one, work / NEW, output, placed) for one in made]
    return ConvertResult(
        folder=output,
        head=opened.head.name,
        family=source.family,
        n_rows=len(rows.batches),
        rows_from=rows.origin,
        conversions=tuple(made),
        exit_code=int(any(_failures(one) for one in made)),
        notes=opened.notes,
    )


def _placed(one: Conversion, new: Path, output: Path, placed: bool) -> Conversion:
    """With the paths that its files have in the output; what was not put there, as it would have replaced files though
    one beside it was rejected, says so."""
    if one.artifact is None:
        return one
    if not placed and not _failures(one):
        return Conversion(one.format, one.precision, note=NOT_PLACED)
    files = {name: replace(file, path=output / file.path.relative_to(new))
             for name in ("artifact", "with_tokenizer") if (file := getattr(one, name)) is not None}  # fmt: skip
    return replace(one, **files)


def _convert_format(
    request: ConvertRequest,
    format: str,
    source: Source,
    reference: Reference,
    rows: _Rows,
    work: Path,
    log: Callable[..., None],
) -> Iterator[Conversion]:
    """float32 first: it is what the others are made from, and the structure is proven on it."""
    converter = CONVERTERS.get(format)
    place = work / format / "fp32"
    place.mkdir(parents=True)
    log(event="begin", stage=f"{format} fp32")
    started = time.monotonic()
    exported = converter.export(source, place)
    first = _judge(exported, reference, rows, exported, time.monotonic() - started)
    log(event="converted", name=exported.name, seconds=first.seconds, failures=_failures(first))
    if "fp32" in request.precisions or _failures(first):
        yield _keep(first, work / NEW)
    if _failures(first):
        return
    for precision in (name for name in request.precisions if name != "fp32"):
        if precision not in converter.precisions:
            note = f"{converter.title} offers {', '.join(converter.precisions)}"
            yield Conversion(format, precision, note=note)
            continue
        log(event="begin", stage=f"{format} {precision}")
        started = time.monotonic()
        chosen, table = choose_variant(
            converter,
            source,
            exported,
            precision,
            work,
            evaluator=_evaluator_of(reference, converter.precisions[precision].kind),
            log=log,
        )
        seconds = time.monotonic() - started
        one = replace(
            _judge(chosen, reference, rows, exported, seconds),
            trial=next(line["trial"] for line in table if line["chosen"]),
        )
        log(event="converted", name=chosen.name, seconds=seconds, failures=_failures(one))
        yield _keep(one, work / NEW)
    shutil.rmtree(work / format)  # what is kept is linked


def _add_tokenizer(one: Conversion, source: Source, texts: Sequence[str]) -> Conversion:
    """Beside a file that passed, one that reads text itself. Raises ParityError where it reads some text otherwise."""
    write = CONVERTERS.get(one.format).with_tokenizer
    if write is None or one.artifact is None or _failures(one):
        return one
    assert source.tokenizer is not None
    place = one.artifact.path.parent / "with-tokenizer"
    place.mkdir()
    return replace(one, with_tokenizer=write(one.artifact.path, source.tokenizer, place, texts))


def _judge(artifact: Artifact, reference: Reference, rows: _Rows, origin: Artifact, seconds: float) -> Conversion:
    """`origin` is the float32 file of the format, perhaps the file itself."""
    converter = CONVERTERS.get(artifact.format)
    session = converter.open(artifact.path, 0)
    kind = find_precision(artifact.format, artifact.precision).kind
    comparison: OutputComparison
    if rows.task is not None:
        comparison = compare_task(session, reference, kind, rows.task, rows.labelled, rows.features, "test")
    else:
        comparison, _ = compare(session, reference, kind)
    inside = file_failures(converter, artifact, origin, reference.tables)
    inside += failures_otherwise(converter, artifact, reference, kind)
    return Conversion(
        format=artifact.format,
        precision=artifact.precision,
        artifact=artifact,
        comparison=replace(comparison, failures=(*comparison.failures, *inside)),
        size_share=artifact.size_bytes / origin.size_bytes,
        seconds=round(seconds, 2),
        peak_memory_bytes=peak_bytes(),
        runtime=f"{session.runtime} {session.runtime_version}",
        accelerator_fallbacks=dict(converter.accelerator_fallbacks(artifact.path)),
    )


def _failures(one: Conversion) -> tuple[str, ...]:
    return one.comparison.failures if one.comparison is not None else ()


def _keep(one: Conversion, new: Path) -> Conversion:
    """Puts a file where it will be in the output, or aside with the reason where parity failed."""
    assert one.artifact is not None
    failures = _failures(one)
    place = new / (REJECTED if failures else "") / one.format / one.precision
    place.mkdir(parents=True)
    for path in one.artifact.path.parent.iterdir():  # weights may lie beside the graph
        link_tree(path, place / path.name)
    if failures:
        write_atomic(place / REASON, "\n".join(failures) + "\n")
    return replace(one, artifact=replace(one.artifact, path=place / one.artifact.path.name))


def _evaluator_of(reference: Reference, kind: str) -> VariantEvaluator:
    """Variants by the share of the model's decided answers that are equal, and by how near the outputs are as well."""
    some = replace(
        reference,
        batches=reference.batches[:VARIANT_ROWS],
        outputs=reference.outputs[:VARIANT_ROWS],
        edges={},
        edge_outputs={},
    )

    def predict(session: Session) -> OutputComparison:
        comparison, outputs = compare(session, some, kind)
        return replace(comparison, equal_predictions=share_decided(some, outputs, kind))

    return VariantEvaluator(
        predict=predict,
        score=lambda found: min(found.equal_predictions, max(0.0, 1 - found.nrmse**2 / 2)),  # about a correlation
        same=lambda found, _: found.equal_predictions,
    )


# ---------------------------------------------------------------- rows


def _rows(
    request: ConvertRequest,
    data: _Labelled | None,
    tokenizer: Tokenizer,
    labels: Sequence[str],
    max_length: int,
    pad_id: int,
) -> _Rows:
    """Labelled rows of a task, or texts, or our own sample."""
    if data is not None:
        return _task_rows(request, data, tokenizer, labels, max_length, pad_id)
    if request.texts is None:
        batches = _text_batches(SAMPLE, tokenizer, max_length)
        return _Rows((), batches, f"{len(batches)} sentences of our own: give --texts or --data for yours")
    path = Path(request.texts)
    check_encoding(request.encoding)
    if not exists(path):
        raise missing(path)
    found = lines(read_bytes(path, str(path)), str(path), request.encoding)
    texts = [line for line in found if line.strip()]
    if not texts:
        raise DataError("every line is empty", where=str(path), hint="One text a line, a few dozen or more.")
    batches = _text_batches(texts[: request.rows + CALIBRATION_ROWS], tokenizer, max_length)
    return _Rows(batches[:CALIBRATION_ROWS], batches[-request.rows :], f"the texts of {path.name}")


def _text_batches(texts: Sequence[str], tokenizer: Tokenizer, max_length: int) -> list[Batch]:
    """One batch a text, its first `max_length` tokens."""
    encodings = [tokenizer.encode(text) for text in texts]
    return [batch_of(one.ids[:max_length], one.type_ids[:max_length]) for one in encodings if one.ids]


def _labelled(request: ConvertRequest, head: Head, labels: Sequence[str], notes: list[str]) -> _Labelled:
    """The rows of --data, their labels called as the model calls them."""
    from edgebert.workflows.data import load_data

    task = find_task(str(request.task))
    if task.head != head.name:
        raise RequestError(f"task {task.name} does not fit a {head.name} head", where="--task")
    dataset = load_data(request.data, task, encoding=request.encoding, columns=request.columns)
    order = task.match_labels(labels, dataset.labels) if dataset.labels else []
    if order is None:
        lost = sorted(set(dataset.labels) - set(labels)) or sorted(dataset.labels)
        raise RequestError(
            f"{len(lost)} labels of the data are not the model's, the first is {lost[0]}",
            where="--data",
            hint=f"The model's are {', '.join(labels[:8])}{' …' if len(labels) > 8 else ''}.",
        )
    names = {label: labels[i] for i, label in zip(order, dataset.labels, strict=True)}
    renamed = [f"{label} is {name}" for label, name in names.items() if label != name]
    if renamed and hasattr(task, "by_name"):
        raise RequestError(f"the data's label {renamed[0]} for the model", where="--data", hint="Call them alike.")
    if renamed:
        notes.append(f"the data's labels are called as the model calls them: {', '.join(renamed[:5])}")
        splits = {
            split: tuple(
                replace(
                    row,
                    labels=tuple(names.get(label, label) for label in row.labels),
                    tags=tuple(names.get(tag, tag) for tag in row.tags),
                )
                for row in rows
            )
            for split, rows in dataset.splits.items()
        }
        dataset = replace(dataset, splits=splits)
    return _Labelled(task, dataset)


def _task_rows(
    request: ConvertRequest, data: _Labelled, tokenizer: Tokenizer, labels: Sequence[str], max_length: int, pad_id: int
) -> _Rows:
    task, dataset = data.task, data.dataset
    test = dataset.splits["test"][: request.rows]
    features = task.encode(test, tokenizer, labels, max_length)
    train = task.encode(dataset.splits["train"][:CALIBRATION_ROWS], tokenizer, labels, max_length)
    origin = f"{dataset.source.name}, test"
    return _Rows(row_batches(train, pad_id), row_batches(features, pad_id), origin, task, test, features)
