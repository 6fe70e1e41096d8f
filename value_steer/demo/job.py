"""The order that the demo gives to the process that serves."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

WORKER = "value_steer.worker.ValueSteerWorker"


@dataclass(frozen=True, slots=True)
class Job:
    """Prompts to answer, each at temperature 1 with a seed of its own.

    Attributes:
        model: Folder of the checkpoint.
        prompts: Token ids.
        seeds: One for each prompt.
        max_tokens: Response tokens at most.
        additional_config: Of value-steer; without any it is plain vLLM that serves.
    """

    model: str
    prompts: list[list[int]]
    seeds: list[int]
    max_tokens: int
    additional_config: dict[str, dict[str, Any]]

    @property
    def steering(self) -> dict[str, Any]:
        """The arguments of ``vllm.LLM`` that steer."""
        if not self.additional_config:
            return {}
        return {"worker_cls": WORKER, "additional_config": self.additional_config}

    def to_json(self) -> str:
        """The JSON that :meth:`from_json` reads back."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        """The job of another process."""
        return cls(**json.loads(text))
