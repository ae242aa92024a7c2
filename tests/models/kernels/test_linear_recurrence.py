import pytest
import torch

from moefacts.models.kernels.linear_recurrence import linear_recurrence, linear_recurrence_reference
from tests.models.kernels.comparison import assert_equal, made_by, normal, values_and_gradients


@pytest.mark.parametrize("length", [1, 2, 40])
@pytest.mark.parametrize("keep", [(0.0, 1.0), (0.9999, 1.0), (0.0, 1e-6)], ids=str)
def test_values_and_gradients_are_those_of_the_loop(length, keep):
    a = torch.empty(2, length, 3).uniform_(*keep, generator=torch.Generator().manual_seed(0))
    b = normal(2, length, 3)
    ours, theirs = (values_and_gradients(f, a, b) for f in (linear_recurrence, linear_recurrence_reference))
    assert_equal(ours, theirs)


def test_the_gradient_is_that_of_finite_differences():
    a, b = (torch.rand(2, 6, 3, dtype=torch.float64, requires_grad=True) for _ in "ab")
    assert torch.autograd.gradcheck(linear_recurrence, (a, b))


def test_the_gradient_is_written_out():
    assert "scan" in made_by(linear_recurrence(torch.rand(1, 2, 3, requires_grad=True), normal(1, 2, 3)))


def test_the_compiler_takes_the_recurrence_as_one_node_and_keeps_its_gradient():
    compiled = torch.compile(linear_recurrence, backend="aot_eager", fullgraph=True)
    a, b = (torch.rand(2, 6, 3, requires_grad=True) for _ in "ab")
    expected = torch.autograd.grad(linear_recurrence(a, b).square().sum(), [a, b])
    assert all(map(torch.equal, torch.autograd.grad(compiled(a, b).square().sum(), [a, b]), expected))
