"""A failing call leaves weights, gradients, statistics, optimizer and generator as they were."""

from __future__ import annotations

import numpy as np
import pytest

import striate as st
import striate.nn.functional as F
from striate import nn, optim


def labels(*values, device="cpu"):
    return st.tensor(np.array(values, np.int64), device=device)


def state(model, optimizer=None):
    """Everything that a failing call must leave alone, as bytes."""
    tensors = dict(model.state_dict())
    bits = {name: t.cpu().numpy().tobytes() for name, t in tensors.items()}
    bits |= {
        f"grad {name}": None if p.grad is None else p.grad.cpu().numpy().tobytes()
        for name, p in model.named_parameters()
    }
    bits["rng"] = st.get_rng_state()
    if optimizer is not None:
        bits["optimizer"] = {
            i: {
                k: v.cpu().numpy().tobytes() if isinstance(v, st.Tensor) else v
                for k, v in s.items()
            }
            for i, s in optimizer.state_dict()["state"].items()
        }
    return bits


def network(device):
    st.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(),
        nn.Linear(4 * 36, 10),
    ).to(device)  # fmt: skip
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    x = st.rand((4, 1, 8, 8), device=device)
    F.cross_entropy(model(x), labels(0, 1, 2, 3, device=device)).backward()
    optimizer.step()
    return model, optimizer


@pytest.mark.parametrize(
    ("error", "call"),
    [
        (st.ShapeError, lambda m, o, d: m[0](st.zeros(4, 3, 8, 8, device=d))),
        (st.ShapeError, lambda m, o, d: m[0:2](st.zeros(4, 1, 2, 2, device=d))),
        (st.ShapeError, lambda m, o, d: m[1](st.zeros(4, 5, 6, 6, device=d))),
        (st.ShapeError, lambda m, o, d: m[1](st.zeros(1, 4, 1, 1, device=d))),
        (st.DTypeError, lambda m, o, d: m(st.zeros(4, 1, 8, 8, dtype=st.float64, device=d))),
        (
            st.ShapeError,
            lambda m, o, d: m.load_state_dict({"0.weight": st.zeros(4, 1, 5, 5, device=d)}),
        ),
        (st.ArgumentError, lambda m, o, d: F.dropout(m[0].weight, 7.0)),
        (
            st.IndexError,
            lambda m, o, d: F.cross_entropy(m[5].weight, labels(*([200] * 10), device=d)),
        ),
    ],
    ids=["channels", "kernel", "bn-channels", "bn-one", "dtype", "state", "dropout", "label"],
)
def test_state_is_unchanged(error, call, device):
    model, optimizer = network(device)
    before = state(model, optimizer)
    with pytest.raises((error, st.Error)):
        call(model, optimizer, device)
    assert state(model, optimizer) == before
    assert model(st.rand((4, 1, 8, 8), device=device)).shape == (4, 10)


def test_failing_backward_changes_no_grad(device):
    """The last saved tensor that backward reaches was edited: no leaf may have been touched."""
    model, optimizer = network(device)
    x = st.rand((4, 1, 8, 8), device=device)
    before = state(model, optimizer)
    with st.no_grad():
        rng = st.get_rng_state()
    early = model[0].weight * 2
    late = F.conv2d(x, early).sum() + (model[5].weight * model[5].weight).sum()
    with st.no_grad():
        x.mul_(2)  # conv2d saved it for the weight's gradient
    with pytest.raises(st.AutogradError, match="conv2d"):
        late.backward()
    st.set_rng_state(rng)
    with st.no_grad():
        x.mul_(0.5)
    after = state(model, optimizer)
    assert {k: v for k, v in after.items() if k != "rng"} == {
        k: v for k, v in before.items() if k != "rng"
    }


def test_failing_step_changes_no_weight(device):
    model, optimizer = network(device)
    optimizer.param_groups[0]["lr"] = float("nan")
    before = state(model, optimizer)
    with pytest.raises(st.ArgumentError, match="lr"):
        optimizer.step()
    assert state(model, optimizer) == before
