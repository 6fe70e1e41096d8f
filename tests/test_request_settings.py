"""What a request asks for is read, refused by its key, or left to whom it belongs."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from value_steer.config import (
    NEVER,
    RequestSettings,
    parse_request,
)
from value_steer.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
REQUEST_KEYS = st.sampled_from(["steer", "abstain_threshold", "vfd_alpha", "steering", "lora"])


@pytest.mark.parametrize("extra_args", [None, {}, {"lora_scale": 2}, {3: 4}])
def test_a_request_without_our_keys_shares_one_default(
    extra_args: dict[str, object] | None,
) -> None:
    """The common case costs no new record."""
    assert parse_request(extra_args) is parse_request(None)
    assert parse_request(extra_args) == RequestSettings(steer=True, abstain_threshold=None)


@pytest.mark.parametrize(
    ("value", "steer"),
    [
        (True, True),
        (1, True),
        (1.0, True),
        ("true", True),
        (False, False),
        (0, False),
        (0.0, False),
        ("false", False),
    ],
)
def test_a_switch_survives_http(value: object, steer: bool) -> None:  # noqa: FBT001
    """JSON's false may arrive as a number or as text."""
    assert parse_request({"steer": value}).steer is steer


@pytest.mark.parametrize(
    ("value", "threshold"), [(0, 0.0), (0.25, 0.25), (1, 1.0), ("never", NEVER)]
)
def test_a_request_brings_its_own_threshold(value: object, threshold: object) -> None:
    """It is a number or ``never``, beside keys of other plug-ins."""
    settings = parse_request({"abstain_threshold": value, "lora": "x"})

    assert settings == RequestSettings(abstain_threshold=threshold)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "extra_args",
    [
        {"abstain_threshold": "0.5.1"},
        {"abstain_threshold": "nan"},
        {"abstain_threshold": "1.5"},
        {"abstain_threshold": None},
        {"abstain_threshold": math.nan},
        {"abstain_treshold": 0.5},
        {"vfd_alpha": 1.5},
        {"vfd_threshold": True},
        {"vfd_num_candidates": 0},
        {"vfd_num_candidates": 4.5},
        {"vfd_num_candidates": "4.0"},
        {"vfd_num_candidates": "9" * 50},
        {"vfd_num_candidates": 10**400},
        {"vfd_num_candidates": 257},
        {"vfd_num_candidate": 4},
        {"vfd_alpha": 0.1, "vfd_threshold": 0.5},
        {"steer": "perhaps"},
        {"steer": 2},
        {"steer": None},
    ],
)
def test_a_wrong_request_is_refused_by_key(extra_args: Mapping[str, object]) -> None:
    """A misspelled key is never served as if it were absent."""
    with pytest.raises(SettingsError, match=f"extra_args.*{next(iter(extra_args))}"):
        parse_request(extra_args)


@pytest.mark.parametrize(
    ("extra_args", "expected"),
    [
        ({"abstain_threshold": "0.3"}, RequestSettings(abstain_threshold=0.3)),
        ({"abstain_threshold": "never"}, RequestSettings(abstain_threshold=NEVER)),
        ({"vfd_threshold": "1"}, RequestSettings(vfd_threshold=1.0)),
        ({"vfd_alpha": "5e-2"}, RequestSettings(vfd_alpha=0.05)),
        ({"vfd_num_candidates": 4.0}, RequestSettings(vfd_num_candidates=4)),
        ({"vfd_num_candidates": "4"}, RequestSettings(vfd_num_candidates=4)),
        ({"steer": "False"}, RequestSettings(steer=False)),
    ],
)
def test_numbers_and_flags_may_come_as_text(
    extra_args: Mapping[str, object], expected: RequestSettings
) -> None:
    """As clients send them whose fields know nothing but text, or nothing but floats."""
    assert parse_request(extra_args) == expected


@pytest.mark.parametrize(
    "extra_args",
    [
        {"steering_vector": [0.1]},
        {"steer_vector_request": {"id": 1}},
        {"steer": '{"layers": [1]}'},
        {"steer": {"layers": [1]}},
        {"steered": True},
        {"abstain_in_another_way": 1, "vfd": 2},
    ],
)
def test_keys_of_other_plugins_are_left_alone(extra_args: Mapping[str, object]) -> None:
    """Ours are reserved by name, and ``steer`` by the type of its value."""
    assert parse_request(extra_args) == RequestSettings()


@pytest.mark.parametrize(
    "extra_args",
    [
        {"vfd_thresholt": "x" * 10_000_000},
        {"abstain_threshold": "x" * 10_000_000},
        {"abstain_threshold": "a\nERROR forged \x1b[2J"},
        {"vfd_num_candidates": 10**5000},
        {f"vfd_threshol{i}": 1 for i in range(20_000)},
        {"vfd_threshold\n2026 ERROR forged": 1, "vfd_alpha": "\x1b"},
        {"abstain_thr\neshold": 1},
        {"abstain_thre\x1b[31mshold": 1},
        {"vfd_alph\u2028a": 1},
    ],
)
def test_what_a_client_sends_neither_floods_nor_forges_a_log(
    extra_args: Mapping[str, object],
) -> None:
    """Values are quoted and shortened, and of many problems a few are told."""
    with pytest.raises(SettingsError) as error:
        parse_request(extra_args)

    lines = str(error.value).split("\n")
    assert len(lines) <= 21
    assert all(line.startswith(("extra_args", "and ")) for line in lines)
    assert len(str(error.value)) < 6000
    assert "\x1b" not in str(error.value)


@settings(deadline=None)
@given(st.dictionaries(REQUEST_KEYS | st.text(max_size=8), JSON))
def test_any_json_gives_request_settings_or_a_settings_error(extra: dict[str, object]) -> None:
    """A request cannot crash the engine by what it asks for."""
    with suppress(SettingsError):
        assert isinstance(parse_request(extra), RequestSettings)
