"""What each kind of precision may change of a file's outputs: the one table of the gate."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tolerance:
    """What a precision may change. Figures of outputs are in units of their deviation over the real rows.

    Attributes:
        difference: largest absolute difference of an output, on real and edge rows, of a model whose outputs reach no
            further than USUAL_OUTPUT; of others in proportion, as rounding is. None where rounding alone is more.
        nrmse: root mean square difference of an output.
        column: the same of one column: a label's logits, a number of a vector.
        entry: the same of one row, or of one token.
        scale: how far the slope of ours on theirs may lie from 1.
        shift: of the mean of a column.
        order: least rank correlation of scores, or of the cosines of each two vectors.
        edge: root mean square difference on a kind of edge rows.
        padding: of that, on real rows with padding or a hidden text behind them, what may be more than three times the
            rows' own figure without it. A mask that is not heeded adds much; rounding adds little.
        equal_predictions: smallest share of equal answers, 0 to 1.
        drop_points: largest loss of the metric against the model in float, 1 point = 0.01.
    """

    difference: float | None
    nrmse: float
    column: float
    entry: float
    scale: float
    shift: float
    order: float
    edge: float
    padding: float
    equal_predictions: float
    drop_points: float


USUAL_OUTPUT = 10.0  # largest absolute output; logits of a head that was fitted to few rows reached 49

# One row a kind of precision (`edgebert.converters.Precision.kind`). float32 differs by the order of sums only; float16
# has 11 bits of mantissa, so its logits move in the third digit. The others: about twice what sound files of trained
# models reach, see benchmarks/reliability/doctored_files.md.
#
# `trained` holds a file beside the model in torch that rounds by the same scales. Sums in another order put a number that lies
# midway between two steps on the other one, and the layers after it carry that on, up to a third of what rounding costs: of
# a student for ATIS (int8 by q8bert, ONNX Runtime 1.32) half of 150 texts of 17 tokens differ by under 2e-7 of the deviation and
# the worst by 0.055; half of 40 texts of 126 tokens by under 6e-4, the worst by 0.061, where rounding is 0.155. So it reads the
# beginnings of rows, of which the median must be the model's (`parity.TYPICAL`). On 40 such texts a scale of any layer 1 %
# larger puts it 0.018 to 0.14 away. A program in float16 rounds what it reads before that, so that in each layer some numbers take
# another step: of 30 texts the Core ML file of such a student differs by 0.13 of the deviation (0.16 from the model in float), as
# does torch where it rounds to float16 between the layers, and the same program in float32 by nothing. So it keeps the row of its
# kind, and its scales are compared.
TOLERANCES = {
    "fp32": Tolerance(1e-4, 0.01, 0.01, 0.05, 0.001, 0.01, 0.999, 0.05, 0.01, 0.9999, 0.05),
    "fp16": Tolerance(None, 0.03, 0.05, 0.2, 0.01, 0.02, 0.999, 0.1, 0.03, 0.995, 0.25),
    "int8": Tolerance(None, 0.25, 0.35, 1.2, 0.08, 0.25, 0.95, 0.5, 0.1, 0.97, 1.0),
    "int8-static": Tolerance(None, 0.35, 0.5, 2.0, 0.12, 0.35, 0.9, 0.8, 0.15, 0.95, 2.0),
    "int6": Tolerance(None, 0.25, 0.35, 1.2, 0.08, 0.25, 0.95, 0.5, 0.1, 0.97, 1.0),
    "trained": Tolerance(None, 0.1, 0.15, 0.5, 0.03, 0.1, 0.99, 0.2, 0.05, 0.99, 0.5),
    "int4": Tolerance(None, 0.4, 0.6, 2.0, 0.15, 0.5, 0.9, 0.8, 0.15, 0.95, 2.0),
}
