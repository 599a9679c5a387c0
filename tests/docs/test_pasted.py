"""The commands of the pages work in the shell into which a reader pastes them, which may be zsh."""

import re
import shutil
from pathlib import Path

import pytest

from tests.docs.blocks import documented
from tests.docs.test_blocks import BLOCKS, PAGES
from tests.docs.walk import PageServer, walk

PASTED = [block for block in BLOCKS if block.language == "sh" and block.shown and "file" not in block.options]
_QUOTED = re.compile(r"""'[^']*'|"(?:\\.|[^"\\])*"|\\.""", re.DOTALL)
# What bash and zsh read in different ways, with the way to write it for both.
DIFFERENT = {
    r"(?:^|\s)#.*": "an interactive zsh has no comments: put it into the text of the page",
    r"\bread\s+-\w*p": "`read -p` reads from a coprocess in zsh: print the question with printf",
    r"\$\{[^}\s]*:?\+-\w+ ": "zsh makes one word of `${3:+-H …}`: write two, `${3:+-H} ${3:+…}`",
    r"\$[A-Za-z_]+:[A-Za-z]": "`:P` after a variable is a modifier in zsh: write ${NAME}",
    r"https?://[^\s'\"]*[][?*]": "zsh takes ?, * and [ in an address for a pattern: put quotes around it",
}


def unquoted(code: str) -> str:
    """The code with a `Q` in place of all that is in quotes."""
    return _QUOTED.sub("Q", code)


@pytest.mark.parametrize("pattern", DIFFERENT)
def test_no_command_is_for_bash_only(pattern: str) -> None:
    """A command that a reader pastes has nothing that an interactive zsh reads in another way."""
    found = [
        f"{block.place}: {hit[0].strip()}"
        for block in PASTED
        for hit in re.finditer(pattern, unquoted(block.code), re.M)
    ]
    assert found == [], DIFFERENT[pattern]


@pytest.mark.parametrize("page", documented(), ids=lambda page: page.name)
def test_a_placeholder_is_no_variable_of_the_shell(page: Path) -> None:
    """`PATH/authsvc` for the clone could be taken for the variable, so pages write /path/to/authsvc."""
    assert [line for line in page.read_text().splitlines() if re.search(r"(?<![$\w{])PATH/", line)] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["README.md", "docs/start.md", "docs/guides/second-factor.md"])
def test_the_commands_of_a_page_succeed_in_zsh(name: str, page_server: PageServer) -> None:
    """All commands of a page succeed in an interactive zsh too."""
    if shutil.which("zsh") is None or shutil.which("curl") is None:
        pytest.skip("no zsh or no curl here: apt-get install zsh")
    page_server.start()
    done = walk(page_server, PAGES[name], zsh=True)
    assert done.returncode == 0, f"{name} ended with {done.returncode}\n{done.stdout}\n{done.stderr}\n{page_server.log}"
