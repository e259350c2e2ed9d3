"""The training loop of ``striate train``, for use from Python as well.

A run is a function of its `Settings`, its data and the weights that it starts from: new weights
come from the seed, the order of the images follows from (seed, epoch), what chance does to an image
from (seed, epoch, index), and no kernel's result depends on the number of threads. A checkpoint
holds all the rest, so a run that was stopped and resumed ends with the same bytes as one that was
not. With the schedule "step" the learning rate does not depend on the number of epochs; such a run
can be continued with a larger one.
"""

from striate.train.checkpoint import CHECKPOINT_VERSION, Progress, load_model, read_checkpoint
from striate.train.datasets import DATASETS, MODELS, image_transform, load_dataset
from striate.train.evaluation import Evaluation, evaluate
from striate.train.settings import Settings, recipe
from striate.train.trainer import Trainer

__all__ = [
    "CHECKPOINT_VERSION",
    "DATASETS",
    "MODELS",
    "Evaluation",
    "Progress",
    "Settings",
    "Trainer",
    "evaluate",
    "image_transform",
    "load_dataset",
    "load_model",
    "read_checkpoint",
    "recipe",
]
