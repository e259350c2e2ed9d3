"""Forks, threads, the GIL, and life beside other libraries' thread pools."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

import striate as st
from striate import models


def python(code: str, timeout: float = 60) -> str:
    """Runs code in a fresh process; its failure is the test's."""
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_fork_after_use(threads):
    """A child runs and trains a network with the same bits, and so does its parent afterwards."""
    code = f"""
        import os, sys
        import numpy as np, striate as st
        from striate import models
        import striate.nn.functional as F
        st.set_num_threads({threads})
        st.manual_seed(0)
        model = models.lenet5()
        x = st.rand((64, 1, 32, 32))
        labels = st.tensor(np.arange(64) % 10)
        def run():
            model.zero_grad()
            loss = F.nll_loss(model(x), labels)
            loss.backward()
            return b"".join(p.grad.numpy().tobytes() for p in model.parameters())
        expected = run()
        for _ in range(3):
            pid = os.fork()
            if pid == 0:
                os._exit(0 if run() == expected else 1)
            assert os.waitpid(pid, 0)[1] == 0
            assert run() == expected
    """
    python(code)


def test_multiprocessing_pool_by_fork():
    code = """
        import multiprocessing as mp
        import numpy as np, striate as st
        a = st.rand((300, 300))
        total = (a @ a).sum().item()
        def work(i):
            return (a @ a).sum().item()
        if __name__ == "__main__":
            with mp.get_context("fork").Pool(2) as pool:
                assert pool.map(work, range(4)) == [total] * 4
    """
    python(code)


def test_fork_while_another_thread_computes():
    """The child inherits no lock that nobody in it will ever release."""
    code = """
        import os, threading
        import striate as st
        st.set_num_threads(2)
        a = st.rand((400, 400))
        stop = False
        def work():
            while not stop:
                a @ a
        thread = threading.Thread(target=work)
        thread.start()
        for _ in range(20):
            pid = os.fork()
            if pid == 0:
                (a @ a).sum().item()
                st.zeros((1000, 1000))
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
        stop = True
        thread.join()
    """
    python(code)


def test_the_gil_is_released_while_a_kernel_runs(restore_threads):
    st.set_num_threads(1)
    a = st.rand((2000, 2000))
    a @ a
    ticks, running = [], threading.Event()

    def work():
        running.set()
        for _ in range(3):
            a @ a
        running.clear()

    thread = threading.Thread(target=work)
    thread.start()
    running.wait()
    while running.is_set():
        ticks.append(time.perf_counter())
        time.sleep(0.001)
    thread.join()
    total = ticks[-1] - ticks[0]
    pauses = np.diff(ticks)
    # Held throughout, the lock would allow a tick only between two products.
    assert len(ticks) > 6
    assert pauses.max() < total / 2


def test_two_threads_share_a_model():
    st.manual_seed(0)
    model = models.lenet5().eval()
    inputs = [st.rand((n, 1, 32, 32)) for n in (1, 7, 64, 65)]
    with st.no_grad():
        expected = [model(x).numpy().tobytes() for x in inputs]
    results: list[bool] = []

    def work():
        with st.no_grad():
            for _ in range(20):
                for x, y in zip(inputs, expected, strict=True):
                    results.append(model(x).numpy().tobytes() == y)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3 * 20 * 4
    assert all(results)


def test_first_use_from_many_threads():
    """Lazy initialisation (instruction set, pool, packed weights) races nobody."""
    code = """
        import threading
        import striate as st
        from striate import models
        st.manual_seed(0)
        model, x = models.lenet5().eval(), st.rand((32, 1, 32, 32))
        barrier, out = threading.Barrier(6), []
        def work():
            barrier.wait()
            out.append(model(x).detach().numpy().tobytes())
        threads = [threading.Thread(target=work) for _ in range(6)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        assert len(out) == 6 and len(set(out)) == 1
    """
    python(code)


@pytest.mark.parametrize("order", [("torch", "striate"), ("striate", "torch")])
def test_beside_torch(order):
    pytest.importorskip("torch", reason="needs torch to live beside")
    code = f"""
        import {order[0]}, {order[1]}
        import numpy as np, os, torch, striate as st
        for _ in range(3):
            a = np.random.default_rng(0).integers(-8, 9, (300, 300)).astype(np.float32)
            ours = (st.tensor(a) @ st.tensor(a)).numpy()
            theirs = (torch.tensor(a) @ torch.tensor(a)).numpy()
            assert (ours == theirs).all() and (ours == a @ a).all()
        pid = os.fork()
        if pid == 0:
            assert ((st.tensor(a) @ st.tensor(a)).numpy() == ours).all()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    """
    python(code)


def test_thread_count():
    before = st.get_num_threads()
    try:
        assert 1 <= before <= (os.cpu_count() or 1)
        st.set_num_threads(3)
        assert st.get_num_threads() == 3
    finally:
        st.set_num_threads(before)


def test_default_threads_follow_the_affinity():
    code = """
        import os
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        import striate as st
        assert st.get_num_threads() == 1, st.get_num_threads()
    """
    python(code)


def test_import_is_quick_and_light():
    """Under 100 ms beyond NumPy's, best of five; and nothing heavy is imported."""
    code = """
        import sys, time
        import numpy
        start = time.perf_counter()
        import striate
        print(time.perf_counter() - start)
        heavy = {"torch", "sklearn", "PIL", "rich", "matplotlib", "safetensors", "asyncio"}
        assert not heavy & set(sys.modules), heavy & set(sys.modules)
    """
    assert min(float(python(code)) for _ in range(5)) < 0.1


def test_threads_end_with_the_process():
    start = time.perf_counter()
    python("import striate as st; a = st.rand((500, 500)); a @ a")
    assert time.perf_counter() - start < 20
