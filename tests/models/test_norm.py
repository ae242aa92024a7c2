import torch
import torch.nn.functional as F

from moefacts.models.norm import RMSNorm


def test_the_short_norm_equals_the_formula_in_values_and_gradients():
    generator = torch.Generator().manual_seed(0)
    norm = RMSNorm(16, 1e-6)
    with torch.no_grad():
        norm.weight.copy_(torch.randn(16, generator=generator))
    x = (3 * torch.randn(5, 7, 16, generator=generator)).requires_grad_()
    weight = torch.randn(5, 7, 16, generator=generator)
    expected = x / (x.square().mean(dim=-1, keepdim=True) + 1e-6).sqrt() * norm.weight
    assert torch.allclose(norm(x), expected, atol=1e-6)
    ours, theirs = (torch.autograd.grad((y * weight).sum(), [x, norm.weight]) for y in (norm(x), expected))
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-5)


def test_other_precisions_take_the_library_path():
    norm, x = RMSNorm(16, 1e-6).double(), torch.randn(3, 16, dtype=torch.float64)
    assert torch.equal(norm(x), F.rms_norm(x, (16,), norm.weight, 1e-6))


def test_a_zero_row_stays_finite():
    norm, x = RMSNorm(4, 1e-6), torch.zeros(2, 4, requires_grad=True)
    norm(x).sum().backward()
    assert x.grad.isfinite().all()
