"""Optimizers and learning-rate schedules, under PyTorch's names."""

from striate.optim import lr_scheduler
from striate.optim.adam import Adam, AdamW
from striate.optim.ema import EMA
from striate.optim.optimizer import Optimizer
from striate.optim.sgd import SGD

__all__ = ["EMA", "SGD", "Adam", "AdamW", "Optimizer", "lr_scheduler"]
