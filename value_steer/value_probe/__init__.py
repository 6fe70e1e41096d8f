"""The value head, what it was trained on, and the files it lives in."""

from value_steer.value_probe.card import CalibrationCurve, FeatureSpec, HeadCard, Polarity
from value_steer.value_probe.checkpoint import load_value_head, save_value_head
from value_steer.value_probe.fingerprint import SettingsFingerprint
from value_steer.value_probe.head import Architecture, ValueHead
from value_steer.value_probe.polarity import OrientedHead, oriented

__all__ = [
    "Architecture",
    "CalibrationCurve",
    "FeatureSpec",
    "HeadCard",
    "OrientedHead",
    "Polarity",
    "SettingsFingerprint",
    "ValueHead",
    "load_value_head",
    "oriented",
    "save_value_head",
]
