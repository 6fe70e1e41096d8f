"""The page as one file of HTML: a template, its style and its script, with nothing to load."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from packaging.version import Version

from compat.axes import DEFAULT
from compat.report import view
from compat.report.devices import DEVICES
from compat.report.model import Column, State, Symbol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from compat.report.model import Answer, Device, Minor
    from compat.report.view import Sources

_FOLDER = Path(__file__).parent
_LEGEND = {
    Symbol.VALIDATED: "validated with this code",
    Symbol.STALE: "stale or old, needs another run",
    Symbol.FAILS: "fails, or was withdrawn",
    Symbol.OPEN: "never run, or unscheduled: no host",
}


@dataclass(frozen=True, slots=True)
class Reader:
    """Whom the page speaks to before anybody has chosen."""

    vllm: str
    device: Device
    runner: str


def render(sources: Sources) -> str:
    """The whole page."""
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["age"] = age
    minors, answers = view.minors(sources), view.answers(sources)
    reader = first_reader(minors)
    style, script = (_text(name) for name in ("page.css", "page.js"))
    return environment.get_template("page.html.j2").render(
        style=style,
        script=script,
        policy={"style": _hash(style), "script": _hash(script)},
        minors=minors,
        lookup=lookup(minors, answers),
        reader=reader,
        answer=next(a.sentence for a in answers if _is_for(a, reader)),
        devices=DEVICES,
        columns=tuple(Column),
        legend=_LEGEND,
        State=State,
        yardstick=sources.yardstick,
    )


def lookup(minors: Sequence[Minor], answers: Sequence[Answer]) -> dict[str, object]:
    """The table in which the script looks sentences up; it decides nothing."""
    sentences: dict[str, dict[str, dict[str, tuple[str, str, str | None]]]] = {}
    for answer in answers:
        of = answer.sentence
        by_device = sentences.setdefault(answer.vllm, {}).setdefault(answer.device, {})
        by_device[answer.runner] = (of.symbol.name.lower(), of.text, of.command)
    return {
        "releases": {
            **{release.vllm: release.vllm for minor in minors for release in minor.releases},
            **{minor.series: minor.head.vllm for minor in minors},
        },
        "devices": {name: d.id for d in DEVICES for name in (d.id, *d.aliases)},
        "sentences": sentences,
    }


def first_reader(minors: Sequence[Minor]) -> Reader:
    """Most run the newest release on a GPU of the newest kind that the matrix names."""
    newest = max((minor.head.vllm for minor in minors), key=Version)
    device = next(device for device in DEVICES if device.id == "h200")
    return Reader(newest, device, DEFAULT)


def age(days: int | None) -> str:
    """Days in words."""
    if days is None:
        return "age not known"
    return "today" if days < 1 else f"{days} day{'s' if days > 1 else ''} ago"


def _is_for(answer: Answer, reader: Reader) -> bool:
    wanted = (reader.vllm, reader.device.id, reader.runner)
    return (answer.vllm, answer.device, answer.runner) == wanted


def _text(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8").strip()


def _hash(text: str) -> str:
    """The hash by which a content security policy names an inline part."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
