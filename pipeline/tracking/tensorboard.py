"""TensorBoard: a folder of events for each run, which `tensorboard --logdir outputs/tensorboard` shows together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.report.privacy import privacy_of
from pipeline.run_dir import Run
from pipeline.schema import Config
from pipeline.tracking.parts import epochs, name_of, settings_of


def log(config: Config, run: Run) -> str:
    """Settings and scores as a row of the table of hyperparameters, scores and pictures by their names."""
    from torch.utils.tensorboard import SummaryWriter

    folder = Path(config.tracking.dir or Path(config.paths.outputs) / "tensorboard") / name_of(run)
    settings = settings_of(run)
    with SummaryWriter(str(folder)) as writer:
        writer.add_hparams(settings | {"status": run.record["status"]}, run.metrics, run_name=".")
        for name, epoch, value in epochs(run):
            writer.add_scalar(name, value, epoch)
        for stage, name, file in privacy_of(run).pictures(run.pictures):
            with Image.open(file) as picture:
                writer.add_image(f"{stage}/{name}", np.asarray(picture.convert("RGB")), dataformats="HWC")
    return str(folder)
