"""What a training loop does to gradients."""

from striate.nn.utils.clip_grad import clip_grad_norm_

__all__ = ["clip_grad_norm_"]
