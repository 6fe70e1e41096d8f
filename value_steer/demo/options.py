"""Options of a demonstration."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeAlias

from value_steer.errors import SettingsError

Mode: TypeAlias = Literal["vfd", "abstain"]
"""A section of ``additional_config``."""


class Backend(str, Enum):
    """The back end that serves."""

    VLLM = "vllm"
    REFERENCE = "reference"

    @classmethod
    def installed(cls) -> Backend:
        """The real engine where vLLM is installed, else the reference decoder."""
        return cls.VLLM if find_spec("vllm") else cls.REFERENCE


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoOptions:
    """Settings of a demonstration.

    Attributes:
        folder: Where the model, the head and the plot go.
        seed: Two runs with the same seed, versions and machine give the same figures.
        backend: What serves; by default vLLM, where it is installed.
        alpha: Bound on the share of good texts that value filtering may touch.
        abstain_reward: What abstaining is worth, in units of the probability of a good text.
        num_candidates: Draws per token at most.
        model_steps: Training steps of the language model.
        training: Labelled texts that the head is trained on.
        calibration: Labelled texts that its thresholds are calibrated on.
        fresh: Texts that the bound is checked on.
        served: Prompts that are served in each mode.

    Raises:
        SettingsError: A setting is out of range; all that are, are listed.
    """

    folder: Path = Path("value-steer-demo")
    seed: int = 0
    backend: Backend = field(default_factory=Backend.installed)
    alpha: float = 0.05
    abstain_reward: float = 0.3
    num_candidates: int = 8
    model_steps: int = 300
    training: int = 2000
    calibration: int = 1500
    fresh: int = 2500
    served: int = 300

    def __post_init__(self) -> None:
        prompts = self.training + self.calibration + self.fresh
        wrong = [
            f"{name} = {getattr(self, name)!r} must be {what}"
            for name, what, holds in (
                ("seed", "at least 0", self.seed >= 0),
                ("alpha", "between 0 and 1", 0 < self.alpha < 1),
                ("abstain_reward", "between 0 and 1", 0 < self.abstain_reward < 1),
                ("num_candidates", "at least 1", self.num_candidates >= 1),
                ("model_steps", "at least 10", self.model_steps >= 10),
                ("training", "at least 100", self.training >= 100),
                ("calibration", "at least 100", self.calibration >= 100),
                ("fresh", "at least 100", self.fresh >= 100),
                ("served", "from 1 to fresh", 1 <= self.served <= self.fresh),
            )
            if not holds
        ]
        if prompts > MOST_PROMPTS:
            wrong.append(
                f"training + calibration + fresh = {prompts} must be at most {MOST_PROMPTS}, "
                "because every prompt is another one"
            )
        if wrong:
            msg = f"demo options: {'; '.join(wrong)}"
            raise SettingsError(msg)

    @property
    def model_folder(self) -> Path:
        """Where the language model goes."""
        return self.folder / "model"

    @property
    def head_file(self) -> Path:
        """Where the value head goes."""
        return self.folder / "vhead.safetensors"

    def section(self, mode: Mode) -> dict[str, str | float]:
        """A section of ``additional_config`` that serves the demo's head."""
        own = {
            "vfd": {"alpha": self.alpha, "num_candidates": self.num_candidates},
            "abstain": {"abstain_reward": self.abstain_reward},
        }
        return {"value_head_path": str(self.head_file), **own[mode]}


MOST_PROMPTS = 10_000
"""Of the beginnings that the grammar has, as many as are found quickly."""
