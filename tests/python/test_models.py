"""The models: sizes, tables, and published weights that must give the published answers."""

from __future__ import annotations

import gzip

import numpy as np

import striate as st
from devices import host
from striate import models, nn

# The lecture's table for an input of 1x32x32: layer, output shape, parameters.
LENET5 = """\
Conv2d-1 [-1, 6, 28, 28] 156
ReLU-2 [-1, 6, 28, 28] 0
MaxPool2d-3 [-1, 6, 14, 14] 0
Conv2d-4 [-1, 16, 10, 10] 2,416
ReLU-5 [-1, 16, 10, 10] 0
MaxPool2d-6 [-1, 16, 5, 5] 0
Conv2d-7 [-1, 120, 1, 1] 48,120
ReLU-8 [-1, 120, 1, 1] 0
Linear-9 [-1, 84] 10,164
ReLU-10 [-1, 84] 0
Linear-11 [-1, 10] 850
LogSoftmax-12 [-1, 10] 0
"""
LENET5_SIZES = {
    "Total params": "61,706",
    "Trainable params": "61,706",
    "Non-trainable params": "0",
    "Input size (MB)": "0.00",
    "Forward/backward pass size (MB)": "0.11",
    "Params size (MB)": "0.24",
    "Estimated Total Size (MB)": "0.35",
}


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def test_lenet5_is_the_lectures(on):
    st.manual_seed(0)
    model = models.lenet5().to(on.device)
    assert parameters(model) == 61_706
    y = model(on.rand((3, 1, 32, 32)))
    assert y.shape == (3, 10)
    np.testing.assert_allclose(np.exp(host(y)).sum(1), 1, rtol=1e-5)


def test_summary_is_the_lectures_table():
    text = str(st.summary(models.lenet5(), (1, 32, 32)))
    rows = [" ".join(line.split()) for line in text.splitlines()]
    for row in LENET5.splitlines():
        assert row in rows
    assert sum(row.split(" ")[0].rpartition("-")[2].isdigit() for row in rows if "[" in row) == 12
    sizes = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    for key, value in LENET5_SIZES.items():
        assert sizes[key].strip() == value, key


def test_summary_leaves_the_model_alone():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5))
    before = {k: v.numpy().tobytes() for k, v in model.state_dict().items()}
    state = st.get_rng_state()
    st.summary(model, (1, 8, 8))
    assert {k: v.numpy().tobytes() for k, v in model.state_dict().items()} == before
    assert st.get_rng_state() == state
    assert model.training
    assert all(m.training for m in model.modules())


def test_lenet5_as_published_in_1998():
    """LeCun, Bottou, Bengio, Haffner, section II.B and table I: trainable parameters by layer are
    C1 156, S2 12, C3 1,516, S4 32, C5 48,120, F6 10,164. The paper's RBF output has none to train;
    a linear layer of 850 stands in its place."""
    model = models.lenet5(form="1998")
    assert parameters(model) == 156 + 12 + 1_516 + 32 + 48_120 + 10_164 + 850
    assert model(st.rand((2, 1, 32, 32))).shape == (2, 10)


def test_lenet1_as_published_in_1989(on):
    """LeCun et al. 1989: 2,578 independent parameters and 98,442 connections, of which each unit
    has one for every input and one for its bias."""
    model = models.lenet1().to(on.device)
    assert model(on.rand((2, 1, 28, 28))).shape == (2, 10)
    assert parameters(model) == 2_578
    h1, h2 = 4 * 24**2 * (25 + 1), 4 * 12**2 * (4 + 1)
    h3 = 8**2 * parameters(model.h3)
    h4, output = 12 * 4**2 * (4 + 1), parameters(model.output)
    assert h1 + h2 + h3 + h4 + output == 98_442
    for half in ((0, 1), (2, 3)):
        seen = [maps for maps in model.h3.connections if set(maps) <= set(half)]
        assert sorted(map(len, seen)) == [1, 1, 2, 2, 2, 2]


def test_the_seed_fixes_the_weights():
    def weights(seed):
        st.manual_seed(seed)
        return [p.detach().numpy().tobytes() for p in models.lenet5().parameters()]

    assert weights(0) == weights(0) != weights(1)


def read_idx(path) -> np.ndarray:
    raw = gzip.decompress(path.read_bytes())
    rank = raw[3]
    shape = np.frombuffer(raw, ">u4", rank, 4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)


def caffe_lenet(path) -> nn.Module:
    """Caffe's LeNet: raw float32 in order, with 16 bytes of a reshape before the dense layers."""
    model = nn.Sequential(
        nn.Conv2d(1, 20, 5), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10),
    )  # fmt: skip
    raw, state, offset = path.read_bytes(), {}, 0
    for name, tensor in model.state_dict().items():
        if name == "5.weight":
            offset += 16
        count = tensor.numel()
        values = np.frombuffer(raw, "<f4", count, offset).astype(np.float32)
        state[name] = st.tensor(values.reshape(tensor.shape))
        offset += 4 * count
    assert offset == len(raw)
    model.load_state_dict(state)
    return model.eval()


def test_published_lenet_on_mnist(data_dir, on):
    """9,894 of 10,000, as a plain NumPy forward pass counts with the same weights."""
    model = caffe_lenet(data_dir / "lenet" / "lenet.bin").to(on.device)
    images = read_idx(data_dir / "mnist" / "t10k-images-idx3-ubyte.gz")
    labels = read_idx(data_dir / "mnist" / "t10k-labels-idx1-ubyte.gz")
    correct = 0
    with st.no_grad():
        for i in range(0, 10_000, 1_000):
            x = images[i : i + 1_000, None].astype(np.float32) / 256
            predicted = host(model(on.tensor(x)).argmax(1))
            correct += int((predicted == labels[i : i + 1_000]).sum())
    assert correct == 9_894
