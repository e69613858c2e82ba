"""The loop over the epochs of a training: progress, validation, logs and checkpoints."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from lightning.fabric.loggers.csv_logs import CSVLogger
from lightning.fabric.loggers.logger import Logger
from lightning.fabric.loggers.tensorboard import TensorBoardLogger
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from spectromer.config import LoggerName, TrainConfig
from spectromer.errors import DependencyError
from spectromer.learning.checkpoints import Checkpoints, Place, save_weights
from spectromer.learning.parallel import Agreement
from spectromer.learning.step import TrainingStep
from spectromer.runs import RunFolder
from spectromer.shards.feeds import Feed

__all__ = ["fit", "make_logger"]

_BETWEEN = 0.2  # seconds between two changes of the progress bar
_ASKED = 10  # steps after which several processes agree whether to save or to stop
_SAVE, _STOP = 1, 2


def make_logger(name: LoggerName, folder: Path) -> Logger:
    """Make the logger with the given name, for a run in the given folder.

    Raises
    ------
    DependencyError
        If its package is not installed.
    """
    if name == "tensorboard":
        return TensorBoardLogger(folder, name="tensorboard", version="")
    if name == "csv":
        return CSVLogger(folder, name="csv", version="")
    from lightning.pytorch.loggers import MLFlowLogger, WandbLogger

    try:
        if name == "wandb":
            return WandbLogger(name=folder.name, save_dir=folder)
        return MLFlowLogger(experiment_name="spectromer", run_name=folder.name, save_dir=str(folder / "mlruns"))
    except ModuleNotFoundError as error:
        raise DependencyError(f"--logger {name} needs {name}: pip install 'spectromer[{name}]'") from error


class _Bar:
    """A progress bar over all steps of a training, which counts epochs from 1."""

    def __init__(self, done: int, steps: int, epochs: int, shown: bool) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}"),
            disable=not shown,
        )
        self._epochs, self._shown = epochs, 0.0
        self._task = self._bar.add_task("training", total=steps * epochs, completed=done, losses="")

    def __enter__(self) -> "_Bar":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def advance(self, epoch: int, done: int) -> None:
        """Show the number of steps done, in the given epoch."""
        now = time.monotonic()
        if now - self._shown >= _BETWEEN or done == self._bar.tasks[0].total:
            self._bar.update(self._task, description=f"epoch {epoch + 1} of {self._epochs}", completed=done)
            self._shown = now

    def losses(self, train: float, val: float) -> None:
        """Show the losses of an epoch."""
        self._bar.update(self._task, losses=f"loss {train:.3f}, validation {val:.3f}")


@contextmanager
def _interrupted() -> Iterator[threading.Event]:
    """An event that the first ^C sets, so that the step can be finished. The second one stops at once."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = signal.getsignal(signal.SIGINT)

    def stop(*_: object) -> None:
        event.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, stop)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)


def _log(logger: Logger, losses: dict[str, float], step: int) -> None:
    """Log the losses of an epoch, so that they are on disk."""
    logger.log_metrics(losses, step)
    logger.save()


def fit(
    step: TrainingStep, feeds: tuple[Feed, Feed], run: RunFolder, config: TrainConfig, fabric: Fabric, place: Place
) -> dict[str, Any]:
    """Train for the epochs that are left, and write checkpoints, logs and the weights to the run folder.

    Parameters
    ----------
    step : TrainingStep
        The step.
    feeds : (Feed, Feed)
        The feeds of the training and validation splits.
    run : RunFolder
        The run folder.
    config : TrainConfig
        Options of the training.
    fabric : Fabric
        The processes. The first one writes.
    place : Place
        The place where the training begins, which is moved to its end.

    Returns
    -------
    dict
        Statistics of the training.
    """
    train, val = feeds
    epochs = config.epochs or 0
    if place.processes != fabric.world_size and place.batch:
        print(f"The number of processes has changed: epoch {place.epoch + 1} begins again.")
        place.batch = 0
        step.count = place.epoch * len(train)
        step.totals.zero_()
    elif fabric.global_rank > 0:
        step.totals.zero_()  # a checkpoint holds the sums of all processes
    place.processes = fabric.world_size
    train.load_state_dict({"epoch": place.epoch, "batch": place.batch})
    leading = fabric.global_rank == 0
    checkpoints = Checkpoints(run.last if leading else None, config.save_minutes)
    logger = make_logger(config.logger, run.path) if leading else None
    if isinstance(logger, CSVLogger):  # it begins a new file
        for row in place.history:
            epoch = int(row["epoch"])
            _log(logger, {name: value for name, value in row.items() if name != "epoch"}, epoch * len(train))
    agreed = Agreement(_ASKED)
    first, seconds = step.count, 0.0
    with _Bar(step.count, len(train), epochs, shown=leading) as bar, _interrupted() as interrupted:

        def keep(now: bool = False, last: bool = False) -> None:
            """Write a checkpoint if it is time, or the `last`. After ^C, write one and stop."""
            wish = _STOP if interrupted.is_set() else _SAVE if last or checkpoints.due() else 0
            found = agreed(wish, now)
            if found:
                place.step = step.count
                checkpoints.save(step, place)
            if found == _STOP:
                checkpoints.wait()
                agreed.wait()
                raise KeyboardInterrupt

        try:
            for epoch in range(place.epoch, epochs):
                started = time.perf_counter()
                for spectra, labels in train:
                    step(spectra, labels)
                    bar.advance(epoch, step.count)
                    place.batch = train.state_dict()["batch"]
                    if place.batch:  # it is not the end of the epoch
                        keep()
                losses = {f"train/{name}": value for name, value in step.take_totals().items()}
                seconds += time.perf_counter() - started
                with step.averaged():
                    for spectra, labels in val:
                        step.validate(spectra, labels)
                losses |= {f"val/{name}": value for name, value in step.take_totals().items()}
                place.epoch, place.batch = epoch + 1, 0
                place.history.append({"epoch": epoch + 1, **losses})
                bar.losses(losses["train/loss"], losses["val/loss"])
                if logger is not None:
                    _log(logger, losses, step.count)
                keep(now=True, last=epoch + 1 == epochs)
        finally:
            step.close()
    checkpoints.wait()
    if leading:
        save_weights(run.weights, step.weights())
    if logger is not None:
        logger.finalize("success")
    fabric.barrier()
    return {
        "epochs": epochs,
        "steps": step.count,
        "seconds": round(seconds, 1),
        "milliseconds_per_step": round(1000.0 * seconds / max(1, step.count - first), 1),
        "parameters": sum(p.numel() for p in step.model.parameters()),
        "processes": fabric.world_size,
        "torch_threads": torch.get_num_threads(),
    }
