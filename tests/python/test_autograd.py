"""The tape: accumulation, freeing, misuse, depth. Gradients themselves: test_gradcheck."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest

import striate as st
import striate.nn.functional as F
from cases import CASES, striate_library
from devices import host
from striate._core import memory_stats


@pytest.fixture
def leaf(on):
    """Makes a vector that requires a gradient."""
    return lambda *values: on.tensor(np.array(values, np.float64), requires_grad=True)


def test_gradients_accumulate(leaf):
    x = leaf(1, 2)
    (x * 3).sum().backward()
    (x * x).sum().backward()
    np.testing.assert_array_equal(host(x.grad), [5, 7])
    x.grad = None
    (x * 3).sum().backward()
    np.testing.assert_array_equal(host(x.grad), [3, 3])


def test_accumulation_leaves_the_old_gradient_object_alone(leaf):
    """A gradient that the user holds, or shares between leaves, is not silently edited twice."""
    x, y = leaf(1), leaf(2)
    (x + y).sum().backward()
    (x + y).sum().backward()
    assert x.grad.item() == y.grad.item() == 2


def test_shared_subexpressions_run_once(leaf):
    x = leaf(2)
    y = x * x
    z = y * y + y
    z.sum().backward()
    assert x.grad.item() == 4 * 8 + 2 * 2


def test_diamond_and_reuse(leaf):
    x = leaf(3)
    a = x.exp()
    b = a * 2
    (a * b + b).sum().backward()
    e = np.exp(3)
    assert x.grad.item() == pytest.approx(4 * e * e + 2 * e, rel=1e-14)


# An input that another branch reads too: channels, size, filters, kernel, stride, groups.
SPLITS = {
    "1x1": (64, 14, 96, 1, 1, 1),
    "strided": (24, 13, 40, 1, 2, 1),
    "transforms": (32, 14, 32, 3, 1, 1),
    "groups": (12, 9, 18, 3, 1, 3),
    "few-channels": (3, 12, 40, 5, 1, 1),
    "streamed": (64, 80, 16, 1, 1, 1),
    "whole-image": (40, 6, 300, 6, 1, 1),
}


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS)
def test_convolution_adds_the_other_branch(split, dtype, on, restore_threads):
    """The branch that was recorded later has left its gradient when the convolution's is computed:
    added by the kernel or after it, the sum has the same bits, but for one rounding of bfloat16."""
    c, size, o, kernel, stride, groups = split
    rng = np.random.default_rng(0)

    def draw(*shape):
        return on.tensor(rng.standard_normal(shape).astype(np.float32)).to(dtype)

    x = draw(4, size, size, c).permute(0, 3, 1, 2).detach().requires_grad_(True)
    w = draw(o, c // groups, kernel, kernel)
    factor = draw(4, size, size, c).permute(0, 3, 1, 2)

    def gradient(convolved, scaled):
        x.grad = None
        total = F.conv2d(x, w, stride=stride, groups=groups).sum() if convolved else None
        if scaled is not None:
            branch = (x * scaled).sum()
            total = branch if total is None else total + branch
        total.backward()
        return x.grad

    parts = gradient(True, None), gradient(False, factor)
    both = gradient(True, factor)
    if dtype == "bfloat16":
        terms = [host(part).astype(np.float64) for part in parts]
        bound = 2.0**-8 * (2 * np.abs(terms[0]) + np.abs(terms[1]))
        assert (np.abs(host(both) - (terms[0] + terms[1])) <= bound).all()
    else:
        np.testing.assert_array_equal(host(both), host(parts[0] + parts[1]))
    # What the other branch left in another order of memory is added afterwards.
    row_major = on.tensor(host(factor).copy()).to(dtype)
    np.testing.assert_array_equal(host(gradient(True, row_major)), host(parts[0] + parts[1]))
    if on.device == "cpu":
        for threads in (1, 2, 3, 7):
            st.set_num_threads(threads)
            np.testing.assert_array_equal(host(gradient(True, factor)), host(both))


def test_convolution_of_a_tensor_with_itself(on):
    x = on.tensor(np.arange(36.0).reshape(2, 2, 3, 3), requires_grad=True)
    (F.conv2d(x, x).sum() + (x * 2).sum()).backward()
    expected = host(x.grad)
    x.grad = None
    F.conv2d(x, x).sum().backward()
    np.testing.assert_array_equal(expected, host(x.grad) + 2)


def test_requires_grad_propagates(leaf, on):
    x, c = leaf(1), on.ones((1,), dtype=st.float64)
    assert (x + c).requires_grad
    assert not (c + c).requires_grad
    assert x.is_leaf
    assert not (x + c).is_leaf
    assert (c + c).is_leaf
    assert not x.detach().requires_grad
    assert not (x > c).requires_grad
    assert not x.argmax().requires_grad


def test_no_grad(leaf):
    x = leaf(1)
    with st.no_grad():
        y = x * 2
        assert not st.is_grad_enabled()
    assert st.is_grad_enabled()
    assert not y.requires_grad

    @st.no_grad()
    def double(t):
        return t * 2

    assert not double(x).requires_grad
    with pytest.raises(KeyError), st.no_grad():
        raise KeyError
    assert st.is_grad_enabled()


def test_no_grad_is_per_thread():
    seen = []
    with st.no_grad():
        thread = threading.Thread(target=lambda: seen.append(st.is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_detach_cuts_the_tape(leaf):
    x = leaf(3)
    (x * x.detach()).sum().backward()
    assert x.grad.item() == 3


def test_second_backward_is_refused(leaf):
    x = leaf(1, 2)
    y = (x * x).sum()
    y.backward()
    kept = host(x.grad).copy()
    with pytest.raises(st.AutogradError, match="backward") as caught:
        y.backward()
    assert "retain_graph" in str(caught.value)
    np.testing.assert_array_equal(host(x.grad), kept)


def test_retain_graph(leaf):
    x = leaf(1, 2)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    np.testing.assert_array_equal(host(x.grad), [4, 8])
    with pytest.raises(st.AutogradError):
        y.backward()


SAVERS = [c for c in CASES if c.name in {
    "mul-0", "div-0", "pow-0", "exp", "log", "relu", "tanh", "sigmoid", "matmul-(3, 4)-(4, 5)",
    "linear", "conv2d-0", "conv1d-0", "conv_transpose2d-0", "batch_norm-4d-3-True",
    "local_response_norm-3", "softmax-1", "log_softmax-1",
}]  # fmt: skip


@pytest.mark.parametrize("case", SAVERS, ids=lambda c: c.name)
def test_edit_of_a_saved_tensor_is_refused(case, on):
    """Edit every tensor that backward could need: at least one edit is caught, none is silent."""
    arrays, library = case.inputs(), striate_library(on.device)

    def tensors():
        leaves = [on.tensor(a, requires_grad=True) for a in arrays]
        # Channels-last, so that image ops save the input itself rather than a copy.
        return leaves, [(x * 1).contiguous(channels_last=x.dim() == 4) for x in leaves]

    leaves, inputs = tensors()
    y = case.fn(library, *inputs)
    y.backward(on.ones(y.shape, dtype=y.dtype))
    honest = [host(x.grad) for x in leaves]
    messages = []
    for which in range(len(arrays) + 1):
        leaves, inputs = tensors()
        y = case.fn(library, *inputs)
        target = [*inputs, y][which]
        with st.no_grad():
            target.detach().mul_(3)  # through a view: versions belong to the storage
        try:
            y.backward(on.ones(y.shape, dtype=y.dtype))
        except st.AutogradError as error:
            messages.append(str(error))
            expected = [None] * len(leaves)
        else:
            expected = honest
        for x, grad in zip(leaves, expected, strict=True):
            np.testing.assert_array_equal(None if x.grad is None else host(x.grad), grad)
    op = case.name.split("-")[0]
    assert messages
    assert all(op in message for message in messages)


def test_long_chain_needs_no_stack(on):
    x = on.ones((), dtype=st.float64, requires_grad=True)
    y = x
    for _ in range(50_000):
        y = y + 1.0
    y.backward()
    assert x.grad.item() == 1
    del y
    y = x
    for _ in range(50_000):
        y = y * 1.0
    del y  # never run backward: destroying the chain must not recurse either
    gc.collect()


# How much larger a block may be than what was asked for.
ROUNDING = {"cpu": 9 / 8, "cuda": 5 / 4}


def test_backward_frees_what_was_saved(on):
    x = on.ones((256, 256), requires_grad=True)
    w = on.ones((256, 256), requires_grad=True)
    before = memory_stats(on.device)["allocated_bytes"]
    y = x
    for _ in range(8):
        y = (y @ w) * 0.01
    loss = y.sum()
    del y
    one = 256 * 256 * 4
    assert memory_stats(on.device)["allocated_bytes"] >= before + 7 * one
    loss.backward()
    most = before + 2 * one * ROUNDING[on.device] + 4096  # two gradients
    assert memory_stats(on.device)["allocated_bytes"] <= most
    del loss
    x.grad = w.grad = None
    assert memory_stats(on.device)["allocated_bytes"] == before


def test_forward_without_grad_saves_nothing(on):
    x, w = on.ones((256, 256)), on.ones((256, 256))
    (x @ w).sum()
    before = memory_stats(on.device)["allocated_bytes"]
    y = x
    for _ in range(5):
        y = (y @ w) * 0.01
    assert (
        memory_stats(on.device)["allocated_bytes"] <= before + 256 * 256 * 4 * ROUNDING[on.device]
    )


def test_training_loop_does_not_leak(on):
    x, w = on.rand((64, 64)), on.rand((64, 64)).detach()
    w.requires_grad = True
    sizes = []
    for _ in range(5):
        F.relu(x @ w).sum().backward()
        with st.no_grad():
            w -= 0.01 * w.grad
        w.grad = None
        gc.collect()
        sizes.append(memory_stats(on.device)["allocated_bytes"])
    assert len(set(sizes[1:])) == 1


def test_non_leaf_cannot_be_marked(leaf):
    x = leaf(1)
    with pytest.raises(st.AutogradError):
        (x * 2).requires_grad = False
    assert (x * 2).grad is None


def test_requires_grad_methods(on):
    x = on.ones((2,))
    assert x.requires_grad_() is x
    assert x.requires_grad


def test_grad_assignment_is_checked(on):
    x = on.ones((2, 3), requires_grad=True)
    for wrong in (on.ones((3, 2)), on.ones((2, 3), dtype=st.float64)):
        with pytest.raises(st.Error):
            x.grad = wrong
    x.grad = on.ones((2, 3))
    assert x.grad.sum().item() == 6


def test_backward_from_a_leaf(leaf):
    x = leaf(2)
    x.backward()
    assert x.grad.item() == 1


def test_gradients_of_views_flow_to_the_base(leaf):
    x = leaf(*range(12))
    y = x.reshape(3, 4)
    (y[1] * 2 + y[:, 1].sum()).sum().backward()
    expected = np.zeros((3, 4))
    expected[1] += 2
    expected[:, 1] += 4
    np.testing.assert_array_equal(host(x.grad), expected.reshape(-1))


def test_max_gradient_goes_to_the_first(leaf):
    x = leaf(1, 3, 3, 2)
    x.max().backward()
    np.testing.assert_array_equal(host(x.grad), [0, 1, 0, 0])


def test_repeated_rows_add_up(leaf, on):
    x = leaf(1, 2, 3)
    x[on.tensor([0, 2, 0, 0])].sum().backward()
    np.testing.assert_array_equal(host(x.grad), [3, 0, 1])


def test_backward_in_threads(on):
    """Independent tapes in several threads, and one leaf shared by all."""
    shared = on.ones((100,), dtype=st.float64, requires_grad=True)
    errors = []

    def work():
        try:
            for _ in range(50):
                x = on.ones((100,), dtype=st.float64, requires_grad=True)
                (x * shared * 2).sum().backward()
                assert (host(x.grad) == 2).all()
        except BaseException as error:  # reported by the main thread
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not errors
    assert (host(shared.grad) == 4 * 50 * 2).all()
