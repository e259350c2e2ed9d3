"""The process that `striate bench` starts for each framework: build, warm up, time on request.

It prints {"version", "probe"} or {"error"} when ready and then, for each line of standard input,
{"milliseconds"} of one iteration, as JSON lines. It runs as a plain file: it must not import
striate at module level, nor any framework but its own.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

VARIANTS: dict[str, dict[str, tuple[str, ...]]] = {
    "striate": {"train": ("",), "infer": ("",)},
    "torch": {
        "train": ("eager", "channels_last", "compile"),
        "infer": ("eager", "channels_last", "compile"),
    },
    "onnxruntime": {"train": (), "infer": ("",)},
}
"""What is measured per framework and mode; nothing where it has no such mode."""

PROBE_STEPS = 3
ROUND_SECONDS = 0.5
_SAMPLE_SECONDS = 0.01
_LR, _MOMENTUM = 0.01, 0.9

Array = npt.NDArray[Any]
Step = Callable[[], object]
Probe = Callable[[], Array]


def striate(job: dict[str, Any], weights: list[Array], x: Array, y: Array) -> tuple[Step, Probe]:
    import striate as st
    import striate.nn.functional as F
    from striate import models, optim

    st.set_num_threads(job["threads"])
    model = models.lenet5()
    for parameter, value in zip(model.parameters(), weights, strict=True):
        parameter.detach().copy_(st.tensor(value))
    images, labels = st.tensor(x), st.tensor(y)

    def infer() -> st.Tensor:
        with st.no_grad():
            y: st.Tensor = model(images)
            return y

    if job["mode"] == "infer":
        model.eval()
        return infer, lambda: infer().numpy()
    optimizer = optim.SGD(model.parameters(), lr=_LR, momentum=_MOMENTUM)

    def train() -> None:
        optimizer.zero_grad()
        F.nll_loss(model(images), labels).backward()
        optimizer.step()

    return train, lambda: infer().numpy()


def torch(job: dict[str, Any], weights: list[Array], x: Array, y: Array) -> tuple[Step, Probe]:
    import torch
    from torch import nn

    torch.set_num_threads(job["threads"])
    model: Any = nn.Sequential(
        *(nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 120, 5), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10), nn.LogSoftmax(1)),
    )
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), weights, strict=True):
            parameter.copy_(torch.from_numpy(value))
    images, labels = torch.from_numpy(x), torch.from_numpy(y)
    if job["variant"] == "channels_last":
        model = model.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=_LR, momentum=_MOMENTUM)
    if job["variant"] == "compile":
        model = torch.compile(model)

    def infer() -> Any:
        with torch.inference_mode():
            return model(images)

    if job["mode"] == "infer":
        model.eval()
        return infer, lambda: infer().numpy()

    def train() -> None:
        optimizer.zero_grad()
        loss: Any = nn.functional.nll_loss(model(images), labels)
        loss.backward()
        optimizer.step()

    return train, lambda: infer().numpy()


def onnxruntime(
    job: dict[str, Any], weights: list[Array], x: Array, y: Array
) -> tuple[Step, Probe]:
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[Any] = []
    names: list[str] = []

    def layer(operator: str, *values: Array, **attributes: Any) -> None:
        parameters = [f"w{len(names) + i}" for i in range(len(values))]
        names.extend(parameters)
        source = nodes[-1].output[0] if nodes else "x"
        output = f"y{len(nodes)}"
        nodes.append(helper.make_node(operator, [source, *parameters], [output], **attributes))

    for i in (0, 2, 4):
        layer("Conv", *weights[i : i + 2])
        layer("Relu")
        if i < 4:
            layer("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    layer("Flatten")
    layer("Gemm", *weights[6:8], transB=1)
    layer("Relu")
    layer("Gemm", *weights[8:10], transB=1)
    layer("LogSoftmax", axis=1)
    graph = helper.make_graph(
        nodes,
        "lenet5",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, (len(x), 10))],
        [numpy_helper.from_array(w, name) for w, name in zip(weights, names, strict=True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job["threads"]
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

    def infer() -> list[Array]:
        outputs: list[Array] = session.run(None, {"x": x})
        return outputs

    return infer, lambda: infer()[0]


BUILDERS = {"striate": striate, "torch": torch, "onnxruntime": onnxruntime}


def milliseconds_per_iteration(step: Step, seconds: float) -> float:
    """The median over samples of about 10 ms each."""
    start = time.perf_counter()
    step()
    repeats = max(int(_SAMPLE_SECONDS / (time.perf_counter() - start)), 1)
    samples: list[float] = []
    deadline = time.perf_counter() + seconds
    while not samples or time.perf_counter() < deadline:
        start = time.perf_counter()
        for _ in range(repeats):
            step()
        samples.append((time.perf_counter() - start) / repeats)
    return statistics.median(samples) * 1e3


def main(job: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((job["batch"], 1, 32, 32), np.float32)
    y = rng.integers(0, 10, job["batch"])
    with np.load(job["weights"]) as stored:
        weights = [stored[name] for name in stored.files]
    try:
        step, probe = BUILDERS[job["framework"]](job, weights, x, y)
        for _ in range(PROBE_STEPS):
            step()
        answer = {
            "version": sys.modules[job["framework"]].__version__,
            "probe": probe()[:8].tolist(),
        }
        milliseconds_per_iteration(step, ROUND_SECONDS)
    except Exception as error:  # whatever a framework raises is the reason why it is left out
        first_line = (str(error).splitlines() or [""])[0]
        answer = {"error": f"{type(error).__name__}: {first_line}"}
    print(json.dumps(answer), flush=True)
    if "error" in answer:
        return
    for _ in sys.stdin:
        milliseconds = milliseconds_per_iteration(step, ROUND_SECONDS)
        print(json.dumps({"milliseconds": milliseconds}), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
