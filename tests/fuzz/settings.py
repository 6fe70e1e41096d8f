"""What operators and requests ask for, what a model's folder and pip say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from compat.isolate import pip_settings
from tests.fuzz.made import TEXTS, VALUES, WORDS, changed, json_text
from tests.fuzz.target import Target, of_file, ours
from value_steer.cli.model import read_model
from value_steer.config import (
    AbstainSettings,
    RecordSettings,
    VfdSettings,
    parse_request,
    parse_settings,
)
from value_steer.contracts.sources.pip_config import parse_settings as parse_pip
from value_steer.http.controls import parsed

if TYPE_CHECKING:
    from pathlib import Path

_HEAD = {"value_head_path": "h.pt", "threshold": 0.5}
_CONFIG = {
    "abstain": {**_HEAD, "min_tokens": 2, "patience": 1},
    "vfd": {**_HEAD, "num_candidates": 4, "fallback": "least_bad"},
    "record": {"directory": "traffic", "share": 0.01, "max_bytes": 1 << 20},
    "other": 1,
}
_REQUEST = {
    "steer": "true",
    "abstain_threshold": "0.3",
    "vfd_threshold": 0.5,
    "vfd_num_candidates": 4.0,
    "steer_values": 1,
    "steer_test": "abstain",
    "steering_vector": [1],
}
_KEYS = st.sampled_from(
    [
        *AbstainSettings.__dataclass_fields__,
        *VfdSettings.__dataclass_fields__,
        *RecordSettings.__dataclass_fields__,
        *_REQUEST,
    ]
)
_NUMBERS = st.sampled_from(["nan", "-1", "1e999", "٣", "1_0", " 1", "9" * 5000, "0x1", "", "∞"])
_ASKED = st.dictionaries(_KEYS | WORDS | TEXTS, VALUES | _NUMBERS, max_size=6)
_MODEL = {
    "hidden_size": 8,
    "architectures": ["A"],
    "text_config": {"n_embd": 4},
    "llm_config": {"d_model": 4},
}


def _additional(_: Path, made: Any) -> None:
    ours(lambda: [parse_settings(made)])


def _request(_: Path, made: Any) -> None:
    ours(lambda: [parse_request(made)])


def _thresholds(_: Path, made: bytes) -> None:
    ours(lambda: [parsed(made, {"abstain": {}})])


_SECTION = st.sampled_from(["global", "install", ":env:", "download", ""])
_OPTION = st.sampled_from(
    [
        *("index-url", "extra-index-url", "find-links", "no-index", "proxy", "timeout", "retries"),
        *(
            "trusted-host",
            "cert",
            "client-cert",
            "default-timeout",
            "constraint",
            "keyring-provider",
        ),
    ]
)


@st.composite
def _pip(draw: st.DrawFn) -> str:
    """What ``pip config list`` prints, more or less."""
    given = draw(st.lists(st.tuples(_SECTION, _OPTION | WORDS, TEXTS | _NUMBERS), max_size=5))
    printed = [f"{section}.{option}={value!r}" for section, option, value in given]
    return "\n".join([*printed, *draw(st.lists(TEXTS, max_size=1))])


def _configuration(_: Path, made: str) -> None:
    ours(lambda: [parse_pip(made.splitlines())])
    ours(lambda: [pip_settings.parse(made, {"HTTPS_PROXY": made})])


TARGETS = (
    Target("additional_config", changed(_CONFIG, VALUES | _NUMBERS) | _ASKED, _additional),
    Target("extra_args of a request", changed(_REQUEST, VALUES | _NUMBERS) | _ASKED, _request),
    Target("thresholds over HTTP", json_text({"abstain": 0.5}), _thresholds),
    Target("pip's configuration", _pip(), _configuration),
    of_file(
        "config.json of a model", json_text(_MODEL), lambda p: read_model(p.parent), "config.json"
    ),
)
