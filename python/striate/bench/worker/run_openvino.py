"""OpenVINO, tuned for latency: all threads work on one batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import openvino


def build(
    job: dict[str, Any], x: Any, y: Any
) -> tuple[Callable[[], Any], Callable[[Any], list[float]], Iterable[Any]]:
    """An iteration, what turns its result into numbers, and the model's dropout layers."""
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": job["threads"],
        "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[job["dtype"]],
    }
    model = openvino.Core().compile_model(job["onnx"], "CPU", settings)
    request = model.create_infer_request()
    request.set_input_tensor(openvino.Tensor(x, shared_memory=True))

    def infer() -> Any:
        request.infer()
        return request.get_output_tensor().data

    return infer, lambda scores: scores[:8].ravel().tolist(), ()
