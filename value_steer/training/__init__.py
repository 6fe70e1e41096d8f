"""Training a value head: losses, the loop, metrics, and the state of a run."""

from value_steer.training.checkpoint import save_probe_checkpoint
from value_steer.training.errors import TrainingError
from value_steer.training.loop import train_probe
from value_steer.training.metrics import HeadMetrics, auroc, calibration_error
from value_steer.training.options import ABSTENTION, FILTERING, TrainingOptions
from value_steer.training.report import EpochReport, TrainingReport

__all__ = [
    "ABSTENTION",
    "FILTERING",
    "EpochReport",
    "HeadMetrics",
    "TrainingError",
    "TrainingOptions",
    "TrainingReport",
    "auroc",
    "calibration_error",
    "save_probe_checkpoint",
    "train_probe",
]
