"""Following a page: its commands in one shell, in its own folder, beside a real service.

What is replaced, and nothing else:

- A line that starts the service (`make run`, or one that ends in `authsvc serve`) is left out: it runs already, in the
  same folder, with what `<!-- serve: NAME=value -->` says. Of other lines with `make` the target has to exist.
- `http://127.0.0.1:8000` and `https://auth.example.org` are where it runs; `client_id:client_secret` is its admin.
- 9000, the port of a reader's own application, is one that is free.
- `curl` fails where the answer is an error, unless the block says `refused`.

Blocks of `sh` run one after another with `set -euo pipefail`. A block with `file="NAME"` is written to that file. The
other blocks of `python` are one program, which runs where the last one of them stands. What is in `<!-- run: … -->` and
`<!-- python: … -->` is run and not shown: what a page takes for granted, and checks of what it says.
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
# What would reach beyond the folder of the page: a block with such a command has to say why it isn't run.
BEYOND = re.compile(
    r"(^|[\s|;&(])(sudo|systemctl|journalctl|apt|apt-get|docker|kubectl|helm|useradd|adduser|usermod|npm|pip|pipx|git|"
    r"systemd-\S+|mount|chown)(\s|$)|(>|\s)/(etc|var|usr|opt|srv|root|home|run)/",
    re.MULTILINE,
)


@dataclass
class PageServer(Server):
    """A service as a page has it: its store in `authsvc-data` of the folder, its log in `service.log`."""

    application_port: int = field(default_factory=free_port)

    @property
    def data_dir(self) -> Path:
        return self.directory / "authsvc-data"

    def _answers(self) -> bool:
        """On the port that it was given by the system and prints: nobody else can have it."""
        printed = re.search(r"^authsvc \S+ on http://127\.0\.0\.1:(\d+),", self.output, re.MULTILINE)
        if printed:
            self.port = int(printed[1])
        return super()._answers() if printed or self._ended() else False

    def _ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None


def walk(server: PageServer, blocks: list[Block]) -> "subprocess.CompletedProcess[str]":
    """Run what a page says, beside a service that was started in the folder."""
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
    }
    return subprocess.run(
        ["bash", str(script)], cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=WITHIN_S, check=False,
    )  # fmt: skip


def _script(server: PageServer, folder: Path, blocks: list[Block]) -> Iterator[str]:
    yield "set -euo pipefail"
    yield "trap 'jobs -p | xargs -r kill 2>/dev/null' EXIT"  # what a page starts in the background ends with it
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
