"""Runs that are worse in one way: each case doctors a copy of a run, and says which limits must fail of it, and which may.

`must` is the way in which the run is worse; `may` is what follows from it and cannot be had without.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.reliability import gate_files as files
from benchmarks.reliability.gate_workbench import LONG, OWN, USUAL, Copy
from benchmarks.reliability.slowed_runtime import Slowness, slowed
from benchmarks.reliability.tampering import DIGESTED, field, first_output, line, raw, seal
from edgebert.budget.choice import choose
from edgebert.budget.findings import find_latency
from edgebert.budget.limits import HERE, LIMITS
from edgebert.budget.settings import Setting
from edgebert.files import remove
from edgebert.types import Parity
from edgebert.verify.rows import read_outcomes

SCORE = ("score", "drop_points", "score_points", "label_drop_points", "label_points", "label_score")
FIDELITY = ("nrmse", "equal_percent")  # odd weights are rounded otherwise
TIMES = ("latency_ms (here)", "latency_p90_ms", "latency_percent")
OTHER_TIMES = ("latency_ms (here, 128 tokens)", "latency_ms (here, 2 threads)")
TIGHT, LOOSE = "tight", "loose"  # budgets: of `edgebert gate --suggest`, and one whose [limits] are far


@dataclass(frozen=True)
class Case:
    """A way to be worse.

    Attributes:
        what: was done, in words.
        doctor: does it to a copy of the run, whose folder beside it is for the new files.
        budget: TIGHT, or LOOSE where the growth alone is to be seen.
    """

    name: str
    what: str
    must: tuple[str, ...]
    doctor: Callable[[Copy, Path], None]
    may: tuple[str, ...] = ()
    budget: str = TIGHT


def cases() -> Iterator[Case]:
    yield from _of_the_model()
    yield from _of_the_file()
    yield from _of_costs()
    yield from _of_the_package()
    yield from _of_growth()


# ---------------------------------------------------------------- the model gives worse answers


def _of_the_model() -> Iterator[Case]:
    fall = {"must": ("score", "drop_points", "score_points"), "may": (*SCORE, *FIDELITY)}
    yield Case(
        "noise", "every matrix of the encoder with normal noise of half its deviation", doctor=_model(_noise), **fall
    )  # type: ignore[arg-type]
    yield Case("no feed-forward", "the last layer's feed-forward is zero", doctor=_model(_no_feed_forward), **fall)  # type: ignore[arg-type]
    yield Case("towards O", "25 is added to the bias of O", doctor=_model(_bias("O", 25.0)), **fall)  # type: ignore[arg-type]
    yield Case("words lost", "one token in ten has no vector", doctor=_model(_words_lost), **fall)  # type: ignore[arg-type]
    yield Case("two labels in each other's place", "fromloc.city_name and toloc.city_name",
               doctor=_model(_swap("fromloc.city_name", "toloc.city_name")), **fall)  # type: ignore[arg-type]  # fmt: skip
    yield Case("a frequent label never", "toloc.city_name is never predicted", ("score", "label_score", "label_points"),
               _model(_bias("toloc.city_name", -30.0)), (*SCORE, *FIDELITY))  # fmt: skip
    yield Case("a small label falls", "class_type, 24 of the test set's entities, is predicted less often; the whole hardly moves",
               ("label_drop_points", "label_points"), _falls("class_type", 40.0), ("score_points", "label_score"))  # fmt: skip
    yield Case("trained for an epoch", "the student fitted by `edgebert fit --epochs 1`", ("score", "drop_points", "score_points"),
               _fitted("--epochs", "1"), (*SCORE, *TIMES, *OTHER_TIMES, "load_ms", "nrmse"))  # fmt: skip
    yield Case(
        "short windows",
        "texts are read in windows of 8 tokens",
        ("score", "drop_points", "score_points"),
        _windows(8),
        SCORE,
    )


def _noise(model: Any) -> None:
    import torch

    torch.manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 2 and "encoder" in name:
                weight += 0.5 * weight.std() * torch.randn_like(weight)


def _no_feed_forward(model: Any) -> None:
    for weight in model.base_model.encoder.layer[-1].output.dense.parameters():
        weight.data.zero_()


def _words_lost(model: Any) -> None:
    model.base_model.embeddings.word_embeddings.weight.data[200::10] = 0.0


def _ids(model: Any, kind: str) -> list[int]:
    names = model.config.id2label
    return [i for i in sorted(names) if names[i] == kind or names[i][2:] == kind]


def _bias(kind: str, more: float) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        model.classifier.bias.data[_ids(model, kind)] += more

    return change


def _swap(first: str, second: str) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        a, b = _ids(model, first), _ids(model, second)
        for weight in (model.classifier.weight.data, model.classifier.bias.data):
            weight[a + b] = weight[b + a].clone()

    return change


def _model(change: Callable[[Any], None]) -> Callable[[Copy, Path], None]:
    """The student with a change, converted, proved against itself and packaged: a sound file of a worse model."""

    def doctor(copy: Copy, work: Path) -> None:
        bench = copy.bench
        path, origin, model = bench.convert(change, work)
        parity, outcomes = bench.prove(path, origin, *bench.reference(model))
        copy.package(path)
        copy.change(lambda file: replace(file, parity=parity, outcomes=outcomes))

    return doctor


def _falls(kind: str, points: float) -> Callable[[Copy, Path], None]:
    """The label's bias lowered step by step until its F1 is so many points lower: how far that is differs between students."""

    def doctor(copy: Copy, work: Path) -> None:
        bench = copy.bench
        before = _f1(bench.subject.file.parity, kind)
        for step in range(1, 20):
            place = work / str(step)
            place.mkdir(parents=True)
            path, origin, model = bench.convert(_bias(kind, -2.0 * step), place)
            parity, outcomes = bench.prove(path, origin, *bench.reference(model))
            if before - _f1(parity, kind) >= points / 100:
                break
        copy.package(path)
        copy.change(lambda file: replace(file, parity=parity, outcomes=outcomes))

    return doctor


def _f1(parity: Parity, kind: str) -> float:
    return next(item.f1 for item in parity.score.per_type if item.name == kind)


def _windows(n: int) -> Callable[[Copy, Path], None]:
    """The packaged file as it is, and texts in windows of `n` tokens."""

    def doctor(copy: Copy, work: Path) -> None:
        bench = copy.bench
        reference, features = bench.reference_of(bench.student, n)
        parity, outcomes = bench.prove(bench.packaged, bench.float_file, reference, features)
        copy.package(bench.packaged, max_length=n)
        copy.change(lambda file: replace(file, parity=parity, outcomes=outcomes))

    return doctor


def _fitted(*options: str) -> Callable[[Copy, Path], None]:
    """The run's own command with other options, on the copy: the teacher and what else is unchanged is reused."""

    def doctor(copy: Copy, work: Path) -> None:
        command = copy.bench.report.command.split()
        place = command.index("--run") if "--run" in command else len(command)
        arguments = [*command[1:place], *command[place + 2 :], "--run", str(copy.folder), "--quiet", *options]
        done = subprocess.run([sys.executable, "-m", "edgebert", *arguments], capture_output=True, text=True)
        if done.returncode not in (0, 1):
            raise RuntimeError(done.stderr[-500:])

    return doctor


# ---------------------------------------------------------------- the file computes something else than the model


def _of_the_file() -> Iterator[Case]:
    yield Case("coarser weights", "its int8 matrices hold 5 bits", ("nrmse",), _file(lambda path, to: files.coarser(path, to, 5)),
               ("parity", "equal_percent", *SCORE))  # fmt: skip
    yield Case("hardly coarser weights", "its int8 matrices hold 6 bits", ("nrmse",),
               _file(lambda path, to: files.coarser(path, to, 6)), ("parity", "equal_percent", *SCORE))  # fmt: skip
    yield Case("labels of the file", "the last two labels in the file's metadata are in each other's place",
               ("parity", "package"), _file(files.relabelled, packed=False))  # fmt: skip
    yield Case("fewer operators on the accelerator", "20 operators more that no accelerator takes", ("accelerator_fallbacks",),
               _file(lambda path, to: files.with_foreign_operators(path, to, 20)), ("parity",))  # fmt: skip


def _file(make: Callable[[Path, Path], Path], *, packed: bool = True) -> Callable[[Copy, Path], None]:
    """The packaged file with an edit, proved against the good run's student."""

    def doctor(copy: Copy, work: Path) -> None:
        from edgebert.converters import CONVERTERS

        bench = copy.bench
        path = make(bench.packaged, work / "model.onnx")
        parity, outcomes = bench.prove(path, bench.float_file, *bench.good_reference)
        if packed:
            copy.package(path)
        else:
            shutil.copyfile(path, copy.model)
            seal(copy.bundle, DIGESTED)
        fallbacks = dict(CONVERTERS.get("onnx").accelerator_fallbacks(path))
        copy.change(lambda file: replace(file, parity=parity, outcomes=outcomes, accelerator_fallbacks=fallbacks))

    return doctor


# ---------------------------------------------------------------- the file costs more


def _of_costs() -> Iterator[Case]:
    yield Case("larger", "2 MB of metadata that nothing reads", ("size_mb", "size_percent"),
               _file(lambda path, to: files.padded(path, to, 2_000_000)))  # fmt: skip
    yield Case("fp32 in its place", "the student's float32 file", ("size_mb", "memory_mb", "size_percent", "memory_percent"),
               _float, (*SCORE, *TIMES, *OTHER_TIMES, "load_ms", "load_percent"))  # its answers differ a little  # fmt: skip
    yield Case("a deeper model in its place", "the teacher's int8 file, of six layers, with its tokenizer",
               ("latency_ms (here)", "size_mb", "memory_mb", "accelerator_fallbacks", "size_percent", "memory_percent"),
               _teacher, (*SCORE, *TIMES, *OTHER_TIMES, "load_ms", "load_percent", "nrmse"))  # fmt: skip
    yield Case("slower", "products for three times its p50 more in every pass", ("latency_ms (here)", "latency_percent"),
               _measured(lambda copy, path, to: files.slower(path, to, 3 * _p50(copy))), (*TIMES, *OTHER_TIMES))  # fmt: skip
    yield Case("slow now and then", "one pass in eight, by chance, with products for twice what p90 may be", ("latency_p90_ms",),
               _measured(lambda copy, path, to: files.slower(path, to, 4 * _p90(copy), files.SELDOM)))  # fmt: skip
    yield Case("slower at 128 tokens", "products for three times its p50 there, in passes of 128 tokens or more",
               ("latency_ms (here, 128 tokens)",),
               _measured(lambda copy, path, to: files.slower(path, to, 3 * _p50(copy, tokens=128), files.LONG), (*USUAL, (1, LONG))))  # fmt: skip
    yield Case(
        "slower on two threads",
        "on two threads every pass takes five times as long",
        ("latency_ms (here, 2 threads)",),
        _on_two,
    )
    yield Case("slow to load", "products of constants for four times its time to load", ("load_ms", "load_percent"),
               _measured(lambda copy, path, to: files.slow_to_load(path, to, 4 * _load(copy))), ("memory_mb", "memory_percent"))  # fmt: skip
    yield Case("larger in memory", "a constant of 80 MB, which the runtime makes while it loads the file",
               ("memory_mb", "memory_percent"), _measured(lambda copy, path, to: files.large_in_memory(path, to, 80)),
               ("load_percent", "load_ms"))  # fmt: skip


def _p50(copy: Copy, tokens: int | None = None) -> float:
    limit = next(limit for limit in LIMITS if limit.name == "latency_ms")
    return find_latency(copy.bench.subject, Setting(limit, 0.0, HERE, tokens=tokens)).p50_ms


def _p90(copy: Copy) -> float:
    limit = next(limit for limit in LIMITS if limit.name == "latency_p90_ms")
    return find_latency(copy.bench.subject, Setting(limit, 0.0, HERE)).p90_ms or 0.0


def _load(copy: Copy) -> float:
    footprint = copy.bench.subject.file.footprint
    assert footprint, "a file that was measured here was loaded alone"
    return footprint.load_ms


def _measured(
    make: Callable[[Copy, Path, Path], Path], conditions: Sequence[tuple[int, str]] = USUAL
) -> Callable[[Copy, Path], None]:
    """The packaged file with an edit that leaves its outputs as they are, measured in its place."""

    def doctor(copy: Copy, work: Path) -> None:
        path = make(copy, copy.bench.packaged, work / "model.onnx")
        copy.package(path)
        copy.change(lambda file: file, copy.bench.measure(path, conditions))

    return doctor


def _on_two(copy: Copy, work: Path) -> None:
    with slowed(Slowness(str(copy.bench.packaged), 5.0, threads=2)):
        figures = copy.bench.measure(copy.bench.packaged, (*USUAL, (2, OWN)))
    copy.change(lambda file: file, figures)


def _float(copy: Copy, work: Path) -> None:
    bench = copy.bench
    path = bench.float_file
    parity, outcomes = bench.prove(path, path, *bench.good_reference)
    copy.package(path, precision="fp32")
    copy.change(lambda file: replace(file, parity=parity, outcomes=outcomes), bench.measure(path))


def _teacher(copy: Copy, work: Path) -> None:
    bench = copy.bench
    theirs = next(
        file for file in bench.report.teacher.artifacts if file.artifact.name == bench.subject.file.artifact.name
    )
    path, checkpoint = bench.file(theirs), bench.checkpoint(theirs)
    outcomes = read_outcomes(bench.verified(theirs), theirs.artifact.name)
    copy.package(path, checkpoint=checkpoint)
    facts = {"parity": theirs.parity, "outcomes": outcomes, "accelerator_fallbacks": theirs.accelerator_fallbacks}
    copy.change(lambda file: replace(file, **facts), bench.measure(path, checkpoint=checkpoint))  # type: ignore[arg-type]


# ---------------------------------------------------------------- the package is another


def _of_the_package() -> Iterator[Case]:
    package = ("package",)
    read = ("package", "tokenizer_mismatches")
    yield Case("a byte turned", "one byte in the middle of the model", package, _byte)
    yield Case("another model", "the float32 file in the bundle, which the manifest lists", package, _other_model)
    yield Case("another tokenizer", "the teacher's tokenizer, which the manifest lists", read, _other_tokenizer)
    yield Case(
        "letters kept",
        "the tokenizer no longer lower-cases",
        read,
        _tokenizer(lambda v: v["normalizer"].update(lowercase=False)),
    )
    yield Case(
        "words moved by one",
        "every word of the tokenizer has the number of the one before it",
        read,
        _tokenizer(_shift),
    )
    yield Case("labels in another order", "in labels.json and the manifest", package, _labels)
    yield Case("outputs edited", "the golden outputs of a text moved by 3", package,
               _sealed(line(2, first_output(lambda v: v + 3.0))))  # fmt: skip
    yield Case("a file missing", "labels.json", package, lambda copy, work: (copy.bundle / "labels.json").unlink())
    yield Case("no bundle", "the folder is not there", package, lambda copy, work: remove(copy.bundle))
    yield Case(
        "nothing packaged",
        "by a budget of nine tenths of the file's size no file is chosen",
        package,
        _nothing_packaged,
    )


def _sealed(*edits: Callable[[Path], None]) -> Callable[[Copy, Path], None]:
    """Edits of the bundle, whose manifest, bill of materials and digest then agree with it."""

    def doctor(copy: Copy, work: Path) -> None:
        for edit in edits:
            edit(copy.bundle)
        seal(copy.bundle, DIGESTED)

    return doctor


def _byte(copy: Copy, work: Path) -> None:
    content = bytearray(copy.model.read_bytes())
    content[len(content) // 2] ^= 1
    copy.model.write_bytes(content)


def _other_model(copy: Copy, work: Path) -> None:
    shutil.copyfile(copy.bench.float_file, copy.model)
    seal(copy.bundle, DIGESTED)


def _other_tokenizer(copy: Copy, work: Path) -> None:
    shutil.copyfile(copy.bench.checkpoint(copy.bench.yardstick) / "tokenizer.json", copy.bundle / "tokenizer.json")
    seal(copy.bundle, DIGESTED)


def _tokenizer(change: Callable[[Any], Any]) -> Callable[[Copy, Path], None]:
    def edit(text: str) -> str:
        value = json.loads(text)
        change(value)
        return json.dumps(value, ensure_ascii=False)

    return _sealed(raw("tokenizer.json", edit))


def _shift(tokenizer: Any) -> None:
    """Of all but the special tokens."""
    words = tokenizer["model"]["vocab"]
    special = {item["content"] for item in tokenizer["added_tokens"]}
    ordered = sorted((name for name in words if name not in special), key=lambda name: words[name])
    numbers = [words[name] for name in ordered]
    words.update(zip(ordered, [*numbers[1:], numbers[0]], strict=True))


def _labels(copy: Copy, work: Path) -> None:
    turned = lambda v: [*v[:-2], v[-1], v[-2]]  # noqa: E731
    raw("labels.json", lambda text: json.dumps(turned(json.loads(text))))(copy.bundle)
    field("labels", turned)(copy.bundle)
    seal(copy.bundle, DIGESTED)


def _nothing_packaged(copy: Copy, work: Path) -> None:
    report = copy.bench.report
    budget = replace(report.plan.budget, size_mb=0.9 * copy.bench.subject.file.artifact.size_bytes / 1e6)
    n_tokens = report.plan.length_p95
    winner, verdict, failures = choose(report.teacher, report.students, budget, report.device, n_tokens)
    assert winner is None, "the file is over the budget"
    copy.write(replace(report, winner=None, verdict=verdict, failures=tuple(failures)))
    remove(copy.bundle)


# ---------------------------------------------------------------- within the limits, and grown


def _of_growth() -> Iterator[Case]:
    loose: dict[str, Any] = {"budget": LOOSE}
    yield Case(
        "grown in size",
        "1 MB of metadata",
        ("size_percent",),
        _file(lambda path, to: files.padded(path, to, 1_000_000)),
        **loose,
    )
    yield Case("grown in latency", "products for three times its p50 more in every pass", ("latency_percent",),
               _measured(lambda copy, path, to: files.slower(path, to, 3 * _p50(copy))), **loose)  # fmt: skip
    yield Case("grown in memory", "a constant of 40 MB", ("memory_percent",),
               _measured(lambda copy, path, to: files.large_in_memory(path, to, 40)), ("load_percent",), **loose)  # fmt: skip
    yield Case("grown in time to load", "products of constants for four times its time to load", ("load_percent",),
               _measured(lambda copy, path, to: files.slow_to_load(path, to, 4 * _load(copy))), ("memory_percent",), **loose)  # fmt: skip
    swapped = _model(_swap("fromloc.city_name", "toloc.city_name"))
    yield Case(
        "fallen score", "two labels in each other's place", ("score_points",), swapped, ("label_points",), **loose
    )
