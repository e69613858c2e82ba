"""Commands that are killed by SIGKILL at random moments, and started again."""

import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence


def kill_often(
    command: Callable[[], Sequence[str]], times: int, rng: random.Random, longest: float, check: Callable[[], None]
) -> int:
    """Start a verb until it was killed `times` times or has come to its end, and return the number of kills.

    Parameters
    ----------
    command : callable
        A function that returns the arguments of the next start.
    times : int
        The number of kills.
    rng : random.Random
        The source of the moments.
    longest : float
        The longest time in seconds from a start to a kill.
    check : callable
        A function that is called after each kill.
    """
    kills = 0
    while kills < times:
        process = subprocess.Popen([sys.executable, "-m", "spectromer", *command()], stdout=subprocess.DEVNULL)
        try:
            if process.wait(rng.uniform(0.0, longest)) != 0:
                sys.exit(f"it ended by itself with code {process.returncode}")
            return kills
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
            check()
    return kills


def run(arguments: Sequence[str]) -> float:
    """Run a verb to its end, and return the time in seconds that it took."""
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", "spectromer", *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - started
