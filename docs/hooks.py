"""Hooks of the documentation site: pages from elsewhere, the menu, and a list of outward links."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.plugins import get_plugin_logger
from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
_LINK = re.compile(r"\[(?P<label>[^]]*)\]\((?!\w+:|#|/)(?P<path>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")
_OUTWARD = re.compile(r'href="(https?://[^"]+)"')
_ROLE = re.compile(r":(?:class|func|meth|mod):(?=<code>)")
_OTHER = "More"

log = get_plugin_logger(__name__)
outward: dict[str, set[str]] = {}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made of other files, and name all of them in the menu."""
    for source, target in config.extra["from_root"].items():
        if (ROOT / source).is_file():
            text = (ROOT / source).read_text(encoding="utf-8")
            files.append(File.generated(config, target, content=text))
    modules = [module for module in config.extra["api"] if _exists(module)]
    for module in modules:
        page = f"# {module}\n\n::: {module}\n    options:\n      show_root_heading: false\n"
        files.append(File.generated(config, f"api/{module}.md", content=page))
    config.nav = _menu(files, config, modules)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Have links that are right in the repository lead to the same place on the site."""
    moved: dict[str, str] = config.extra["from_root"]
    origins = {target: source for source, target in moved.items()}
    here = page.file.src_uri
    origin = posixpath.dirname(origins.get(here, f"docs/{here}"))

    def link(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(origin, match["path"]))
        target = moved.get(path) or path.removeprefix("docs/")
        if target == path and (ROOT / path).exists():
            return match["label"]  # a file of the repository that is no page
        to = posixpath.relpath(target, posixpath.dirname(here) or ".")
        return f"[{match['label']}]({to}{match['anchor'] or ''})"

    return _LINK.sub(link, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Remember where a page leads out of the site; drop the roles of names in docstrings."""
    for url in _OUTWARD.findall(html):
        outward.setdefault(url, set()).add(page.file.src_uri)
    return _ROLE.sub("", html)


def on_post_build(config: MkDocsConfig) -> None:
    """List what nobody has checked: links to elsewhere are not fetched."""
    listing = Path(config.site_dir).with_name("external-links.txt")
    lines = (f"{url}\t{' '.join(sorted(pages))}\n" for url, pages in sorted(outward.items()))
    listing.write_text("".join(lines), encoding="utf-8")
    log.info("%d external links, not fetched, in %s", len(outward), listing)


def _menu(files: Files, config: MkDocsConfig, modules: list[str]) -> list[object]:
    there = {file.src_uri for file in files.documentation_pages()}
    sections: dict[str, list[str]] = {
        title: [page for page in pages if page in there]
        for title, pages in config.extra["pages"].items()
    }
    sections["API"] = [f"api/{module}.md" for module in modules]
    project = [page for page in config.extra["from_root"].values() if page in there]
    front, *sections["Project"] = project
    sections[_OTHER] = sorted(there - {front}.union(*sections.values()))
    return [{"Install and quick start": front}, *({t: p} for t, p in sections.items() if p)]


def _exists(module: str) -> bool:
    path = ROOT.joinpath(*module.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()
