"""The settings of an engine and of a request, from what users type."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from value_steer.config import (
    AbstainSettings,
    Fallback,
    OnError,
    RecordSettings,
    SteerSettings,
    VfdSettings,
    parse_settings,
)
from value_steer.errors import SettingsError
from value_steer.value_probe import Polarity

HEAD = {"value_head_path": "head.safetensors"}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
ABSTAIN_KEYS = st.sampled_from([*AbstainSettings.__dataclass_fields__, "abstain", "treshold"])


def test_every_key_of_the_section_is_read() -> None:
    """Text becomes paths and enums, whole numbers become probabilities."""
    section = {
        "value_head_path": "heads/v.pt",
        "threshold": 1,
        "min_tokens": 0,
        "patience": 3,
        "scores": "p_undesirable",
        "on_error": "passthrough",
        "strict": True,
        "enabled": False,
    }

    abstain = parse_settings({"abstain": section}).abstain

    assert abstain == AbstainSettings(
        value_head_path=Path("heads/v.pt"),
        threshold=1.0,
        min_tokens=0,
        patience=3,
        scores=Polarity.P_UNDESIRABLE,
        on_error=OnError.PASSTHROUGH,
        strict=True,
        enabled=False,
    )
    assert isinstance(abstain.threshold, float)


def test_only_the_head_is_required() -> None:
    """The first response token is judged, once, and a failed decision raises."""
    abstain = parse_settings({"abstain": HEAD}).abstain

    assert abstain is not None
    assert (abstain.min_tokens, abstain.patience) == (1, 1)
    assert abstain.on_error is OnError.RAISE
    assert abstain.enabled
    assert not abstain.strict


def test_a_vfd_section_is_read_beside_or_without_abstention() -> None:
    """The two modes are configured one by one; what is not stated has its default."""
    vfd = {**HEAD, "alpha": 0.1, "num_candidates": 4, "fallback": "args", "prob_weight": 2}

    both = parse_settings({"abstain": HEAD, "vfd": vfd})
    alone = parse_settings({"vfd": HEAD})

    expected = VfdSettings(
        Path(HEAD["value_head_path"]),
        alpha=0.1,
        num_candidates=4,
        fallback=Fallback.ARGS,
        prob_weight=2.0,
    )
    assert (both.vfd, alone.abstain) == (expected, None)
    assert alone.vfd == VfdSettings(Path(HEAD["value_head_path"]))


def test_a_key_of_other_packages_is_accepted() -> None:
    """Their configurations say whether requests run one at a time; here they need not."""
    vfd = parse_settings({"vfd": {**HEAD, "single_stream": True}}).vfd

    assert vfd == VfdSettings(Path(HEAD["value_head_path"]), single_stream=True)


@pytest.mark.parametrize("other", ["maintain", "explain", "sustain", "ascend_config", "prefill"])
def test_sections_of_other_plugins_are_left_alone(other: str) -> None:
    """A name that is not close to one of ours belongs to somebody else."""
    assert parse_settings({"abstain": HEAD, other: {"x": 1}}) == parse_settings({"abstain": HEAD})


@pytest.mark.parametrize("key", ["threshold", "abstain_reward", "target_rate", "scores"])
def test_null_is_as_good_as_absent(key: str) -> None:
    """An optional key may be null."""
    assert parse_settings({"abstain": {**HEAD, key: None}}) == parse_settings({"abstain": HEAD})


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("value_head_path", 3, "the path of a .safetensors, .pt or .bin file"),
        ("value_head_path", "", "the path of a"),
        ("threshold", 1.5, 'a number from 0 to 1, or "never"'),
        ("threshold", -0.1, 'a number from 0 to 1, or "never"'),
        ("threshold", math.nan, 'a number from 0 to 1, or "never"'),
        ("threshold", "0.5", 'a number from 0 to 1, or "never"'),
        ("threshold", True, 'a number from 0 to 1, or "never"'),
        ("abstain_reward", "never", "a number from 0 to 1"),
        ("target_rate", 2, "a number from 0 to 1"),
        ("min_tokens", -1, "an integer >= 0"),
        ("min_tokens", 1.0, "an integer >= 0"),
        ("patience", 0, "an integer >= 1"),
        ("patience", True, "an integer >= 1"),
        ("scores", "good", '"p_good" or "p_undesirable"'),
        ("on_error", "ignore", '"raise" or "passthrough"'),
        ("strict", 1, "true or false"),
        ("enabled", "false", "true or false"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(key: str, value: object, allowed: str) -> None:
    """The message has the whole key, the value as given and the range."""
    with pytest.raises(SettingsError) as caught:
        parse_settings({"abstain": {**HEAD, key: value}})

    assert str(caught.value).startswith(f"additional_config.abstain.{key} = {value!r}: must be ")
    assert allowed in str(caught.value)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (None, "must be an object with an 'abstain' or a 'vfd' section, got NoneType"),
        ([], "got list"),
        ({}, "no 'abstain' and no 'vfd' section, so nothing is steered; keys: none"),
        ({"lora": 1, "cache": 2}, "keys: cache, lora"),
        ({"abstain": 0.5}, "additional_config.abstain = 0.5: must be an object"),
        ({"abstain": {}}, "additional_config.abstain.value_head_path: missing"),
        ({"abstain": HEAD, "abstian": {}}, "additional_config.abstian: unknown section"),
        ({"Abstain": HEAD}, "did you mean abstain?"),
        ({"abstain": {**HEAD, "treshold": 1}}, "did you mean threshold? allowed: value_head_path"),
        ({"abstain": HEAD, "vfd": {}}, "additional_config.vfd.value_head_path: missing"),
        ({"vfd": {**HEAD, "fallback": "retry"}}, "vfd.fallback = 'retry': must be"),
        ({"vfd": {**HEAD, "num_candidates": 0}}, "vfd.num_candidates = 0: must be"),
        ({"vfd": {**HEAD, "prob_weight": -1}}, "vfd.prob_weight = -1: must be"),
        ({"vfd": {**HEAD, "single_stream": 1}}, "vfd.single_stream = 1: must be true or false"),
        ({"abstain": {**HEAD, "single_stream": True}}, "abstain.single_stream: unknown key"),
        ({"vfd": {**HEAD, "threshold": 0.5, "alpha": 0.1}}, "threshold and alpha exclude"),
        (
            {"abstain": {**HEAD, "threshold": 0.5, "target_rate": 0.1}},
            "threshold and target_rate exclude each other",
        ),
    ],
)
def test_a_wrong_configuration_is_refused_with_the_reason(config: object, said: str) -> None:
    """Whatever is wrong, nothing is steered by half."""
    with pytest.raises(SettingsError) as caught:
        parse_settings(config)

    assert said in str(caught.value)


def test_all_problems_are_reported_at_once() -> None:
    """A configuration is corrected in one round."""
    section = {"threshold": 7, "target_rate": 0.1, "pateince": 2, "strict": "yes"}

    with pytest.raises(SettingsError) as caught:
        parse_settings({"abstain": section, "vfd": {}})

    said = str(caught.value).splitlines()
    keys = ("vfd", "threshold = 7", "pateince", "strict", "value_head_path", "exclude each other")
    assert len(said) == len(keys)
    assert all(any(key in line for line in said) for key in keys)


@pytest.mark.parametrize(
    "config",
    [
        {"\ud800": 1},
        {"abstain\nERROR forged": {}},
        {"x" * 10**7: 1},
        {f"key{i}": 1 for i in range(10_000)},
    ],
)
def test_keys_of_others_neither_flood_nor_break_a_message(config: dict[str, object]) -> None:
    """They are quoted and shortened, and of very many some are told."""
    with pytest.raises(SettingsError) as caught:
        parse_settings(config)

    assert len(str(caught.value).encode()) < 2000
    assert "\nERROR" not in str(caught.value)


@settings(deadline=None)
@given(st.dictionaries(ABSTAIN_KEYS, JSON), st.dictionaries(st.text(max_size=8), JSON))
def test_any_json_gives_settings_or_a_settings_error(
    section: dict[str, object], rest: dict[str, object]
) -> None:
    """No other exception leaves the parser."""
    for config in ({"abstain": section, **rest}, rest, section):
        with suppress(SettingsError):
            assert isinstance(parse_settings(config), SteerSettings)


def test_an_operator_bounds_what_a_request_may_ask_for() -> None:
    """64 candidates, or as many as the engine draws itself; 256 is the most that it can be."""
    head = {"value_head_path": "h.pt", "threshold": 0.5}

    def most(**more: object) -> int:
        vfd = parse_settings({"vfd": {**head, **more}}).vfd
        assert vfd is not None
        return vfd.most_candidates

    assert [most(), most(num_candidates=100), most(max_candidates=4)] == [64, 100, 4]
    for key in ("num_candidates", "max_candidates"):
        with pytest.raises(SettingsError, match=f"{key} = 257: must be an integer from 1 to 256"):
            most(**{key: 257})


def test_a_named_head_has_what_is_its_own_and_the_rest_from_its_section() -> None:
    """No threshold of the first head is another one's."""
    section = {
        **HEAD,
        "threshold": 0.5,
        "patience": 3,
        "scores": "p_good",
        "heads": {"content": {"value_head_path": "other.pt", "target_rate": 0.1}},
    }

    abstain = parse_settings({"abstain": section}).abstain

    assert abstain is not None
    content = abstain.heads["content"]
    assert (content.value_head_path, content.threshold) == (Path("other.pt"), None)
    assert (content.target_rate, content.patience, content.scores) == (0.1, 3, None)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"action": "stop"}, r'abstain\.action = .stop.: must be "end" or "end_thinking" or'),
        ({"action": "message"}, r"abstain\.message: missing"),
        ({"message": ""}, r"abstain\.message = ''"),
        ({"heads": {"a b": HEAD}}, r"abstain\.heads = .*a name has 1 to 64 letters"),
        ({"heads": {"x": {}}}, r"abstain\.heads\.x\.value_head_path: missing"),
        ({"heads": {"x": {**HEAD, "patience": 2}}}, r"abstain\.heads\.x\.patience: unknown key"),
        (
            {"heads": {"x": {**HEAD, "threshold": 0.1, "target_rate": 0.1}}},
            r"abstain\.heads\.x",
        ),
        ({"heads": {str(i): HEAD for i in range(17)}}, r"abstain\.heads = .*at most 16 heads"),
    ],
)
def test_bad_actions_and_heads_are_named(section: dict[str, object], message: str) -> None:
    """With the key and what is allowed."""
    with pytest.raises(SettingsError, match=message):
        parse_settings({"abstain": {**HEAD, "threshold": 0.5, **section}})


def test_traffic_is_recorded_where_that_is_asked_for() -> None:
    """The section says where, of how many requests, and how much; beside either mode."""
    record = {"directory": "traffic", "share": 1}

    found = parse_settings({"vfd": HEAD, "record": record}).record
    bounded = parse_settings({"abstain": HEAD, "record": {**record, "max_bytes": 70_000}}).record

    assert found == RecordSettings(Path("traffic"), 1.0)
    assert isinstance(found.share, float)
    assert bounded == RecordSettings(Path("traffic"), 1.0, 70_000)
    assert parse_settings({"abstain": HEAD}).record is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"share": 0}, r"record\.share = 0: must be a number above 0, 1 at most"),
        ({"share": 1.5}, r"record\.share = 1\.5"),
        ({"share": True}, r"record\.share = True"),
        ({"share": math.nan}, r"record\.share = nan"),
        ({"share": "0.1"}, r"record\.share = '0\.1'"),
        ({"directory": ""}, r"record\.directory = '': must be the path of a folder"),
        ({"directory": "a\0b"}, r"record\.directory = 'a"),
        ({"directory": 3}, r"record\.directory = 3"),
        ({"max_bytes": 10}, r"record\.max_bytes = 10: must be an integer >= 65536"),
        ({"max_bytes": 1e9}, r"record\.max_bytes = 1000000000\.0"),
        ({"shares": 0.1}, r"record\.shares: unknown key; did you mean share\?"),
    ],
)
def test_a_wrong_record_section_is_refused(changes: dict[str, object], message: str) -> None:
    """With the key, its value and what is allowed."""
    record = {"directory": "traffic", "share": 0.01, **changes}
    with pytest.raises(SettingsError, match=message):
        parse_settings({"abstain": HEAD, "record": record})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"record": {"directory": "traffic", "share": 0.1}}, "no 'abstain' and no 'vfd' section"),
        ({"abstain": HEAD, "record": {}}, r"record\.directory: missing(.|\n)*record\.share: miss"),
        ({"abstain": HEAD, "record": True}, r"record = True: must be an object"),
        ({"abstain": HEAD, "recrod": {"share": 0.1}}, "recrod: unknown section; did you mean rec"),
    ],
)
def test_recording_needs_a_mode_and_both_of_its_keys(
    config: dict[str, object], message: str
) -> None:
    """Alone it would record nothing."""
    with pytest.raises(SettingsError, match=message):
        parse_settings(config)


@pytest.mark.parametrize("value", [{"x": 1}, True, "file", None])
def test_a_recorder_of_another_plugin_is_left_alone(value: object) -> None:
    """The word is a common one, so what it holds has to look like ours as well."""
    assert parse_settings({"abstain": HEAD, "recorder": value}) == parse_settings({"abstain": HEAD})
