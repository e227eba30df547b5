"""Labels that spread from a few texts to the texts like them: answers for unlabelled text where labelled rows are few.

Zhou, Bousquet, Lal, Weston, Schölkopf (2004), "Learning with Local and Global Consistency", NIPS 16, over the states of a
trained network, as Iscen, Tolias, Avrithis, Chum (2019), "Label Propagation for Deep Semi-supervised Learning", arXiv
1904.04717, section 4.1:

    F <- alpha S F + (1 - alpha) Y,  S = D^-1/2 W D^-1/2,  W_ij = max(0, cos(x_i, x_j))^3 of the nearest neighbours

x is what the teacher's last layer reads of a text. Then each label is brought to the share of the texts that it has of the
labelled rows, counting one row more of each: class mass normalization of Zhu, Ghahramani, Lafferty (2003),
"Semi-Supervised Learning Using Gaussian Fields and Harmonic Functions", ICML, section 4. Differences: F is iterated, not
solved for, and a student learns its probabilities where the paper takes the likeliest label with a weight.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgebert.modeling.headed import outlets
from edgebert.modeling.heads import Part
from edgebert.teachers.answers import SMALLEST, Ask
from edgebert.training.answers import distinct_windows, window_key
from edgebert.types import Feature, Outputs, Student

NEIGHBOURS = 10
ALPHA = 0.9
ROUNDS = 100  # 0.9^100 is 3e-5
NO_LABEL = -1


def spreading(teacher: Student, windows: Sequence[Feature], part: Part, ask: Ask) -> Ask:
    """Who answers about these windows with the logarithms of what `spread_labels` gives them.

    Args:
        windows: as the teacher reads them, one a text; those with a target `labels` are the labelled ones.
        part: the teacher's head, which has one label a text.
        ask: gives the outputs of the teacher. A window whose states are not finite gets NaN.
    """
    windows, (name,) = distinct_windows(windows), part.outputs
    states = _states_of(teacher, windows, name, ask)
    finite = np.isfinite(states).all(1)
    logits = np.full((len(windows), part.n_labels), np.nan)
    if finite.any():
        labels = np.array([window.targets.get("labels", NO_LABEL) for window in windows])
        logits[finite] = np.log(spread_labels(states[finite], labels[finite], part.n_labels).clip(SMALLEST))
    results = {window_key(window): {name: answer} for window, answer in zip(windows, logits, strict=True)}

    def answer(student: Student, some: Sequence[Feature], dropout: bool) -> list[Outputs]:
        return [results[window_key(window)] for window in some]

    return answer


def _states_of(teacher: Student, windows: Sequence[Feature], name: str, ask: Ask) -> np.ndarray:
    """What the last layer reads of each window, (n, width)."""
    (last,) = outlets(teacher.model)
    hook = last.register_forward_hook(lambda layer, inputs, output: inputs[0])
    try:
        return np.stack([outputs[name] for outputs in ask(teacher, windows, False)])
    finally:
        hook.remove()


def spread_labels(states: np.ndarray, labels: np.ndarray, n_labels: int) -> np.ndarray:
    """Probabilities (n, n_labels) of texts, a few of which have a label.

    Args:
        states: (n, width), finite.
        labels: (n,) of 0 to n_labels - 1, or NO_LABEL.
    """
    from scipy.sparse import diags
    from sklearn.neighbors import kneighbors_graph

    labelled = labels != NO_LABEL
    graph = kneighbors_graph(states, min(NEIGHBOURS, len(states) - 1), mode="distance", metric="cosine")
    graph.data = np.maximum(1 - graph.data, SMALLEST) ** 3
    graph = graph.maximum(graph.T)
    scale = diags(1 / np.sqrt(np.asarray(graph.sum(1)).ravel()))
    graph = scale @ graph @ scale
    given = np.zeros((len(states), n_labels))
    given[labelled, labels[labelled]] = 1
    result = given
    for _ in range(ROUNDS):
        result = ALPHA * (graph @ result) + (1 - ALPHA) * given
    share = 1 + given.sum(0)
    result = result * share / np.maximum(result[~labelled].sum(0), SMALLEST)
    total = result.sum(1, keepdims=True)
    reached = total > SMALLEST  # from the others no path of neighbours leads to a labelled text
    return np.where(reached, result / np.where(reached, total, 1), share / share.sum())
