"""The page as a file: whole in itself, safe, and saying what the view says."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from compat import cli
from compat.errors import UsageError
from compat.releases import upstream
from compat.report import page, view
from compat.report.devices import DEVICES
from compat.report.model import Symbol
from tests.compat.report.sources import OTHER, large, ran, sources, with_code
from tests.compat.samples import HASH
from value_steer.registry.model import Cause, Verdict

if TYPE_CHECKING:
    from pathlib import Path

PAGE = page.render(large())


def test_the_page_loads_nothing() -> None:
    """No address, no file beside it, and a policy that would refuse either."""
    assert re.findall(r"""(?:src|href|action)=["'](?!#)""", PAGE) == []
    assert re.findall(r"@import|url\(|https?:|fetch\(|XMLHttp", PAGE) == []
    assert "default-src 'none'" in PAGE


@pytest.mark.parametrize("tag", ["style", "script"])
def test_the_policy_admits_the_parts_of_the_page_and_no_other(tag: str) -> None:
    """By their hashes."""
    (text,) = re.findall(f"<{tag}>(.*?)</{tag}>", PAGE, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

    assert f"{tag}-src 'sha256-{digest}'" in PAGE


def test_what_a_row_says_is_text() -> None:
    """Whatever it looks like."""
    hostile = "</script><script>alert(1)</script><b>"
    bad = ran("0.32.0", verdict=Verdict.FAILED, cause=Cause.BOOT, reason=hostile)
    text = page.render(sources(bad))

    assert "&lt;/script&gt;&lt;script&gt;alert(1)" in text
    assert "<script>alert" not in text
    assert "<b>" not in text


def test_the_script_looks_up_what_was_computed() -> None:
    """The same sentences, by the releases and devices that can be typed."""
    (text,) = re.findall(r'<script type="application/json" id="lookup">(.*?)</script>', PAGE)
    found = json.loads(text)

    assert found["releases"]["0.38"] == found["releases"]["0.38.1"] == "0.38.1"
    assert found["devices"]["h100"] == found["devices"]["sm90"] == "h200"
    for answer in view.answers(large()):
        said = answer.sentence
        told = found["sentences"][answer.vllm][answer.device][answer.runner]
        assert told == [said.symbol.name.lower(), said.text, said.command]


def test_no_name_that_can_be_typed_means_two_things() -> None:
    """Of devices, releases and runners."""
    minors, answers = view.minors(large()), view.answers(large())
    found = page.lookup(minors, answers)
    aliases = [name for d in DEVICES for name in (d.id, *d.aliases)]

    assert len(aliases) == len(set(aliases))
    assert all(name == name.lower() for name in aliases)
    assert not set(aliases) & {*found["releases"], "v1", "v2", "default"}  # type: ignore[misc]


def test_the_page_speaks_before_anybody_has_chosen() -> None:
    """Of the newest release on a GPU, in the page itself."""
    assert re.search(r'<p id="sentence">You run 0\.38\.1 on an H200 with its default', PAGE)


def test_gpu_cells_are_never_blank() -> None:
    """Without a host they say so, in words."""
    text = page.render(sources(with_code(OTHER, ran("0.32.0"))))
    cells = re.findall(r"<tr class=\"cells\">(.*?)</tr>", text, re.DOTALL)

    assert len(cells) == 2
    assert all(row.count('<span class="word">unscheduled: no host</span>') == 2 for row in cells)
    assert all(row.count('<span class="word">') == 6 for row in cells)


def test_every_symbol_is_drawn_and_explained() -> None:
    """Each has a shape of its own, and a line in the legend."""
    drawn = re.findall(r'<symbol id="(\w+)"', PAGE)

    assert sorted(drawn) == sorted(symbol.name.lower() for symbol in Symbol)
    assert set(page._LEGEND) == set(Symbol)


@pytest.mark.parametrize(
    ("days", "told"),
    [(None, "age not known"), (0, "today"), (1, "1 day ago"), (60, "60 days ago")],
)
def test_ages_read_well(days: int | None, told: str) -> None:
    """As people say them."""
    assert page.age(days) == told


def test_what_is_not_known_is_said_so() -> None:
    """Neither left out nor made up."""
    text = page.render(replace(sources(), upstream=()))

    assert text.count("<dd>not known</dd>") == 3 * 2
    assert "0.33.0: not known" in text


def test_the_command_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of this checkout's registry, in whatever folder."""
    out = tmp_path / "new" / "index.html"

    assert cli.main(["report", "--out", str(out)]) == 0
    assert out.read_text("utf-8").startswith("<!doctype html>")
    assert "21 releases in" in capsys.readouterr().out.replace("\n", " ")


def test_a_page_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the option, the place and the reason."""
    assert cli.main(["report", "--out", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert f"--out {tmp_path}" in told
    assert told.count("\n") == 1


def test_upstream_is_read_strictly(tmp_path: Path) -> None:
    """What is written is read; anything else is named with its place."""
    path = tmp_path / "upstream.json"
    known = upstream.load()
    path.write_text(upstream.dumps(known), encoding="utf-8")
    assert upstream.load(path) == known

    path.write_text(upstream.dumps(known).replace('"vllm"', '"name"', 1), encoding="utf-8")
    with pytest.raises(UsageError, match=r"releases\[0\]"):
        upstream.load(path)
    path.write_text("[]", encoding="utf-8")
    with pytest.raises(UsageError, match="the list releases"):
        upstream.load(path)
    with pytest.raises(UsageError, match="nox -s static"):
        upstream.load(tmp_path / "absent.json")
    assert HASH not in upstream.dumps(known)
