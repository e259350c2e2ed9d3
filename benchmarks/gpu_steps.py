"""The steps of gpu_check.py, each in a process of its own: python gpu_steps.py STEP JSON."""

from __future__ import annotations

import importlib.util
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

Options = dict[str, Any]

# n, c, h, w, o, kernel, stride, padding, dilation, groups: tails, odd sizes, every path.
SHAPES = (
    (2, 64, 14, 14, 64, 3, 1, 1, 1, 1),
    (2, 64, 15, 13, 72, 3, 2, 1, 1, 1),
    (2, 256, 14, 14, 64, 1, 1, 0, 1, 1),
    (1, 3, 37, 37, 64, 7, 2, 3, 1, 1),
    (2, 3, 40, 40, 16, 11, 4, 2, 1, 1),
    (1, 20, 9, 9, 30, 5, 1, 2, 1, 5),
    (2, 32, 9, 9, 32, 3, 1, 1, 1, 32),
    (1, 17, 12, 12, 19, 3, 1, 2, 2, 1),
    (64, 400, 1, 1, 120, 1, 1, 0, 1, 1),
)
# Relative L2 error that each arithmetic may have; integers come out exact.
GATES = {"float32": 1e-6, "tf32": 1e-3, "bfloat16": 8e-3}
PASSES = ("forward", "input_grad", "weight_grad")


def report(options: Options) -> Any:
    import striate as st
    from striate.cli.doctor import machine_report

    probe = st.ones((1000,), device=options["device"])
    return {"machine": machine_report(), "sum": probe.sum().item()}


def poison(device: str, elements: int) -> None:
    """Leaves NaN in the blocks that the next results of these sizes will get."""
    import striate as st

    for count in (elements, 2 * elements, elements // 2):
        held = [st.full((max(count, 1),), float("nan"), device=device) for _ in range(4)]
        del held


def operand_type(arithmetic: str) -> Any:
    """The element type of the operands; sets the switch for TF32."""
    import striate as st

    st.config.allow_tf32 = arithmetic == "tf32"
    return st.bfloat16 if arithmetic == "bfloat16" else st.float32


def references(options: Options) -> Any:
    """Convolution's three passes against float64 on the CPU, and integers, which must be exact."""
    import striate as st

    st.config.winograd = False  # for rehearsals on the CPU
    rng, failures, worst = np.random.default_rng(0), [], 0.0
    for shape, arithmetic, exact in itertools.product(SHAPES, GATES, (False, True)):
        x, weight = (_operand(rng, size, exact) for size in _operand_sizes(shape))
        got = _passes(x, weight, shape, options["device"], operand_type(arithmetic))
        expected = _passes(x, weight, shape, "cpu", st.float64)
        for name, a, b in zip(PASSES, got, expected, strict=True):
            error = float(np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-30))
            worst = max(worst, error / GATES[arithmetic])
            rounding = 2**-8 if arithmetic == "bfloat16" else 0.0  # of the result alone
            good = np.all(np.abs(a - b) <= rounding * np.abs(b)) if exact else True
            if not (good and error <= GATES[arithmetic]):  # NaN fails too
                case = {"pass": name, "exact": exact, "arithmetic": arithmetic, "error": error}
                failures.append(case | {"shape": shape})
    if failures:
        raise AssertionError(json.dumps(failures[:20]))
    return {"worst_error_over_gate": worst, "shapes": len(SHAPES)}


def _operand_sizes(shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    n, c, h, w, o, kernel, *_, groups = shape
    return (n, c, h, w), (o, c // groups, kernel, kernel)


def _operand(rng: np.random.Generator, size: tuple[int, ...], exact: bool) -> Any:
    """Values that every arithmetic represents, so that only its own rounding counts."""
    if exact:
        return rng.integers(-2, 3, size).astype(np.float64)
    return np.round(rng.standard_normal(size) * 64).clip(-128, 128) / 64


def _passes(x: Any, weight: Any, shape: tuple[int, ...], device: str, dtype: Any) -> list[Any]:
    """Output, input gradient and weight gradient, for a gradient of ones."""
    import striate as st
    import striate.nn.functional as F

    *_, stride, padding, dilation, groups = shape
    a, b = (st.tensor(v).to(dtype).to(device).detach() for v in (x, weight))
    a.requires_grad = b.requires_grad = True
    poison(device, a.numel())
    y = F.conv2d(a, b, None, stride=stride, padding=padding, dilation=dilation, groups=groups)
    y.backward(st.ones_like(y))
    return [t.detach().to("cpu").to(st.float64).numpy() for t in (y, a.grad, b.grad)]


def _training_step(
    device: str, arithmetic: str, model_name: str, batch: int
) -> tuple[Any, Any, Any]:
    """A training step of Striate, its model and its arguments."""
    import striate as st
    import striate.nn.functional as F
    from striate import models, optim
    from striate.models.registry import input_size

    st.manual_seed(0)
    operand_type(arithmetic)
    model = models.get_model(model_name).to(device)
    optimizer = optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    images = st.randn(batch, *input_size(model_name)).to(device)
    labels = st.tensor([i % 10 for i in range(batch)]).to(device)
    loss_of = F.nll_loss if model_name.startswith("lenet") else F.cross_entropy

    def train(images: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        with st.autocast("bfloat16", enabled=arithmetic == "bfloat16"):
            scores = model(images)
        loss = loss_of(scores, labels)
        loss.backward()
        optimizer.step()
        return loss

    return train, model, (images, labels)


def determinism(options: Options) -> Any:
    """A hundred times the same step from the same weights, while another stream is busy."""
    import striate as st

    device = options["device"]
    repeats, batch = (3, 4) if options["quick"] else (100, 32)
    competing = _competitor(device)
    seen = set()
    for arithmetic in ("float32", "bfloat16"):
        train, model, arguments = _training_step(device, arithmetic, "resnet20", batch)
        state = {k: v.clone() for k, v in model.state_dict().items()}
        for _ in range(repeats):
            model.load_state_dict(state)
            next(competing)
            train(*arguments)
            grads = b"".join(p.grad.to("cpu").numpy().tobytes() for p in model.parameters())
            seen.add((arithmetic, hash(grads)))
        st.manual_seed(0)
    if len(seen) != 2:
        raise AssertionError(f"{len(seen) - 2} of {2 * repeats} steps gave other bits")
    return {"repeats": repeats}


def _competitor(device: str) -> Iterator[None]:
    """Queues work on a stream of its own at each turn, if PyTorch can."""
    try:
        import torch

        usable = device != "cpu" and torch.cuda.is_available()
    except ImportError:
        usable = False
    if not usable:
        while True:
            yield
    stream = torch.cuda.Stream()
    a = torch.randn(2048, 2048, device="cuda")
    while True:
        with torch.cuda.stream(stream):
            for _ in range(4):
                a = (a @ a).clamp(-1, 1)
        yield


def sanitized(options: Options) -> Any:
    """Small work that reaches every kind of kernel, for compute-sanitizer to watch."""
    for arithmetic in ("float32", "tf32", "bfloat16"):
        for model_name in ("lenet5", "resnet20"):
            train, _, arguments = _training_step(options["device"], arithmetic, model_name, 3)
            train(*arguments)
    return {}


def lenet5(options: Options) -> Any:
    """Real digits: the accuracy, and the losses of the first epoch beside the CPU's."""
    from striate.train import Trainer, evaluate, load_dataset, recipe

    name = "mnist" if options["data"] else "digits"
    folder = str(Path(options["data"], "mnist")) if options["data"] else None
    train_set = load_dataset("lenet5", name, folder, train=True)
    test_set = load_dataset("lenet5", name, folder, train=False)
    settings = recipe("lenet5", name, **({"epochs": 1} if options["quick"] else {}))
    losses = {}
    for device in (options["device"], "cpu"):
        trainer = Trainer(settings, train_set, device=device)
        losses[device] = []
        while not trainer.finished:
            losses[device].append(trainer.run_epoch().loss)
            if device == "cpu":
                break
        if device == options["device"]:
            accuracy = evaluate(trainer.model, test_set, device=device).accuracy
    difference = abs(losses[options["device"]][0] - losses["cpu"][0]) / losses["cpu"][0]
    if difference > 0.02:
        raise AssertionError(f"the losses of the first epoch differ by {difference:.1%}: {losses}")
    if name == "mnist" and not options["quick"] and accuracy < 0.989:
        raise AssertionError(f"expected an accuracy of at least 98.9 %, got {accuracy:.2%}")
    return {"data": name, "accuracy": accuracy, "losses": losses}


# --- Speed ----------------------------------------------------------------------------------------


def milliseconds(call: Callable[[], Any], wait: Callable[[], Any], quick: bool) -> dict[str, Any]:
    """The median over samples of several calls each, after a warm-up; `wait` is for the device."""
    for _ in range(3):
        call()
    wait()
    start = time.perf_counter()
    call()
    wait()
    once = time.perf_counter() - start
    repeats = max(1, min(200, int(0.05 / once)))
    samples = []
    for _ in range(2 if quick else 15):
        begin = time.perf_counter()
        for _ in range(repeats):
            call()
        wait()
        samples.append((time.perf_counter() - begin) / repeats * 1e3)
    return {"milliseconds": statistics.median(samples), "samples": samples}


def net(options: Options) -> Any:
    """One network in one mode of one framework."""
    build = _striate_net if options["framework"] == "striate" else _torch_net
    if options["quick"]:
        options["batch"] = 2
    call, wait = build(options)
    result = milliseconds(call, wait, options["quick"])
    result["images_per_second"] = options["batch"] * 1e3 / result["milliseconds"]
    return result


def _striate_net(options: Options) -> tuple[Callable[[], Any], Callable[[], Any]]:
    import striate as st

    device, arithmetic = options["device"], options["arithmetic"]
    train, model, (images, labels) = _training_step(
        device, arithmetic, options["model"], options["batch"]
    )
    function, arguments = train, (images, labels)
    if options["mode"] == "infer":
        dtype = operand_type(arithmetic)
        fused = model.eval().fuse().to(dtype)

        def infer(images: Any) -> Any:
            with st.no_grad():
                return fused(images)

        function, arguments = infer, (images.to(dtype),)
    call = st.graph(function) if options["variant"] == "graph" else function
    wait = (lambda: None) if device == "cpu" else st.cuda.synchronize
    return (lambda: call(*arguments)), wait


def _torch_net(options: Options) -> tuple[Callable[[], Any], Callable[[], Any]]:
    import torch
    from torch import nn

    device, arithmetic, variant = options["device"], options["arithmetic"], options["variant"]
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = arithmetic == "tf32"
    twins = _twins()
    model = twins.twin(options["model"]).to(device).to(memory_format=torch.channels_last)
    images = torch.randn(options["batch"], *options["size"], device=device)
    images = images.to(memory_format=torch.channels_last)
    labels = torch.arange(options["batch"], device=device) % 10
    lenet = options["model"].startswith("lenet")
    loss_of = nn.functional.nll_loss if lenet else nn.functional.cross_entropy
    autocast = torch.autocast(device, torch.bfloat16, enabled=arithmetic == "bfloat16")
    wait = torch.cuda.synchronize if device == "cuda" else (lambda: None)
    if options["mode"] == "infer":
        model = model.eval()
        if arithmetic == "bfloat16":
            model, images = model.bfloat16(), images.bfloat16()
        if variant == "compile":
            model = torch.compile(model, options={"freezing": True})

        def step() -> Any:
            with torch.inference_mode():
                return model(images)
    else:
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, fused=True)
        forward = torch.compile(model) if variant == "compile" else model

        def step() -> Any:
            optimizer.zero_grad(set_to_none=variant != "graph")
            with autocast:
                loss = loss_of(forward(images), labels)
            loss.backward()
            optimizer.step()
            return loss

    if variant != "graph":
        return step, wait
    if device != "cuda":
        return step, wait  # PyTorch has no graphs on the CPU
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay, wait


def _twins() -> Any:
    """The benchmark's definitions in PyTorch, by path: a peer's process imports no Striate."""
    path = Path(__file__).parents[1] / "python" / "striate" / "bench" / "worker" / "torch_twins.py"
    spec = importlib.util.spec_from_file_location("torch_twins", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Of ResNet-50, at 224 x 224: c, size, o, kernel, stride.
RESNET50 = (
    (3, 224, 64, 7, 2), (64, 56, 64, 1, 1), (64, 56, 64, 3, 1), (64, 56, 256, 1, 1),
    (256, 56, 64, 1, 1), (256, 56, 128, 1, 1), (128, 56, 128, 3, 2), (128, 28, 512, 1, 1),
    (256, 56, 512, 1, 2), (512, 28, 128, 1, 1), (128, 28, 128, 3, 1), (512, 28, 256, 1, 1),
    (256, 28, 256, 3, 2), (256, 14, 1024, 1, 1), (512, 28, 1024, 1, 2), (1024, 14, 256, 1, 1),
    (256, 14, 256, 3, 1), (1024, 14, 512, 1, 1), (512, 14, 512, 3, 2), (512, 7, 2048, 1, 1),
    (1024, 14, 2048, 1, 2), (2048, 7, 512, 1, 1), (512, 7, 512, 3, 1),
)  # fmt: skip


def convs(options: Options) -> Any:
    """Each convolution of ResNet-50 in bfloat16, batch 64: forward, and forward with backward."""
    make = _striate_conv if options["framework"] == "striate" else _torch_conv
    batch, shapes = (2, RESNET50[:3]) if options["quick"] else (64, RESNET50)
    rows = []
    for c, size, o, kernel, stride in shapes:
        forward, both, wait = make(options["device"], batch, c, size, o, kernel, stride)
        rows.append(
            {
                "shape": [batch, c, size, o, kernel, stride],
                "forward": milliseconds(forward, wait, True)["milliseconds"],
                "both": milliseconds(both, wait, True)["milliseconds"],
            }
        )
    return {"rows": rows}


def _striate_conv(device: str, n: int, c: int, size: int, o: int, kernel: int, stride: int) -> Any:
    import striate as st
    import striate.nn.functional as F

    x = st.randn(n, size, size, c).permute(0, 3, 1, 2).to(st.bfloat16).to(device).detach()
    weight = st.randn(o, kernel, kernel, c).permute(0, 3, 1, 2).to(st.bfloat16).to(device).detach()
    x.requires_grad = weight.requires_grad = True

    def forward() -> Any:
        with st.no_grad():
            return F.conv2d(x, weight, None, stride=stride, padding=kernel // 2)

    grad = st.ones_like(forward())

    def both() -> None:
        x.grad = weight.grad = None
        F.conv2d(x, weight, None, stride=stride, padding=kernel // 2).backward(grad)

    return forward, both, (lambda: None) if device == "cpu" else st.cuda.synchronize


def _torch_conv(device: str, n: int, c: int, size: int, o: int, kernel: int, stride: int) -> Any:
    import torch
    from torch.nn import functional

    torch.backends.cudnn.benchmark = True
    kind = {"device": device, "dtype": torch.bfloat16}
    x = torch.randn(n, c, size, size, **kind).to(memory_format=torch.channels_last)
    weight = torch.randn(o, c, kernel, kernel, **kind).to(memory_format=torch.channels_last)
    x.requires_grad = weight.requires_grad = True

    def forward() -> Any:
        with torch.no_grad():
            return functional.conv2d(x, weight, None, stride, kernel // 2)

    grad = torch.ones_like(forward())

    def both() -> None:
        x.grad = weight.grad = None
        functional.conv2d(x, weight, None, stride, kernel // 2).backward(grad)

    return forward, both, (lambda: None) if device == "cpu" else torch.cuda.synchronize


STEPS = {
    step.__name__: step for step in (report, references, determinism, sanitized, lenet5, net, convs)
}

if __name__ == "__main__":
    print(json.dumps(STEPS[sys.argv[1]](json.loads(sys.argv[2]))))
