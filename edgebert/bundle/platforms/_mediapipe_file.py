"""A TFLite file as MediaPipe's text tasks take it: one length, probabilities or a vector, and metadata that names its
inputs, its vocabulary and its labels.

The metadata are a flatbuffer of their own inside the file, and the files that they name a ZIP archive behind it:
https://github.com/google-ai-edge/mediapipe/blob/master/mediapipe/tasks/metadata/metadata_schema.fbs. No package beside
MediaPipe's own has code for it, so its few tables are written here by their numbers there.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgebert.errors import RequestError
from edgebert.runtime.specs import ATTENTION_MASK, INPUT_IDS, TOKEN_TYPE_IDS

INPUTS = {INPUT_IDS: "ids", ATTENTION_MASK: "mask", TOKEN_TYPE_IDS: "segment_ids"}  # as MediaPipe looks for them
VOCABULARY, LABELS = "vocab.txt", "labels.txt"
BERT_TOKENIZER, AXIS_LABELS, VOCABULARY_FILE = 4, 2, 5  # of a process unit's options; of an associated file's type
FIELDS = {"ModelMetadata": 8, "SubGraphMetadata": 10, "TensorMetadata": 7, "ProcessUnit": 2, "BertTokenizerOptions": 1}
FIELDS_OF_A_FILE = 5
EARLIEST = (1980, 1, 1, 0, 0, 0)
OPERATORS = {"softmax": "SOFTMAX", "sigmoid": "LOGISTIC"}


def write_file(source: Path, target: Path, *, vocabulary: Sequence[str], labels: Sequence[str], last: str = "") -> int:
    """Writes the file and returns its length in tokens: the largest of the source's.

    Args:
        labels: of the output; () for a vector.
        last: "softmax" or "sigmoid", which the output then goes through.

    Raises:
        RequestError: the file has other inputs or outputs than MediaPipe feeds and reads.
    """
    import flatbuffers
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(source.read_bytes(), 0)
    graph = max(model.subgraphs, key=lambda item: int(item.tensors[item.inputs[0]].shape[-1]))
    model.subgraphs, model.signatureDefs = [graph], []  # it reads a file of one signature at most
    names = [graph.tensors[i].name.decode() for i in graph.inputs]
    output = graph.tensors[graph.outputs[0]]
    if sorted(names) != sorted(INPUTS) or len(graph.outputs) != 1 or output.type != schema.TensorType.FLOAT32:
        what = f"MediaPipe feeds {', '.join(INPUTS)} and reads one float32 output; this file has {', '.join(names)}"
        raise RequestError(what, where=str(source))
    if last:
        _append(schema, model, graph, last)
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(_metadata([INPUTS[name] for name in names], bool(labels)), np.uint8)
    model.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name, entry.buffer = b"TFLITE_METADATA", len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]
    builder = flatbuffers.Builder(source.stat().st_size + (1 << 16))
    builder.Finish(model.Pack(builder), b"TFL3")
    target.write_bytes(bytes(builder.Output()))
    with zipfile.ZipFile(target, "a", zipfile.ZIP_STORED) as archive:
        for name, lines in ((VOCABULARY, vocabulary), (LABELS, labels)):
            if lines:
                archive.writestr(zipfile.ZipInfo(name, EARLIEST), "".join(f"{line}\n" for line in lines))
    return int(graph.tensors[graph.inputs[0]].shape[-1])


def _append(schema: Any, model: Any, graph: Any, kind: str) -> None:
    """Lets the output go through one more operator."""
    number = getattr(schema.BuiltinOperator, OPERATORS[kind])
    code, tensor, operator = schema.OperatorCodeT(), schema.TensorT(), schema.OperatorT()
    code.builtinCode, code.deprecatedBuiltinCode, code.version = number, number, 1
    model.operatorCodes.append(code)
    old = graph.tensors[graph.outputs[0]]
    tensor.name, tensor.shape, tensor.type, tensor.buffer = b"probability", old.shape, old.type, 0
    graph.tensors.append(tensor)
    operator.opcodeIndex, operator.inputs = len(model.operatorCodes) - 1, [graph.outputs[0]]
    operator.outputs = [len(graph.tensors) - 1]
    if kind == "softmax":
        operator.builtinOptionsType = schema.BuiltinOptions.SoftmaxOptions
        operator.builtinOptions = schema.SoftmaxOptionsT()
        operator.builtinOptions.beta = 1.0
    graph.operators.append(operator)
    graph.outputs = operator.outputs


def _metadata(inputs: Sequence[str], labelled: bool) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(1024)

    def table(n_fields: int, offsets: Mapping[int, int], small: Mapping[int, int] | None = None) -> int:
        """A table of offsets and numbers of one byte, by the numbers of its fields."""
        builder.StartObject(n_fields)
        for field, offset in offsets.items():
            builder.PrependUOffsetTRelativeSlot(field, offset, 0)
        for field, value in (small or {}).items():
            builder.PrependInt8Slot(field, value, 0)
        return int(builder.EndObject())

    def several(offsets: Sequence[int]) -> int:
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        return int(builder.EndVector())

    def file(name: str, kind: int) -> int:
        return table(FIELDS_OF_A_FILE, {0: builder.CreateString(name)}, {2: kind})

    tokenizer = table(FIELDS["BertTokenizerOptions"], {0: several([file(VOCABULARY, VOCABULARY_FILE)])})
    unit = table(FIELDS["ProcessUnit"], {1: tokenizer}, {0: BERT_TOKENIZER})
    given = [table(FIELDS["TensorMetadata"], {0: builder.CreateString(name)}) for name in inputs]
    name = builder.CreateString("probability" if labelled else "embedding")
    output = table(
        FIELDS["TensorMetadata"], {0: name} | ({6: several([file(LABELS, AXIS_LABELS)])} if labelled else {})
    )
    graph = table(FIELDS["SubGraphMetadata"], {2: several(given), 3: several([output]), 5: several([unit])})
    version = builder.CreateString("1.0.0")
    title = builder.CreateString("edgebert")
    builder.Finish(table(FIELDS["ModelMetadata"], {0: title, 3: several([graph]), 7: version}), b"M001")
    return bytes(builder.Output())
