"""A language model as a judge, behind any OpenAI-compatible endpoint."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import openai

from value_steer.labels.errors import JudgeError
from value_steer.labels.judge_prompts import SAFETY, JudgePrompt
from value_steer.labels.replies import Form, Reply, read_reply
from value_steer.labels.verdict import READER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from openai.types import Model

    from value_steer.features.records import Response
    from value_steer.labels.verifier import Setting

logger = logging.getLogger("value_steer")

_SHOWN = 3
"""Unreadable answers that a warning shows."""


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
        max_tokens: Of an answer; a model that reasons first needs many. One that is cut off is
            unreadable.
        form: How it is held to the two words; ``None`` tries what the server takes, from the
            strictest on.
    """

    base_url: str
    model: str | None = None
    api_key: str = "none"
    concurrency: int = 16
    retries: int = 5
    seconds: float = 120.0
    max_tokens: int = 256
    form: Form | None = None


class LLMJudge:
    """Asks a model for one word about each response.

    A server is held to the two words by structured output where it offers that: vLLM by a choice,
    others by a JSON schema. Free text is read only where neither is taken. What cannot be read is
    no label: it is ``None``, and logged.

    Args:
        server: Where the judge is.
        prompt: What it is asked.
    """

    def __init__(self, server: JudgeServer, prompt: JudgePrompt = SAFETY) -> None:
        self._server = server
        self._prompt = prompt
        self.name = prompt.name
        self._refused: set[Form] = set()
        self._client = openai.OpenAI(
            base_url=server.base_url,
            api_key=server.api_key,
            max_retries=server.retries,
            timeout=server.seconds,
        )

    @property
    def settings(self) -> Mapping[str, Setting]:
        """See :class:`value_steer.labels.verifier.Verifier`.

        Raises:
            JudgeError: The server cannot be reached, so that its model is not known.
        """
        with self._reached():
            model = self._model
        form = self._server.form
        return {
            "verifier": "judge",
            "reader": READER,
            "model": model.id,
            "model's root": str(root) if (root := getattr(model, "root", None)) else None,
            "max_tokens": self._server.max_tokens,
            "form": "auto" if form is None else form.value,
            **asdict(self._prompt),
        }

    def label(self, responses: Sequence[Response]) -> list[float | None]:
        """See :class:`value_steer.labels.verifier.Verifier`.

        Raises:
            JudgeError: The server cannot be reached, or refuses a question.
        """
        replies = self._replies(responses)
        unclear = [reply.shown for reply in replies if reply.verdict is None]
        if unclear:
            logger.warning(
                "%d of %d answers of the judge cannot be read as %r or %r, and are no labels: %s%s",
                len(unclear),
                len(replies),
                self._prompt.good,
                self._prompt.bad,
                "; ".join(unclear[:_SHOWN]),
                "; ..." if len(unclear) > _SHOWN else "",
            )
        return [None if one.verdict is None else float(one.verdict) for one in replies]

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _replies(self, responses: Sequence[Response]) -> list[Reply]:
        with self._reached():
            model = self._model
            with ThreadPoolExecutor(self._server.concurrency) as pool:
                running = [pool.submit(self._ask, model, response) for response in responses]
                try:
                    return [future.result() for future in running]
                finally:
                    for future in running:
                        future.cancel()

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except openai.OpenAIError as error:
            msg = (
                f"the judge at {self._server.base_url} failed, {self._server.retries} retries "
                f"included: {error}; check that it runs, its URL (it ends in /v1) and its model"
            )
            raise JudgeError(msg) from error

    def _ask(self, model: Model, response: Response) -> Reply:
        forms = self._forms(model)
        for form in forms:
            try:
                body = self._asked(model, response, form)
            except (openai.BadRequestError, openai.UnprocessableEntityError):
                # It does not know this form, or will not take the question in any.
                if form is forms[-1]:
                    raise
            else:
                self._refused.update(forms[: forms.index(form)])
                return read_reply(body, form, self._prompt.good, self._prompt.bad)
        raise AssertionError(forms)

    def _forms(self, model: Model) -> list[Form]:
        """How to ask, the strictest first."""
        if self._server.form is not None:
            return [self._server.form]
        own = Form.CHOICE if model.owned_by == "vllm" else Form.JSON
        return [form for form in (own, Form.FREE) if form not in self._refused]

    def _asked(self, model: Model, response: Response, form: Form) -> bytes:
        words = self._prompt.good, self._prompt.bad
        raw = self._client.chat.completions.with_raw_response.create(
            model=model.id,
            messages=[{"role": "user", "content": self._prompt.question(response)}],
            temperature=0.0,
            extra_body=dict(form.parameters(*words, self._server.max_tokens)),
        )
        return raw.http_response.content

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
