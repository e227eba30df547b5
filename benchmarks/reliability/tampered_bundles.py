"""Attacks `edgebert check` with edited bundles, and counts what it lets through: writes tampered_bundles.md beside this.

Bundles of tiny models of five tasks are made by the real converter and `write_bundle`. Each edit of `tampering` and
`tampered_models` is tried on each bundle in three ways: as it is, with sizes and sha256 of the manifest updated to it, and
with the digest at the README's end and the record of golden texts updated too, as somebody would who knows the code.

    python -m benchmarks.reliability.tampered_bundles [--tasks ner,qa]
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.reliability.tampered_models import model_edits
from benchmarks.reliability.tampering import (
    DIGESTED,
    LEVELS,
    PLAIN,
    WITHIN,
    Edit,
    golden_edits,
    list_edits,
    manifest_edits,
    other_edits,
    seal,
)

PAGE = Path(__file__).with_suffix(".md")
SECONDS = 60  # after which a check hangs
MAX_LENGTH = 32
ACCEPTED, REFUSED, BROKEN = "accepted", "refused", "TRACEBACK OR HANG"


@dataclass(frozen=True)
class Verdict:
    edit: str
    level: str
    outcome: str
    code: int
    message: str


def edits() -> Iterator[tuple[str, Edit, bool]]:
    """Name, edit, and whether updated sizes and sha256 leave it as it is."""
    for maker in (manifest_edits, golden_edits, other_edits, model_edits):
        yield from ((name, edit, True) for name, edit in maker())
    yield from ((name, edit, False) for name, edit in list_edits())


def attack(bundle: Path, place: Path) -> Iterator[Verdict]:
    """Every edit of a bundle at every level; `place` is used for the copies."""
    for name, edit, sealed in edits():
        for level in LEVELS if sealed else (PLAIN,):
            copy = place / "bundle"
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(bundle, copy)
            try:
                edit(copy)
            except (LookupError, TypeError):  # this bundle has nothing that could be edited so
                break
            seal(copy, level)
            if level == PLAIN or content(bundle) != content(copy):  # what updating has not undone
                yield Verdict(name, level, *outcome(copy))


def content(folder: Path) -> list[Any]:
    """What a bundle holds: the manifest by what it says, everything else by kind and bytes."""
    paths = sorted(path for path in folder.rglob("*"))
    return [(path.relative_to(folder), path.lstat().st_mode, _meaning(path)) for path in paths]


def _meaning(path: Path) -> Any:
    content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
    try:
        return json.loads(content) if path.name == "manifest.json" else content
    except (ValueError, RecursionError):
        return content


def outcome(folder: Path) -> tuple[str, int, str]:
    """What `check` makes of a bundle: the outcome, its exit code and its first line; and `predict` must not break."""
    from edgebert import api
    from edgebert.errors import EdgebertError, first_line

    signal.signal(signal.SIGALRM, _too_long)
    results = (ACCEPTED, 0, "")
    for command in (api.check, api.load):
        signal.alarm(SECONDS)
        try:
            command(folder)
        except EdgebertError as error:
            if command is api.check:
                results = (REFUSED, error.exit_code, first_line(error).replace(f"{folder}", "bundle"))
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            return BROKEN, 70, f"{type(error).__name__}: {first_line(error)}"
        finally:
            signal.alarm(0)
    return results


def _too_long(*_: Any) -> None:
    raise TimeoutError(f"more than {SECONDS} s")


# ---------------------------------------------------------------- bundles


def make_bundles(folder: Path, wanted: list[str], own: Mapping[str, tuple[str, ...]] | None = None) -> dict[str, Path]:
    """A bundle of each task, by name: tiny models of random weights, large enough that masks and positions matter.

    Args:
        own: labels by task, in place of the usual ones.
    """
    from edgebert.types import Row
    from tests.conftest import make_checkpoint, sentence

    checkpoint = make_checkpoint(folder / "checkpoint", n_layers=2)
    drawn = random.Random(0)
    texts = [" ".join(sentence(drawn)[0]) for _ in range(16)]
    single = [Row(text=text) for text in texts[:4]]
    pairs = [Row(text=item, second=other) for item, other in zip(texts[:4], texts[4:], strict=False)]
    labels = {"ner": ("O", "B-CITY", "I-CITY"), "classify": ("neg", "pos"), "pair": ("no", "yes"), **(own or {})}
    created = {}
    for task, rows in (("ner", single), ("classify", single), ("pair", pairs), ("similarity", pairs), ("qa", pairs)):
        if task in wanted:
            precision = "fp32" if task in ("ner", "qa") else "int8"
            created[task] = _bundle(folder / task, checkpoint, task, labels.get(task, ()), rows, precision)
    return created


def _bundle(folder: Path, checkpoint: Path, name: str, labels: tuple[str, ...], rows: Any, precision: str) -> Path:
    import torch

    from edgebert.bundle import write_bundle
    from edgebert.converters import CONVERTERS
    from edgebert.modeling.checkpoint import load_model, load_tokenizer, save_checkpoint
    from edgebert.modeling.graph import make_source
    from edgebert.modeling.heads import HEADS
    from edgebert.runtime.batching import pad_batch
    from edgebert.tasks import find_task
    from edgebert.types import DataSource, Student

    torch.manual_seed(0)
    options = {"threshold": 0.4} if name == "classify" else {"no_answer": 0.25} if name == "qa" else {}
    task = find_task(name).configured(options)
    settings = task.model_settings(labels)
    model, _ = load_model(checkpoint, HEADS.get(task.head).auto_model, labels or None, settings=settings)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.mul_(6)
    student = Student(model, load_tokenizer(checkpoint))
    folder.mkdir(parents=True)
    save_checkpoint(folder, student, checkpoint)
    features = task.encode(
        [task.read_texts(*("fly to dham",) * len(task.inputs))], student.tokenizer, labels, MAX_LENGTH
    )
    source = make_source(
        model, labels=labels, calibration=[pad_batch(features[:1])], tokenizer=folder / "tokenizer.json"
    )
    converter = CONVERTERS.get("onnx")
    (folder / "files").mkdir()
    artifact = converter.export(source, folder / "files")
    if precision != "fp32":
        variant = converter.precisions[precision].variants[0]
        (folder / "reduced").mkdir()
        artifact = converter.reduce(source, artifact, precision, variant, folder / "reduced")
    facts = {"data": DataSource("made up", "CC0", "nowhere", "00"), "teacher": "a toy", "score": 0.5}
    return write_bundle(
        folder / "bundle", artifact=artifact, student=folder, task=task, labels=labels, golden=rows,
        max_length=MAX_LENGTH, facts=facts,
    )  # fmt: skip


# ---------------------------------------------------------------- page


REASONS = {
    WITHIN: "machines differ by as much: this is what the tolerance is for",
}
REWRITTEN = {
    "manifest: facts edited": "a fact that stands nowhere else",
    "manifest: teacher renamed": "a fact that stands nowhere else but in words",
    "README: a licence edited": "words for people",
    "tokenizer: two rare tokens swapped": "no golden text holds either",
    "tokenizer: Chinese not split": "words are split before the tokenizer sees them, so no text is read differently",
    "tokenizer: truncation on": "edgebert sets truncation itself, so no text is read differently",
    "tokenizer: padding on": "edgebert sets padding itself, so no text is read differently",
    "model: word vectors of rare tokens zeroed": "no golden text holds these tokens",
    "golden: a word in upper case": "an uncased tokenizer reads it alike",
    "model: a folder": "the same model in a folder, which is how large ones are packaged",
}
PACKAGES = ("numpy", "onnx", "onnxruntime", "tokenizers", "torch", "transformers")


def page(verdicts: dict[str, list[Verdict]]) -> str:
    """What was let through, with the reason, and what became of every edit."""
    results = [item for several in verdicts.values() for item in several]
    rows = [f"| {level} | {_count(results, level)} | {_count(results, level, REFUSED)} | {_count(results, level, ACCEPTED)} | "
            f"{_count(results, level, BROKEN)} |" for level in LEVELS]  # fmt: skip
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    n_edits = len({item.edit for item in results})
    return "\n".join([
        "# Tampered bundles\n",
        f"`python -m benchmarks.reliability.tampered_bundles`, {date.today()}, {platform.machine()}, Python "
        f"{platform.python_version()}, {versions}.\n",
        f"{n_edits} edits of bundles of {len(verdicts)} tasks ({', '.join(verdicts)}), each in up to three ways. An edit "
        "that updating undoes, or that a bundle has no place for, is left out. `edgebert check` refuses with exit code 2 "
        "what is damaged or contradicts itself, with 1 what the golden vectors show; `edgebert predict` never breaks.\n",
        "| the manifest | bundles | refused | accepted | traceback or no end |", "| --- | --- | --- | --- | --- |", *rows,
        "\nThe last way is somebody's who knows the code and rewrites everything that the edit touches. `check` proves "
        "that a bundle is whole and agrees with itself, not who made it: for that, compare its digest.\n",
        "## Accepted\n", "| edit | the manifest | bundles | why no text can tell |", "| --- | --- | --- | --- |",
        *_accepted(verdicts), "\n## Every edit\n",
        "Exit codes, one a task in the order above; - where the edit is left out. The message is the first one.\n",
        f"| edit | {' | '.join(LEVELS)} | message |", "| --- | --- | --- | --- | --- |", *_every(verdicts), "",
    ])  # fmt: skip


def _count(found: list[Verdict], level: str, kind: str | None = None) -> int:
    return sum(item.level == level and kind in (None, item.outcome) for item in found)


def _accepted(verdicts: dict[str, list[Verdict]]) -> Iterator[str]:
    places: dict[tuple[str, str], list[str]] = {}
    for task, several in verdicts.items():
        for item in several:
            if item.outcome == ACCEPTED:
                places.setdefault((item.edit, item.level), []).append(task)
    for (edit, level), tasks in places.items():
        known = REASONS | (REWRITTEN if level == DIGESTED else {})
        yield f"| {edit} | {level} | {', '.join(tasks)} | {known.get(edit, '**not known**')} |"


def _every(verdicts: dict[str, list[Verdict]]) -> Iterator[str]:
    by_place = {(task, item.edit, item.level): item for task, several in verdicts.items() for item in several}
    for edit in dict.fromkeys(item.edit for several in verdicts.values() for item in several):
        cells = []
        for level in LEVELS:
            results = [by_place.get((task, edit, level)) for task in verdicts]
            cells.append(" ".join("-" if item is None else str(item.code) for item in results))
        message = next((item.message for item in by_place.values() if item.edit == edit and item.message), "")
        yield f"| {edit} | {' | '.join(cells)} | {message[:160].replace('|', '/')} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default="ner,classify,pair,similarity,qa")
    wanted = parser.parse_args().tasks.split(",")
    with tempfile.TemporaryDirectory() as name:
        bundles = make_bundles(Path(name), wanted)
        places = [Path(name) / f"attacked-{task}" for task in bundles]
        with ProcessPoolExecutor(len(bundles), mp_context=get_context("spawn")) as pool:
            verdicts = dict(zip(bundles, pool.map(attacked, bundles.values(), places), strict=True))
    for task, verdict in verdicts.items():
        print(task, dict(Counter((item.level, item.outcome) for item in verdict)))
    PAGE.write_text(page(verdicts), encoding="utf-8")


def attacked(bundle: Path, place: Path) -> list[Verdict]:
    """`attack`, after the bundle itself was found sound."""
    if (result := outcome(bundle))[0] != ACCEPTED:
        raise SystemExit(f"{bundle} is not sound before anything was edited: {result}")
    return list(attack(bundle, place))


if __name__ == "__main__":
    main()
