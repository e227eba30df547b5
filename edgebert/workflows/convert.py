"""`edgebert convert`: a checkpoint into files, each run and held against the model. `fit` uses the same converters."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgebert.converters import CONVERTERS
from edgebert.errors import RequestError
from edgebert.faults import faults_as_errors
from edgebert.files import deflated_bytes, digest, link_tree, name_of, write_atomic
from edgebert.measure.footprint import peak_bytes
from edgebert.modeling.checkpoint import TOKENIZER, labels_of, load_config, load_model, load_tokenizer
from edgebert.modeling.graph import TorchSession, make_source, position_limit
from edgebert.modeling.heads import Head, find_head, parts_of
from edgebert.modeling.source import find_teacher
from edgebert.quantization import read_spec
from edgebert.results import Conversion, ConvertResult
from edgebert.runtime.scratch import scratch_folder
from edgebert.runtime.session import Session, Source
from edgebert.tasks import find_task
from edgebert.teachers.fitting import words_tokenizer
from edgebert.types import Artifact, OutputComparison
from edgebert.verify.edges import edge_batches
from edgebert.verify.file import check_file
from edgebert.verify.parity import compare, share_decided, unbatched
from edgebert.verify.reference import Reference, make_reference, with_quantization
from edgebert.workflows.convert_output import NEW, REASON, REJECTED, holds_another, publish, work_folder
from edgebert.workflows.convert_request import (
    ConvertRequest,
    check_names,
    check_output,
    check_tokenizer_place,
    lengths_of,
)
from edgebert.workflows.convert_rows import SAMPLE, Rows, labelled_rows, rows_of
from edgebert.workflows.variants import VARIANT_ROWS, VariantEvaluator, choose_variant, export_float, without_stored

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel

    from edgebert.types import OnEvent


NOT_PLACED = (
    "It passed, but it would replace a file, and one made beside it was rejected: what was there stays as a whole. Leave the "
    "rejected --precision out, or choose another --output."
)


def convert(request: ConvertRequest, on_event: OnEvent | None = None) -> ConvertResult:
    """Writes every format in every precision, and proves each.

    Returns:
        The output folder and a Conversion a file. Files that fail parity are under rejected/ with the reason.

    Raises:
        RequestError, TeacherError, DataError: before anything is written.
        EdgebertError: the family cannot be expressed in a format.
    """

    def log(**event: object) -> None:
        if on_event:
            on_event(event)

    check_names(request)
    with scratch_folder("convert-") as place:
        opened = _open(request, place)
        return _converted(request, opened, log)


@dataclass(frozen=True)
class _Opened:
    """A checkpoint read as transformers reads it, with the rows to compare on."""

    head: Head
    model: PreTrainedModel
    labels: tuple[str, ...]
    tokenizer: Tokenizer
    source: Source
    rows: Rows
    output: Path
    key: str  # of the checkpoint and the head
    notes: tuple[str, ...]


def _open(request: ConvertRequest, place: Path) -> _Opened:
    """Everything that can be wrong with the request is found here.

    Args:
        place: a folder for the tokenizer.json that converters read.
    """
    result = find_teacher(request.model, allow_pickle=request.allow_pickle)
    config = load_config(result.folder)
    head = find_head(result.folder, config, request.head)
    lengths = lengths_of(request.lengths, min(position_limit(config), result.reads(head.name)))
    output = Path(request.output or f"{name_of(request.model)}-edge")
    check_output(output, request, result.folder)
    key = digest({"checkpoint": result.key, "head": head.name})
    if holds_another(output, key) and not request.force:
        raise RequestError(
            "files of another model are there", where=str(output),
            hint="Pass --force to replace them all, or choose another --output.",
        )  # fmt: skip
    notes: list[str] = []
    model, whole = load_model(result.folder, head.auto_model, allow_pickle=request.allow_pickle, notes=notes)
    if not whole:
        raise RequestError(
            f"the checkpoint has no weights for a {head.name} head",
            where=str(result.folder),
            hint="Fine-tune it first.",
        )
    parts = parts_of(model.config, type(model).__name__)
    gives_labels = any(part.head.has_labels for part in parts)
    labels = labels_of(model.config, result.folder) if gives_labels else ()
    data = labelled_rows(request, parts, labels, notes) if request.data else None
    if any(part.head.by_word for part in parts):
        task, dev = (data.task, data.dataset.splits["dev"]) if data else (find_task("ner"), ())
        tokenizer, message = words_tokenizer(model, result.folder, task, labels, dev, lengths[-1])
        notes += [message] if message else []
    else:
        tokenizer = load_tokenizer(result.folder, vectors=head.gives_vectors)
    check_tokenizer_place(output, request, tokenizer)
    tokenizer.save(str(place / TOKENIZER))
    rows = rows_of(request, data, tokenizer, labels, lengths[-1], model.config.pad_token_id or 0)
    source = make_source(
        model,
        lengths=lengths,
        labels=labels,
        calibration=rows.calibration,
        tokenizer=place / TOKENIZER,
        title=f"{name_of(request.model)}, {head.name}",
        shape=request.shape,
        quantization=read_spec(result.folder),
    )
    notes += without_stored(source, request.formats, request.precisions)
    return _Opened(head, model, labels, tokenizer, source, rows, output, key, tuple(notes))


def _converted(request: ConvertRequest, opened: _Opened, log: Callable[..., None]) -> ConvertResult:
    source, rows, output = opened.source, opened.rows, opened.output
    edges = edge_batches(source.vocab_size, source.lengths[-1], source.pad_id, opened.tokenizer)
    reference = make_reference(TorchSession(opened.model), rows.batches, edges, opened.labels)
    reference = with_quantization(reference, opened.model, source.quantization)
    if rows.task is not None:
        with_teacher_labels = rows.task.with_teacher_labels(rows.labelled, rows.features, unbatched(reference.outputs))
        rows = replace(rows, labelled=with_teacher_labels)
    with faults_as_errors(output), work_folder(output) as work:
        created = [
            conversion
            for format in request.formats
            for conversion in _convert_format(request, format, source, reference, rows, work, log)
        ]
        if request.tokenizer_inside:
            created = [_add_tokenizer(item, source, SAMPLE) for item in created]
        assert source.tokenizer is not None
        shutil.copyfile(source.tokenizer, work / NEW / TOKENIZER)  # which profile --texts and an app need
        placed = publish(work, output, opened.key, force=request.force)
        created = [_placed(item, work / NEW, output, placed) for item in created]
    return ConvertResult(
        folder=output,
        head=opened.head.name,
        family=source.family,
        n_rows=len(rows.batches),
        rows_from=rows.origin,
        conversions=tuple(created),
        exit_code=int(any(_failures(item) for item in created)),
        notes=opened.notes,
    )


def _placed(conversion: Conversion, new: Path, output: Path, placed: bool) -> Conversion:
    """With the paths that its files have in the output; what was not put there, as it would have replaced files though
    one beside it was rejected, says so."""
    if conversion.artifact is None:
        return conversion
    if not placed and not _failures(conversion):
        return Conversion(conversion.format, conversion.precision, note=NOT_PLACED)
    files = {name: replace(file, path=output / file.path.relative_to(new))
             for name in ("artifact", "with_tokenizer") if (file := getattr(conversion, name)) is not None}  # fmt: skip
    return replace(conversion, **files)


def _convert_format(
    request: ConvertRequest,
    format: str,
    source: Source,
    reference: Reference,
    rows: Rows,
    work: Path,
    log: Callable[..., None],
) -> Iterator[Conversion]:
    """float32 first: it is what the others are made from, and the structure is proven on it."""
    converter = CONVERTERS.get(format)
    log(event="begin", stage=f"{format} fp32")
    started = time.monotonic()
    exported = export_float(converter, source, work)
    first = _checked(exported, reference, rows, exported, time.monotonic() - started)
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
        item = replace(
            _checked(chosen, reference, rows, exported, seconds),
            variant=next(line["variant"] for line in table if line["chosen"]),
        )
        log(event="converted", name=chosen.name, seconds=seconds, failures=_failures(item))
        yield _keep(item, work / NEW)
    shutil.rmtree(work / format)  # what is kept is linked


def _add_tokenizer(conversion: Conversion, source: Source, texts: Sequence[str]) -> Conversion:
    """Beside a file that passed, one that reads text itself. Raises ParityError where it reads some text otherwise."""
    write = CONVERTERS.get(conversion.format).with_tokenizer
    if write is None or conversion.artifact is None or _failures(conversion):
        return conversion
    assert source.tokenizer is not None
    place = conversion.artifact.path.parent / "with-tokenizer"
    place.mkdir()
    return replace(conversion, with_tokenizer=write(conversion.artifact.path, source.tokenizer, place, texts))


def _checked(artifact: Artifact, reference: Reference, rows: Rows, origin: Artifact, seconds: float) -> Conversion:
    """`origin` is the float32 file of the format, perhaps the file itself."""
    checked = check_file(artifact, origin, reference, rows.task, rows.labelled, rows.features)
    return Conversion(
        format=artifact.format,
        precision=artifact.precision,
        artifact=replace(artifact, zip_bytes=deflated_bytes(artifact.path)),
        comparison=checked.comparison,
        size_share=artifact.size_bytes / origin.size_bytes,
        seconds=round(seconds, 2),
        peak_memory_bytes=peak_bytes(),
        runtime=f"{checked.session.runtime} {checked.session.runtime_version}",
        accelerator_fallbacks=dict(CONVERTERS.get(artifact.format).accelerator_fallbacks(artifact.path)),
    )


def _failures(conversion: Conversion) -> tuple[str, ...]:
    return conversion.comparison.failures if conversion.comparison is not None else ()


def _keep(conversion: Conversion, new: Path) -> Conversion:
    """Puts a file where it will be in the output, or aside with the reason where parity failed."""
    assert conversion.artifact is not None
    failures = _failures(conversion)
    place = new / (REJECTED if failures else "") / conversion.format / conversion.precision
    place.mkdir(parents=True)
    for path in conversion.artifact.path.parent.iterdir():  # weights may lie beside the graph
        link_tree(path, place / path.name)
    if failures:
        write_atomic(place / REASON, "\n".join(failures) + "\n")
    return replace(conversion, artifact=replace(conversion.artifact, path=place / conversion.artifact.path.name))


def _evaluator_of(reference: Reference, kind: str) -> VariantEvaluator[OutputComparison]:
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
        score=lambda result: min(result.equal_predictions, max(0.0, 1 - result.nrmse**2 / 2)),  # about a correlation
        same=lambda results, _: results.equal_predictions,
    )
