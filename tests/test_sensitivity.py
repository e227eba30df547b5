"""The largest eigenvalue of a Hessian on quadratic losses worked by hand, and bits under a budget."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgebert.quantization.sensitivity import Sensitivity, assign_bits, largest_eigenvalue, sensitivities


def test_the_eigenvalue_of_a_quadratic_is_the_largest_by_magnitude() -> None:
    """L = w^T A w / 2 has the Hessian A: of [[2, 1], [1, 2]] the eigenvalues are 3 and 1, of diag(1, -5) they are 1 and -5."""
    for matrix, expected in (
        ([[2.0, 1.0], [1.0, 2.0]], 3.0),
        ([[1.0, 0.0], [0.0, -5.0]], 5.0),
        ([[2.0, 0], [0, -2.0]], 2.0),
    ):
        weight = nn.Parameter(torch.tensor([0.3, -0.2]))
        value, converged = largest_eigenvalue(weight @ torch.tensor(matrix) @ weight / 2, [weight], tolerance=1e-6)
        assert converged
        assert value == pytest.approx(expected, rel=1e-4)


def test_weights_of_one_part_are_one_vector() -> None:
    """L = (a + b)^2 with a and b in two tensors: H = [[2, 2], [2, 2]], whose largest eigenvalue is 4."""
    a, b = nn.Parameter(torch.tensor([1.0])), nn.Parameter(torch.tensor([[0.5]]))
    assert largest_eigenvalue((a + b[0]).square().sum(), [a, b], tolerance=1e-6)[0] == pytest.approx(4.0)


def test_what_enters_linearly_has_no_curvature() -> None:
    weight = nn.Parameter(torch.tensor([1.0, 2.0]))
    assert largest_eigenvalue((3 * weight).sum(), [weight]) == (0.0, True)


def test_an_iteration_that_does_not_end_says_so() -> None:
    weight = nn.Parameter(torch.tensor([1.0, 2.0]))
    matrix = torch.tensor([[1.0, 0.0], [0.0, 0.9]])  # near each other: slow
    assert not largest_eigenvalue(weight @ matrix @ weight / 2, [weight], iterations=3, tolerance=1e-9)[1]


def test_omega_is_over_batches() -> None:
    """Batches that weigh the square by 1 and 3: eigenvalues 2 and 6, mean 4, standard deviation 2."""
    weight = nn.Parameter(torch.tensor([1.0]))
    result = sensitivities([1.0, 3.0], lambda batch: batch * weight.square().sum(), {"w": [weight]})["w"]
    assert [result.mean, result.std, result.converged] == pytest.approx([4.0, 2.0, 1.0])
    assert result.omega == pytest.approx(6.0)
    assert Sensitivity(4.0, 1.0, 1.0).omega == 5.0


def test_bits_go_where_they_save_most_for_their_size() -> None:
    costs = {"a": {4: 10.0, 8: 0.0}, "b": {4: 6.0, 8: 0.0}, "c": {4: 8.0, 8: 0.0}}
    sizes = {"a": 100, "b": 10, "c": 100}  # saved a bit: a 10/400, b 6/40, c 8/400
    assert assign_bits(costs, sizes, 8.0) == {"a": 8, "b": 8, "c": 8}
    assert assign_bits(costs, sizes, 6.2) == {"a": 8, "b": 8, "c": 4}  # room for 462 of 840 bits: b takes 40, a 400
    assert assign_bits(costs, sizes, 4.0) == {"a": 4, "b": 4, "c": 4}
    assert assign_bits({"a": {2: 5.0, 4: 5.0}}, {"a": 3}, 8.0) == {"a": 2}  # more bits that save nothing are not spent
    with pytest.raises(ValueError, match="over 3"):
        assign_bits(costs, sizes, 3.0)
