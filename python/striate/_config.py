"""Settings that hold for the whole process."""

from __future__ import annotations

from striate import _core


class Config:
    """``striate.config``."""

    @property
    def winograd(self) -> bool:
        """Whether 3 x 3 convolutions of stride 1 may use Winograd's algorithm (default: True).

        It is about three times as fast. Its relative L2 error stays below 1e-5 (direct: 1e-6), and
        a NaN or infinity in an input pixel spreads over the outputs of its tile
        (Lavin and Gray, "Fast algorithms for convolutional neural networks", CVPR 2016).
        """
        return _core.winograd_enabled()

    @winograd.setter
    def winograd(self, enabled: bool) -> None:
        _core.set_winograd_enabled(enabled)


config = Config()
