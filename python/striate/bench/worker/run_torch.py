"""PyTorch's networks, in the mode that the job's variant names.

The variant "export" only writes the ONNX file that ONNX Runtime and OpenVINO read.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import nn


def build(
    job: dict[str, Any], x: Any, y: Any
) -> tuple[Callable[[], Any], Callable[[Any], list[float]], Iterable[Any]]:
    """An iteration, what turns its result into numbers, and the model's dropout layers."""
    torch.set_num_threads(job["threads"])
    model: Any = importlib.import_module("torch_twins").twin(job["model"])
    with np.load(job["weights"]) as stored:
        model.load_state_dict({name: torch.from_numpy(stored[name]) for name in stored.files})
    images, labels = torch.from_numpy(x), torch.from_numpy(y)
    if job["variant"] == "export":
        # Not `dynamo`: that exporter needs a further package.
        torch.onnx.export(model.eval(), (images,), job["onnx"], dynamo=False, input_names=["x"])
        return (lambda: None), (lambda result: []), ()
    if job["variant"] == "channels_last":
        model = model.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    dropout = [layer for layer in model.modules() if isinstance(layer, nn.Dropout)]
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=job["dtype"] == "bfloat16")

    if job["mode"] == "infer":
        model = model.eval()
        if job["variant"] == "compile":
            # Frozen, batch norm is folded and weights are packed once.
            model = torch.compile(model, options={"freezing": True})

        def infer() -> Any:
            with torch.inference_mode(), autocast:
                return model(images)

        return infer, lambda scores: scores.float().numpy()[:8].ravel().tolist(), ()

    loss_of = nn.functional.nll_loss if job["log_probabilities"] else nn.functional.cross_entropy
    parameters = model.parameters()
    optimizer = torch.optim.SGD(parameters, lr=job["lr"], momentum=job["momentum"], fused=True)
    if job["variant"] == "compile":
        model = torch.compile(model)

    def train() -> Any:
        optimizer.zero_grad()
        with autocast:
            loss: Any = loss_of(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    return train, lambda loss: [loss.item()], dropout
