"""The same bits for any number of threads, and from run to run: every op, forward and backward."""

from __future__ import annotations

import numpy as np
import pytest

import striate as st
import striate.nn.functional as F
from cases import CASES, STRIATE, striate_library
from striate import models, nn, optim

THREADS = (1, 2, 3, 7)

# Shapes with enough work to be split; the table's own shapes stay on one thread.
LARGE = {
    "add": (lambda a, b: a + b, [(300, 1000), (1000,)]),
    "mul": (lambda a, b: a * b, [(64, 8, 40, 40), (8, 1, 1)]),
    "exp": (lambda x: x.exp(), [(401, 1003)]),
    "sigmoid": (lambda x: F.sigmoid(x), [(401, 1003)]),
    "tanh": (lambda x: F.tanh(x), [(401, 1003)]),
    "relu": (lambda x: F.relu(x), [(401, 1003)]),
    "sum": (lambda x: x.sum(), [(401, 1003)]),
    "sum-rows": (lambda x: x.sum(1), [(401, 1003)]),
    "sum-columns": (lambda x: x.sum(0), [(401, 1003)]),
    "sum-nhw": (lambda x: x.sum((0, 2, 3)), [(8, 33, 40, 41)]),
    "mean": (lambda x: x.mean(), [(401, 1003)]),
    "max": (lambda x: x.max(), [(401, 1003)]),
    "max-dim": (lambda x: x.max(0)[0], [(401, 1003)]),
    "permute": (lambda x: x.permute(2, 0, 1).contiguous(), [(100, 41, 103)]),
    "cat": (lambda a, b: STRIATE.cat([a, b], 1), [(200, 300), (200, 701)]),
    "matmul": (lambda a, b: a @ b, [(257, 301), (301, 129)]),
    "matmul-batched": (lambda a, b: a @ b, [(7, 65, 101), (7, 101, 63)]),
    "linear": (lambda x, w, b: F.linear(x, w, b), [(65, 401), (301, 401), (301,)]),
    "linear-batch-1": (lambda x, w, b: F.linear(x, w, b), [(1, 2401), (601, 2401), (601,)]),
    "linear-in-place": (lambda x, w, b: F.linear(x, w, b), [(9, 4504), (301, 4504), (301,)]),
    "conv2d-1x1": (lambda x, w: F.conv2d(x, w), [(2, 256, 20, 21), (400, 256, 1, 1)]),
    "conv2d": (
        lambda x, w, b: F.conv2d(x, w, b, padding=1),
        [(3, 33, 29, 31), (47, 33, 3, 3), (47,)],
    ),
    "conv2d-stem": (
        lambda x, w, b: F.conv2d(x, w, b, stride=2, padding=3),
        [(2, 3, 61, 63), (64, 3, 7, 7), (64,)],
    ),
    "conv2d-small-weight": (
        lambda x, w, b: F.conv2d(x, w, b, padding=2),
        [(64, 1, 28, 28), (6, 1, 5, 5), (6,)],
    ),
    "conv2d-few-filters": (
        lambda x, w, b: F.conv2d(x, w, b, stride=(1, 2), padding=1),
        [(3, 2, 61, 133), (3, 2, 3, 5), (3,)],
    ),
    "conv2d-strided": (
        lambda x, w: F.conv2d(x, w, stride=2, padding=1),
        [(3, 40, 29, 31), (48, 40, 3, 3)],
    ),
    "conv2d-depthwise": (
        lambda x, w: F.conv2d(x, w, padding=1, groups=96),
        [(4, 96, 30, 31), (96, 1, 3, 3)],
    ),
    "conv_transpose2d": (
        lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2),
        [(2, 40, 20, 21), (40, 33, 3, 3), (33,)],
    ),
    "max_pool2d": (lambda x: F.max_pool2d(x, 3, 2, 1), [(4, 33, 61, 63)]),
    "avg_pool2d": (lambda x: F.avg_pool2d(x, 3, 2, 1), [(4, 33, 61, 63)]),
    "adaptive_avg_pool2d": (lambda x: F.adaptive_avg_pool2d(x, 7), [(8, 65, 30, 31)]),
    "batch_norm": (
        lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True),
        [(8, 65, 30, 31), (65,), (65,)],
    ),
    "batch_norm_relu": (
        lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True, relu=True),
        [(8, 65, 30, 31), (65,), (65,)],
    ),
    "batch_norm_add_relu": (
        lambda x, r: F.batch_norm(x, None, None, training=True, residual=r, relu=True),
        [(4, 600, 11, 10), (4, 600, 11, 10)],
    ),
    "local_response_norm": (lambda x: F.local_response_norm(x, 5), [(4, 65, 30, 31)]),
    "dropout": (lambda x: F.dropout(x, 0.3), [(401, 1003)]),
    "softmax": (lambda x: F.softmax(x, 1), [(401, 1003)]),
    "softmax-0": (lambda x: F.softmax(x, 0), [(401, 1003)]),
    "cross_entropy": (
        lambda x: F.cross_entropy(x, STRIATE.ints(np.arange(4001) % 101).to(x.device)),
        [(4001, 101)],
    ),
    "mse_loss": (lambda x, y: F.mse_loss(x, y), [(401, 1003), (401, 1003)]),
    "index_select": (lambda x: x[STRIATE.ints(np.arange(3000) % 37).to(x.device)], [(37, 401)]),
}


def bits(fn, arrays, threads=2, device="cpu"):
    st.set_num_threads(threads)
    st.manual_seed(5)
    leaves = [st.tensor(a, requires_grad=True, device=device) for a in arrays]
    y = fn(*leaves)
    v = np.random.default_rng(1).standard_normal(y.shape).astype(arrays[0].dtype)
    y.backward(st.tensor(v, device=device))
    results = [y.detach(), *(leaf.grad for leaf in leaves)]
    return [result.cpu().numpy().tobytes() for result in results]


@pytest.mark.parametrize("name", LARGE)
def test_run_to_run(name, device, restore_threads):
    fn, shapes = LARGE[name]
    arrays = [np.random.default_rng(0).standard_normal(s).astype(np.float32) for s in shapes]
    first = bits(fn, arrays, device=device)
    for _ in range(3):
        assert bits(fn, arrays, device=device) == first


def test_run_to_run_of_the_table(device, restore_threads):
    library = striate_library(device)
    for case in CASES:
        arrays = case.inputs(np.float32)
        runs = [
            bits(lambda *t, case=case: case.fn(library, *t), arrays, device=device)
            for _ in range(2)
        ]
        assert runs[0] == runs[1], case.name


@pytest.mark.parametrize("name", LARGE)
def test_large(name, restore_threads):
    fn, shapes = LARGE[name]
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s).astype(np.float32) for s in shapes]
    first = bits(fn, arrays, 1)
    for threads in THREADS:
        assert bits(fn, arrays, threads) == first, f"{threads} threads"


def test_every_op_of_the_table(restore_threads):
    for case in CASES:
        arrays = case.inputs(np.float32)

        def fn(*tensors, case=case):
            return case.fn(STRIATE, *tensors)

        first = bits(fn, arrays, 1)
        assert all(bits(fn, arrays, threads) == first for threads in THREADS[1:]), case.name


@pytest.mark.parametrize("make", ["rand", "randn"])
def test_random_numbers(make, restore_threads):
    def draw(threads):
        st.set_num_threads(threads)
        st.manual_seed(11)
        return getattr(st, make)((501, 1003)).numpy().tobytes()

    first = draw(1)
    assert all(draw(threads) == first for threads in THREADS)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-4, nesterov=True),
        lambda p: optim.Adam(p, lr=1e-3, weight_decay=1e-4),
        lambda p: optim.AdamW(p, lr=1e-3),
    ],
    ids=["sgd", "adam", "adamw"],
)
def test_training(make, restore_threads):
    """Three steps of LeNet-5: losses and weights."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((65, 1, 32, 32)).astype(np.float32)
    labels = rng.integers(0, 10, 65)

    def train(threads):
        st.set_num_threads(threads)
        st.manual_seed(0)
        model = models.lenet5()
        optimizer = make(model.parameters())
        losses = []
        for _ in range(3):
            loss = nn.CrossEntropyLoss()(model(st.tensor(x)), st.tensor(labels))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses, [p.detach().numpy().tobytes() for p in model.parameters()]

    first = train(1)
    assert all(train(threads) == first for threads in THREADS)
