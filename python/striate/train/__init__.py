"""The training loop of ``striate train``, for use from Python as well.

A run is a function of its `Settings`, its data and the weights that it starts from: new weights
come from the seed, the order of the images follows from (seed, epoch), what chance does to an image
from (seed, epoch, index), what is mixed with what from (seed, epoch, step), and no kernel's result
depends on the number of threads. A checkpoint holds all the rest, so a run that was stopped and
resumed ends with the same bytes as one that was not. With the schedule "step" the learning rate
does not depend on the number of epochs; such a run can be continued with a larger one.
"""

from striate.train.checkpoint import (
    CHECKPOINT_VERSION,
    Checkpoint,
    Progress,
    load_model,
    read_checkpoint,
)
from striate.train.datasets import DATASETS, image_transform, input_shape, load_dataset
from striate.train.evaluation import Evaluation, evaluate
from striate.train.fit import EpochReport, Files, fit
from striate.train.folder import load_folder
from striate.train.kinds import MODELS
from striate.train.optimizing import parameter_groups
from striate.train.settings import OPTIMIZERS, SCHEDULES, Settings, recipe
from striate.train.trainer import Trainer

__all__ = [
    "CHECKPOINT_VERSION",
    "DATASETS",
    "MODELS",
    "OPTIMIZERS",
    "SCHEDULES",
    "Checkpoint",
    "EpochReport",
    "Evaluation",
    "Files",
    "Progress",
    "Settings",
    "Trainer",
    "evaluate",
    "fit",
    "image_transform",
    "input_shape",
    "load_dataset",
    "load_folder",
    "load_model",
    "parameter_groups",
    "read_checkpoint",
    "recipe",
]
