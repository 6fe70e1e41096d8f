"""What a request asks for is read, refused by its key, or left to whom it belongs."""

from __future__ import annotations

import logging
import math
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from value_steer import request_settings
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
    with pytest.raises(SettingsError, match=f"^extra_args.*{next(iter(extra_args))}"):
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
        {"steer": ' {"layers": [1]}'},
        {"steer": "[0.1, 0.2]"},
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


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The warnings of a process that has told none yet."""
    monkeypatch.setattr(request_settings, "_named", set())
    monkeypatch.setattr(logging.getLogger("value_steer"), "propagate", True)
    caplog.set_level(logging.WARNING, "value_steer")


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("Steer_values", "steer_values"),
        ("STEER_VALUES", "steer_values"),
        ("vfd-threshold", "vfd_threshold"),
        ("vfdNumCandidates", "vfd_num_candidates"),
        ("abtain_threshold", "abstain_threshold"),
        ("steerThreshold", "abstain_threshold or vfd_threshold"),
        ("steer-threshold", "abstain_threshold or vfd_threshold"),
        ("abstain_alpha", "vfd_alpha"),
    ],
)
def test_a_key_that_looks_like_ours_is_named_once(
    key: str, meant: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It may be another plug-in's, so it is left alone, and the caller's slip is seen."""
    for _ in range(3):
        assert parse_request({key: 0.5}) == RequestSettings()

    (message,) = caplog.messages
    assert message.endswith(f"if it was meant for it, write {meant}")
    assert message.startswith("extra_args.")
    assert f"{key if key.isidentifier() else repr(key)} is no key of value-steer" in message


@pytest.mark.parametrize(("before", "refused"), [(99, True), (100, False)])
def test_of_very_many_keys_the_first_are_looked_at(before: int, *, refused: bool) -> None:
    """A slip behind them is another's key, since no request should cost its engine much."""
    extra_args = {f"lora_{number}": 1 for number in range(before)} | {"vfd_treshold": 1}

    with pytest.raises(SettingsError) if refused else nullcontext():
        assert parse_request(extra_args) == RequestSettings()


@pytest.mark.usefixtures("told")
def test_other_keys_are_not_spoken_of(caplog: pytest.LogCaptureFixture) -> None:
    """Nor those that are refused anyway."""
    foreign = ("steering_vector", "steer_vector_request", "steered", "lora_scale", "vfd", "values")
    parse_request(dict.fromkeys(foreign, 1))
    with pytest.raises(SettingsError, match="did you mean vfd_threshold"):
        parse_request({"vfd_treshold": 1})

    assert caplog.messages == []


@pytest.mark.usefixtures("told")
def test_who_sends_ever_new_keys_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Nor can a key forge a line of it."""
    parse_request({"Steer_valu\nERROR forged": 1})
    for number in range(1000):
        parse_request({f"Steer_value{number}": 1})

    assert len(caplog.messages) <= 20
    assert not any("\n" in message for message in caplog.messages)


@settings(deadline=None)
@given(st.dictionaries(REQUEST_KEYS | st.text(max_size=8), JSON))
def test_any_json_gives_request_settings_or_a_settings_error(extra: dict[str, object]) -> None:
    """A request cannot crash the engine by what it asks for."""
    with suppress(SettingsError):
        assert isinstance(parse_request(extra), RequestSettings)
