"""Which parameters are updated how, and with what learning rate."""

from __future__ import annotations

from typing import Any

from striate import nn, optim
from striate.optim import lr_scheduler
from striate.train.settings import Settings

_WARMUP_START = 0.01
"""Share of the learning rate at the first step of a warm-up."""


def parameter_groups(
    model: nn.Module,
    *,
    lr: float,
    lr_backbone: float | None = None,
    weight_decay: float = 0.0,
    bias_decay: bool = True,
) -> list[dict[str, Any]]:
    """What an optimizer of `striate.optim` takes: a model's trainable parameters in groups, in the
    order of the model, with a learning rate of their own for all but the head and, unless
    ``bias_decay``, no weight decay on vectors, which are biases and norms.
    """
    head = f"{model.head_name()}."
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            rate = lr if lr_backbone is None or name.startswith(head) else lr_backbone
            decay = weight_decay if bias_decay or parameter.ndim > 1 else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
    return [
        {"params": parameters, "lr": rate, "weight_decay": decay}
        for (rate, decay), parameters in groups.items()
    ]


def make_optimizer(model: nn.Module, settings: Settings) -> optim.Optimizer:
    groups = parameter_groups(
        model,
        lr=settings.lr,
        lr_backbone=settings.lr_backbone,
        weight_decay=settings.weight_decay,
        bias_decay=settings.bias_decay,
    )
    if settings.optimizer == "adamw":
        return optim.AdamW(groups, lr=settings.lr, weight_decay=settings.weight_decay)
    return optim.SGD(
        groups,
        lr=settings.lr,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        nesterov=settings.momentum > 0,
    )


def make_scheduler(
    optimizer: optim.Optimizer, settings: Settings, steps_per_epoch: int
) -> lr_scheduler.LRScheduler:
    """ "step" moves on once an epoch, the others once a batch."""
    if settings.schedule == "step":
        return lr_scheduler.StepLR(optimizer, step_size=1, gamma=settings.lr_decay)
    if settings.schedule == "one-cycle":
        return lr_scheduler.OneCycleLR(
            optimizer,
            [group["lr"] for group in optimizer.param_groups],
            epochs=settings.epochs,
            steps_per_epoch=steps_per_epoch,
            cycle_momentum=False,
        )
    warmup = round(settings.warmup_epochs * steps_per_epoch)
    steps = max(settings.epochs * steps_per_epoch - warmup, 1)
    if not warmup:
        return lr_scheduler.CosineAnnealingLR(optimizer, steps)
    return lr_scheduler.SequentialLR(
        optimizer,
        [
            lr_scheduler.LinearLR(optimizer, _WARMUP_START, total_iters=warmup),
            lr_scheduler.CosineAnnealingLR(optimizer, steps),
        ],
        milestones=[warmup],
    )
