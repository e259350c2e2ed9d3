"""Settings that hold for the whole process."""

from __future__ import annotations

from striate import _core


class Config:
    """``striate.config``."""

    @property
    def winograd(self) -> bool:
        """Whether convolutions of stride 1 may use Winograd's algorithm (default: True).

        It takes kernels of 3 x 3 and 5 x 5 and is two to three times as fast. Its relative L2 error
        stays below 1e-5 (direct: 1e-6), in bfloat16 below 8e-3 (direct: 2e-3), and a NaN or an
        infinity in an input pixel spreads over the outputs of its tile (Lavin and Gray, "Fast
        algorithms for convolutional neural networks", CVPR 2016).
        """
        return _core.winograd_enabled()

    @winograd.setter
    def winograd(self, enabled: bool) -> None:
        _core.set_winograd_enabled(enabled)

    @property
    def allow_tf32(self) -> bool:
        """Whether float32 convolutions, linear layers and matrix products on CUDA may use TF32.

        The tensor cores then round the operands to 11 significant bits (default: False). The
        relative L2 error stays below 1e-3, against 1e-6 without. The CPU ignores it.
        """
        return _core.allow_tf32()

    @allow_tf32.setter
    def allow_tf32(self, allowed: bool) -> None:
        _core.set_allow_tf32(allowed)


config = Config()
