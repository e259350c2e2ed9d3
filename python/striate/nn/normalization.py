"""Normalisation."""

from __future__ import annotations

from striate._core import (
    ShapeError,
    Tensor,
    batch_norm,
    empty,
    int64,
    local_response_norm,
    ones,
    zeros,
)
from striate.nn.activation import ReLU
from striate.nn.module import Module
from striate.nn.parameter import Parameter


class _BatchNorm(Module):
    """Normalises each channel by the batch's statistics while training, and by their running
    averages afterwards. (Ioffe and Szegedy 2015.)
    """

    ranks: tuple[int, ...] = ()
    _keeps_float32 = True

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        self.weight = Parameter(empty(num_features)) if affine else None
        self.bias = Parameter(empty(num_features)) if affine else None
        self.running_mean: Tensor | None
        self.running_var: Tensor | None
        self.num_batches_tracked: Tensor | None
        tracked = track_running_stats
        self.register_buffer("running_mean", zeros(num_features) if tracked else None)
        self.register_buffer("running_var", ones(num_features) if tracked else None)
        self.register_buffer("num_batches_tracked", zeros((), dtype=int64) if tracked else None)
        self.reset_parameters()

    @property
    def tracked(self) -> bool:
        """Whether evaluation uses running statistics."""
        return self.running_mean is not None

    def reset_parameters(self) -> None:
        if self.weight is not None and self.bias is not None:
            self.weight.data.fill_(1.0)
            self.bias.data.fill_(0.0)

    def forward(self, input: Tensor, residual: Tensor | None = None, relu: bool = False) -> Tensor:
        """The normalised input; plus ``residual``, then max(0, x) if asked for."""
        if input.ndim not in self.ranks:
            expected = " or ".join(map(str, self.ranks))
            raise ShapeError(
                f"batch_norm: expected an input of {expected} dimensions, got shape {input.shape}"
            )
        output = batch_norm(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.tracked,
            self.momentum,
            self.eps,
            residual,
            relu,
        )
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        return output

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of (N, C) or (N, C, L)."""

    ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of (N, C, H, W)."""

    ranks = (4,)


def norm_relu(norm: Module, relu: Module, input: Tensor) -> Tensor:
    """``relu(norm(input))``, in one op where that makes no difference."""
    if _fuses(norm, relu):
        output: Tensor = norm(input, relu=True)
        return output
    output = relu(norm(input))
    return output


def norm_add_relu(
    norm: Module, relu: Module, input: Tensor, shortcut: Module | None, block_input: Tensor
) -> Tensor:
    """``relu(norm(input) + shortcut(block_input))``, in one op where that makes no difference."""
    fuses = _fuses(norm, relu)
    x = input if fuses else norm(input)
    residual = block_input if shortcut is None else shortcut(block_input)
    output: Tensor = norm(x, residual, relu=True) if fuses else relu(x + residual)
    return output


def _fuses(norm: Module, relu: Module) -> bool:
    """Whether nobody sees what lies between the two: hooks would."""
    return (
        type(norm).forward is _BatchNorm.forward
        and type(relu).forward is ReLU.forward
        and not (norm._hooked or relu._hooked)
    )


class LocalResponseNorm(Module):
    """Divides by a power of the squares in neighbouring channels. (Krizhevsky et al. 2012.)"""

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input: Tensor) -> Tensor:
        return local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
