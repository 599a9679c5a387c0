"""Adds to the site the pages made from the code, and the files of the repository to which pages link."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from properdocs.config.defaults import ProperDocsConfig
from properdocs.structure.files import File, Files
from properdocs.structure.pages import Page

from tools import reference

ROOT = Path(__file__).parents[1]
# A link or a picture, with the text before and after its target.
_LINK = re.compile(r"(?P<before>!?\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\()(?P<target>[^)\s#]+)(?P<after>#[^)]*)?\)")
_COMMENT = re.compile(r"^<!--.*?-->\n?", re.DOTALL | re.MULTILINE)
_FENCE = re.compile(r"^(?P<fence> *```+)(?P<language>\w+)[ ]+\S.*$", re.MULTILINE)


def on_config(config: ProperDocsConfig) -> ProperDocsConfig:
    """Make no 404 page: its links need the address of the site, which is not known.

    Pages link to the repository and to their own source there if AUTHSVC_REPO_URL is set.
    """
    config.theme.static_templates.discard("404.html")
    if repository := os.environ.get("AUTHSVC_REPO_URL", "").rstrip("/"):
        config.repo_url, config.repo_name, config.edit_uri = repository, "repository", f"{repository}/edit/main/docs/"
    return config


def on_files(files: Files, config: ProperDocsConfig) -> Files:
    """Add the pages that are made from the code."""
    for uri, text in reference.pages(ROOT).items():
        files.append(File.generated(config, uri, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: ProperDocsConfig, files: Files) -> str:
    """Remove the hidden blocks of the tests, and lead links to files of the repository to copies of the files."""
    if page.file.src_uri == "index.md":
        page.meta["hide"] = ["navigation", "toc"]
    text = _FENCE.sub(r"\g<fence>\g<language>", _COMMENT.sub("", markdown))
    docs = Path(config.docs_dir)
    here = (docs / page.file.src_uri).parent

    def replaced(link: re.Match[str]) -> str:
        target = (here / link["target"]).resolve()
        if ":" in link["target"] or target.is_relative_to(docs) or not target.is_relative_to(ROOT):
            return link[0]
        if target.is_dir():  # a folder exists, but the site has no page for it
            return link["text"]
        if not target.is_file():
            return link[0]  # the target is missing, so the build fails
        uri = f"source/{target.relative_to(ROOT)}" + (".txt" if target.suffix == ".md" else "")  # no page of the site
        if files.get_file_from_path(uri) is None:
            files.append(File.generated(config, uri, abs_src_path=str(target)))
        up = "../" * page.file.src_uri.count("/")
        return f"{link['before']}{up}{uri})"

    return "".join(_outside_code(text, replaced))


def _outside_code(text: str, replaced: Callable[[re.Match[str]], str]) -> Iterator[str]:
    """The text with its links replaced. Fenced blocks stay as they are."""
    for part in re.split(r"(^ *```.*?^ *```$)", text, flags=re.DOTALL | re.MULTILINE):
        yield part if part.lstrip().startswith("```") else _LINK.sub(replaced, part)
