"""Which variant of a precision is chosen: files that are made up, so that every figure is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgebert.converters import Converter, Precision, QuantizationVariant, describe
from edgebert.quantization import Granularity, QuantSpec, TensorSpec
from edgebert.workflows.variants import VariantEvaluator, choose_variant

FLOAT = "float"


class Played:
    """A file of whom only the name counts."""

    def __init__(self, path: Path, threads: int) -> None:
        self.name = path.stem


def played(
    variants: Sequence[QuantizationVariant],
    kind: str = "int8",
    stored: Mapping[Granularity, Sequence[QuantizationVariant]] = {},
) -> Converter:
    def reduce(source: Any, exported: Any, precision: str, variant: QuantizationVariant, folder: Path) -> Any:
        path = folder / f"{variant.name}.bin"
        path.write_text(variant.name)
        return describe(path, "made-up", precision, variant.options)

    return Converter(
        name="made-up", title="", extra="", needs=(), runtime="", export=None, reduce=reduce, open=Played,  # type: ignore
        precisions={"int8": Precision("", variants, kind=kind, stored=stored)}, accelerator_fallbacks=lambda path: {}, untimed=lambda: "a toy", suffix=".toy",
    )  # fmt: skip


def chosen(
    folder: Path,
    variants: Sequence[QuantizationVariant],
    figures: dict[str, tuple[float, float]],
    kind: str = "int8",
    stored: Mapping[Granularity, Sequence[QuantizationVariant]] = {},
    quantization: QuantSpec | None = None,
) -> Any:
    """The table of variants whose score and share of equal predictions are given."""
    (folder / "float.bin").write_text("")
    exported = describe(folder / "float.bin", "made-up", "fp32")
    evaluator = VariantEvaluator(
        predict=lambda session: session.name,  # type: ignore[attr-defined]
        score=lambda name: figures[name][0],
        same=lambda name, aim: figures[name][1] if aim == FLOAT else 0.0,
    )
    source: Any = SimpleNamespace(quantization=quantization)
    artifact, table = choose_variant(
        played(variants, kind, stored), source, exported, "int8", folder, evaluator=evaluator, log=lambda **event: None
    )
    assert artifact.path == folder / "made-up" / "int8" / artifact.path.name
    assert artifact.path.exists()
    assert not any((folder / "work").rglob("*.bin"))
    [item] = [line["variant"] for line in table if line["chosen"]]
    assert artifact.path.stem == item
    return item, [line["variant"] for line in table]


A, B, SPARE = QuantizationVariant("a"), QuantizationVariant("b"), QuantizationVariant("spare", spare=True)


@pytest.mark.parametrize(
    ("figures", "kind", "expected"),
    [
        # Both keep the predictions: the better score; the spare one is not even written.
        ({"a": (0.90, 0.99), "b": (0.95, 0.985)}, "int8", ("b", ["a", "b"])),
        # A score above the float file's is luck: the first of equals.
        ({"a": (0.96, 0.99), "b": (0.99, 0.99)}, "int8", ("a", ["a", "b"])),
        # Equal within the tie: the first, though the other scores a little better.
        ({"a": (0.951, 0.99), "b": (0.953, 0.99)}, "int8", ("a", ["a", "b"])),
        # One keeps them: it wins, whatever the scores.
        ({"a": (0.96, 0.95), "b": (0.93, 0.98)}, "int8", ("b", ["a", "b"])),
        # Enough for parity on these rows, but with no room for others: the spare one.
        ({"a": (0.96, 0.975), "b": (0.96, 0.90), "spare": (0.95, 0.99)}, "int8", ("spare", ["a", "b", "spare"])),
        # None keeps them, the spare one neither: the one that keeps most.
        ({"a": (0.96, 0.975), "b": (0.96, 0.90), "spare": (0.96, 0.97)}, "int8", ("a", ["a", "b", "spare"])),
        # What is enough is the kind's.
        ({"a": (0.96, 0.965), "b": (0.90, 0.99)}, "int4", ("a", ["a", "b"])),
    ],
)
def test_variants_that_keep_the_predictions_come_first(
    tmp_path: Path, figures: dict[str, tuple[float, float]], kind: str, expected: Any
) -> None:
    assert chosen(tmp_path, (A, B, SPARE), figures | {FLOAT: (0.955, 1.0)}, kind) == expected


def test_a_single_variant_is_written_and_not_judged(tmp_path: Path) -> None:
    assert chosen(tmp_path, (A,), {}) == ("a", ["a"])


def test_a_model_that_says_how_its_weights_are_stored_has_variants_of_its_own(tmp_path: Path) -> None:
    figures = dict.fromkeys(("a", "b", "own", FLOAT), (0.9, 0.99))

    own, spec = (
        {"group": (QuantizationVariant("own"), QuantizationVariant("b"))},
        QuantSpec({"w": TensorSpec(4, "group", group=16)}),
    )
    for n, (quantization, stored, expected) in enumerate((
        (spec, own, ("own", ["own", "b"])), (QuantSpec(), own, ("a", ["a", "b"])), (None, own, ("a", ["a", "b"])),
        (spec, {}, ("a", ["a", "b"])), (QuantSpec({"w": TensorSpec(8)}), own, ("a", ["a", "b"])),
    )):  # fmt: skip
        (tmp_path / str(n)).mkdir()
        assert chosen(tmp_path / str(n), (A, B), figures, stored=stored, quantization=quantization) == expected
