"""The site builds without a warning, shows the text as it is written, and loads nothing from other hosts."""

import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from properdocs.config.defaults import ProperDocsConfig
from properdocs.theme import Theme

from tests.docs.blocks import ROOT, documented
from tools import site_hooks

# Pairs of names: a token of the Markdown parser, and the tag of the page that shows it.
_SAME = {"fence": "pre", "list_item_open": "li", "table_open": "table", "heading_open": "h", "blockquote_open": "quote"}
_TAGS = {"pre": "pre", "li": "li", "table": "table", "blockquote": "quote"} | {f"h{n}": "h" for n in range(1, 7)}


class Html(HTMLParser):
    """A parser of a page. It collects the addresses that the page loads, the anchors, and the tags of the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.made_of: Counter[str] = Counter()
        self._depth = 0  # the depth inside the text of the page
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag in {"link", "script", "img", "iframe", "source", "audio", "video", "object", "form"}:
            self.loads += [given[name] for name in ("href", "src", "data", "action") if name in given]
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "article" or self._depth:
            self._depth += tag == "article"
            self.made_of[_TAGS.get(tag, "")] += tag in _TAGS

    def handle_endtag(self, tag: str) -> None:
        if self._depth and tag == "article":
            self._depth -= 1


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site. The build itself checks links and anchors."""
    target = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "properdocs",
        "build",
        "--strict",
        "-f",
        str(ROOT / "mkdocs.yml"),
        "-d",
        str(target),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr, done.stderr
    return target


@pytest.mark.slow
def test_the_site_loads_nothing_from_other_hosts(site: Path) -> None:
    """All scripts, styles, fonts, pictures and forms are of the site itself, so it works without the internet."""
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        abroad = [one for one in Html(page.read_text()).loads if re.match(r"([a-z]+:)?//", one)]
        assert abroad == [], page.name
    for style in site.rglob("*.css"):
        assert re.findall(r"(?:url\(|@import\s+)[\"']?(?:https?:)?//[^)\s]+", style.read_text()) == [], style.name
    for picture in site.rglob("*.svg"):
        assert re.findall(r"(?:href|src)=\"(?:https?:)?//", picture.read_text()) == [], picture.name


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in documented() if page.is_relative_to(ROOT / "docs")], ids=lambda page: page.name
)
def test_a_page_shows_the_structure_of_its_markdown(site: Path, page: Path) -> None:
    """The page shows as many lists, tables, headings and blocks as another Markdown parser finds."""
    built = site / page.relative_to(ROOT / "docs").with_suffix(".html")
    tokens = MarkdownIt("commonmark").enable("table").parse(page.read_text())
    written = Counter(_SAME[token.type] for token in tokens if token.type in _SAME)
    found = Html(built.read_text()).made_of
    assert {kind: found[kind] for kind in _SAME.values()} == {kind: written[kind] for kind in _SAME.values()}


@pytest.mark.slow
def test_the_site_can_be_searched(site: Path) -> None:
    """The site brings its own search index and offers it on each page."""
    assert (site / "search" / "pagefind-entry.json").exists()
    for page in site.rglob("*.html"):
        assert 'data-md-component="search"' in page.read_text(), page.name


def test_pages_link_to_their_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the address of the repository each page has a link that edits it, and without it no page has one."""
    monkeypatch.delenv("AUTHSVC_REPO_URL", raising=False)
    config = ProperDocsConfig()
    config.theme = Theme(name="materialx")
    assert not site_hooks.on_config(config).repo_url
    monkeypatch.setenv("AUTHSVC_REPO_URL", "https://git.example.org/authsvc/")
    assert site_hooks.on_config(config).edit_uri == "https://git.example.org/authsvc/edit/main/docs/"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_of_the_repository_hold(site: Path, name: str) -> None:
    """The files and anchors exist to which README and other pages outside of docs/ link."""
    for target in re.findall(r"\]\(([^)\s]+)\)", (ROOT / name).read_text()):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        assert (ROOT / path).exists(), target
        if anchor and path.startswith("docs/"):
            built = site / Path(path).relative_to("docs").with_suffix(".html")
            assert anchor in Html(built.read_text()).anchors, target


@pytest.mark.slow
def test_links_lead_to_every_page(site: Path) -> None:
    """Links lead from the first page to every page."""
    seen, left = set(), [site / "index.html"]
    while left:
        page = left.pop()
        if page in seen or page.suffix != ".html":
            continue
        seen.add(page)
        links = [link.partition("#")[0] for link in Html(page.read_text()).links]
        left += [(page.parent / link).resolve() for link in links if link and not re.match(r"[a-z]+:|//|/", link)]
    assert {page for page in site.rglob("*.html") if page.name not in {"404.html", "search.html"}} <= seen
