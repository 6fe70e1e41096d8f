"""A language model as a judge, behind any OpenAI-compatible endpoint."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import openai

from value_steer.labels.errors import JudgeError
from value_steer.labels.judge_prompts import SAFETY, JudgePrompt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from openai.types import Model

    from value_steer.features.records import Response

logger = logging.getLogger("value_steer")


@dataclass(frozen=True, slots=True)
class JudgeServer:
    """Where the judge is, and how it is asked.

    Attributes:
        base_url: Of the endpoint, such as ``http://localhost:8000/v1``.
        model: Identifier of the model; ``None`` takes the first that is served.
        api_key: What the server wants to see; servers of one's own want nothing.
        concurrency: Questions at a time.
        retries: Of a question whose connection failed, or that the server was too busy for.
        seconds: For one attempt.
        max_tokens: Of an answer.
    """

    base_url: str
    model: str | None = None
    api_key: str = "none"
    concurrency: int = 16
    retries: int = 5
    seconds: float = 120.0
    max_tokens: int = 8


class LLMJudge:
    """Asks a model for one word about each response.

    A server that is vLLM is held to the two words by structured output. Of others an answer may be
    neither; then the label is that of the bad word, as in the paper, and the number of such
    answers is logged.

    Args:
        server: Where the judge is.
        prompt: What it is asked.
    """

    def __init__(self, server: JudgeServer, prompt: JudgePrompt = SAFETY) -> None:
        self._server = server
        self._prompt = prompt
        self.name = prompt.name
        self._client = openai.OpenAI(
            base_url=server.base_url,
            api_key=server.api_key,
            max_retries=server.retries,
            timeout=server.seconds,
        )

    def label(self, responses: Sequence[Response]) -> list[float]:
        """See :class:`value_steer.labels.verifier.Verifier`.

        Raises:
            JudgeError: The server cannot be reached, or refuses a question.
        """
        verdicts = [self._prompt.read(answer) for answer in self._answers(responses)]
        unclear = verdicts.count(None)
        if unclear:
            logger.warning(
                "the judge answered neither %r nor %r to %d of %d questions, which count as %r",
                self._prompt.good,
                self._prompt.bad,
                unclear,
                len(verdicts),
                self._prompt.bad,
            )
        return [float(verdict is True) for verdict in verdicts]

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _answers(self, responses: Sequence[Response]) -> list[str]:
        try:
            model = self._model
            with ThreadPoolExecutor(self._server.concurrency) as pool:
                running = [pool.submit(self._ask, model, response) for response in responses]
                try:
                    return [future.result() for future in running]
                finally:
                    for future in running:
                        future.cancel()
        except openai.OpenAIError as error:
            msg = (
                f"the judge at {self._server.base_url} failed, {self._server.retries} retries "
                f"included: {error}; check that it runs, its URL (it ends in /v1) and its model"
            )
            raise JudgeError(msg) from error

    def _ask(self, model: Model, response: Response) -> str:
        words = [self._prompt.good, self._prompt.bad]
        choice = {"structured_outputs": {"choice": words}} if model.owned_by == "vllm" else None
        completion = self._client.chat.completions.create(
            model=model.id,
            messages=[{"role": "user", "content": self._prompt.question(response)}],
            temperature=0.0,
            max_tokens=self._server.max_tokens,
            extra_body=choice,
        )
        return completion.choices[0].message.content or ""

    @cached_property
    def _model(self) -> Model:
        """The model that judges, as the server describes it."""
        served = list(self._client.models.list())
        wanted = self._server.model
        found = next((model for model in served if wanted in {None, model.id}), None)
        if found is None:
            names = ", ".join(model.id for model in served) or "none"
            msg = f"{self._server.base_url} does not serve {wanted!r}; it serves: {names}"
            raise JudgeError(msg)
        return found
