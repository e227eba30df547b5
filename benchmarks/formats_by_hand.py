"""What an expert makes of a checkpoint by hand, with the libraries' own defaults, and how such a file is run.

Nothing of edgebert makes or runs a file here, but for the number of ExecuTorch's threads, which are the process's.
"""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgebert.runtime.specs import OutputSpec

OPTIMUM = ("optimum-onnx[onnxruntime]==0.1.0", "transformers<4.58", "torch>=2.6,<2.14")
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
IMPORTS: dict[str, tuple[str, ...]] = {  # what a process of each runtime has in memory before it loads a file
    "onnx": ("onnxruntime",), "openvino": ("openvino",), "executorch": ("torch", "executorch.runtime", "executorch.kernels.quantized"),
    "tflite": ("ai_edge_litert.interpreter",), "ort": ("onnxruntime",), "ov": ("openvino",),
    "et": ("torch", "executorch.runtime", "executorch.kernels.quantized"), "litert": ("ai_edge_litert.interpreter",),
}  # fmt: skip


class Hand:
    """One checkpoint's recipes.

    Args:
        rows: features to calibrate on.
        env: where optimum-onnx is installed, or will be.
    """

    def __init__(self, model: Any, rows: Sequence[Any], work: Path, env: Path, lengths: Sequence[int]) -> None:
        import torch

        work.mkdir()
        self.model, self.rows, self.work, self.env, self.lengths = model, rows, work, env, lengths
        names = [name for name in INPUTS if name != "token_type_ids" or "type_vocab_size" in model.config.to_dict()]

        class Plain(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.model = model

            def forward(self, *tensors: Any) -> Any:
                return self.model(**dict(zip(names, tensors, strict=True))).logits

        self.names, self.plain = names, Plain().eval()

    def recipes(self) -> dict[str, tuple[str, Callable[[], Path]]]:
        return {
            "ten lines: legacy export, quantize_dynamic": ("ort", lambda: self.quantized(self.exported(), "plain")),
            "ONNX Runtime's transformer optimizer, quantize_dynamic": ("ort", self.fused),
            "transformers' exporter (ort_fusions), quantize_dynamic": ("ort", self.transformers),
            "optimum-onnx, AVX2": ("ort", self.optimum),
            "OpenVINO, nncf.compress_weights": ("ov", lambda: self.openvino("weights")),
            "OpenVINO, nncf.quantize": ("ov", lambda: self.openvino("static")),
            "ExecuTorch's XNNPACK recipe, pt2e dynamic": ("et", self.executorch),
            "LiteRT, dynamic_wi8_afp32": ("litert", self.litert),
        }

    def example(self, length: int, batch: int = 1) -> tuple[Any, ...]:
        import torch

        return tuple(torch.full((batch, length), 0 if name == "token_type_ids" else 1) for name in self.names)

    def exported(self) -> Path:
        import torch

        path = self.work / "plain.onnx"
        if not path.exists():
            axes = {name: {0: "batch", 1: "seq"} for name in (*self.names, "logits")}
            with torch.no_grad():
                torch.onnx.export(self.plain, self.example(8, 2), str(path), input_names=self.names, output_names=["logits"],
                                  dynamic_axes=axes, opset_version=17, dynamo=False)  # fmt: skip
        return path

    def quantized(self, source: Path, name: str) -> Path:
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic

        path = self.work / f"{name}.int8.onnx"
        quantize_dynamic(
            str(source),
            str(path),
            per_channel=True,
            weight_type=QuantType.QInt8,
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},  # of fused operators it knows no types
        )
        return path

    def fused(self) -> Path:
        from onnxruntime.transformers.optimizer import optimize_model

        config, path = self.model.config, self.work / "fused.onnx"
        heads, width = config.num_attention_heads, config.hidden_size
        optimize_model(str(self.exported()), model_type="bert", num_heads=heads, hidden_size=width).save_model_to_file(
            str(path)
        )
        return self.quantized(path, "fused")

    def transformers(self) -> Path:
        from transformers.exporters import OnnxConfig, OnnxExporter

        folder = self.work / "transformers"
        model = copy.deepcopy(self.model)
        model.set_attn_implementation("eager")
        config = OnnxConfig(dynamic=True, ort_fusions="cpu")
        OnnxExporter().export(
            model, dict(zip(self.names, self.example(8, 2), strict=True)), config=config
        ).save_pretrained(folder)
        return self.quantized(folder / "model.onnx", "transformers")

    def optimum(self) -> Path:
        if not (self.env / "bin" / "optimum-cli").exists():
            run([sys.executable, "-m", "venv", str(self.env)])
            run([str(self.env / "bin" / "pip"), "install", "-q", "--disable-pip-version-check", *OPTIMUM])
        checkpoint, exported, path = (self.work / name for name in ("checkpoint", "optimum", "optimum-int8"))
        self.model.save_pretrained(checkpoint)
        cli = str(self.env / "bin" / "optimum-cli")
        run([cli, "export", "onnx", "--model", str(checkpoint), "--task", "token-classification", str(exported)])
        run([cli, "onnxruntime", "quantize", "--avx2", "--onnx_model", str(exported), "-o", str(path)])
        return path / "model_quantized.onnx"

    def openvino(self, way: str) -> Path:
        import nncf
        import openvino as ov

        model = ov.Core().read_model(self.exported())
        if way == "weights":
            model = nncf.compress_weights(model)
        else:
            rows = [{name: np.asarray([getattr(row, name)[:128]]) if name == "input_ids" else
                     np.full((1, len(row.input_ids[:128])), int(name == "attention_mask"))
                     for name in self.names} for row in self.rows]  # fmt: skip
            model = nncf.quantize(
                model, nncf.Dataset(rows), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(rows)
            )
        folder = self.work / f"openvino-{way}"
        folder.mkdir()
        ov.save_model(model, folder / "model.xml")
        return folder

    def executorch(self) -> Path:
        import torch
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
            XNNPACKQuantizer,
            get_symmetric_quantization_config,
        )
        from executorch.exir import to_edge_transform_and_lower
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

        class Quantizer(XNNPACKQuantizer):  # as it is, it fails on a BERT of transformers 5.23
            def transform_for_annotation(self, model: Any) -> Any:
                return model

        def export(module: Any, wrapped: bool) -> Any:
            shapes = tuple({1: torch.export.Dim("seq", min=2, max=max(self.lengths))} for _ in self.names)
            return torch.export.export(module, self.example(8), dynamic_shapes=(shapes,) if wrapped else shapes)

        with torch.no_grad():
            prepared = prepare_pt2e(
                export(self.plain, True).module(),
                Quantizer().set_global(get_symmetric_quantization_config(is_per_channel=True, is_dynamic=True)),
            )
            prepared(*self.example(8))
            program = export(convert_pt2e(prepared), False)
        path = self.work / "model.pte"
        path.write_bytes(
            to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch().buffer
        )
        return path

    def litert(self) -> Path:
        import litert_torch
        from ai_edge_quantizer import quantizer, recipe

        folder = self.work / "litert"
        folder.mkdir()
        for length in self.lengths:
            path = folder / f"{length}.float.tflite"
            litert_torch.convert(self.plain, self.example(length)).export(str(path))
            made = quantizer.Quantizer(str(path), recipe.dynamic_wi8_afp32()).quantize()
            made.export_model(str(folder / f"{length}.tflite"))
            path.unlink()
        return folder


def run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[1:4])}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")


# ---------------------------------------------------------------- running them


class Tagger:
    """What the scores need to know of a file that tags tokens."""

    output_specs = (OutputSpec("logits", axes=("batch", "sequence", "labels")),)


class Ort(Tagger):
    def __init__(self, path: Path) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        self.session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.names = [item.name for item in self.session.get_inputs()]

    def run(self, batch: Any) -> dict[str, np.ndarray]:
        return {"logits": self.session.run(None, {name: batch[name] for name in self.names})[0]}


class OpenVino(Tagger):
    """With OpenVINO's own settings of precision; one thread."""

    def __init__(self, path: Path) -> None:
        import openvino as ov

        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1}
        self.request = ov.Core().compile_model(path / "model.xml", "CPU", settings).create_infer_request()
        self.names = [item.get_any_name() for item in self.request.model_inputs]

    def run(self, batch: Any) -> dict[str, np.ndarray]:
        return {"logits": self.request.infer({name: batch[name] for name in self.names})[0].copy()}


class ExecuTorch(Tagger):
    """Its threads are the process's; an edgebert session in the same process has one too."""

    def __init__(self, path: Path) -> None:
        from executorch.runtime import Runtime

        from edgebert.converters.executorch import Pool

        Pool.resize(1)
        self.program = Runtime.get().load_program(path)
        self.method = self.program.load_method("forward")
        self.n = self.method.metadata.num_inputs()

    def run(self, batch: Any) -> dict[str, np.ndarray]:
        import torch

        rows = []
        for i in range(len(batch["input_ids"])):
            fed = [torch.from_numpy(np.ascontiguousarray(batch[name][i : i + 1])) for name in INPUTS[: self.n]]
            rows.append(self.method.execute(fed)[0].numpy())
        return {"logits": np.concatenate(rows)}


class LiteRt(Tagger):
    """A file a length: a row is padded to the smallest that takes it."""

    def __init__(self, path: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self.runners = {}
        for file in sorted(path.glob("*.tflite"), key=lambda item: int(item.stem)):
            interpreter = Interpreter(str(file), num_threads=1)
            interpreter.allocate_tensors()
            self.runners[int(file.stem)] = interpreter, interpreter.get_signature_runner()

    def run(self, batch: Any) -> dict[str, np.ndarray]:
        n = batch["input_ids"].shape[1]
        length = next(length for length in self.runners if n <= length)
        runner = self.runners[length][1]
        details = runner.get_input_details()
        rows = []
        for i in range(len(batch["input_ids"])):
            fed = {}
            for place, name in zip(sorted(details), INPUTS, strict=False):
                row = np.zeros((1, length), details[place]["dtype"])
                row[0, :n] = batch[name][i]
                fed[place] = row
            rows.append(next(iter(runner(**fed).values()))[:, :n].copy())
        return {"logits": np.concatenate(rows)}


OPENERS: dict[str, Callable[[Path], Any]] = {"ort": Ort, "ov": OpenVino, "et": ExecuTorch, "litert": LiteRt}
