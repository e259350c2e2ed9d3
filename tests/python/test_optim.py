"""Optimizers against torch.optim, schedulers, state, and what a step must not do."""

from __future__ import annotations

import numpy as np
import pytest

import striate as st
from devices import host
from striate import nn, optim
from striate.optim import lr_scheduler

SHAPES = [(3, 4), (5,), (), (2, 3, 3, 3), (1001,)]
STEPS = 7

SGD = [
    {"lr": 0.1},
    {"lr": 0.1, "weight_decay": 0.01},
    {"lr": 0.1, "momentum": 0.9},
    {"lr": 0.1, "momentum": 0.9, "dampening": 0.3},
    {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "nesterov": True},
    {"lr": 0.0, "momentum": 0.5},
]
ADAM = [
    {},
    {"lr": 0.1},
    {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-4},
    {"lr": 0.1, "weight_decay": 0.05},
    {"lr": 0.1, "betas": (0.0, 0.0)},
]
ROWS = [
    *(("SGD", options) for options in SGD),
    *(("Adam", options) for options in ADAM),
    *(("AdamW", options) for options in ADAM),
]


def values(seed, dtype):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(s).astype(dtype) for s in SHAPES]


def set_grads(params, arrays, tensor):
    for p, a in zip(params, arrays, strict=True):
        p.grad = tensor(a)


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 2e-6), (np.float64, 1e-13)])
@pytest.mark.parametrize(("name", "options"), ROWS, ids=lambda v: str(v))
def test_trajectory(name, options, dtype, rtol, on):
    torch = pytest.importorskip("torch", reason="torch is the oracle of this test")
    ours = [on.tensor(a, requires_grad=True) for a in values(0, dtype)]
    theirs = [torch.tensor(a.astype(np.float64), requires_grad=True) for a in values(0, dtype)]
    a, b = getattr(optim, name)(ours, **options), getattr(torch.optim, name)(theirs, **options)
    for step in range(STEPS):
        grads = values(step + 1, dtype)
        set_grads(ours, grads, on.tensor)
        set_grads(theirs, [g.astype(np.float64) for g in grads], torch.tensor)
        if step == 3:  # a parameter without a gradient is skipped, its state kept
            ours[1].grad = theirs[1].grad = None
        if step == 5:
            a.param_groups[0]["lr"] = b.param_groups[0]["lr"] = 0.01
        a.step(), b.step()
        for got, expected in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(host(got), expected.detach().numpy(), rtol=rtol, atol=rtol)


def test_groups(on):
    x, y = (on.ones((2,), requires_grad=True) for _ in range(2))
    sgd = optim.SGD([{"params": [x]}, {"params": [y], "lr": 1.0}], lr=0.5)
    (x.sum() + y.sum()).backward()
    sgd.step()
    np.testing.assert_array_equal(host(x), 0.5)
    np.testing.assert_array_equal(host(y), 0)
    with pytest.raises(st.ArgumentError, match="twice"):
        optim.SGD([{"params": [x]}, {"params": [x]}], lr=0.1)


def test_step_keeps_the_parameters_objects(on):
    x = on.ones((3,), requires_grad=True)
    view = x.detach()
    sgd = optim.SGD([x], lr=1.0)
    (x * 2).sum().backward()
    grad = host(x.grad).copy()
    assert sgd.step() is None
    np.testing.assert_array_equal(host(view), -1)
    np.testing.assert_array_equal(host(x.grad), grad)
    assert x.requires_grad
    assert x.is_leaf
    sgd.zero_grad()
    assert x.grad is None


def test_step_is_an_edit_that_the_tape_sees(on):
    x = on.ones((3,), requires_grad=True)
    sgd = optim.SGD([x], lr=1.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    sgd.step()
    with pytest.raises(st.AutogradError):
        y.backward()


@pytest.mark.parametrize(("name", "options"), ROWS[::2], ids=lambda v: str(v))
def test_state_dict_resumes_to_the_same_bits(name, options, on):
    def start():
        params = [on.tensor(a, requires_grad=True) for a in values(0, np.float32)]
        return params, getattr(optim, name)(params, **options)

    params, optimizer = start()
    for step in range(STEPS):
        if step == 3:
            state = optimizer.state_dict()
            kept = [host(p).copy() for p in params]
            fresh, resumed = start()
            resumed.load_state_dict(
                {
                    "state": {
                        i: {k: v.clone() if isinstance(v, st.Tensor) else v for k, v in s.items()}
                        for i, s in state["state"].items()
                    },
                    "param_groups": state["param_groups"],
                }
            )
            with st.no_grad():
                for p, a in zip(fresh, kept, strict=True):
                    p.copy_(on.tensor(a))
        set_grads(params, values(step + 1, np.float32), on.tensor)
        optimizer.step()
        if step >= 3:
            set_grads(fresh, values(step + 1, np.float32), on.tensor)
            resumed.step()
    for a, b in zip(params, fresh, strict=True):
        assert host(a).tobytes() == host(b).tobytes()


def test_loading_a_wrong_state_changes_nothing(on):
    params = [on.ones((2,), requires_grad=True)]
    sgd = optim.SGD(params, lr=0.5, momentum=0.9)
    other = optim.SGD([on.ones((2,), requires_grad=True) for _ in range(2)], lr=0.1)
    with pytest.raises(st.Error):
        sgd.load_state_dict(other.state_dict())
    assert sgd.param_groups[0]["lr"] == 0.5


def test_training_converges(on):
    st.manual_seed(0)
    x = on.randn((256, 4))
    target = (x @ on.tensor([[1.0], [-2.0], [3.0], [0.5]])) + 0.25
    for make in (
        lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
        lambda p: optim.Adam(p, lr=0.05),
        lambda p: optim.AdamW(p, lr=0.05, weight_decay=0.0),
    ):
        model = nn.Linear(4, 1).to(on.device)
        optimizer = make(model.parameters())
        for _ in range(300):
            loss = nn.MSELoss()(model(x), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert loss.item() < 1e-6
        np.testing.assert_allclose(host(model.bias), [0.25], atol=1e-2)


SCHEDULERS = {
    "step": ("StepLR", {"step_size": 3, "gamma": 0.3}),
    "step-1": ("StepLR", {"step_size": 1}),
    "multi-step": ("MultiStepLR", {"milestones": [2, 5, 5, 11], "gamma": 0.5}),
    "cosine": ("CosineAnnealingLR", {"T_max": 10, "eta_min": 0.01}),
    "cosine-0": ("CosineAnnealingLR", {"T_max": 20}),
    "one-cycle": ("OneCycleLR", {"max_lr": 0.5, "total_steps": 20}),
    "one-cycle-linear": (
        "OneCycleLR",
        {"max_lr": 0.5, "epochs": 4, "steps_per_epoch": 5, "anneal_strategy": "linear",
         "pct_start": 0.25, "div_factor": 10.0, "final_div_factor": 100.0},
    ),
    "one-cycle-three": (
        "OneCycleLR", {"max_lr": 0.5, "total_steps": 20, "three_phase": True}
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "options"), SCHEDULERS.values(), ids=SCHEDULERS)
def test_scheduler(name, options):
    torch = pytest.importorskip("torch", reason="torch is the oracle of this test")
    ours = optim.SGD([st.ones((1,), requires_grad=True)], lr=0.2, momentum=0.9)
    theirs = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=0.2, momentum=0.9)
    a = getattr(lr_scheduler, name)(ours, **options)
    b = getattr(torch.optim.lr_scheduler, name)(theirs, **options)
    for step in range(19):
        assert ours.param_groups[0]["lr"] == pytest.approx(
            theirs.param_groups[0]["lr"], rel=1e-12
        ), step
        assert ours.param_groups[0]["momentum"] == pytest.approx(
            theirs.param_groups[0]["momentum"], rel=1e-12
        )
        assert a.get_last_lr() == pytest.approx(b.get_last_lr(), rel=1e-12)
        ours.step(), theirs.step()
        a.step(), b.step()


@pytest.mark.parametrize(("name", "options"), SCHEDULERS.values(), ids=SCHEDULERS)
def test_scheduler_resumes(name, options):
    def start():
        optimizer = optim.SGD([st.ones((1,), requires_grad=True)], lr=0.2, momentum=0.9)
        return optimizer, getattr(lr_scheduler, name)(optimizer, **options)

    optimizer, scheduler = start()
    for _ in range(7):
        scheduler.step()
    other, resumed = start()
    other.load_state_dict(optimizer.state_dict())
    resumed.load_state_dict(scheduler.state_dict())
    for _ in range(10):
        scheduler.step(), resumed.step()
        assert other.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]


def test_scheduler_rejects_bad_options():
    sgd = optim.SGD([st.ones((1,), requires_grad=True)], lr=0.2)
    for make in (
        lambda: lr_scheduler.StepLR(sgd, step_size=0),
        lambda: lr_scheduler.CosineAnnealingLR(sgd, T_max=0),
        lambda: lr_scheduler.OneCycleLR(sgd, max_lr=0.1),
        lambda: lr_scheduler.OneCycleLR(sgd, max_lr=0.1, total_steps=-1),
        lambda: lr_scheduler.OneCycleLR(sgd, max_lr=0.1, total_steps=5, pct_start=1.5),
    ):
        with pytest.raises(st.ArgumentError):
            make()
    assert sgd.param_groups[0]["lr"] == 0.2


@pytest.mark.parametrize("make", [optim.Adam, optim.AdamW])
def test_adam_takes_eps_of_zero(make, on):
    parameter = on.tensor([1.0, -2.0], requires_grad=True)
    optimizer = make([parameter], lr=0.1, eps=0.0, weight_decay=0.0)
    (parameter * on.tensor([0.5, -3.0])).sum().backward()
    optimizer.step()  # the first step is lr in the direction of the gradient
    assert np.allclose(host(parameter), [0.9, -1.9], atol=1e-6)


def _warmup(module, sgd):
    parts = [module.LinearLR(sgd, 0.01, total_iters=4), module.CosineAnnealingLR(sgd, 6)]
    return module.SequentialLR(sgd, parts, milestones=[4])


CHAINS = {
    "linear": lambda module, sgd: module.LinearLR(sgd, 0.25, 0.75, total_iters=5),
    "warm-up and cosine": _warmup,
}


@pytest.mark.parametrize("make", CHAINS.values(), ids=CHAINS)
def test_warm_up_is_pytorchs(make):
    torch = pytest.importorskip("torch", reason="torch is the oracle of this test")
    values = [0.1, 0.03]
    ours = optim.SGD([{"params": st.ones(1), "lr": value} for value in values])
    theirs = torch.optim.SGD([{"params": torch.ones(1), "lr": value} for value in values])
    schedule = make(lr_scheduler, ours)
    expected = make(torch.optim.lr_scheduler, theirs)
    for _ in range(10):
        np.testing.assert_allclose(schedule.get_last_lr(), expected.get_last_lr(), rtol=1e-12)
        schedule.step(), theirs.step(), expected.step()


@pytest.mark.parametrize("stop", [0, 3, 4, 7])
def test_sequential_schedule_resumes(stop):
    def fresh():
        sgd = optim.SGD([st.ones(1)], lr=0.1)
        return _warmup(lr_scheduler, sgd)

    whole, first, second = fresh(), fresh(), fresh()
    for _ in range(stop):
        whole.step(), first.step()
    second.load_state_dict(first.state_dict())
    while whole.last_epoch < 10:
        assert second.get_last_lr() == whole.get_last_lr()
        whole.step(), second.step()
    assert second.state_dict() == whole.state_dict()


def test_warm_up_rejects_bad_options():
    sgd, other = (optim.SGD([st.ones(1)], lr=0.1) for _ in range(2))
    linear = lr_scheduler.LinearLR(sgd)
    for make in (
        lambda: lr_scheduler.LinearLR(sgd, start_factor=0.0),
        lambda: lr_scheduler.LinearLR(sgd, total_iters=0),
        lambda: lr_scheduler.SequentialLR(sgd, [linear], milestones=[3]),
        lambda: lr_scheduler.SequentialLR(sgd, [linear] * 3, milestones=[3, 2]),
        lambda: lr_scheduler.SequentialLR(other, [linear], milestones=[]),
    ):
        with pytest.raises(st.ArgumentError):
            make()


@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.0, float("inf")])
@pytest.mark.parametrize("max_norm", [0.0, 0.5, 1e6])
def test_clip_grad_norm_is_pytorchs(norm_type, max_norm, on):
    torch = pytest.importorskip("torch", reason="torch is the oracle of this test")
    arrays = values(0, np.float32)
    ours = [on.tensor(a, requires_grad=True) for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    set_grads(ours, values(1, np.float32), on.tensor)
    set_grads(theirs, values(1, np.float32), torch.tensor)
    ours[1].grad = theirs[1].grad = None
    total = nn.utils.clip_grad_norm_(ours, max_norm, norm_type)
    expected = torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type)
    assert total.item() == pytest.approx(expected.item(), rel=1e-5)
    for got, wanted in zip(ours, theirs, strict=True):
        if wanted.grad is None:
            assert got.grad is None
        else:
            np.testing.assert_allclose(host(got.grad), wanted.grad.numpy(), rtol=1e-5, atol=1e-9)


def test_clip_grad_norm_checks_first(on):
    x = on.tensor([3.0, 4.0], requires_grad=True)
    assert nn.utils.clip_grad_norm_(x, 1.0).item() == 0.0
    x.grad = on.tensor([3.0, float("nan")])
    with pytest.raises(st.AutogradError, match="expected finite gradients, got norm nan"):
        nn.utils.clip_grad_norm_(x, 1.0, error_if_nonfinite=True)
    assert x.grad.tolist()[0] == 3.0
    for wrong in (-1.0, float("nan")):
        with pytest.raises(st.ArgumentError, match="max_norm of at least 0"):
            nn.utils.clip_grad_norm_(x, wrong)
    with pytest.raises(st.ArgumentError, match="norm_type above 0, got 0"):
        nn.utils.clip_grad_norm_(x, 1.0, 0)


def test_moving_average(on):
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).to(on.device)
    average = optim.EMA(model, decay=0.5)
    expected = host(model[0].weight).copy()
    for n in range(8):
        with st.no_grad():
            model[0].weight.add_(on.randn(2, 2))
            model[1].running_mean.add_(1.0)
        decay = min(0.5, (1 + n) / (10 + n))
        expected += (1 - decay) * (host(model[0].weight) - expected)
        average.update_parameters(model)
    np.testing.assert_allclose(host(average.module[0].weight), expected, rtol=1e-5)
    assert average.module[1].running_mean.tolist() == model[1].running_mean.tolist()
    assert not average.module.training
    assert model[0].weight.requires_grad
    assert average.module[1].weight.tolist() == model[1].weight.tolist()  # never moved

    again = optim.EMA(model, decay=0.5)
    again.load_state_dict(average.state_dict())
    assert again.updates == 8
    assert again.module[0].weight.tolist() == average.module[0].weight.tolist()
    with pytest.raises(st.ArgumentError, match=r"decay in \[0, 1\), got 1"):
        optim.EMA(model, decay=1.0)
    with pytest.raises(st.ShapeError, match="got another"):
        average.update_parameters(nn.Linear(2, 2).to(on.device))
