"""The two names that training needs; the rest is in :mod:`value_steer.training`."""

from value_steer.training.checkpoint import save_probe_checkpoint
from value_steer.training.loop import train_probe

__all__ = ["save_probe_checkpoint", "train_probe"]
