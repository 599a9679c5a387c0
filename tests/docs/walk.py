"""Runs the commands of a page in one shell, in a new folder, beside a real service.

These replacements are made, and no others:

- A line that starts the service (`make run`, or a line that ends in `authsvc serve`) is left out. The service runs
  already, in the same folder, with the settings of `<!-- serve: NAME=value -->`.
- Another line with `make` becomes a dry run, so its target has to exist.
- `http://127.0.0.1:8000` and `https://auth.example.org` become the address of the service.
- `client_id:client_secret` becomes the admin of the service.
- 9000, the port of the reader's own application, becomes a free port.
- `curl` fails if the answer is an error, unless the block says `refused`.

Blocks of `sh` run one after another with `set -euo pipefail`. A block with `file="NAME"` is written to that file. The
other blocks of `python` form one program, which runs at the place of the last block. The hidden blocks
`<!-- run: … -->` and `<!-- python: … -->` run like the others. They hold preparations and checks of the page.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.docs.blocks import ROOT, Block
from tests.e2e.conftest import Server, free_port

URL = "http://127.0.0.1:8000"
PUBLIC_URL = "https://auth.example.org"
WITHIN_S = 240
# Commands that reach beyond the folder of the page. A block with such a command gives a reason and is not run.
BEYOND = re.compile(
    r"(^|[\s|;&(])(sudo|systemctl|journalctl|apt|apt-get|docker|kubectl|helm|useradd|adduser|usermod|npm|pip|pipx|git|"
    r"systemd-\S+|mount|chown)(\s|$)|(>|\s)/(etc|var|usr|opt|srv|root|home|run)/",
    re.MULTILINE,
)


@dataclass
class PageServer(Server):
    """The service of a page. Its store is in the folder `authsvc-data`, its log in `service.log`."""

    application_port: int = field(default_factory=free_port)

    @property
    def data_dir(self) -> Path:
        return self.directory / "authsvc-data"

    def _answers(self) -> bool:
        """Whether the service answers on the port that it prints. The system has chosen that port."""
        printed = re.search(r"^authsvc \S+ on http://127\.0\.0\.1:(\d+),", self.output, re.MULTILINE)
        if printed:
            self.port = int(printed[1])
        return super()._answers() if printed or self._ended() else False

    def _ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None


def walk(server: PageServer, blocks: list[Block], *, zsh: bool = False) -> "subprocess.CompletedProcess[str]":
    """Run the blocks of a page beside a service that was started in the folder.

    zsh: in an interactive zsh instead of bash. It has no comments, fails where a pattern matches no file, and does not
    split the value of a variable. It is interactive only if it reads the commands from stdin.
    """
    folder = server.directory
    (folder / "service.log").symlink_to("stderr")
    (folder / ".venv").symlink_to(sys.prefix)
    programs = folder / ".programs"
    programs.mkdir()
    curl = programs / "curl"
    curl.write_text(f'#!/bin/sh\nexec {shutil.which("curl")} ${{CURL_FAILS---fail-with-body}} "$@"\n')
    curl.chmod(0o755)
    script = folder / ".walk.sh"
    script.write_text("\n".join(_script(server, folder, blocks)))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AUTHSVC_", "PYTEST"))}
    environment = inherited | {
        "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "PYTHONPATH": str(ROOT),
        "PS1": "",
        "PS2": "",
    }
    command = ["zsh", "-f", "-i", "-s", "+o", "prompt_sp"] if zsh else ["bash", str(script)]
    with (script if zsh else Path(os.devnull)).open() as stdin:
        return subprocess.run(
            command, cwd=folder, env=environment, stdin=stdin,
            capture_output=True, text=True, timeout=WITHIN_S, check=False,
        )  # fmt: skip


def _script(server: PageServer, folder: Path, blocks: list[Block]) -> Iterator[str]:
    yield "set -euo pipefail"
    yield "trap 'jobs -p | xargs -r kill 2>/dev/null' EXIT"  # programs that a page starts in the background end with it
    program = [block for block in blocks if block.language == "python" and "file" not in block.options]
    for block in blocks:
        if "no-run" in block.options:
            continue
        yield f"echo {shlex.quote('== ' + block.place)} >&2"
        code = replaced(server, block.code)
        if "file" in block.options:
            staged = folder / f".file-{block.line}"
            staged.write_text(code)
            yield f'mkdir -p "$(dirname {block.options["file"]})"; cp {staged} {block.options["file"]}'
        elif block.language == "sh":
            yield f"export CURL_FAILS{'=' if 'refused' in block.options else '=--fail-with-body'}"
            yield "\n".join(_line(line) for line in code.splitlines())
        elif program and block is program[-1]:
            path = folder / ".program.py"
            path.write_text("\n".join(replaced(server, one.code) for one in program))
            yield f"python -m tests.docs.program {path}"


def replaced(server: PageServer, code: str) -> str:
    """The code with the address and the admin of this service."""
    code = re.sub(r"\b9000\b", str(server.application_port), code)
    code = code.replace(URL, server.url).replace(PUBLIC_URL, server.url)
    return code.replace("client_id:client_secret", ":".join(server.admin))


def _line(line: str) -> str:
    command = line.partition("#")[0].strip()
    if command == "make run" or command.endswith("authsvc serve"):
        return ":"
    if command.startswith("make "):
        return f"make --quiet --dry-run -C {ROOT} {command.removeprefix('make ')} >/dev/null"
    return line
