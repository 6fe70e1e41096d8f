"""Numbers on the command line: out of range they are wrong usage, told in one line."""

from __future__ import annotations

import argparse

import pytest

from value_steer.cli.parser import build

REQUIRED = {
    "calibrate": ["t.jsonl", "--head", "h"],
    "evaluate": [],
    "demo": ["--out", "o"],
    "label": ["f", "--by", "regex"],
    "capture": ["p.jsonl", "--model", "m"],
    "recalibrate": ["traffic", "--head", "h"],
    "train": ["f", "--labels", "x", "--recipe", "filtering"],
}
ODD = ("9" * 20, "9" * 310, "9" * 5000, "-1", "nan", "inf", "-inf", "1e400", "", "x", "1_0e999")


def numbers() -> list[tuple[str, str]]:
    """Every option of every subcommand that is read as a number."""
    (commands,) = (a for a in build()._actions if isinstance(a, argparse._SubParsersAction))
    return [
        (name, action.option_strings[0])
        for name, command in commands.choices.items()
        for action in command._actions
        if action.option_strings and getattr(action.type, "__name__", "") in {"convert", "_seed"}
    ]


@pytest.mark.parametrize(("command", "option"), numbers())
def test_a_number_out_of_range_is_wrong_usage(
    command: str, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the libraries below would make of it."""
    refused = 0
    for text in ODD:
        try:
            build().parse_args([command, *REQUIRED[command], f"{option}={text}"])
        except SystemExit as end:
            refused += 1
            told = capsys.readouterr().err.splitlines()[-1]
            ends = (end.code, f"argument {option}" in told, len(told) < 200)
            assert ends == (2, True, True)
    assert refused >= len(ODD) - 2


def test_no_number_is_read_without_a_range() -> None:
    """An option of plain type int would let through what numpy and torch refuse."""
    (commands,) = (a for a in build()._actions if isinstance(a, argparse._SubParsersAction))
    plain = [
        (name, action.option_strings)
        for name, command in commands.choices.items()
        for action in command._actions
        if action.type in {int, float}
    ]

    assert plain == []
    assert len(numbers()) > 30


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("--min-tokens", "2147483647"),
        ("--seed", str(2**63 - 1)),
        ("--patience", "1"),
        ("--alpha", "0.999999"),
    ],
)
def test_the_bounds_are_taken(option: str, text: str) -> None:
    """The bound itself is in range."""
    build().parse_args(["calibrate", *REQUIRED["calibrate"], option, text])


@pytest.mark.parametrize(
    ("option", "text", "allowed"),
    [
        ("--min-tokens", "2147483648", "an integer from 1 to 2147483647"),
        ("--min-tokens", "9" * 20, "an integer from 1 to 2147483647"),
        ("--min-tokens", "0", "an integer from 1 to 2147483647"),
        ("--seed", str(2**63), "an integer from 0 to 9223372036854775807"),
        ("--alpha", "0", "a number between 0 and 1"),
        ("--alpha", "1", "a number between 0 and 1"),
        ("--min-tokens", "0" * 39 + "11", "an integer from 1 to 2147483647"),
    ],
)
def test_beyond_a_bound_the_range_is_told(
    option: str, text: str, allowed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where the text would be cut off to a number that is in range."""
    with pytest.raises(SystemExit):
        build().parse_args(["calibrate", *REQUIRED["calibrate"], option, text])
    assert f"is not {allowed}" in capsys.readouterr().err
