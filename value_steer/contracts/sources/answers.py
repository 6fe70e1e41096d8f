"""Answers of a package index, of which no more is read or waited for than is allowed."""

from __future__ import annotations

import threading
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from value_steer.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests

Result = TypeVar("Result")

# A piece that is compressed inflates at most a thousandfold before it is counted.
_PIECE = 1 << 14
_NOT_THERE = 404


class NotThereError(ContractError):
    """The server answers that there is no such file."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question to an index, and the bounds of its answer.

    Attributes:
        address: Of the file.
        most: Bytes.
        seconds: From the first byte that is sent to the last that is received.
        span: The value of a Range header.
        encodings: The content encoding that is understood, for the Accept-Encoding header.
        accept: Content types, for the Accept header.
    """

    address: str
    most: int
    seconds: float
    span: str | None = None
    encodings: str = "identity"
    accept: str = "*/*"

    @property
    def shown(self) -> str:
        """The address for a message."""
        return shown_address(self.address)


def shown_address(address: str) -> str:
    """An address or a path for a message: without a name, a password or a token in it."""
    try:
        parts = urlsplit(address)
    except ValueError:  # brackets that do not match
        return "an address that is none"
    if not parts.scheme:
        return address[:300]
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"[:300]


def ask(
    session: requests.Session,
    question: Question,
    take: Callable[[bytes], object],
    accept: Callable[[requests.Response], object] | None = None,
) -> requests.Response:
    """Ask, and hand on the answer's content piece by piece.

    Args:
        session: To ask with; it gives up by itself where nothing is heard for long.
        question: What is asked.
        take: Gets each piece.
        accept: Sees the answer's status and headers before anything of its content is read.

    Returns:
        The answer; its content has been read.

    Raises:
        NotThereError: There is no such file.
        ContractError: No good answer came, or one beyond what is allowed.
    """
    # A server can keep a reader waiting with a byte now and then, in the headers too, and no
    # timeout of a socket ends that.
    waited = f"{question.shown} did not answer whole in {question.seconds:.0f} s; try again"
    return within(question.seconds, lambda: _read(session, question, take, accept), waited)


def within(seconds: float, work: Callable[[], Result], otherwise: str) -> Result:
    """The result of some work, which is given up if it takes too long.

    Args:
        seconds: To wait for it.
        work: What is done, in a thread that ends with the process at the latest.
        otherwise: The message of the error if it was given up.

    Raises:
        ContractError: It took too long.
    """
    outcome: Future[Result] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001  (raised again where it is waited for)
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    wait([outcome], seconds)
    if not outcome.done():
        raise ContractError(otherwise)
    return outcome.result()


def _read(
    session: requests.Session,
    question: Question,
    take: Callable[[bytes], object],
    accept: Callable[[requests.Response], object] | None,
) -> requests.Response:
    import requests  # noqa: PLC0415  (an optional extra)

    headers = {"Accept": question.accept, "Accept-Encoding": question.encodings}
    if question.span:
        headers["Range"] = question.span
    try:
        with session.get(question.address, headers=headers, stream=True) as answer:
            answer.raise_for_status()
            if accept is not None:
                accept(answer)
            _bounded(answer, question, take)
    except requests.HTTPError as error:
        status = error.response.status_code
        msg = f"{question.shown} answered with status {status}; check the address, or try again"
        kind = NotThereError if status == _NOT_THERE else ContractError
        raise kind(msg) from None  # its text has the address as it is
    except requests.RequestException as error:
        why = type(error).__name__
        msg = f"{question.shown} cannot be read ({why}); check pip's configuration and the network"
        raise ContractError(msg) from None  # the same
    return answer


def _bounded(
    answer: requests.Response, question: Question, take: Callable[[bytes], object]
) -> None:
    encoding = answer.headers.get("Content-Encoding", "identity").lower()
    if encoding not in {"identity", question.encodings}:
        msg = f"{question.shown} sent content encoded as {encoding[:40]!r}, which was not asked for"
        raise ContractError(msg)
    if _stated_length(answer) > question.most:
        raise _too_long(question)
    seen = 0
    for piece in answer.iter_content(_PIECE):
        seen += len(piece)
        if seen > question.most:
            raise _too_long(question)
        take(piece)


def _stated_length(answer: requests.Response) -> int:
    stated = answer.headers.get("Content-Length", "")
    # Python refuses to make an integer of very many digits; these are more than any file has.
    return int(stated[:20]) if stated.isdecimal() and stated.isascii() else 0


def _too_long(question: Question) -> ContractError:
    return ContractError(
        f"{question.shown} sends more than {question.most:,} bytes, which is more than it can "
        "have; check the address"
    )
