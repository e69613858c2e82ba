"""Memory does not grow with the number of training steps. `tests/long/soak.py` does this for longer and more uses."""

import subprocess
import sys

CODE = """
import os, torch
from pathlib import Path
from spectromer import Picture
from spectromer.config import TrainConfig
from spectromer.learning.design import Design
from spectromer.learning.step import TrainingStep
from spectromer.learning.targets import Targets
from spectromer.shards.batches import Batches
from spectromer.shards.feeds import Feed
from spectromer.shards.sources import load_simulated

torch.set_num_threads(1)
shards = load_simulated(512, seed=0, progress=False)
targets = Targets.fit(("class", "z"), shards.believed)
picture = Picture.of("strips", 64, panels=4)
design = Design("test_vit", picture, targets)
step = TrainingStep(design.build(), design.transform(), TrainConfig(model="test_vit", picture=picture), 10000)
feed = Feed(Batches(shards, batch_size=16), targets.encode(shards.believed))
memory = []
for epoch in range(14):
    for spectra, labels in feed:
        step(spectra, labels)
    with step.averaged():
        step.validate(spectra, labels)
    step.take_totals()
    memory.append(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20)
print(*memory)
"""


def test_training_does_not_grow() -> None:
    """After the first epochs, in which allocators take what they keep, 320 more steps take less than 16 MiB."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    memory = [int(word) for word in done.stdout.split()]
    assert max(memory[4:]) - memory[3] < 16, memory
