"""The small models that a device is calibrated with: random weights, real converters, kept in the user's cache.

What is measured must be what will be shipped, so a probe goes through the same export, the same reduction and the same
runtime as a student: fusions and kernels are the real ones. Weights are random and the word table is small, for neither
changes the time of a pass.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebert import converters
from edgebert.converters import usable_converter
from edgebert.files import user_folder
from edgebert.measure.targets import File, Input
from edgebert.runtime.scratch import library_scratch, scratch_folder
from edgebert.runtime.specs import ATTENTION_MASK, INPUT_IDS, TOKEN_TYPE_IDS

if TYPE_CHECKING:
    from edgebert.modeling.config import ModelConfig

VOCABULARY, LABELS, POSITIONS = 2000, 9, 256
LENGTHS = (8, 17, 32, 59, 111, 176, 253)  # tokens, of the inputs that each probe is run on: whole tiles and odd ones
FEW_LENGTHS = (17, 64, 171)  # of those that take long
LONG = 1500  # layers times width, from which a probe takes long


@dataclass(frozen=True)
class Shape:
    """An architecture: a family of transformers (or of ours) and its sizes, by the names of its config."""

    family: str
    sizes: Mapping[str, int] = field(hash=False)

    @property
    def name(self) -> str:
        """`bert-2-128-4-256`: the family and its sizes in order."""
        return "-".join([self.family, *map(str, self.sizes.values())])

    @property
    def lengths(self) -> tuple[int, ...]:
        """What it is run on when it is a probe."""
        return FEW_LENGTHS if self.sizes["num_hidden_layers"] * self.sizes["hidden_size"] >= LONG else LENGTHS

    def config(self) -> ModelConfig:
        """Its config, with a head a token."""
        from transformers import AutoConfig

        from edgebert.modeling.families import families

        known: dict[str, Any] = {
            "vocab_size": VOCABULARY,
            "num_labels": LABELS,
            "max_position_embeddings": POSITIONS,
            "pad_token_id": 0,
        }
        own = {"mobilebert": _mobilebert, "squeezebert": _squeezebert}.get(self.family, dict)(self.sizes)
        if self.family in families():  # transformers has no class of it with a head
            known["edgebert_heads"] = [{"name": "", "kind": "token-classification", "n_labels": LABELS}]
        return AutoConfig.for_model(self.family, **known, **own)


def _mobilebert(sizes: Mapping[str, int]) -> dict[str, int]:
    return {**sizes, "intermediate_size": 4 * sizes["intra_bottleneck_size"]}


def _squeezebert(sizes: Mapping[str, int]) -> dict[str, int]:
    cut = ("q_groups", "k_groups", "v_groups", "intermediate_groups", "output_groups")
    plain = {name: size for name, size in sizes.items() if name != "groups"}
    more = {"embedding_size": sizes["hidden_size"], "post_attention_groups": 1}
    return {**plain, **more, **dict.fromkeys(cut, sizes["groups"])}


BERT = ("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size")
SIZES = {  # what a family's shapes say, in the order of their numbers
    "bert": BERT,
    "albert": (*BERT, "embedding_size"),
    "squeezebert": (*BERT, "groups"),
    "mobilebert": (*BERT[:3], "intra_bottleneck_size", "num_feedforward_networks", "embedding_size"),
    "bilstm": ("num_hidden_layers", "hidden_size", "embedding_size"),
}


def shape(family: str, *sizes: int) -> Shape:
    """`shape("bert", 2, 128, 4, 256)`: sizes in the order of `SIZES`."""
    return Shape(family, dict(zip(SIZES[family], sizes, strict=True)))


# Widths over the whole range for the products; one layer and several, so that what is paid once is told from what is
# paid in each; and a few deep ones, whose weights are larger than a cache.
PROBES = (
    shape("bert", 1, 128, 2, 512),
    shape("bert", 2, 128, 4, 256),
    shape("bert", 1, 192, 3, 768),
    shape("bert", 2, 256, 4, 1024),
    shape("bert", 1, 256, 8, 512),
    shape("bert", 2, 312, 12, 1200),
    shape("bert", 3, 384, 12, 1536),
    shape("bert", 1, 384, 6, 768),
    shape("bert", 2, 512, 8, 2048),
    shape("bert", 1, 512, 16, 1024),
    shape("bert", 1, 640, 10, 2560),
    shape("bert", 2, 768, 12, 3072),
    shape("bert", 1, 768, 12, 1536),
    shape("bert", 3, 224, 7, 896),
    shape("bert", 4, 320, 8, 1280),
    shape("bert", 2, 448, 8, 1792),
    shape("bert", 8, 256, 4, 1024),
    shape("bert", 12, 384, 12, 1536),
    shape("bert", 6, 768, 12, 3072),
    shape("bert", 12, 768, 12, 3072),
    shape("albert", 2, 128, 2, 512, 128),
    shape("albert", 3, 256, 4, 1024, 128),
    shape("albert", 12, 312, 12, 1200, 128),
    shape("albert", 6, 384, 12, 1536, 128),
    shape("albert", 2, 512, 8, 2048, 128),
    shape("albert", 3, 640, 8, 2560, 128),
    shape("albert", 4, 768, 12, 3072, 128),
    shape("squeezebert", 1, 128, 2, 512, 4),
    shape("squeezebert", 2, 256, 4, 1024, 4),
    shape("squeezebert", 2, 384, 12, 1536, 4),
    shape("squeezebert", 3, 320, 16, 640, 2),
    shape("squeezebert", 1, 512, 8, 2048, 2),
    shape("squeezebert", 6, 512, 8, 2048, 4),
    shape("squeezebert", 2, 768, 12, 3072, 4),
    shape("squeezebert", 10, 256, 8, 1024, 4),
    shape("squeezebert", 3, 448, 8, 1792, 2),
    shape("squeezebert", 4, 704, 8, 2816, 4),
    shape("squeezebert", 8, 640, 10, 2560, 2),
    shape("mobilebert", 1, 128, 4, 32, 4, 128),
    shape("mobilebert", 3, 160, 4, 40, 4, 128),
    shape("mobilebert", 2, 256, 4, 64, 4, 128),
    shape("mobilebert", 3, 384, 12, 96, 4, 128),
    shape("mobilebert", 2, 512, 4, 128, 4, 128),
    shape("mobilebert", 4, 512, 8, 128, 2, 128),
    shape("mobilebert", 6, 768, 12, 192, 4, 128),
    shape("bilstm", 1, 128, 128),
    shape("bilstm", 1, 256, 128),
    shape("bilstm", 2, 256, 64),
    shape("bilstm", 1, 512, 256),
    shape("bilstm", 2, 384, 128),
    shape("bilstm", 1, 768, 128),
    shape("bilstm", 2, 512, 300),
    shape("bilstm", 2, 640, 256),
    shape("bilstm", 3, 192, 128),
    shape("bilstm", 1, 384, 200),
    shape("bilstm", 3, 448, 128),
    shape("bilstm", 1, 192, 96),
    shape("bilstm", 1, 320, 160),
    shape("bilstm", 1, 448, 96),
    shape("bilstm", 1, 576, 160),
    shape("bilstm", 1, 640, 96),
    shape("bilstm", 1, 704, 300),
    shape("bilstm", 2, 576, 96),
)


def token_inputs(lengths: Sequence[int]) -> tuple[Input, ...]:
    """One input a length, of different tokens."""
    rows = [[1 + (7 * i) % (VOCABULARY - 1) for i in range(n)] for n in lengths]
    return tuple({INPUT_IDS: [row], ATTENTION_MASK: [[1] * len(row)], TOKEN_TYPE_IDS: [[0] * len(row)]}
                 for row in rows)  # fmt: skip


def files_of(shape: Shape, format: str, precisions: Sequence[str], folder: Path | None = None) -> list[File]:
    """The files of an architecture, one a precision ("fp32" included), written where they are not there yet.

    Of a precision's variants the first is taken: they differ in the arithmetic of the values, not in that of the time.
    """
    place = (folder or cache_folder(format)) / shape.name
    missing = [precision for precision in precisions if not (place / precision).is_dir()]
    if missing:
        _write(shape, format, missing, place)
    return [File(f"{shape.name}-{precision}", format, _file(place / precision)) for precision in precisions]


def cache_folder(format: str) -> Path:
    """Where probes are kept; of another name where what makes them has another version."""
    return user_folder("XDG_CACHE_HOME", ".cache") / f"probes-{format}-{_key()}"


@cache
def _key() -> str:
    """Of the versions of the libraries that write files, and of our converters as they are."""
    description = [f"{name} {version(name)}" for name in ("torch", "transformers", "onnx", "onnxruntime")]
    description += [path.read_text(encoding="utf-8") for path in sorted(Path(converters.__path__[0]).glob("*.py"))]
    return hashlib.sha256("\n".join(description).encode()).hexdigest()[:8]


def _write(shape: Shape, format: str, precisions: Sequence[str], place: Path) -> None:
    """Into a folder beside, which takes its name when it is whole."""
    import torch

    from edgebert.modeling.checkpoint import build_model
    from edgebert.modeling.graph import make_source
    from edgebert.modeling.rebuild import auto_model_of

    converter = usable_converter(format)
    place.mkdir(parents=True, exist_ok=True)
    config = shape.config()
    if not hasattr(config, "edgebert_heads"):
        config.architectures = ["SomeForTokenClassification"]
    with scratch_folder("probe-", str(place.parent)) as work, library_scratch():
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = build_model(config, auto_model_of(config)).eval()
        source = make_source(model, lengths=LENGTHS, title=shape.name)
        for precision in dict.fromkeys(("fp32", *precisions)):
            (work / precision).mkdir()
        exported = converter.export(source, work / "fp32")
        for precision in precisions:
            if precision != "fp32":
                variant = converter.precisions[precision].variants[0]
                converter.reduce(source, exported, precision, variant, work / precision)
        for precision in precisions:
            shutil.rmtree(place / precision, ignore_errors=True)
            (work / precision).replace(place / precision)


def _file(folder: Path) -> Path:
    """The one file (or folder) that a converter left."""
    return next(path for path in sorted(folder.iterdir()) if not path.name.startswith("."))
