"""Ways to edit the model of a bundle of ONNX: each is a function of the bundle's folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.reliability.tampering import Edit, golden_text, read, write


def _path(folder: Path) -> Path:
    return folder / read(folder)["model"]


def graph(change: Callable[[Any, Path], None]) -> Edit:
    """`change` edits the ModelProto in place. Raises LookupError where the model lacks what is to be edited."""

    def edit(folder: Path) -> None:
        import onnx

        model = onnx.load(str(_path(folder)))
        change(model, folder)
        onnx.save(model, str(_path(folder)))

    return edit


def _weights(model: Any, fits: Callable[[Any], bool], change: Callable[[Any], Any]) -> None:
    """Edits the largest initializer that fits."""
    from onnx import numpy_helper

    result = max(
        (item for item in model.graph.initializer if fits(item)), key=lambda item: item.ByteSize(), default=None
    )
    if result is None:
        raise LookupError("no such weights")
    result.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(result).copy()), result.name))


def _matrix(one: Any) -> bool:
    return len(one.dims) == 2 and min(one.dims) > 1 and "embedding" not in one.name


def _vector(one: Any) -> bool:
    return len(one.dims) == 1 and one.data_type == 1 and one.dims[0] > 2


def _table(model: Any, folder: Path) -> Callable[[Any], bool]:
    tokens = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    return lambda item: len(item.dims) == 2 and item.dims[0] == len(tokens)


def _mask_of_ones(model: Any, folder: Path) -> None:
    from onnx import helper

    for node in model.graph.node:
        for i, name in enumerate(node.input):
            if name == "attention_mask":
                node.input[i] = "every_token"
    item = helper.make_tensor("one_value", 7, [1], [1])
    nodes = [
        helper.make_node("Shape", ["attention_mask"], ["mask_shape"]),
        helper.make_node("ConstantOfShape", ["mask_shape"], ["every_token"], value=item),
    ]
    for at, node in enumerate(nodes):
        model.graph.node.insert(at, node)


def _unused_rows(model: Any, folder: Path) -> None:
    """Zeroes the word vectors of ids that no golden text has."""
    windows = [window for text in golden_text(folder).splitlines() for window in json.loads(text)["windows"]]
    used = {item for window in windows for item in window["input_ids"]} | {read(folder)["pad_id"]}

    def zeroed(table: Any) -> Any:
        unused = [i for i in range(len(table)) if i not in used]
        if not unused:
            raise LookupError("every token is in a golden text")
        table[unused] = 0
        return table

    _weights(model, _table(model, folder), zeroed)


def _late_positions(model: Any, folder: Path) -> None:
    def zeroed(table: Any) -> Any:
        table[8:] = 0
        return table

    _weights(model, lambda item: "position_embeddings" in item.name and len(item.dims) == 2, zeroed)


def metadata(change: Callable[[dict[str, str]], dict[str, str]]) -> Edit:
    def edit(model: Any, folder: Path) -> None:
        import onnx

        kept = change({prop.key: prop.value for prop in model.metadata_props})
        del model.metadata_props[:]
        onnx.helper.set_model_props(model, kept)

    return graph(edit)


def _labels(change: Callable[[list[str]], list[str]]) -> Edit:
    return metadata(lambda kept: {**kept, "labels": json.dumps(change(_some_labels(kept)))})


def _some_labels(kept: dict[str, str]) -> list[str]:
    if not (labels := json.loads(kept["labels"])):
        raise LookupError("the model has no labels")
    return list(labels)


def _doubled(model: Any, folder: Path) -> None:
    """Every output times two."""
    from onnx import helper

    for output in model.graph.output:
        for node in model.graph.node:
            for i, name in enumerate(node.output):
                if name == output.name:
                    node.output[i] = f"{name}_once"
        model.graph.node.append(helper.make_node("Add", [f"{output.name}_once"] * 2, [output.name]))


def _constant(model: Any, folder: Path) -> None:
    """Every output minus itself."""
    _doubled(model, folder)
    for node in model.graph.node:
        if node.op_type == "Add" and node.output[0] in {item.name for item in model.graph.output}:
            node.op_type = "Sub"


def _outputs_swapped(model: Any, folder: Path) -> None:
    names = [item.name for item in model.graph.output]
    if len(names) < 2:
        raise LookupError("the model has one output")
    other = dict(zip(names, names[::-1], strict=True))
    for node in model.graph.node:
        for side in (node.input, node.output):
            for i, name in enumerate(side):
                side[i] = other.get(name, name)


def _renamed(folder: Path) -> None:
    manifest = read(folder)
    new = manifest["model"].replace("model.", "model2.")
    (folder / manifest["model"]).rename(folder / new)
    write(folder, manifest | {"model": new})


def _second_listed(folder: Path) -> None:
    (folder / "model.other.onnx").write_bytes(_path(folder).read_bytes())


def model_edits() -> Iterator[tuple[str, Edit]]:
    yield "model: a matrix turned round", graph(lambda m, f: _weights(m, _matrix, lambda w: w[::-1].copy()))
    yield "model: a matrix zeroed", graph(lambda m, f: _weights(m, _matrix, lambda w: w * 0))
    yield "model: a bias moved by 1", graph(lambda m, f: _weights(m, _vector, lambda w: w + 1))
    yield "model: the word table turned round", graph(lambda m, f: _weights(m, _table(m, f), lambda w: w[::-1].copy()))
    yield "model: word vectors of rare tokens zeroed", graph(_unused_rows)
    yield "model: positions from 8 on zeroed", graph(_late_positions)
    yield "model: the mask ignored", graph(_mask_of_ones)
    yield "model: outputs doubled", graph(_doubled)
    yield "model: outputs always 0", graph(_constant)
    yield "model: start and end swapped", graph(_outputs_swapped)
    yield "model: its labels in another order", _labels(lambda labels: [*labels[1:], *labels[:1]])
    yield (
        "model: its labels left out",
        metadata(lambda kept: {k: kept[k] for k in kept if k != "labels" and _some_labels(kept)}),
    )
    yield "model: no metadata", metadata(lambda kept: {})
    yield "model: another precision in it", metadata(lambda kept: {**kept, "precision": "int4"})
    yield "model: metadata that is no JSON", metadata(lambda kept: {**kept, "labels": "[", "pad_id": "x"})
    yield "model: another pad id in it", metadata(lambda kept: {**kept, "pad_id": "3"})
    yield "model: takes 8 tokens", metadata(lambda kept: {**kept, "max_length": "8"})
    yield "model: cut short", lambda folder: _cut(_path(folder))
    yield "model: empty", lambda folder: _path(folder).write_bytes(b"") and None
    yield "model: no model at all", lambda folder: _path(folder).write_bytes(b"TFL3" * 999) and None
    yield "model: renamed", _renamed
    yield "model: a second one", _second_listed
    yield "model: a folder", _as_folder


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _as_folder(folder: Path) -> None:
    path = _path(folder)
    content = path.read_bytes()
    path.unlink()
    path.mkdir()
    (path / "model.onnx").write_bytes(content)
