"""Every class of bad input: the exception, what its message says, and that nothing changed."""

from __future__ import annotations

import numpy as np
import pytest

import striate as st
import striate.nn.functional as F
from devices import On
from striate import nn, optim

BUILTIN = {
    st.ArgumentError: ValueError,
    st.ShapeError: ValueError,
    st.FormatError: ValueError,
    st.DTypeError: TypeError,
    st.DeviceError: RuntimeError,
    st.AutogradError: RuntimeError,
    st.OutOfMemoryError: MemoryError,
    st.IndexError: IndexError,
}


@pytest.mark.parametrize(("error", "builtin"), BUILTIN.items(), ids=lambda e: e.__name__)
def test_hierarchy(error, builtin):
    assert issubclass(error, st.Error)
    assert issubclass(error, builtin)


def rejects(error, call, *fragments):
    """`call` raises `error`, one line naming every fragment, and the generator did not move."""
    state = st.get_rng_state()
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message.strip()
    for fragment in fragments:
        assert fragment in message, f"{fragment!r} is not in {message!r}"
    assert st.get_rng_state() == state


class Zeros(On):
    """z(2, 3) is a tensor of zeros, z.labels(0, 1) one of int64; and what On makes."""

    def __call__(self, *shape, dtype=None):
        return self.zeros(shape, dtype=dtype or st.float32)

    def labels(self, *values):
        return self.tensor(np.array(values, np.int64))


NAN = float("nan")
IMAGE, WEIGHT = (1, 3, 8, 8), (6, 3, 3, 3)


def conv(x=IMAGE, w=WEIGHT, b=None, **options):
    return lambda z: F.conv2d(z(*x), z(*w), None if b is None else z(*b), **options)


def pool(kind, x, *args, **options):
    return lambda z: getattr(F, kind)(z(*x), *args, **options)


def bn(shape=(4, 3), c=3, **options):
    options = {"training": True, **options}
    return lambda z: F.batch_norm(z(*shape), z(c), z.ones((c,)), z(c), z(c), **options)


def entropy(shape, *target, **options):
    return lambda z: F.cross_entropy(z(*shape), z.labels(*target), **options)


# (name, exception, call with Zeros on a device, what the message must contain)
ROWS = [
    # Creation
    ("zeros-negative", st.ShapeError, lambda z: z(2, -1), ["(2, -1)"]),
    ("empty-overflow", st.ShapeError, lambda z: z.empty((2**40, 2**40)), [str(2**40)]),
    ("empty-byte-overflow", st.ShapeError, lambda z: z.empty((2**61,)), [str(2**61)]),
    ("empty-nine-dimensions", st.ShapeError, lambda z: z.empty((1,) * 9), ["8"]),
    ("empty-too-big", st.OutOfMemoryError, lambda z: z.empty((2**46,)), [str(2**48)]),
    ("arange-zero-step", st.ArgumentError, lambda z: z.arange(0, 5, 0), ["arange", "0"]),
    ("device-unknown", st.DeviceError, lambda z: st.zeros((2,), device="tpu"), ["tpu"]),
    # Convolution
    ("conv2d-channels", st.ShapeError, conv(w=(6, 4, 5, 5)), ["conv2d", "3", "(6, 4, 5, 5)"]),
    ("conv2d-rank", st.ShapeError, conv(x=(3, 8)), ["conv2d", "(3, 8)"]),
    ("conv2d-weight-rank", st.ShapeError, conv(w=(6, 3, 3)), ["conv2d", "(6, 3, 3)"]),
    ("conv2d-kernel", st.ShapeError, conv(w=(6, 3, 9, 3)), ["conv2d", "9", "8"]),
    ("conv2d-kernel-padded", st.ShapeError, conv(w=(6, 3, 3, 13), padding=2), ["conv2d", "13"]),
    (
        "conv2d-kernel-dilated",
        st.ShapeError,
        conv(w=(6, 3, 3, 3), dilation=4),
        ["conv2d", "extent of 9", "8"],
    ),
    ("conv2d-stride-0", st.ArgumentError, conv(stride=0), ["conv2d", "stride", "0"]),
    ("conv2d-stride-negative", st.ArgumentError, conv(stride=(1, -2)), ["conv2d", "stride", "-2"]),
    ("conv2d-dilation-0", st.ArgumentError, conv(dilation=0), ["conv2d", "dilation", "0"]),
    ("conv2d-padding", st.ArgumentError, conv(padding=-1), ["conv2d", "padding", "-1"]),
    ("conv2d-padding-huge", st.ShapeError, conv(padding=2**62), ["conv2d"]),
    ("conv2d-groups-0", st.ArgumentError, conv(groups=0), ["conv2d", "groups", "0"]),
    ("conv2d-groups", st.ArgumentError, conv(groups=2), ["conv2d", "groups", "2", "3"]),
    (
        "conv2d-groups-outputs",
        st.ArgumentError,
        conv(x=(1, 4, 8, 8), w=(5, 2, 3, 3), groups=2),
        ["conv2d", "groups", "5"],
    ),
    ("conv2d-bias", st.ShapeError, conv(b=(5,)), ["conv2d", "bias", "(6,)", "(5,)"]),
    ("conv2d-empty-filter", st.ShapeError, conv(w=(6, 3, 0, 3)), ["conv2d", "(6, 3, 0, 3)"]),
    ("conv2d-no-channels", st.ShapeError, conv(x=(1, 0, 8, 8), w=(6, 0, 3, 3)), ["conv2d"]),
    ("conv2d-no-outputs", st.ShapeError, conv(w=(0, 3, 3, 3)), ["conv2d", "(0, 3, 3, 3)"]),
    ("conv1d-rank", st.ShapeError, lambda z: F.conv1d(z(1, 3, 8, 8), z(6, 3, 3)), ["conv1d"]),
    ("conv1d-channels", st.ShapeError, lambda z: F.conv1d(z(1, 3, 8), z(6, 2, 3)), ["conv1d"]),
    ("conv1d-kernel", st.ShapeError, lambda z: F.conv1d(z(1, 3, 8), z(6, 3, 9)), ["conv1d", "9"]),
    (
        "conv_transpose2d-channels",
        st.ShapeError,
        lambda z: F.conv_transpose2d(z(1, 3, 8, 8), z(4, 3, 3, 3)),
        ["conv_transpose2d", "(4, 3, 3, 3)"],
    ),
    (
        "conv_transpose2d-output_padding",
        st.ArgumentError,
        lambda z: F.conv_transpose2d(z(1, 3, 8, 8), z(3, 3, 3, 3), stride=2, output_padding=2),
        ["conv_transpose2d", "output_padding", "2"],
    ),
    (
        "conv_transpose2d-shrinks-to-nothing",
        st.ShapeError,
        lambda z: F.conv_transpose2d(z(1, 3, 1, 1), z(3, 3, 1, 1), padding=1),
        ["conv_transpose2d"],
    ),
    ("linear-features", st.ShapeError, lambda z: F.linear(z(2, 3), z(4, 5)), ["linear", "3", "5"]),
    ("linear-bias", st.ShapeError, lambda z: F.linear(z(2, 3), z(4, 3), z(3)), ["linear", "bias"]),
    ("linear-scalar", st.ShapeError, lambda z: F.linear(z(), z(4, 5)), ["linear"]),
    ("matmul-inner", st.ShapeError, lambda z: z(2, 3) @ z(4, 5), ["matmul", "(2, 3)", "(4, 5)"]),
    ("matmul-scalar", st.ShapeError, lambda z: z() @ z(4, 5), ["matmul"]),
    (
        "matmul-batch",
        st.ShapeError,
        lambda z: z(2, 3, 4) @ z(3, 4, 5),
        ["matmul", "batch", "(2,)", "(3,)"],
    ),
    # Pooling
    ("max_pool2d-rank", st.ShapeError, pool("max_pool2d", (3, 8), 2), ["max_pool2d", "(3, 8)"]),
    ("max_pool2d-kernel", st.ShapeError, pool("max_pool2d", IMAGE, 9), ["max_pool2d", "9"]),
    ("max_pool2d-kernel-0", st.ArgumentError, pool("max_pool2d", IMAGE, 0), ["max_pool2d", "0"]),
    ("max_pool2d-stride", st.ArgumentError, pool("max_pool2d", IMAGE, 2, 0), ["stride", "0"]),
    ("max_pool2d-padding", st.ArgumentError, pool("max_pool2d", IMAGE, 3, 1, 2), ["padding", "2"]),
    ("max_pool2d-minus", st.ArgumentError, pool("max_pool2d", IMAGE, 3, 1, -1), ["padding", "-1"]),
    ("max_pool2d-dilation", st.ArgumentError, pool("max_pool2d", IMAGE, 2, 1, 0, 0), ["dilation"]),
    ("max_pool1d-rank", st.ShapeError, pool("max_pool1d", (2, 3, 4, 4), 2), ["max_pool1d"]),
    ("avg_pool2d-padding", st.ArgumentError, pool("avg_pool2d", IMAGE, 2, 2, 2), ["avg_pool2d"]),
    ("avg_pool2d-kernel", st.ShapeError, pool("avg_pool2d", IMAGE, 9), ["avg_pool2d", "9"]),
    (
        "adaptive_avg_pool2d-0",
        st.ArgumentError,
        pool("adaptive_avg_pool2d", IMAGE, 0),
        ["adaptive_avg_pool2d", "0"],
    ),
    (
        "adaptive_avg_pool2d-empty",
        st.ShapeError,
        pool("adaptive_avg_pool2d", (1, 3, 0, 4), 1),
        ["adaptive_avg_pool2d"],
    ),
    # Normalisation and dropout
    ("bn-one-value", st.ShapeError, bn((1, 3)), ["batch_norm", "(1, 3)"]),
    ("bn-one-pixel", st.ShapeError, bn((1, 3, 1, 1)), ["batch_norm", "(1, 3, 1, 1)"]),
    ("bn-rank", st.ShapeError, bn((3,)), ["batch_norm", "(3,)"]),
    ("bn-channels", st.ShapeError, bn((4, 5)), ["batch_norm", "5", "(3,)"]),
    ("bn-momentum", st.ArgumentError, bn(momentum=1.5), ["batch_norm", "momentum", "1.5"]),
    ("bn-momentum-nan", st.ArgumentError, bn(momentum=NAN), ["batch_norm", "momentum", "nan"]),
    ("bn-eps", st.ArgumentError, bn(eps=-1.0), ["batch_norm", "eps", "-1"]),
    (
        "bn-residual",
        st.ShapeError,
        lambda z: bn(residual=z(4, 1))(z),
        ["batch_norm", "residual", "(4, 3)", "(4, 1)"],
    ),
    (
        "bn-residual-dtype",
        st.DTypeError,
        lambda z: bn(residual=z(4, 3, dtype="float64"))(z),
        ["batch_norm", "residual", "float64"],
    ),
    ("bn-eps-nan", st.ArgumentError, bn(eps=NAN), ["batch_norm", "eps", "nan"]),
    (
        "bn-eval-without-statistics",
        st.ArgumentError,
        lambda z: F.batch_norm(z(4, 3), None, None, training=False),
        ["batch_norm", "running"],
    ),
    ("dropout-high", st.ArgumentError, lambda z: F.dropout(z(3), 1.5), ["dropout", "1.5"]),
    ("dropout-low", st.ArgumentError, lambda z: F.dropout(z(3), -0.1), ["dropout", "-0.1"]),
    ("dropout-nan", st.ArgumentError, lambda z: F.dropout(z(3), NAN), ["dropout", "nan"]),
    ("dropout-eval", st.ArgumentError, lambda z: F.dropout(z(3), 2.0, False), ["dropout", "2"]),
    (
        "lrn-size",
        st.ArgumentError,
        lambda z: F.local_response_norm(z(1, 3, 2, 2), 0),
        ["size", "0"],
    ),
    ("lrn-rank", st.ShapeError, lambda z: F.local_response_norm(z(3), 2), ["local_response_norm"]),
    ("softmax-dim", st.IndexError, lambda z: F.softmax(z(2, 3), 2), ["softmax", "2"]),
    # Losses
    ("label-high", st.IndexError, entropy((2, 3), 0, 3), ["cross_entropy", "3"]),
    ("label-low", st.IndexError, entropy((2, 3), -1, 0), ["cross_entropy", "-1"]),
    ("label-count", st.ShapeError, entropy((2, 3), 0, 1, 2), ["cross_entropy", "(2,)", "(3,)"]),
    ("label-smoothing", st.ArgumentError, entropy((1, 3), 0, label_smoothing=1.5), ["1.5"]),
    ("loss-reduction", st.ArgumentError, entropy((1, 3), 0, reduction="avg"), ["avg"]),
    (
        "label-dtype",
        st.DTypeError,
        lambda z: F.cross_entropy(z(2, 3), z(2)),
        ["cross_entropy", "int64", "float32"],
    ),
    ("nll-label", st.IndexError, lambda z: F.nll_loss(z(1, 3), z.labels(7)), ["nll_loss", "7"]),
    ("mse-shape", st.ShapeError, lambda z: F.mse_loss(z(2, 3), z(3, 2)), ["mse_loss"]),
    # Shaping and indexing
    ("reshape", st.ShapeError, lambda z: z(2, 3).reshape(4, 2), ["reshape", "(2, 3)", "(4, 2)"]),
    ("reshape-two", st.ShapeError, lambda z: z(2, 3).reshape(-1, -1), ["reshape", "-1"]),
    ("reshape-infer", st.ShapeError, lambda z: z(2, 3).reshape(4, -1), ["reshape", "(2, 3)"]),
    ("permute", (st.ShapeError, st.ArgumentError), lambda z: z(2, 3).permute(0, 0), ["permute"]),
    ("transpose", st.IndexError, lambda z: z(2, 3).transpose(0, 2), ["transpose", "2"]),
    ("expand", st.ShapeError, lambda z: z(2, 3).expand(4, 3), ["expand", "(2, 3)", "(4, 3)"]),
    ("cat-shapes", st.ShapeError, lambda z: st.cat([z(2, 3), z(2, 4)], 0), ["cat", "(2, 4)"]),
    ("cat-nothing", st.ArgumentError, lambda z: st.cat([]), ["cat"]),
    ("cat-dim", st.IndexError, lambda z: st.cat([z(2), z(2)], 1), ["cat", "1"]),
    ("pad-pairs", st.ArgumentError, lambda z: F.pad(z(2, 3), (1, 2, 3)), ["pad", "3"]),
    ("index-high", st.IndexError, lambda z: z(2, 3)[2], ["2"]),
    ("index-low", st.IndexError, lambda z: z(2, 3)[-3], ["-3"]),
    ("index-many", (st.IndexError, st.ShapeError), lambda z: z(2, 3)[0, 0, 0], []),
    ("index-rows", st.IndexError, lambda z: z(2, 3)[z.labels(0, 5)], ["5"]),
    ("slice-negative-step", (st.ArgumentError, ValueError), lambda z: z(4)[::-1], ["step"]),
    ("broadcast", st.ShapeError, lambda z: z(2, 3) + z(2, 4), ["add", "(2, 3)", "(2, 4)"]),
    ("max-empty", (st.ShapeError, st.ArgumentError), lambda z: z(0).max(), ["max"]),
    ("argmax-empty", (st.ShapeError, st.ArgumentError), lambda z: z(2, 0).argmax(1), ["argmax"]),
    ("sum-dim", st.IndexError, lambda z: z(2, 3).sum(2), ["sum", "2"]),
    ("item", st.ShapeError, lambda z: z(2).item(), ["item", "(2,)"]),
    # Types
    (
        "mixed",
        st.DTypeError,
        lambda z: z(2) + z(2, dtype=st.float64),
        ["add", "float32", "float64"],
    ),
    (
        "conv2d-mixed",
        st.DTypeError,
        lambda z: F.conv2d(z(*IMAGE), z(*WEIGHT, dtype=st.float64)),
        ["conv2d", "float32", "float64"],
    ),
    (
        "conv2d-int",
        st.DTypeError,
        lambda z: F.conv2d(z(*IMAGE, dtype=st.int64), z(*WEIGHT, dtype=st.int64)),
        ["conv2d", "int64"],
    ),
    ("exp-int", st.DTypeError, lambda z: z(2, dtype=st.int64).exp(), ["exp", "int64"]),
    ("object", st.DTypeError, lambda z: z.tensor(np.array([1, None])), ["object"]),
    ("big-endian", st.DTypeError, lambda z: z.tensor(np.zeros(3, ">f4")), [">f4"]),
    ("complex", st.DTypeError, lambda z: z.tensor(np.zeros(3, np.complex64)), ["complex64"]),
    ("strings", st.DTypeError, lambda z: z.tensor(np.array(["a"])), []),
    ("dtype-name", st.DTypeError, lambda z: z.zeros((2,), dtype="float8"), ["float8"]),
    ("ragged", ValueError, lambda z: z.tensor([[1.0, 2.0], [3.0]]), []),
    ("int-grad", st.DTypeError, lambda z: z.tensor([1, 2], requires_grad=True), ["int64"]),
    # The tape
    ("backward-shape", st.ShapeError, lambda z: grad(z(2, 3)).exp().backward(z(3, 2)), ["(3, 2)"]),
    ("backward-many", st.ShapeError, lambda z: grad(z(2, 3)).exp().backward(), ["(2, 3)"]),
    ("backward-no-graph", st.AutogradError, lambda z: z(1).backward(), ["backward"]),
    # Runtime
    ("threads-0", st.ArgumentError, lambda z: st.set_num_threads(0), ["0"]),
    ("threads-many", st.ArgumentError, lambda z: st.set_num_threads(5000), ["5000"]),
    # Layers and optimizers
    ("Conv2d-groups", st.ArgumentError, lambda z: nn.Conv2d(3, 6, 3, groups=2), ["groups", "2"]),
    ("Conv2d-kernel", st.ArgumentError, lambda z: nn.Conv2d(3, 6, 0), ["kernel_size", "0"]),
    ("Dropout-p", st.ArgumentError, lambda z: nn.Dropout(1.1), ["1.1"]),
]


def grad(x):
    x.requires_grad = True
    return x


@pytest.mark.parametrize(
    ("error", "call", "fragments"), [r[1:] for r in ROWS], ids=[r[0] for r in ROWS]
)
def test_rejected(error, call, fragments, device):
    rejects(error, lambda: call(Zeros(device)), *fragments)


@pytest.mark.parametrize("bad", [-9, 5, 2**40])
def test_indices_out_of_range(bad, on):
    """Found on the device, before anything is read through them."""
    x = on.rand((3, 5))
    target = on.tensor(np.array([0, bad, 2]))
    rejects(
        st.IndexError, lambda: F.cross_entropy(x, target), "cross_entropy", f"got {bad} at", "1"
    )
    rejects(st.IndexError, lambda: F.nll_loss(x, target), "nll_loss", f"got {bad} at", "1")
    rejects(st.IndexError, lambda: x[target], "index_select", "position 1")


def optimizer_rows():
    for name, make, bad in (
        ("SGD", optim.SGD, {"lr": -1.0, "momentum": -0.1, "weight_decay": -1.0}),
        ("Adam", optim.Adam, {"lr": -1.0, "eps": -1.0, "betas": (1.0, 0.9), "weight_decay": -1.0}),
        ("AdamW", optim.AdamW, {"lr": NAN, "eps": NAN, "betas": (0.9, NAN), "weight_decay": NAN}),
    ):
        for key, value in bad.items():
            yield pytest.param(make, {"lr": 0.1, **{key: value}}, id=f"{name}-{key}")
    yield pytest.param(optim.SGD, {"lr": float("inf")}, id="SGD-infinite-lr")
    yield pytest.param(optim.SGD, {"lr": 0.1, "nesterov": True}, id="SGD-nesterov-alone")


@pytest.mark.parametrize(("make", "options"), list(optimizer_rows()))
def test_optimizer_options(make, options, on):
    rejects(st.ArgumentError, lambda: make([grad(on.ones((2,)))], **options), make.__name__.lower())


def test_optimizer_without_parameters():
    rejects(st.ArgumentError, lambda: optim.SGD([], lr=0.1))


@pytest.mark.parametrize("seed", [-1, 2**64, 10**30])
def test_seed_out_of_range(seed):
    state = st.get_rng_state()
    rejects(st.ArgumentError, lambda: st.manual_seed(seed), "manual_seed", "2^64", str(seed))
    assert st.get_rng_state() == state
    st.manual_seed(2**64 - 1)


def test_out_of_memory_leaves_room_for_the_next_call(on):
    def big():
        return on.empty((2**45,), dtype=st.float64)

    for _ in range(3):
        rejects(st.OutOfMemoryError, big, str(2**48))
        assert (on.ones((1000,)) + 1).sum().item() == 2000


def test_layer_path_is_named(on):
    model = nn.Sequential(nn.Sequential(nn.Conv2d(1, 4, 3)), nn.Flatten(), nn.Linear(10, 3))
    model.to(on.device)
    rejects(st.ShapeError, lambda: model(on.zeros((2, 3, 8, 8))), "conv2d", "0.0")
    rejects(st.ShapeError, lambda: model(on.zeros((2, 1, 8, 8))), "linear", "2")
