"""Checkpoints that people have, against torch and NumPy; the registry of published weights."""

from __future__ import annotations

import collections
import hashlib
import http.server
import json
import struct
import sys
import threading
import time
import zipfile

import numpy as np
import pytest

import striate as st
from striate import checkpoint, weights
from striate.checkpoint import load_checkpoint
from striate.cli import main


def assert_same(tensors, arrays):
    assert list(tensors) == list(arrays)
    for name, value in tensors.items():
        assert value.numpy().dtype == arrays[name].dtype, name
        np.testing.assert_array_equal(value.numpy(), arrays[name], err_msg=name)


# --- Real files ---------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["resnet20-12fca82f", "resnet56-4bfd9763"])
def test_real_legacy_files_equal_their_npz(data_dir, model):
    folder = data_dir / "cifar_resnet"
    tensors = load_checkpoint(folder / f"{model}.th")
    with np.load(folder / f"{model}.npz") as arrays:
        assert_same(tensors, dict(arrays))
    assert_same(
        load_checkpoint(folder / f"{model}.npz"), {k: v.numpy() for k, v in tensors.items()}
    )


@pytest.mark.parametrize("model", ["resnet20-12fca82f", "resnet32-d509ac18", "resnet56-4bfd9763"])
def test_real_files_equal_torch(data_dir, model):
    torch = pytest.importorskip("torch")
    path = data_dir / "cifar_resnet" / f"{model}.th"
    content = torch.load(path, map_location="cpu")["state_dict"]
    expected = {name.removeprefix("module."): value.numpy() for name, value in content.items()}
    assert_same(load_checkpoint(path), expected)


# --- What torch writes --------------------------------------------------------------------------

LOADED = {
    "float64": "float64",
    "float32": "float32",
    "float16": "float32",
    "bfloat16": "bfloat16",
    "int64": "int64",
    "int32": "int32",
    "int16": "int64",
    "int8": "int64",
    "uint8": "uint8",
    "bool": "bool",
    "uint16": "int64",
    "uint32": "int64",
}


@pytest.fixture(params=["zip", "legacy", "zip, protocol 5"])
def save(request, tmp_path):
    torch = pytest.importorskip("torch")

    def save_object(value):
        path = tmp_path / "file.pth"
        options = {
            "zip": {},
            "legacy": {"_use_new_zipfile_serialization": False},
            "zip, protocol 5": {"pickle_protocol": 5},
        }
        torch.save(value, path, **options[request.param])
        return path

    return save_object


@pytest.mark.parametrize("dtype", LOADED)
def test_element_types(save, dtype):
    torch = pytest.importorskip("torch")
    value = (torch.arange(24).reshape(2, 3, 4) - (0 if "uint" in dtype else 5)) * 3
    value = value.to(getattr(torch, dtype))
    (loaded,) = load_checkpoint(save({"w": value})).values()
    assert loaded.dtype == getattr(st, LOADED[dtype])
    wide = torch.float32 if dtype == "bfloat16" else getattr(torch, LOADED[dtype])
    array = (loaded.float() if dtype == "bfloat16" else loaded).numpy()
    np.testing.assert_array_equal(array, value.to(wide).numpy())


def test_layouts(save):
    torch = pytest.importorskip("torch")
    base = torch.randn(4, 6, 5, 7)
    tensors = {
        "transposed": base[0, 0].T,
        "channels_last": base.to(memory_format=torch.channels_last),
        "strided": base[::2, 1::3, :, 2:5],
        "expanded": torch.randn(3, 1).expand(3, 4),
        "scalar": torch.tensor(3.5),
        "empty": torch.empty(0, 3),
        "one": torch.ones(1, 1, 1, 1),
        "tail": base.flatten()[100:],
        "parameter": torch.nn.Parameter(torch.randn(3)),
    }
    expected = {name: value.detach().numpy() for name, value in tensors.items()}
    assert_same(load_checkpoint(save(tensors)), expected)


def test_shared_storage(save):
    torch = pytest.importorskip("torch")
    weight = torch.randn(5, 4)
    tensors = {"encoder": weight, "decoder": weight, "row": weight[2]}
    expected = {name: value.numpy() for name, value in tensors.items()}
    assert_same(load_checkpoint(save(tensors)), expected)


def test_state_dict_of_a_module(save):
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    expected = {name: value.numpy() for name, value in model.state_dict().items()}
    tensors = load_checkpoint(save(model.state_dict()))
    assert_same(tensors, expected)
    assert "1.num_batches_tracked" in tensors


@pytest.mark.parametrize("wrapper", [("state_dict",), ("model",), ("model", "state_dict")])
def test_wrappers_and_metadata(save, wrapper):
    torch = pytest.importorskip("torch")
    value = torch.randn(3)
    content = collections.OrderedDict([("module.fc.weight", value), ("module.fc.bias", value[:1])])
    for name in reversed(wrapper):
        content = {
            "epoch": 3,
            name: content,
            "best": 91.5,
            "arch": "resnet20",
            "amp": None,
            "steps": [1, 2**40, (True, -1)],
            "optimizer": {"state": {0: {"momentum_buffer": value}}, "param_groups": [{"lr": 0.1}]},
        }
    expected = {"fc.weight": value.numpy(), "fc.bias": value[:1].numpy()}
    assert_same(load_checkpoint(save(content)), expected)


def test_module_prefix_stays_unless_all_have_it(save):
    torch = pytest.importorskip("torch")
    content = {"module.a": torch.zeros(1), "b": torch.zeros(1)}
    assert list(load_checkpoint(save(content))) == ["module.a", "b"]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ([1, 2], "list"),
        ({"net": {"w": 1}}, "'net'"),
        ({"epoch": 1}, "'epoch'"),
        ({3: "tensor"}, "number 3"),
        ({"w": 1j}, "complex"),
        ({"args": collections.Counter()}, "Counter"),
    ],
)
def test_other_content_is_refused(save, content, named):
    torch = pytest.importorskip("torch")
    if content == {3: "tensor"}:
        content = {3: torch.zeros(1)}
    with pytest.raises(st.FormatError, match=named):
        load_checkpoint(save(content))


def test_whole_models_and_complex_tensors_are_refused_by_name(save):
    torch = pytest.importorskip("torch")
    with pytest.raises(st.FormatError, match=r"torch\.nn\.modules\.linear\.Linear"):
        load_checkpoint(save(torch.nn.Linear(2, 2)))
    with pytest.raises(st.FormatError, match="Complex"):
        load_checkpoint(save({"w": torch.zeros(2, dtype=torch.complex64)}))


def test_large_files_cost_no_more_than_a_checksum_over_torch(tmp_path):
    """100 MB in the shape of ResNet-50. Processor time: others may be using the machine.

    torch.load verifies no checksum; ours does, in as many threads as there are, and takes less
    time by the clock on two idle cores.
    """
    torch = pytest.importorskip("torch")
    sizes = [9 << 18] * 6 + [1 << 18] * 40 + [1 << 14] * 60 + [512] * 200
    path = tmp_path / "large.pth"
    torch.save({f"layer{i}": torch.randn(size) for i, size in enumerate(sizes)}, path)

    def seconds(load):
        start = time.process_time()
        load(path)
        return time.process_time() - start

    rounds = [(seconds(load_checkpoint), seconds(torch.load)) for _ in range(5)]
    ours, theirs = (min(times) for times in zip(*rounds, strict=True))
    print(f"{path.stat().st_size >> 20} MiB: striate {ours:.3f} s, torch.load {theirs:.3f} s")
    assert ours < 3 * theirs


@pytest.mark.parametrize("kind", ["c8", "u8"])
def test_types_without_a_widening_are_refused(tmp_path, kind):
    torch = pytest.importorskip("torch")
    values = np.ones(2, kind)
    torch.save({"w": torch.from_numpy(values)}, tmp_path / "w.pth")
    np.savez(tmp_path / "w.npz", w=values)
    for name in ("w.pth", "w.npz"):
        with pytest.raises(st.FormatError, match=name):
            load_checkpoint(tmp_path / name)


# --- safetensors, npz, zip ----------------------------------------------------------------------


SAFETENSORS_NAMES = {"f2": "F16", "i1": "I8", "i2": "I16", "u2": "U16", "u4": "U32", "u1": "U8"}


@pytest.mark.parametrize("kind", SAFETENSORS_NAMES)
def test_one_rule_for_types_that_striate_lacks(tmp_path, kind):
    """The extremes of each type, out of the three formats."""
    torch = pytest.importorskip("torch")
    if kind == "f2":
        bits = np.arange(1 << 16).astype(np.uint16)  # all of them: subnormal, infinite, NaN
        values, expected = bits.view(np.float16), bits.view(np.float16).astype(np.float32)
    else:
        limits = np.iinfo(kind)
        values = np.array([limits.min, 0, 1, limits.max], kind)
        expected = values.astype(np.uint8 if kind == "u1" else np.int64)
    np.savez(tmp_path / "w.npz", w=values)
    torch.save({"w": torch.from_numpy(values)}, tmp_path / "w.pth")
    entry = {
        "dtype": SAFETENSORS_NAMES[kind],
        "shape": [len(values)],
        "data_offsets": [0, values.nbytes],
    }
    header = json.dumps({"w": entry}).encode()
    (tmp_path / "w.safetensors").write_bytes(
        struct.pack("<Q", len(header)) + header + values.tobytes()
    )
    for name in ("w.npz", "w.pth", "w.safetensors"):
        assert_same(load_checkpoint(tmp_path / name), {"w": expected})


def test_safetensors_by_content(tmp_path):
    path = tmp_path / "weights.bin"
    st.save({"module.w": st.tensor([1.0, 2.0])}, path)
    assert_same(load_checkpoint(path), {"w": np.array([1, 2], np.float32)})


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_npz(tmp_path, write):
    arrays = {
        "float16": np.linspace(0, 1, 6, dtype=np.float16),
        "float32": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
        "float64": np.arange(3.0)[::-1],
        "big": np.arange(3, dtype=">f4"),
        "int64": np.array(7),
        "int8": np.arange(-3, 3, dtype=np.int8),
        "uint16": np.array([65535], np.uint16),
        "uint8": np.zeros((0, 3), np.uint8),
        "bool": np.array([True, False]),
        "layer/weight": np.ones((1, 1, 1, 1), np.float32),
    }
    write(tmp_path / "w.npz", **arrays)
    widened = {"float16": "float32", "int8": "int64", "uint16": "int64", "big": "float32"}
    expected = {name: a.astype(widened.get(name, a.dtype)) for name, a in arrays.items()}
    assert_same(load_checkpoint(tmp_path / "w.npz"), expected)


def test_zip64(tmp_path, monkeypatch):
    """The sizes and offsets of archives over 4 GiB, written for a small one."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 10)
    path = tmp_path / "w.npz"
    np.savez(path, a=np.arange(3.0), b=np.arange(4))
    assert path.read_bytes().count(b"PK\6\6") == 1
    assert_same(load_checkpoint(path), {"a": np.arange(3.0), "b": np.arange(4)})


# --- Conversion ---------------------------------------------------------------------------------


def test_convert(tmp_path):
    source, target = tmp_path / "w.npz", tmp_path / "w.safetensors"
    np.savez(source, **{"module.w": np.arange(3.0)})
    checkpoint.convert(source, target)
    assert_same(st.load(target), {"w": np.arange(3.0)})
    with pytest.raises(st.ArgumentError, match="safetensors"):
        checkpoint.convert(source, tmp_path / "w.pth")


def test_convert_from_the_command_line(tmp_path, capsys):
    source, target = tmp_path / "w.npz", tmp_path / "w.safetensors"
    np.savez(source, w=np.ones((2, 3), np.float32))
    assert main(["convert", str(source), str(target), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["elements"] == 6
    source.write_bytes(b"nothing")
    assert main(["convert", str(source), str(target)]) == 2
    assert "load_checkpoint" in capsys.readouterr().err


# --- Published weights --------------------------------------------------------------------------

CONTENT = bytes(range(256)) * 4000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT, with ranges unless the path says not to."""

    requests: list[str | None] = []  # noqa: RUF012

    def do_GET(self):
        wanted = self.headers.get("Range")
        self.requests.append(wanted)
        start = 0
        if wanted and "plain" not in self.path:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        short = "short" in self.path or ("cut" in self.path and not start)
        self.wfile.write(CONTENT[start : start + 1000] if short else CONTENT[start:])

    def log_message(self, *args):
        pass


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A server for one registered file; gives a function that registers its path and hash."""
    monkeypatch.setenv("STRIATE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "*")
    Server.requests = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def register(path="file.pth", digest=DIGEST):
        url = f"http://127.0.0.1:{server.server_port}/{path}"
        monkeypatch.setitem(weights.WEIGHTS, "test", weights.Weights(url, digest))

    yield register
    server.shutdown()
    server.server_close()


def test_registry_names_files_by_their_hash():
    for name, entry in weights.WEIGHTS.items():
        stem, _, digest = entry.file.rpartition(".")[0].rpartition("-")
        assert entry.sha256.startswith(digest), name
        assert stem.replace("-owt", "") == name
        assert len(entry.sha256) in (8, 64)


def test_registry_hashes_equal_the_real_files(data_dir):
    for name in ("resnet20", "resnet32", "resnet56"):
        entry = weights.WEIGHTS[name]
        content = (data_dir / "cifar_resnet" / entry.file).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry.sha256


def test_fetch_downloads_once(registry):
    registry()
    path = weights.fetch("test")
    assert path.read_bytes() == CONTENT
    assert path == weights.cache_dir() / "file.pth"
    assert weights.resolve("test") == path
    assert Server.requests == [None]
    assert [file.name for file in path.parent.iterdir()] == ["file.pth"]


@pytest.mark.parametrize("path", ["file.pth", "plain.pth"])
def test_fetch_resumes(registry, path):
    registry(path)
    partial = weights.cache_dir() / f"{path}.part"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(CONTENT[:5000])
    assert weights.fetch("test").read_bytes() == CONTENT
    assert Server.requests == ["bytes=5000-"]


def test_fetch_of_a_complete_part(registry):
    registry()
    partial = weights.cache_dir() / "file.pth.part"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(CONTENT)
    assert weights.fetch("test").read_bytes() == CONTENT


def test_fetch_goes_on_after_a_broken_connection(registry):
    registry("short.pth")
    for _ in range(2):
        with pytest.raises(st.Error, match=r"at byte [12]000 of 1024000\. The next try goes on"):
            weights.fetch("test")
    assert Server.requests == [None, "bytes=1000-"]
    assert not (weights.cache_dir() / "short.pth").exists()
    registry("cut.pth")
    with pytest.raises(st.Error, match="the connection ended at byte 1000"):
        weights.fetch("test")
    assert weights.fetch("test").read_bytes() == CONTENT


def test_fetch_shows_its_progress_on_a_terminal(registry, capsys, monkeypatch):
    pytest.importorskip("rich", reason="draws the bar")
    registry()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    weights.fetch("test")
    captured = capsys.readouterr()
    assert "file.pth" in captured.err
    assert "1.0/1.0 MB" in captured.err
    assert not captured.out


def test_fetch_refuses_a_wrong_hash(registry):
    registry(digest="0" * 64)
    for _ in range(2):  # nothing of the first is taken up by the second
        with pytest.raises(st.FormatError, match="SHA-256"):
            weights.fetch("test")
    assert Server.requests == [None, None]


def test_offline_message_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("STRIATE_HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "*")
    entry = weights.Weights("http://127.0.0.1:9/resnet50-0676ba61.pth", "0676ba61")
    monkeypatch.setitem(weights.WEIGHTS, "resnet50", entry)
    with pytest.raises(st.Error, match="by hand") as caught:
        weights.fetch("resnet50")
    assert isinstance(caught.value, ConnectionError)
    assert entry.url in str(caught.value)
    target = tmp_path / "weights" / "resnet50-0676ba61.pth"
    assert str(target) in str(caught.value)
    target.write_bytes(b"by hand")
    assert weights.fetch("resnet50") == target


def test_resolve(tmp_path):
    path = tmp_path / "w.pth"
    path.touch()
    assert weights.resolve(path) == path
    assert weights.resolve(str(path)) == path
    for unknown in ("resnet51", tmp_path / "absent"):
        with pytest.raises(st.ArgumentError, match="resnet50"):
            weights.resolve(unknown)
    with pytest.raises(st.ArgumentError, match="resnet50"):
        weights.fetch("resnet51")
