"""How much memory a network takes, and what is kept between its passes."""

from __future__ import annotations

import json
import subprocess
import sys

import striate as st
import striate.nn.functional as F
from striate._core import memory_stats
from striate.nn import Conv2d

# In a process of its own: what other tests have cached would hide what a step takes.
TRAINING = """
import json
import striate as st
import striate.nn.functional as F
from striate import models, optim
from striate._core import memory_stats

model = models.resnet18()
optimizer = optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
x, y = st.rand(4, 3, 224, 224), st.arange(4)
reserved = []
for _ in range(5):
    optimizer.zero_grad()
    F.cross_entropy(model(x), y).backward()
    optimizer.step()
    reserved.append(memory_stats()["reserved_bytes"])
print(json.dumps([reserved, memory_stats()["peak_bytes"]]))
"""


def test_a_training_step_reuses_the_pages_of_the_last():
    run = subprocess.run(
        [sys.executable, "-c", TRAINING], capture_output=True, text=True, check=True, timeout=120
    )
    reserved, peak = json.loads(run.stdout)
    assert reserved[-1] == reserved[2]
    assert reserved[-1] < 1.15 * peak


def test_a_pass_that_trains_keeps_packed_weights_from_the_second_on(on):
    """An optimizer's step would make the first one's useless, but there may be none."""
    layer = Conv2d(64, 64, 3, padding=1).to(on.device)
    x = on.ones((1, 64, 16, 16))
    start = memory_stats(on.device)["allocated_bytes"]

    def kept() -> int:
        y = layer(x)
        del y
        return int(memory_stats(on.device)["allocated_bytes"] - start)

    assert kept() == 0
    once = kept()
    if on.device == "cpu":  # others may read the weight as it is
        assert once >= 64 * 64 * 9 * 4
    assert kept() == once
    with st.no_grad():
        layer.weight.mul_(2.0)
    assert kept() == 0
    F.relu(layer(x)).sum().backward()
    layer.zero_grad()
    with st.no_grad():
        layer.weight.mul_(2.0)
        layer(x)
    assert memory_stats(on.device)["allocated_bytes"] - start == once
