"""model2vec as its own documentation uses it: distil, train a classifier, keep it in int8, run it. Part of a benchmark."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgebert.types import Row


def distilled(teacher: Path, student: Path, width: int) -> Any:
    """`distill_from_model` on the teacher's encoder, with the tokens of the student's folder alone.

    Args:
        teacher: a checkpoint; its head is left out.
        student: its tokenizer, and `teacher_ids.json`, the teacher's id of each of its tokens.
    """
    import json

    import torch
    from model2vec.distill import distill_from_model
    from transformers import AutoModel, AutoTokenizer

    from edgebert.modeling.checkpoint import TEACHER_IDS

    model = AutoModel.from_pretrained(teacher)
    ids = json.loads((student / TEACHER_IDS).read_text(encoding="utf-8"))
    rows = model.get_input_embeddings().weight.detach()[torch.tensor(ids)].clone()
    model.set_input_embeddings(torch.nn.Embedding.from_pretrained(rows))
    model.config.vocab_size = len(rows)
    return distill_from_model(model, AutoTokenizer.from_pretrained(student), pca_dims=width, quantize_to="float32")


@dataclass(frozen=True)
class Classifier:
    """A trained pipeline of model2vec whose vectors are in int8; its head stays in float32, as the package keeps it."""

    pipeline: Any
    size_bytes: int  # of the files with weights, as it saves them

    @classmethod
    def fitted(cls, model: Any, train: Sequence[Row], dev: Sequence[Row], seed: int) -> Classifier:
        """Its classifier with its defaults: a hidden layer of 512, Adam at 1e-3, stopped by the development rows."""
        from model2vec.inference import StaticModelPipeline
        from model2vec.model import quantize_model
        from model2vec.train import StaticModelForClassification

        classifier = StaticModelForClassification.from_static_model(model=model)
        texts, labels = _columns(train)
        dev_texts, dev_labels = _columns(dev)
        classifier.fit(texts, labels, X_val=dev_texts, y_val=dev_labels, random_seed=seed, device="cpu")
        created = classifier.to_pipeline()
        pipeline = StaticModelPipeline(quantize_model(created.model, quantize_to="int8"), created.head)
        with tempfile.TemporaryDirectory() as folder:
            pipeline.save_pretrained(folder)
            size = sum(path.stat().st_size for path in Path(folder).glob("*.safetensors"))
        return cls(pipeline, size)

    @property
    def n_tokens(self) -> int:
        return len(self.pipeline.model.embedding)

    def label(self, text: str) -> str:
        return str(self.pipeline.predict([text])[0])

    def accuracy(self, rows: Sequence[Row]) -> float:
        texts, labels = _columns(rows)
        result = self.pipeline.predict(texts)
        return sum(item == label for item, label in zip(result, labels, strict=True)) / len(labels)

    def batch(self, text: str) -> dict[str, Any]:
        """What its ONNX file reads of a text."""
        import numpy as np

        (ids,) = self.pipeline.model.tokenize([text])
        array = np.array([ids], np.int64)
        return {"input_ids": array, "attention_mask": np.ones_like(array)}

    def session(self) -> Callable[[dict[str, Any]], Any]:
        """Its own ONNX export in ONNX Runtime with one thread."""
        import onnxruntime as ort
        from model2vec.onnx import export_model_to_onnx

        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        with tempfile.TemporaryDirectory() as folder:
            export_model_to_onnx(self.pipeline, folder)
            session = ort.InferenceSession(f"{folder}/model.onnx", options, providers=["CPUExecutionProvider"])
        return lambda batch: session.run(None, batch)


def _columns(rows: Sequence[Row]) -> tuple[list[str], list[str]]:
    return [row.text or "" for row in rows], [row.labels[0] for row in rows]
