"""The page in a real Chromium, by `nox -s page`: keyboard, names, phone, dark, no script."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from compat.report import page, view
from tests.compat.report.sources import OTHER, large, ran, sources, with_code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

AXE = os.environ.get("VALUE_STEER_AXE", "")
PHONE, DESKTOP = (390, 844), (1280, 900)
LONGEST_LOAD_MS = 1000
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")

if not AXE:
    pytest.skip("needs Chromium and npm; `nox -s page` runs it", allow_module_level=True)

# Playwright has types, but is installed by that session alone.
Browser = Any
Page = Any


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The Chromium of this machine."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  (in that session alone)

    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    assert path, f"none of {', '.join(CHROMIUM)} is on PATH"
    with sync_playwright() as playwright:
        # Chromium has no sandbox for root, and this page has nothing to be kept from.
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small page, most of it stale, and a large one."""
    folder = tmp_path_factory.mktemp("pages")
    small = sources(with_code(OTHER, ran("0.32.0")))
    for name, of in (("small", small), ("large", large())):
        (folder / f"{name}.html").write_text(page.render(of), encoding="utf-8")
    return {path.stem: path for path in folder.iterdir()}


@pytest.fixture
def visit(browser: Browser, files: dict[str, Path]) -> Iterator[Callable[..., Page]]:
    """Opens a page; afterwards nothing may have been said on its console."""
    contexts, said = [], []

    def opened(name: str = "small", at: str = "", **options: Any) -> Page:
        width, height = options.pop("size", DESKTOP)
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.goto(files[name].as_uri() + at)
        return tab

    yield opened
    for context in contexts:
        context.close()
    assert said == []


def answer(tab: Page) -> tuple[str, str]:
    """The sentence and the command that stand there."""
    command = tab.locator("#command")
    return tab.locator("#sentence").inner_text(), command.inner_text() if (
        command.is_visible()
    ) else ""


def wanted(of: view.Sources, vllm: str, device: str, runner: str) -> tuple[str, str]:
    """What they have to be."""
    (found,) = (
        a for a in view.answers(of) if (a.vllm, a.device, a.runner) == (vllm, device, runner)
    )
    return found.sentence.text, found.sentence.command or ""


@pytest.mark.parametrize("unfolded", [False, True], ids=["folded", "unfolded"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_axe_finds_no_barrier(
    visit: Callable[..., Page], size: tuple[int, int], scheme: str, *, unfolded: bool
) -> None:
    """Contrast, names, roles, headings, tables: on a phone and a desktop, light and dark."""
    tab = visit(size=size, color_scheme=scheme)
    if unfolded:
        tab.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
    tab.evaluate(Path(AXE).read_text(encoding="utf-8"))
    found = tab.evaluate("axe.run()")

    assert found["passes"]
    assert [(v["id"], v["nodes"][0]["html"]) for v in found["violations"]] == []


@pytest.mark.parametrize("size", [(320, 700), PHONE, DESKTOP], ids=["small", "phone", "desktop"])
def test_nothing_is_wider_than_the_screen(
    visit: Callable[..., Page], size: tuple[int, int]
) -> None:
    """Folded or not; only the evidence scrolls, in a frame of its own."""
    tab = visit("large", size=size)
    tab.evaluate("document.querySelectorAll('details').forEach((d, i) => { d.open = i < 5 })")

    assert tab.evaluate("document.documentElement.scrollWidth") == size[0]


def test_forty_releases_load_within_a_second(visit: Callable[..., Page]) -> None:
    """With twelve verdicts each, their evidence and every sentence, from the disk."""
    tab = visit("large")
    took = tab.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")

    assert tab.locator("tr.cells").count() == 20
    assert 0 < took < LONGEST_LOAD_MS


def test_nothing_is_asked_of_the_network(browser: Browser, files: dict[str, Path]) -> None:
    """The file is all that there is."""
    tab = browser.new_page()
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(files["large"].as_uri())
    tab.close()

    assert asked == [files["large"].as_uri()]


@pytest.mark.parametrize(
    ("typed", "reader"),
    [
        ("0.32 h200 v2", ("0.32.0", "h200", "v2")),
        ("V1, CPU, v0.32.0", ("0.32.0", "cpu", "v1")),
        ("sm80", ("0.33.0", "a100", "default")),
    ],
)
def test_what_is_typed_is_answered(
    visit: Callable[..., Page], typed: str, reader: tuple[str, str, str]
) -> None:
    """In any order and case; the lists follow, and so does the address."""
    tab = visit()
    tab.get_by_label("What do you run?").fill(typed)

    assert answer(tab) == wanted(sources(with_code(OTHER, ran("0.32.0"))), *reader)
    labels = ("vLLM", "device", "model runner")
    assert tuple(tab.get_by_label(name, exact=True).input_value() for name in labels) == reader
    assert tab.url.endswith("#" + ",".join(reader))


def test_what_is_picked_is_answered(visit: Callable[..., Page]) -> None:
    """A sentence for each choice, and no command where there is nothing to run."""
    tab = visit()
    tab.get_by_label("device").select_option("cpu")

    said, command = answer(tab)
    assert (said, command) == wanted(sources(), "0.33.0", "cpu", "default")
    assert "the index has no CPU build" in said
    assert not tab.get_by_role("button", name="Copy").is_visible()


def test_what_is_not_known_is_said(visit: Callable[..., Page]) -> None:
    """And what was known of the words holds."""
    tab = visit()
    tab.get_by_label("What do you run?").fill("0.32 constructor v9")

    status = tab.get_by_role("status").inner_text()
    assert status == "Not known here: constructor, v9. Pick from the lists instead."
    assert answer(tab)[0].startswith("You run 0.32.0 on an H200")


def test_an_address_leads_to_its_answer(visit: Callable[..., Page]) -> None:
    """So that one can be sent."""
    tab = visit(at="#0.32.0,a100,v1")

    assert answer(tab)[0].startswith("You run 0.32.0 on an A100 with V1: ")


def test_the_keyboard_reaches_everything(visit: Callable[..., Page]) -> None:
    """In the order of the page, with a visible focus; Enter unfolds and Space copies."""
    tab = visit()
    names = []
    for _ in range(8):
        tab.keyboard.press("Tab")
        names.append(tab.evaluate("document.activeElement.id || document.activeElement.tagName"))
        outline = tab.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none"
    assert names == ["A", "typed", "release", "runner", "device", "copy", "SUMMARY", "SUMMARY"]

    assert not tab.get_by_text("What moved in vLLM").first.is_visible()
    tab.keyboard.press("Enter")
    tab.keyboard.press("Tab")
    assert tab.get_by_text("What moved in vLLM since").last.is_visible()
    assert tab.evaluate("document.activeElement.getAttribute('role')") == "region"


def test_a_command_is_copied(browser: Browser, files: dict[str, Path]) -> None:
    """As it stands."""
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    tab = context.new_page()
    tab.goto(files["small"].as_uri())
    tab.get_by_role("button", name="Copy").click()
    tab.get_by_role("button", name="Copied").wait_for()
    copied = tab.evaluate("navigator.clipboard.readText()")
    context.close()

    assert copied == "nox -s compat -- 0.33.0 --lane cuda-sm90 --runner v2"


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_a_screen_reader_hears_every_cell(
    visit: Callable[..., Page], size: tuple[int, int]
) -> None:
    """In words, on a phone as well, where only the symbols are seen."""
    tab = visit(size=size)

    assert tab.get_by_role("cell", name="unscheduled: no host", exact=True).count() == 4
    assert tab.get_by_role("cell", name="stale", exact=True).count() >= 1
    assert tab.get_by_role("columnheader", name="V2 GPU").count() == 1
    assert tab.get_by_role("rowheader", name="0.32").count() == 1
    assert tab.locator("#answer").get_attribute("aria-live") == "polite"


def test_without_script_the_table_is_all_there(visit: Callable[..., Page]) -> None:
    """The form is not, the sentence speaks of the newest release, and what is folded unfolds."""
    tab = visit(java_script_enabled=False)

    assert not tab.locator("form").is_visible()
    assert answer(tab) == wanted(sources(), "0.33.0", "h200", "default")
    assert tab.locator("noscript p").is_visible()
    assert not tab.get_by_role("button", name="Copy").is_visible()
    tab.locator("summary").last.click()
    assert tab.get_by_role("cell", name="abstain").first.is_visible()


def test_symbols_keep_their_shapes_without_colours(visit: Callable[..., Page]) -> None:
    """Where the reader's machine chooses the colours."""
    tab = visit(forced_colors="active")
    shapes = tab.evaluate(
        "[...document.querySelectorAll('.legend use')].map(u => u.getAttribute('href'))"
    )

    assert len(set(shapes)) == 4
