"""The same file on another processor: outputs of an aarch64 user-space under qemu against outputs here. Writes aarch64.md.

Each MODEL is what `edgebert convert` wrote. Its files go through the ssh target to a real sshd on the loopback whose
python3 is an aarch64 one (tests/aarch64.py). Times are not written: qemu translates, and says nothing of an ARM's speed.

    python -m benchmarks.aarch64 MODEL... --texts FILE [--rows 100]
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from edgebert.converters import usable_converter
from edgebert.errors import EdgebertError
from edgebert.measure.artifacts import find_subjects
from edgebert.measure.inputs import encode, limit_of, read_texts, tokenizer_key
from edgebert.measure.runner import describe, make_batches
from edgebert.measure.targets import File, Input, Job, MeasurementRecord, ssh
from tests import aarch64
from tests.sshd import board

NUDGE = 1e-7
SAYS = """An int8 file cuts its activations to 8 bits as it runs, so the last bit of a float can move one by a whole step: most
texts differ by the rounding of float32 (the median), others by such steps. The models: banking77-3-layers is a student of
77 labels, trained (drop-layers and kd; 83 % of dev right), all-MiniLM-L6-v2 the pretrained sentence encoder; the texts are
of banking77's test split, drawn by chance; TFLite files are of one length, 64 tokens.

    edgebert convert MODEL --format onnx,tflite --precision fp32,int8 --length 64 --texts FILE -o banking77-3-layers
    edgebert convert MODEL --head sentence-embedding … -o all-MiniLM-L6-v2

What it proves: the files load, run and answer as here with the ARM builds of both runtimes. What it does not: how long they
take on an ARM (qemu translates, so no time is given), what memory they need there, or what the runtimes choose to run on
another ARM, for kernels depend on the processor (this one has dot products of bytes, as a Raspberry Pi 5 has)."""


def inputs_of(model: Path, texts: Path, n_rows: int) -> Job:
    """The model's files and the first texts, cut to what all of them take."""
    subjects = find_subjects([str(model)])
    limit = min(limit_of(subject) or 512 for subject in subjects)
    reader = next(subject for subject in subjects if tokenizer_key(subject))  # convert puts it into the .tflite
    rows: list[Input] = [
        {"input_ids": [list(item.input_ids)], "token_type_ids": [list(item.type_ids)]}
        for item in encode(reader, read_texts(texts)[:n_rows], limit)
    ]
    files = tuple(subject.file for subject in subjects)
    return Job(files, tuple(rows), min_runs=1, max_seconds=0, timeout_s=3600, n_outputs=len(rows))


def row_of(model: Path, file: File, job: Job, found: MeasurementRecord) -> str:
    """A line of the table. Raises EdgebertError where the file did not run, or not on every text."""
    if found.failure or len(found.outputs) != len(job.inputs):
        raise EdgebertError(found.failure or "outputs are missing", where=f"{model.name} {file.name}")
    session = usable_converter(file.format).open(file.path, 1)
    here = [session.run(batch) for batch in make_batches({"inputs": job.inputs})]
    differences, sizes, equal, leads = [], [], [], [0.0]
    for name in here[0]:
        ours = [item[name][0] for item in here]
        theirs = [np.asarray(output[name])[0] for output in found.outputs]
        differences += [float(np.abs(a - b).max()) for a, b in zip(ours, theirs, strict=True)]
        sizes += [float(np.abs(a).max()) for a in ours]
        for a, b in zip(scores(name, ours), scores(name, theirs), strict=True):
            same, ranked = a.argmax(-1) == b.argmax(-1), np.sort(a, -1)
            equal.append(np.mean(same))
            leads += list(np.atleast_1d(ranked[..., -1] - ranked[..., -2])[np.atleast_1d(~same)])
    cells = (
        model.name, f"{file.name}, {found.runtime} {found.runtime_version}", f"{len(here)}", f"{max(sizes):.2f}",
        f"{max(differences):.1e}", f"{np.median(differences):.1e}", nudged(file, job, here),
        f"{100 * np.mean(equal):.2f} %" + (f", others led by {max(leads):.1e}" if len(leads) > 1 else ""),
    )  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def nudged(file: File, job: Job, here: Sequence[Mapping[str, np.ndarray]]) -> str:
    """Largest difference here, of a file whose float vectors are changed by 1e-7 of themselves: what rounding can do."""
    if file.format != "onnx":
        return ""
    import onnx

    model, rng = onnx.load(str(file.path)), np.random.default_rng(0)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 1 and tensor.dims[0] > 1:
            values = onnx.numpy_helper.to_array(tensor)
            values = values * (1 + NUDGE * rng.standard_normal(values.shape))
            tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float32), tensor.name))
    with tempfile.TemporaryDirectory() as folder:
        onnx.save(model, f"{folder}/model.onnx")
        session = usable_converter("onnx").open(Path(folder) / "model.onnx", 1)
        there = [session.run(batch) for batch in make_batches({"inputs": job.inputs})]
    return f"{max(float(np.abs(a[name] - b[name]).max()) for a, b in zip(here, there, strict=True) for name in a):.1e}"


def scores(name: str, outputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What the largest of is the prediction: logits, of a text or each token; of a vector, likeness to the other texts."""
    if name != "sentence_embedding":
        return list(outputs)
    likeness = np.stack(outputs) @ np.stack(outputs).T
    np.fill_diagonal(likeness, -1)
    return list(likeness)


def measured(models: Sequence[Path], texts: Path, n_rows: int) -> tuple[list[str], dict[str, Any]]:
    lines, facts = [], {}
    with tempfile.TemporaryDirectory() as folder, board(Path(folder)) as far:
        program = far.folder / "bin" / "python3"
        program.unlink()
        program.symlink_to(aarch64.python3())
        os.environ["EDGEBERT_SSH_CONFIG"] = str(far.config)
        for model in models:
            job = inputs_of(model, texts, n_rows)
            for file in job.files:  # one at a time: the whole takes long
                outcome = ssh.measure("board", replace(job, files=(file,)), lambda **event: None)
                assert outcome.how == "emulated" and outcome.facts["machine"] == "aarch64"
                lines.append(row_of(model, file, job, outcome.records[0]))
                print(lines[-1], flush=True)
                facts = dict(outcome.facts)
    return lines, facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL")
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=100)
    options = parser.parse_args()
    if options.rows < 2:
        parser.error("--rows is at least 2")
    write(*measured(options.models, options.texts, options.rows))


def write(lines: Sequence[str], facts: Mapping[str, Any]) -> None:
    qemu = subprocess.run(["qemu-aarch64-static", "--version"], capture_output=True, text=True, check=True).stdout
    versions = ", ".join(f"{name} {number}" for name, number in facts["runtimes"].items())
    text = f"""# The same files on another processor

Written by `python -m benchmarks.aarch64 MODEL... --texts FILE`. Each file ran in an aarch64 user-space (Debian, Python
{facts["python"]}, the runtimes' own ARM wheels) under qemu-user, taken there by `edgebert profile`'s ssh target through a real
sshd, and its outputs were held against a run of the same file here. Differences are absolute: of each text the largest
of its outputs, then the largest and the median over the texts. `nudged here` is the largest difference between the file
and itself on this machine, when the vectors of float32 in it are changed by 1e-7 of themselves: what
rounding alone does where activations are cut to 8 bits. A prediction is the largest logit's place, or of a sentence
vector which other text is the nearest; where some differ, `led by` is the most by which the first led the second here.

| model | file | texts | largest output | largest difference | median difference | nudged here | equal predictions |
|---|---|---|---|---|---|---|---|
{chr(10).join(lines)}

{SAYS}

- date: {date.today()}; here: {platform.platform()}, {describe()["processor"]}; there: {qemu.splitlines()[0]}, -cpu {aarch64.CPU}
- versions, here and there: {versions}
"""
    Path(__file__).with_suffix(".md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
