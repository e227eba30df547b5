"""What `hostile` tries: each trial makes something hostile and gives it to the function that a command would call.

An attempt that returns says why what it made is inert; an EdgebertError is a refusal. `marker` is the file that hostile code
would write.
"""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import shutil
import struct
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Attempt = Callable[[Path, Path, Path], str | None]
BOMB = 600 << 20  # bytes that a bomb unpacks to: more than edgebert reads of a file
TERABYTES = 10**13
ESCAPES = "\x1b]0;owned\x07\x1b[2J"  # sets a terminal's title, and clears it
SCRIPT = "<script>alert(1)</script>"


@dataclass(frozen=True)
class Trial:
    """One thing to try.

    Attributes:
        attempt: takes the world, an empty folder and the path of the marker. Returns why it is inert.
        fast: whether the tests try it too; the others take long, or much memory.
    """

    name: str
    attempt: Attempt
    fast: bool = True


TRIALS: list[Trial] = []


def trial(name: str, *, fast: bool = True) -> Callable[[Attempt], Attempt]:
    def register(function: Attempt) -> Attempt:
        TRIALS.append(Trial(name, function, fast))
        return function

    return register


def make_world(folder: Path) -> Path:
    """A sound checkpoint, a bundle in ONNX, and a small file in each format."""
    from benchmarks.reliability._fuzz_fixtures import make_fixtures

    return make_fixtures(folder / "world")


# ---------------------------------------------------------------- checkpoints


def _checkpoint(world: Path, place: Path) -> Path:
    return Path(shutil.copytree(world / "checkpoint", place / "checkpoint"))


def _open(folder: Path, *, allow_pickle: bool = False) -> None:
    """What `--teacher` does: finds the checkpoint, and makes its model with a head."""
    from edgebert.modeling.checkpoint import load_model
    from edgebert.modeling.source import find_teacher

    find_teacher(str(folder), allow_pickle=allow_pickle)
    load_model(folder, "AutoModelForTokenClassification", ("O", "B-X"), allow_pickle=allow_pickle)


def _edit(path: Path, **changes: Any) -> None:
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps({**known, **changes}), encoding="utf-8")


class _Writes:
    """Unpickled by a careless reader, it writes the marker."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return (_write, (str(self.marker), "run"))


def _write(path: str, text: str) -> None:
    Path(path).write_text(text, encoding="utf-8")


def _pickle(path: Path, marker: Path) -> None:
    import torch

    torch.save({"bert.embeddings.word_embeddings.weight": _Writes(marker)}, path)


@trial("checkpoint: pickled weights")
def _(world: Path, place: Path, marker: Path) -> None:
    folder = _checkpoint(world, place)
    (folder / "model.safetensors").unlink()
    _pickle(folder / "pytorch_model.bin", marker)
    _open(folder)


@trial("checkpoint: pickled weights that hold an object, with --allow-pickle")
def _(world: Path, place: Path, marker: Path) -> None:
    folder = _checkpoint(world, place)
    (folder / "model.safetensors").unlink()
    _pickle(folder / "pytorch_model.bin", marker)
    _open(folder, allow_pickle=True)


@trial("checkpoint: a pickle beside safetensors")
def _(world: Path, place: Path, marker: Path) -> str:
    folder = _checkpoint(world, place)
    _pickle(folder / "pytorch_model.bin", marker)
    _open(folder, allow_pickle=True)
    return "the safetensors file alone is read"


def _code(marker: Path) -> str:
    return f"open({str(marker)!r}, 'w').write('run')\nclass Evil:\n    pass\n"


@trial("checkpoint: code of its own beside a known family (auto_map)")
def _(world: Path, place: Path, marker: Path) -> str:
    folder = _checkpoint(world, place)
    (folder / "modeling_evil.py").write_text(_code(marker), encoding="utf-8")
    kinds = ("AutoConfig", "AutoModel", "AutoModelForTokenClassification")
    _edit(folder / "config.json", auto_map=dict.fromkeys(kinds, "modeling_evil.Evil"))
    _open(folder)
    return "the family's own class is made, and the file beside it is not imported"


@trial("checkpoint: a family that needs code of its own")
def _(world: Path, place: Path, marker: Path) -> None:
    folder = _checkpoint(world, place)
    (folder / "modeling_evil.py").write_text(_code(marker), encoding="utf-8")
    _edit(folder / "config.json", model_type="evil", auto_map={"AutoModel": "modeling_evil.Evil"})
    _open(folder)


@trial("checkpoint: a tokenizer with code of its own")
def _(world: Path, place: Path, marker: Path) -> str:
    folder = _checkpoint(world, place)
    (folder / "tokenization_evil.py").write_text(_code(marker), encoding="utf-8")
    kinds = {"AutoTokenizer": ["tokenization_evil.Evil", "tokenization_evil.Evil"]}
    _edit(folder / "tokenizer_config.json", auto_map=kinds, tokenizer_class="Evil")
    _open(folder)
    return "tokenizer.json is read, and the file beside it is not imported"


@trial("checkpoint: a chat template with an expression")
def _(world: Path, place: Path, marker: Path) -> str:
    folder = _checkpoint(world, place)
    _edit(folder / "tokenizer_config.json", chat_template="{{ ''.__class__.__mro__ }}")
    _open(folder)
    return "edgebert renders no template of a checkpoint"


def _modules(folder: Path, kind: str, path: str = "") -> None:
    named = [{"idx": 0, "name": "0", "path": path, "type": kind}]
    (folder / "modules.json").write_text(json.dumps(named), encoding="utf-8")


def _read_modules(folder: Path) -> None:
    from edgebert.modeling.folder import encoder_folder
    from edgebert.modeling.sentence import read_modules

    encoder_folder(folder)
    read_modules(folder)


@trial("checkpoint: a module of sentence-transformers with code of its own")
def _(world: Path, place: Path, marker: Path) -> None:
    folder = _checkpoint(world, place)
    (folder / "evil.py").write_text(_code(marker), encoding="utf-8")
    _modules(folder, "evil.Evil")
    _read_modules(folder)


@trial("checkpoint: a module of sentence-transformers outside the folder")
def _(world: Path, place: Path, marker: Path) -> None:
    folder = _checkpoint(world, place)
    _modules(folder, "sentence_transformers.models.Transformer", "../elsewhere")
    _read_modules(folder)


def _index(name: str) -> Attempt:
    def attempt(world: Path, place: Path, marker: Path) -> None:
        folder = _checkpoint(world, place)
        shutil.copyfile(folder / "model.safetensors", place / "outside.safetensors")
        (folder / "model.safetensors").unlink()
        table = {"bert.embeddings.word_embeddings.weight": name.format(place=place)}
        _edit(folder / "model.safetensors.index.json", weight_map=table)
        _open(folder)

    return attempt


TRIALS.append(Trial("checkpoint: an index of shards that leads out by ..", _index("../outside.safetensors")))
TRIALS.append(
    Trial("checkpoint: an index of shards that names an absolute path", _index("{place}/outside.safetensors"))
)
TRIALS.append(Trial("checkpoint: an index of shards with a backslash", _index("..\\outside.safetensors")))


def _special(name: str, make: Callable[[Path], object]) -> Attempt:
    def attempt(world: Path, place: Path, marker: Path) -> str:
        folder = _checkpoint(world, place)
        (folder / name).unlink(missing_ok=True)
        make(folder / name)
        _open(folder)
        return "it is read only where it is a file"

    return attempt


def _zero(path: Path) -> None:
    path.symlink_to("/dev/zero")


for _name in (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "model.safetensors",
    "modules.json",
):
    TRIALS.append(Trial(f"checkpoint: {_name} is a pipe", _special(_name, os.mkfifo)))
for _name in ("config.json", "tokenizer.json", "model.safetensors"):
    TRIALS.append(Trial(f"checkpoint: {_name} is a link to an endless device", _special(_name, _zero)))


@trial("checkpoint: tokenizer.json is a link to a file that is none")
def _(world: Path, place: Path, marker: Path) -> None:
    (place / "secret").write_text("a secret", encoding="utf-8")
    attempt = _special("tokenizer.json", lambda path: path.symlink_to(place / "secret"))
    try:
        attempt(world, place, marker)
    except Exception as error:
        assert "a secret" not in str(error), "the message quotes it"
        raise


def _safetensors(header: bytes, length: int | None = None) -> Attempt:
    def attempt(world: Path, place: Path, marker: Path) -> None:
        folder = _checkpoint(world, place)
        size = struct.pack("<Q", len(header) if length is None else length)
        (folder / "model.safetensors").write_bytes(size + header + b"\0" * 64)
        _open(folder)

    return attempt


_HUGE = {"a": {"dtype": "F32", "shape": [TERABYTES], "data_offsets": [0, 4 * TERABYTES]}}
TRIALS.append(Trial("checkpoint: safetensors with a header of exabytes", _safetensors(b"{}", 1 << 60)))
TRIALS.append(Trial("checkpoint: safetensors with a tensor of terabytes", _safetensors(json.dumps(_HUGE).encode())))


def _asks(**changes: int) -> Attempt:
    def attempt(world: Path, place: Path, marker: Path) -> None:
        folder = _checkpoint(world, place)
        _edit(folder / "config.json", **changes)
        _open(folder)

    return attempt


TRIALS += [
    Trial("checkpoint: a config with a vocabulary of terabytes", _asks(vocab_size=TERABYTES)),
    Trial("checkpoint: a config of ten million columns", _asks(hidden_size=10**7)),
    Trial("checkpoint: a config of a million layers", _asks(num_hidden_layers=10**6)),
    Trial("checkpoint: a config of a thousand wide layers", _asks(num_hidden_layers=1000, hidden_size=4096)),
    Trial("checkpoint: a config with a feed-forward of terabytes", _asks(intermediate_size=TERABYTES)),
    Trial("checkpoint: a config of endless positions", _asks(max_position_embeddings=TERABYTES)),
    Trial("checkpoint: a config of endless segments", _asks(type_vocab_size=TERABYTES)),
]


@trial("checkpoint: labels with a terminal's escapes")
def _(world: Path, place: Path, marker: Path) -> None:
    folder = _checkpoint(world, place)
    _edit(folder / "config.json", id2label={"0": "O", "1": ESCAPES})
    _open(folder)


# ---------------------------------------------------------------- data


def _load(path: Path, task: str = "classify") -> None:
    from edgebert.data import load
    from edgebert.tasks import find_task

    load([str(path)], find_task(task))


def _bomb(ending: str, pack: Callable[[Path], None]) -> Attempt:
    def attempt(world: Path, place: Path, marker: Path) -> None:
        path = place / f"rows.csv{ending}"
        pack(path)
        assert path.stat().st_size < BOMB / 100
        _load(path)

    return attempt


def _stream(opener: Callable[..., Any], **options: int) -> Callable[[Path], None]:
    def pack(path: Path) -> None:
        block = b"text,label\n" + b"a" * ((1 << 20) - 11)
        with opener(path, "wb", **options) as stream:
            for _ in range(BOMB >> 20):
                stream.write(block)

    return pack


def _zip(path: Path) -> None:
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("rows.csv", "w", force_zip64=True) as stream,
    ):
        for _ in range(BOMB >> 20):
            stream.write(b"a" * (1 << 20))


def _lying_zip(path: Path) -> None:
    """An archive whose directory says that its file is small."""
    _zip(path)
    content = path.read_bytes()
    at = content.rindex(b"PK\x01\x02")
    path.write_bytes(content[: at + 24] + struct.pack("<I", 100) + content[at + 28 :])


TRIALS += [
    Trial("data: a bomb in gzip", _bomb(".gz", _stream(gzip.open, compresslevel=1)), fast=False),
    Trial("data: a bomb in bzip2", _bomb(".bz2", _stream(bz2.open, compresslevel=1)), fast=False),
    Trial("data: a bomb in xz", _bomb(".xz", _stream(lzma.open, preset=0)), fast=False),
    Trial("data: a bomb in zip", _bomb(".zip", _zip), fast=False),
    Trial("data: a bomb in zip that says it is small", _bomb(".zip", _lying_zip), fast=False),
]


@trial("data: a bomb in Parquet", fast=False)
def _(world: Path, place: Path, marker: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    texts = pyarrow.array(["a" * (1 << 20)] * (BOMB >> 20), pyarrow.string())
    table = pyarrow.table({"text": texts.dictionary_encode(), "label": ["a"] * (BOMB >> 20)})
    parquet.write_table(table, place / "rows.parquet", compression="zstd")
    assert (place / "rows.parquet").stat().st_size < BOMB / 10
    _load(place / "rows.parquet")


@trial("data: a pickle")
def _(world: Path, place: Path, marker: Path) -> None:
    import pickle

    (place / "rows.pkl").write_bytes(pickle.dumps(_Writes(marker)))
    _load(place / "rows.pkl")


@trial("data: a zip whose file would lie outside")
def _(world: Path, place: Path, marker: Path) -> str:
    rows = "".join(f"text {i},{'ab'[i % 2]}\n" for i in range(60))
    with zipfile.ZipFile(place / "rows.csv.zip", "w") as archive:
        archive.writestr("../../marker", f"text,label\n{rows}")
    _load(place / "rows.csv.zip")
    return "it is read from the archive, and nothing is unpacked on the disk"


@trial("data: labels with a terminal's escapes")
def _(world: Path, place: Path, marker: Path) -> None:
    rows = [{"text": f"text {i}", "label": ("a", ESCAPES)[i % 2]} for i in range(60)]
    (place / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    _load(place / "rows.json")


@trial("data: tags with a terminal's escapes")
def _(world: Path, place: Path, marker: Path) -> None:
    rows = [{"tokens": ["a", "b"], "tags": ["O", f"B-{ESCAPES}"]} for _ in range(60)]
    (place / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    _load(place / "rows.json", "ner")


# ---------------------------------------------------------------- bundles


def _bundle(world: Path, place: Path) -> Path:
    return Path(shutil.copytree(world / "bundle", place / "bundle"))


def _check(folder: Path, *, sealed: bool = True) -> None:
    """`edgebert check`, where sizes and sha256 were brought up to date by whoever made the bundle."""
    from benchmarks.reliability.tampering import FILES, seal
    from edgebert.bundle import check_bundle

    if sealed:
        seal(folder, FILES)
    check_bundle(folder)


def _listed(name: str) -> Attempt:
    def attempt(world: Path, place: Path, marker: Path) -> None:
        folder = _bundle(world, place)
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        manifest["files"][name] = {"sha256": "0" * 64, "size_bytes": 1}
        _edit(folder / "manifest.json", files=manifest["files"])
        _check(folder, sealed=False)

    return attempt


TRIALS.append(Trial("bundle: a manifest that lists a path with ..", _listed("../outside")))
TRIALS.append(Trial("bundle: a manifest that lists an absolute path", _listed("/etc/hostname")))


@trial("bundle: the model is a link to a file outside")
def _(world: Path, place: Path, marker: Path) -> None:
    folder = _bundle(world, place)
    model = _model(folder)
    model.rename(place / "outside.onnx")
    model.symlink_to(place / "outside.onnx")
    _check(folder)


@trial("bundle: a folder in it is a link")
def _(world: Path, place: Path, marker: Path) -> None:
    folder = _bundle(world, place)
    (folder / "more").symlink_to(place)
    _check(folder)


def _grown(name: str, size: int) -> Attempt:
    def attempt(world: Path, place: Path, marker: Path) -> None:
        folder = _bundle(world, place)
        with (folder / name).open("r+b") as stream:
            stream.truncate(size)  # takes no room on the disk
        _check(folder, sealed=name != "manifest.json")

    return attempt


TRIALS += [
    Trial("bundle: a manifest of a terabyte", _grown("manifest.json", 10**12)),
    Trial("bundle: golden vectors of 300 MB", _grown("golden.jsonl", 300 << 20), fast=False),
    Trial("bundle: labels of 100 MB", _grown("labels.json", 100 << 20), fast=False),
]


def _said(**changes: Any) -> Attempt:
    def attempt(world: Path, place: Path, marker: Path) -> None:
        folder = _bundle(world, place)
        _edit(folder / "manifest.json", **changes)
        _check(folder)

    return attempt


TRIALS.append(Trial("bundle: a manifest with windows of terabytes", _said(max_length=TERABYTES)))
TRIALS.append(Trial("bundle: a manifest with a padding id of terabytes", _said(pad_id=TERABYTES)))


def _model(folder: Path) -> Path:
    return folder / str(json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["model"])


def _in_onnx(change: Callable[[Any], None]) -> Attempt:
    def attempt(world: Path, place: Path, marker: Path) -> None:
        import onnx

        folder = _bundle(world, place)
        model = onnx.load(str(_model(folder)))
        change(model)
        _model(folder).write_bytes(model.SerializeToString())
        (place / "secret").write_bytes(b"\0" * (1 << 20))
        _check(folder)

    return attempt


def _external(location: str) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        item = next(item for item in model.graph.initializer if len(item.dims) == 2)
        item.ClearField("raw_data")
        item.data_location = 1  # EXTERNAL
        for key, value in (("location", location), ("offset", "0"), ("length", str(4 * item.dims[0] * item.dims[1]))):
            entry = item.external_data.add()
            entry.key, entry.value = key, value

    return change


def _huge_dims(model: Any) -> None:
    item = next(item for item in model.graph.initializer if len(item.dims) == 2)
    item.dims[0] = TERABYTES


def _huge_constant(model: Any) -> None:
    """A constant of a few bytes that makes one of terabytes, which is added to the outputs."""
    import numpy as np
    from onnx import helper, numpy_helper

    model.graph.initializer.append(numpy_helper.from_array(np.array([TERABYTES], np.int64), "doctored_size"))
    output = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = ["doctored_before" if name == output else name for name in node.output]
    model.graph.node.extend([
        helper.make_node("ConstantOfShape", ["doctored_size"], ["doctored_zeros"]),
        helper.make_node("ReduceSum", ["doctored_zeros"], ["doctored_zero"], keepdims=0),
        helper.make_node("Add", ["doctored_before", "doctored_zero"], [output]),
    ])  # fmt: skip


TRIALS += [
    Trial("bundle: ONNX weights in a file outside, by ..", _in_onnx(_external("../secret"))),
    Trial("bundle: ONNX weights in a file of the system", _in_onnx(_external("/etc/hostname"))),
    Trial("bundle: ONNX with a weight of terabytes", _in_onnx(_huge_dims)),
    Trial("bundle: ONNX with a constant of terabytes", _in_onnx(_huge_constant)),
]


@trial("bundle: labels with a terminal's escapes")
def _(world: Path, place: Path, marker: Path) -> None:
    folder = _bundle(world, place)
    labels = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    named = [*labels[:-1], ESCAPES]
    (folder / "labels.json").write_text(json.dumps(named), encoding="utf-8")
    _edit(folder / "manifest.json", labels=named)
    _check(folder)


# ---------------------------------------------------------------- files of the other formats


def _session(format: str, path: Path) -> None:
    from edgebert.converters import CONVERTERS

    CONVERTERS.get(format).open(path, 1).signature()


def _associated(name: str, content: bytes | int) -> Attempt:
    def attempt(world: Path, place: Path, marker: Path) -> str:
        path = place / "model.tflite"
        shutil.copyfile(world / "model.tflite", path)
        blocks = [content] if isinstance(content, bytes) else [b"\0" * (1 << 20)] * (content >> 20)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # where a file of that name is in it already
            with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive, archive.open(name, "w") as stream:
                for block in blocks:
                    stream.write(block)
        _session("tflite", path)
        return "what lies behind a model is read from its archive, and nothing is unpacked on the disk"

    return attempt


TRIALS += [
    Trial("TFLite: a bomb behind the model", _associated("more.json", BOMB), fast=False),
    Trial("TFLite: a file behind the model that would lie outside", _associated("../../marker", b"run")),
    Trial("TFLite: lengths of terabytes", _associated("edgebert.json", json.dumps({
        "family": "bert", "precision": "fp32", "title": "", "lengths": [TERABYTES], "pad_id": 0, "inputs": ["input_ids"],
        "outputs": ["logits"],
    }).encode())),
]  # fmt: skip


@trial("TFLite: a tensor of terabytes")
def _(world: Path, place: Path, marker: Path) -> None:
    from edgebert.converters import _tflite_file as file

    model = file.read_model(world / "model.tflite")
    computed = [item for item in model.subgraphs[0].tensors if len(item.shape) == 3 and item.type == 0]
    for item in computed:
        item.shape = [1 << 15, 1 << 15, 1 << 15]
    file.write(place / "model.tflite", model, file.read_files(world / "model.tflite"))
    _session("tflite", place / "model.tflite")


def _in_package(change: Callable[[Any], None]) -> Attempt:
    def attempt(world: Path, place: Path, marker: Path) -> None:
        from edgebert.runtime.mil.package import open_package

        path = Path(shutil.copytree(world / "model.mlpackage", place / "model.mlpackage"))
        package = open_package(path)
        function = package.spec.mlProgram.functions["main"]
        change(function.block_specializations[function.opset])
        package.model.write_bytes(package.spec.SerializeToString())
        (place / "secret").write_bytes(b"\0" * 4096)
        _session("coreml", path)

    return attempt


def _stored(block: Any) -> Any:
    return next(
        item.attributes["val"] for item in block.operations
        if item.type == "const" and item.attributes["val"].WhichOneof("value") == "blobFileValue"
    )  # fmt: skip


def _blob_outside(block: Any) -> None:
    _stored(block).blobFileValue.fileName = "@model_path/../../../../secret"


def _blob_far(block: Any) -> None:
    _stored(block).blobFileValue.offset = 1 << 60


def _huge_value(block: Any) -> None:
    _stored(block).type.tensorType.dimensions[0].constant.size = TERABYTES


def _huge_fill(block: Any) -> None:
    """A constant of a few bytes from which the program makes one of terabytes while it is loaded."""
    source = next(
        item
        for item in block.operations
        if item.type == "const" and item.attributes["val"].type.tensorType.dataType == 23
    )
    size, fill = type(source)(), type(source)()
    size.CopyFrom(source)
    size.outputs[0].name = "hostile_size"
    value = size.attributes["val"]
    value.ClearField("blobFileValue")
    for kind in (size.outputs[0].type, value.type):
        kind.tensorType.Clear()
        kind.tensorType.dataType, kind.tensorType.rank = 23, 1  # INT32
        kind.tensorType.dimensions.add().constant.size = 3
    value.immediateValue.tensor.Clear()
    value.immediateValue.tensor.ints.values.extend([1 << 15] * 3)
    fill.type = "fill"
    fill.inputs["shape"].arguments.add().name = "hostile_size"
    made = fill.outputs.add()
    made.name = "hostile_fill"
    made.type.tensorType.dataType, made.type.tensorType.rank = 11, 3  # FLOAT32
    for _ in range(3):
        made.type.tensorType.dimensions.add().constant.size = 1 << 15
    kept = [type(source).FromString(item.SerializeToString()) for item in block.operations]
    del block.operations[:]
    block.operations.extend([size, fill, *kept])


TRIALS += [
    Trial("Core ML: weights in a file outside", _in_package(_blob_outside)),
    Trial("Core ML: weights far behind the file's end", _in_package(_blob_far)),
    Trial("Core ML: a weight of terabytes", _in_package(_huge_value)),
    Trial("Core ML: a constant that the program would make of terabytes", _in_package(_huge_fill)),
]


@trial("Core ML: a manifest that names a file outside")
def _(world: Path, place: Path, marker: Path) -> None:
    path = Path(shutil.copytree(world / "model.mlpackage", place / "model.mlpackage"))
    manifest = json.loads((path / "Manifest.json").read_text(encoding="utf-8"))
    shutil.copyfile(path / "Data" / "com.apple.CoreML" / "model.mlmodel", place / "secret")
    for entry in manifest["itemInfoEntries"].values():
        entry["path"] = "../../secret"
    (path / "Manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    _session("coreml", path)


# ---------------------------------------------------------------- what edgebert writes


@trial("packages: labels with a script", fast=False)
def _(world: Path, place: Path, marker: Path) -> str:
    """A bundle whose labels are script, made into every package: no page, source or script holds it as it is."""
    from benchmarks.reliability.tampered_bundles import make_bundles
    from edgebert.bundle.platforms import PLATFORMS
    from edgebert.errors import EdgebertError
    from edgebert.workflows.bundle import bundle as package

    source = make_bundles(place, ["classify"], own={"classify": ("fine", SCRIPT)})["classify"]
    written = []
    for name, target in PLATFORMS.all().items():
        if "onnx" not in target.formats:
            continue
        try:
            package(source, name, output=place / "packages" / name)
        except EdgebertError:  # a platform may refuse a name that its language has no form for
            continue
        written.append(name)
        for path in (place / "packages" / name).rglob("*"):
            if path.suffix in (".html", ".md", ".js", ".mjs", ".ts", ".kt", ".swift", ".py", ".toml", ".xml"):
                assert SCRIPT not in path.read_text(encoding="utf-8"), f"{path} holds the label as it is"
    assert written
    return f"packages of {', '.join(written)}: only JSON holds the label, where it is data"
