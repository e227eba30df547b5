"""What the fuzzer feeds: each reader of edgebert with sound files to start from, and how a command would read one.

A reader is given bytes, writes them where its file lies, and reads them there. What it needs beside that file, such as
a checkpoint around a config.json, is made once by `make_fixtures` and copied for each process by `Reader.ready`.
"""

from __future__ import annotations

import json
import random
import shutil
import warnings
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.reliability import _fuzz_inputs as inputs

N_SEEDS = 12  # sound files of each kind of table
BREAK = b"\n%%%%\n"  # between a text of brat and its annotations


@dataclass(frozen=True)
class Reader:
    """One reader.

    Attributes:
        name: as the page shows it.
        kind: which damage the generator does: "json", "jsonl", "toml" or "bytes".
        seeds: sound files; takes the fixtures.
        read: takes a folder of its own and the bytes. Raises EdgebertError where they are refused.
        ready: puts into that folder what the reader needs beside the file; takes the fixtures and the folder.
        native: whether a library outside of Python reads the bytes, which may end the process.
        share: of the inputs: more where one takes less than half a millisecond, fewer where it takes several.
    """

    name: str
    kind: str
    seeds: Callable[[Path], Sequence[bytes]]
    read: Callable[[Path, bytes], object]
    ready: Callable[[Path, Path], object] = lambda fixtures, place: None
    native: bool = False
    share: int = 2


# ---------------------------------------------------------------- data files


def _draws(make: Callable[[random.Random, str], bytes], kinds: Sequence[str]) -> Callable[[Path], list[bytes]]:
    return lambda fixtures: [make(random.Random(f"{kind} {i}"), kind) for kind in kinds for i in range(N_SEEDS)]


def _load(path: Path, task: str, draw: int) -> None:
    """What `--data` does with a file, and at times what `edgebert data inspect` does before it."""
    from edgebert.data import load
    from edgebert.tasks import find_task
    from edgebert.workflows.inspect import inspect

    if draw % 10 < 3:
        inspect([str(path)], (None, task)[draw % 2])
    options = {"multi_label": True} if task == "classify" and draw % 7 < 2 else {}
    load([str(path)], find_task(task).configured(options))


def _rows(ending: str, tasks: Sequence[str]) -> Callable[[Path, bytes], None]:
    """Reads bytes as a file with this ending, for one of the tasks that its bytes draw."""

    def read(place: Path, content: bytes) -> None:
        draw = zlib.crc32(content)
        path = place / f"rows{ending}"
        path.write_bytes(content)
        _load(path, tasks[draw // 1000 % len(tasks)], draw)

    return read


def _arrow(fixtures: Path, place: Path) -> None:
    """Loads what some inputs would load in the middle: libFuzzer takes a library that ends a thread for the end of all."""
    import datasets
    import pyarrow.parquet

    assert datasets and pyarrow.parquet


def _brat(place: Path, content: bytes) -> None:
    text, _, notes = content.partition(BREAK)
    folder = place / "brat"
    folder.mkdir(exist_ok=True)
    (folder / "a.txt").write_bytes(text)
    (folder / "a.ann").write_bytes(notes)
    _load(folder, "ner", zlib.crc32(content))


def _brat_seeds(fixtures: Path) -> list[bytes]:
    return [BREAK.join(inputs.as_brat(random.Random(i))) for i in range(N_SEEDS)]


def _packed(place: Path, content: bytes) -> None:
    """By its first bytes; what begins as none of them does is tried under each name in turn."""
    marks = {b"\x1f\x8b": ".gz", b"BZ": ".bz2", b"\xfd7": ".xz", b"PK": ".zip"}
    other = list(inputs.PACKERS)[zlib.crc32(content) % len(inputs.PACKERS)]
    _rows(f".csv{marks.get(content[:2], other)}", ("classify", "ner"))(place, content)


def _packed_seeds(fixtures: Path) -> list[bytes]:
    made = [inputs.as_csv(random.Random(i), inputs.table(random.Random(i), "classify")) for i in range(4)]
    return [pack(content) for pack in inputs.PACKERS.values() for content in made]


def _csv(rng: random.Random, kind: str) -> bytes:
    return inputs.as_csv(rng, inputs.table(rng, kind))


def _json(rng: random.Random, kind: str) -> bytes:
    return inputs.as_json(rng, inputs.table(rng, kind))


def _parquet(rng: random.Random, kind: str) -> bytes:
    return inputs.as_parquet(rng, inputs.table(rng, kind))


def _json_lines(rng: random.Random, kind: str) -> bytes:
    return "\n".join(json.dumps(row) for row in inputs.table(rng, kind)).encode()


def _plain_lines(rng: random.Random, kind: str) -> bytes:
    return "\n".join(f"{inputs.sentence(rng)} {i}" for i in range(rng.choice((3, 40)))).encode()


def _unlabelled(place: Path, content: bytes) -> None:
    from tokenizers import Tokenizer

    from edgebert.data.unlabelled import read_unlabelled
    from edgebert.tasks import find_task

    path = place / "texts.txt"
    path.write_bytes(content)
    tokenizer = Tokenizer.from_file(str(place / "tokenizer.json"))
    read_unlabelled([str(path)], find_task("classify"), tokenizer)


def _with_tokenizer(fixtures: Path, place: Path) -> None:
    shutil.copyfile(fixtures / "checkpoint" / "tokenizer.json", place / "tokenizer.json")


def _texts(place: Path, content: bytes) -> None:
    from edgebert.measure.inputs import read_texts

    path = place / "texts.tsv"
    path.write_bytes(content)
    read_texts(path)


def _data_readers() -> list[Reader]:
    tagged = ("ner", "tag")
    tables = ("classify", "pair", "similarity", "embed", "ner", "tag", "qa")
    return [
        Reader("CoNLL", "bytes", _draws(inputs.as_conll, tagged), _rows(".conll", tagged), _arrow),
        Reader(
            "CoNLL-U", "bytes", _draws(inputs.as_conllu, ("tag",)), _rows(".conllu", ("tag", "ner")), _arrow, share=8
        ),
        Reader("words of ATIS", "bytes", _draws(inputs.as_atis, ("ner",)), _rows(".txt", ("ner", "classify")), _arrow),
        Reader("lines of text", "bytes", _draws(inputs.as_lines, ("classify", "embed")), _rows(".txt", tables), _arrow),
        Reader("CSV", "bytes", _draws(_csv, tables), _rows(".csv", tables), _arrow),
        Reader("TSV", "bytes", _draws(_csv, tables), _rows(".tsv", tables), _arrow),
        Reader("JSON", "json", _draws(_json, tables), _rows(".json", tables), _arrow),
        Reader("JSON lines", "jsonl", _draws(_json_lines, tables), _rows(".jsonl", tables), _arrow),
        Reader("SQuAD", "json", _draws(inputs.as_squad, ("qa",)), _rows(".json", ("qa",)), _arrow),
        Reader("Parquet", "bytes", _draws(_parquet, tables), _rows(".parquet", tables), _arrow, True),
        Reader("brat", "bytes", _brat_seeds, _brat, _arrow),
        Reader("compressed data", "bytes", _packed_seeds, _packed, _arrow, True),
        Reader("unlabelled text", "bytes", _draws(_plain_lines, ("embed",)), _unlabelled, _with_tokenizer),
        Reader("texts to time", "bytes", _draws(inputs.as_lines, ("embed",)), _texts, share=8),
    ]


# ---------------------------------------------------------------- TOML


def _toml(read: Callable[[Path], object]) -> Callable[[Path, bytes], None]:
    def run(place: Path, content: bytes) -> None:
        path = place / "a.toml"
        path.write_bytes(content)
        read(path)

    return run


def _device(path: Path) -> object:
    from edgebert.devices.profiles import load_device

    return load_device(str(path))


def _recipe(path: Path) -> object:
    from edgebert.workflows.recipe import read_recipe

    return read_recipe(str(path))


def _catalogue(path: Path) -> object:
    from edgebert.data.packaged import read_entry

    return read_entry(path)


def _budget(path: Path) -> object:
    from edgebert.budget.settings import read_budget

    return read_budget(path)


def _edgebert_toml(path: Path) -> None:
    from edgebert.workflows.config import config_problems, read_config

    config_problems(path)
    read_config(path)


BUDGET = b"""[limits]
size_mb = 8.5
score = 90
drop_points = { max = 1 }
latency_ms = { max = 3, on = "here", threads = 1 }
memory_mb = { max = 200, on = "here" }

[growth]
size_percent = 5
latency_percent = { max = 10, on = "here" }
"""
EDGEBERT = b"""devices = ["pixel6", "rpi4"]
task = "classify"
run = "runs/mine"

[data]
rows = ["train=rows.csv", "test=more/test.csv"]
columns = { text = "body", label = "topic" }
max_length = 64

[student]
recipe = "trim-vocab+drop-layers+kd"

[student.params.drop-layers]
n_layers = 2

[budget]
max_drop = 1
measure_on = "none"

[training]
effort = "quick"
epochs = 3

[bundle]
platforms = ["android", "web"]
"""


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return str(list(value))
    return f'"{value}"' if isinstance(value, str) or value is None else str(value)


def _recipes(fixtures: Path) -> list[bytes]:
    """Every method with all of its parameters."""
    from edgebert.methods import METHODS

    return [
        "\n".join(
            [f'[[method]]\nname = "{item.name}"', *(f"{p.name} = {_value(p.default)}" for p in item.params)]
        ).encode()
        for item in METHODS.all().values()
    ]


def _files(folder: Callable[[], Path], pattern: str) -> Callable[[Path], list[bytes]]:
    return lambda fixtures: [path.read_bytes() for path in sorted(folder().glob(pattern))]


def _catalogue_folder() -> Path:
    import edgebert.data

    return Path(edgebert.data.__file__).parent / "catalogue"


def _toml_readers() -> list[Reader]:
    profiles = Path(__file__).parents[2] / "device_profiles"
    return [
        Reader("device profile", "toml", _files(lambda: profiles, "*.toml"), _toml(_device)),
        Reader("recipe", "toml", _recipes, _toml(_recipe), share=8),
        Reader("budget.toml", "toml", lambda fixtures: [BUDGET], _toml(_budget)),
        Reader("edgebert.toml", "toml", lambda fixtures: [EDGEBERT], _toml(_edgebert_toml)),
        Reader("data catalogue", "toml", _files(_catalogue_folder, "*.toml"), _toml(_catalogue), share=8),
    ]


# ---------------------------------------------------------------- checkpoints


def _checkpoint(fixtures: Path, place: Path) -> None:
    shutil.copytree(fixtures / "checkpoint", place / "checkpoint")


def _in_checkpoint(name: str, read: Callable[[Path], object]) -> Callable[[Path, bytes], None]:
    def run(place: Path, content: bytes) -> None:
        path = place / "checkpoint" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        read(place / "checkpoint")

    return run


def _config(folder: Path) -> object:
    from edgebert.modeling.config import labels_of, load_config

    return labels_of(load_config(folder))


def _tokenizer(folder: Path) -> None:
    from edgebert.modeling.config import load_config
    from edgebert.modeling.tokenizer import check_tokenizer, load_tokenizer

    tokenizer = load_tokenizer(folder, words=True)
    check_tokenizer(tokenizer, load_config(folder).vocab_size, folder)
    tokenizer.encode("fly to aville 12 \u00e9\U0001f600")


def _settings(folder: Path) -> object:
    from edgebert.modeling.tokenizer import load_tokenizer, read_settings

    read_settings(folder)
    return load_tokenizer(folder)


def _modules(folder: Path) -> object:
    from edgebert.modeling.folder import encoder_folder
    from edgebert.modeling.sentence import read_modules

    encoder_folder(folder)
    return read_modules(folder)


def _weights(folder: Path) -> object:
    from edgebert.modeling.weights import read_weights, weight_files

    return read_weights(weight_files(folder))


def _index(folder: Path) -> object:
    from edgebert.modeling.weights import weight_files

    return weight_files(folder)


def _without_weights(fixtures: Path, place: Path) -> None:
    """In shards, whose list is what is fuzzed."""
    _checkpoint(fixtures, place)
    (place / "checkpoint" / "model.safetensors").rename(place / "checkpoint" / "model-1-of-1.safetensors")


def _index_seed(fixtures: Path) -> list[bytes]:
    from safetensors import safe_open

    with safe_open(fixtures / "checkpoint" / "model.safetensors", framework="np") as file:
        names = list(file.keys())
    return [json.dumps({"metadata": {}, "weight_map": dict.fromkeys(names[:5], "model-1-of-1.safetensors")}).encode()]


def _spec(folder: Path) -> object:
    from edgebert.quantization.spec import read_spec

    return read_spec(folder)


def _spec_seed(fixtures: Path) -> list[bytes]:
    from edgebert.quantization.spec import FILE, QuantSpec, TensorSpec, write_spec

    weights = {"encoder.0": TensorSpec(bits=8, scale=(0.5, 0.25))}
    write_spec(fixtures, QuantSpec(weights=weights, activations={"encoder.0": TensorSpec(bits=8, scale=(0.5,))}))
    return [(fixtures / FILE).read_bytes()]


def _small_weights(fixtures: Path) -> list[bytes]:
    import numpy as np
    from safetensors.numpy import save

    return [
        save({"a": np.ones((2, 3), np.float32), "b": np.zeros(4, np.int64)}),
        save({"x": np.zeros((1, 0), np.float16)}),
    ]


def _one(name: str) -> Callable[[Path], list[bytes]]:
    return lambda fixtures: [(fixtures / name).read_bytes()]


def _checkpoint_readers() -> list[Reader]:
    from edgebert.quantization.spec import FILE

    weights = _in_checkpoint("model.safetensors", _weights)
    index = _in_checkpoint("model.safetensors.index.json", _index)
    at = "checkpoint/"
    return [
        Reader("config.json", "json", _one(f"{at}config.json"), _in_checkpoint("config.json", _config), _checkpoint),
        Reader("tokenizer.json", "json", _one(f"{at}tokenizer.json"), _in_checkpoint("tokenizer.json", _tokenizer), _checkpoint, True, 1),
        Reader("tokenizer_config.json", "json", _one("tokenizer_config.json"), _in_checkpoint("tokenizer_config.json", _settings), _checkpoint, True, 1),
        Reader("modules.json", "json", _one("modules.json"), _in_checkpoint("modules.json", _modules), _checkpoint, share=8),
        Reader("pooling config.json", "json", _one("1_Pooling.json"), _in_checkpoint("1_Pooling/config.json", _modules), _checkpoint, share=8),
        Reader("safetensors", "bytes", _small_weights, weights, _checkpoint, True, share=8),
        Reader("index of shards", "json", _index_seed, index, _without_weights, share=8),
        Reader("quantization.json", "json", _spec_seed, _in_checkpoint(FILE, _spec), _checkpoint, share=8),
    ]  # fmt: skip


# ---------------------------------------------------------------- bundles, runs, files


def _bundle(fixtures: Path, place: Path) -> None:
    shutil.copytree(fixtures / "bundle", place / "bundle")


def _manifest(place: Path, content: bytes) -> None:
    from edgebert.bundle.manifest import damage, find_bundle, read_manifest

    (place / "bundle" / "manifest.json").write_bytes(content)
    folder = find_bundle(place / "bundle")
    damage(folder, read_manifest(folder))


_ENGINES: dict[Path, Any] = {}  # loaded once a process


def _golden(place: Path, content: bytes) -> None:
    """The lines, and whether each has the form that `check` reads."""
    from edgebert.bundle.agreement import open_bundle, read_vectors

    folder = place / "bundle"
    if folder not in _ENGINES:
        _ENGINES[folder] = open_bundle(folder)
    (folder / "golden.jsonl").write_bytes(content)
    read_vectors(folder, *_ENGINES[folder])


def _labels(place: Path, content: bytes) -> None:
    from edgebert.bundle.manifest import read_labels

    (place / "labels.json").write_bytes(content)
    read_labels(place / "labels.json")


def _record(place: Path, content: bytes) -> None:
    from edgebert.runs.listing import list_runs, read_stages, stage_records

    stage = place / "runs" / "one" / "stages" / "01-teacher-0"
    stage.mkdir(parents=True, exist_ok=True)
    (stage.parents[1] / "request.toml").touch()
    (stage / "record.json").write_bytes(content)
    list_runs(place / "runs")
    read_stages(stage.parents[1])
    stage_records(stage.parents[1])


def _record_seed(fixtures: Path) -> list[bytes]:
    from edgebert.files import digest

    record = {"stage": "teacher", "key": "0", "inputs": {"a": [1]}, "result": {"dev": 0.5}, "seconds": 1.0, "files": {}}
    return [json.dumps({**record, "digest": digest(record)}).encode(), json.dumps(record).encode()]


def _report(place: Path, content: bytes) -> None:
    from edgebert.report.serial import read_report

    (place / "report.json").write_bytes(content)
    read_report(place / "report.json")


def _calibration(place: Path, content: bytes) -> None:
    from edgebert.cost.calibration import read_calibrations

    (place / "calibration.json").write_bytes(content)
    read_calibrations(place / "calibration.json")


def _package(fixtures: Path, place: Path) -> None:
    shutil.copytree(fixtures / "model.mlpackage", place / "model.mlpackage")


def _in_package(name: str) -> Callable[[Path, bytes], None]:
    def run(place: Path, content: bytes) -> None:
        from edgebert.converters import CONVERTERS

        (place / "model.mlpackage" / name).write_bytes(content)
        converter = CONVERTERS.get("coreml")
        session = converter.open(place / "model.mlpackage", 1)
        session.signature()
        converter.accelerator_fallbacks(place / "model.mlpackage")

    return run


def _tflite(place: Path, content: bytes) -> None:
    """The zip behind the model, which edgebert reads itself."""
    from edgebert.converters._tflite_file import read_files, read_info

    path = place / "model.tflite"
    path.write_bytes(content)
    read_files(path)
    read_info(path)


def _zip_seed(fixtures: Path) -> list[bytes]:
    """The associated files of a real .tflite, without its weights."""
    import io

    with zipfile.ZipFile(fixtures / "model.tflite") as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data[:4000])
    return [b"TFL3" + stream.getvalue()]


def _tflite_info(fixtures: Path, place: Path) -> None:
    shutil.copyfile(fixtures / "model.tflite", place / "whole.tflite")


def _info(place: Path, content: bytes) -> None:
    """A sound model with another edgebert.json behind it, opened as `profile` and `check` open it."""
    from edgebert.converters import CONVERTERS
    from edgebert.converters._tflite_file import INFO

    path = place / "model.tflite"
    shutil.copyfile(place / "whole.tflite", path)
    with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the second of its name, which is the one that is read
        archive.writestr(zipfile.ZipInfo(INFO), content)
    session = CONVERTERS.get("tflite").open(path, 1)
    session.signature()


def _info_seed(fixtures: Path) -> list[bytes]:
    with zipfile.ZipFile(fixtures / "model.tflite") as archive:
        return [archive.read("edgebert.json")]


def _onnx(place: Path, content: bytes) -> None:
    from edgebert.converters import CONVERTERS

    path = place / "model.onnx"
    path.write_bytes(content)
    converter = CONVERTERS.get("onnx")
    converter.open(path, 1).signature()
    converter.accelerator_fallbacks(path)


def _openvino(place: Path, content: bytes) -> None:
    from edgebert.converters import CONVERTERS

    (place / "model.openvino" / OPENVINO_GRAPH).write_bytes(content)
    CONVERTERS.get("openvino").open(place / "model.openvino", 1).signature()


def _openvino_model(fixtures: Path, place: Path) -> None:
    shutil.copytree(fixtures / "model.openvino", place / "model.openvino")


OPENVINO_GRAPH = "openvino_model.xml"


def _executorch(place: Path, content: bytes) -> None:
    """What a file says of itself, in the room that it has there."""
    from edgebert.converters import CONVERTERS

    data, facts = (place / "whole.pte").read_bytes(), (place / "facts").read_bytes()
    (place / "model.pte").write_bytes(data.replace(facts, content.ljust(len(facts))[: len(facts)]))
    CONVERTERS.get("executorch").open(place / "model.pte", 1).signature()


def _executorch_model(fixtures: Path, place: Path) -> None:
    shutil.copyfile(fixtures / "model.pte", place / "whole.pte")
    (place / "facts").write_bytes(_facts_seed(fixtures)[0])


def _facts_seed(fixtures: Path) -> list[bytes]:
    from executorch.runtime import Runtime

    program = Runtime.get().load_program(fixtures / "model.pte")
    return [str(program.load_method("edgebert").execute([])[0]).encode()]


def _file_readers() -> list[Reader]:
    inner = "Data/com.apple.CoreML/model.mlmodel"
    blob = "Data/com.apple.CoreML/weights/weight.bin"
    return [
        Reader("bundle: manifest.json", "json", _one("bundle/manifest.json"), _manifest, _bundle),
        Reader("bundle: labels.json", "json", _one("bundle/labels.json"), _labels, share=8),
        Reader("bundle: golden.jsonl", "jsonl", _one("bundle/golden.jsonl"), _golden, _bundle, True, 1),
        Reader("run: record.json", "json", _record_seed, _record),
        Reader("run: report.json", "json", _one("report.json"), _report, share=1),
        Reader("calibration.json", "json", _one("calibration.json"), _calibration, share=8),
        Reader("Core ML: Manifest.json", "json", _one("model.mlpackage/Manifest.json"), _in_package("Manifest.json"), _package, True, 1),
        Reader("Core ML: model.mlmodel", "bytes", _one(f"model.mlpackage/{inner}"), _in_package(inner), _package, True, 1),
        Reader("Core ML: weight.bin", "bytes", _one(f"model.mlpackage/{blob}"), _in_package(blob), _package, True, 1),
        Reader("TFLite: files behind it", "bytes", _zip_seed, _tflite, share=8),
        Reader("TFLite: edgebert.json", "json", _info_seed, _info, _tflite_info, True, 1),
        Reader("ONNX", "bytes", _one("small.onnx"), _onnx, native=True),
        Reader("OpenVINO: graph", "bytes", _one(f"model.openvino/{OPENVINO_GRAPH}"), _openvino, _openvino_model, True, 1),
        Reader("ExecuTorch: what it says of itself", "json", _facts_seed, _executorch, _executorch_model, True, 1),
    ]  # fmt: skip


def readers() -> dict[str, Reader]:
    """Every reader by its name."""
    every = [*_file_readers(), *_checkpoint_readers(), *_toml_readers(), *_data_readers()]
    return {reader.name: reader for reader in every}
