import pytest
import torch

from moefacts.models.kernels import rms_norm as kernel
from moefacts.models.kernels.rms_norm import rms_norm, rms_norm_reference
from tests.models.kernels.comparison import assert_equal, made_by, normal, values_and_gradients


@pytest.mark.parametrize("shape", [(1, 4), (5, 16), (2, 7, 33)], ids=str)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_values_and_gradients_are_those_of_the_formula(shape, scale):
    x, weight = scale * normal(*shape), normal(shape[-1], seed=1)
    ours, theirs = (
        values_and_gradients(lambda *given, f=f: f(*given, 1e-6), x, weight) for f in (rms_norm, rms_norm_reference)
    )
    assert_equal(ours, theirs)


def test_the_gradient_is_that_of_finite_differences():
    x, weight = (normal(*shape, dtype=torch.float64).requires_grad_() for shape in ((3, 5), (5,)))
    assert torch.autograd.gradcheck(lambda x, w: kernel._RMSNorm.apply(x, w, 1e-3), (x, weight))


def test_a_plain_cpu_takes_the_fast_path_and_other_precisions_that_of_the_library():
    weight = normal(8).requires_grad_()
    assert made_by(rms_norm(normal(3, 8), weight, 1e-6)._base) == "_RMSNormBackward"
    assert "RMSNormBackward" not in made_by(rms_norm(normal(3, 8).double(), weight.double(), 1e-6))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert "RMSNormBackward" not in made_by(rms_norm(normal(3, 8), weight, 1e-6))


def test_a_zero_row_stays_finite():
    x, weight = torch.zeros(2, 4, requires_grad=True), torch.ones(4)
    rms_norm(x, weight, 1e-6).sum().backward()
    assert x.grad.isfinite().all()
