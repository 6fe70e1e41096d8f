"""vLLM's offline engine, made to capture, as a user's script would make it.

It touches nothing of vLLM but ``LLM`` and ``SamplingParams``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import vllm
from vllm import LLM, SamplingParams

from value_steer.errors import ValueSteerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from value_steer.features.engine import Engine, Sampling

VERSION: str = vllm.__version__


@dataclass(frozen=True, slots=True)
class EngineFactory:
    """Makes the engine where it is called: here, or in a replica on another machine.

    Attributes:
        model: Folder of the model.
        options: Arguments of ``vllm.LLM``.
        sampling: Arguments of ``vllm.SamplingParams``.
    """

    model: str
    options: Mapping[str, Any]
    sampling: Mapping[str, Any]

    def __call__(self) -> tuple[Engine, Sampling]:
        """The engine, and how it is to sample.

        Raises:
            ValueSteerError: vLLM does not start; its own log has the reason.
        """
        try:
            engine = LLM(model=self.model, **self.options)
        except ValueSteerError:
            raise
        except (RuntimeError, ValueError, TypeError) as error:
            msg = (
                f"vLLM does not start with {self.model} ({error}); the reason stands above in "
                "vLLM's log; --llm takes further arguments of the engine"
            )
            raise ValueSteerError(msg) from error
        return engine, SamplingParams(**self.sampling)
