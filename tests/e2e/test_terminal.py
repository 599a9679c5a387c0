"""The service at a terminal: a log for people, and Ctrl-C at any moment."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from authsvc.cli.statuses import INTERRUPTED
from tests.e2e.conftest import AUTHSVC, clean
from tests.processes import processes_on, until
from tests.selection import slow

WITHIN_S = 60


@dataclass
class Terminal:
    """`authsvc serve` at a terminal. `seen` is all that the terminal has shown."""

    process: "subprocess.Popen[bytes]"
    screen: int
    seen: str = ""

    def read_until(self, pattern: str) -> None:
        while not re.search(pattern, self.seen):
            assert self._read(), f"{pattern!r} is not on the screen: {self.seen}"

    def end(self) -> int:
        """Interrupt the process group, as Ctrl-C does, and read to the end. Returns the status."""
        os.killpg(self.process.pid, signal.SIGINT)
        while self._read():
            pass
        return self.process.wait(WITHIN_S)

    def _read(self) -> bool:
        assert select.select([self.screen], [], [], WITHIN_S)[0], f"nothing more comes: {self.seen}"
        try:
            piece = os.read(self.screen, 65536)
        except OSError:  # the last process has closed the terminal
            return False
        self.seen += piece.decode().replace("\r\n", "\n")
        return bool(piece)


@contextmanager
def serving(directory: Path, **environment: str) -> Iterator[Terminal]:
    screen, terminal = pty.openpty()
    with subprocess.Popen(
        [AUTHSVC, "serve"],
        cwd=directory,
        env=clean({"AUTHSVC_PORT": "0"} | environment),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    ) as process:
        os.close(terminal)
        try:
            yield Terminal(process, screen)
        finally:
            os.close(screen)
            process.kill()


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=5).is_success
    except httpx.TransportError:
        return False


def lines_of_the_log(text: str) -> list[str]:
    return [line for line in text.splitlines() if "authsvc.audit" in line or re.match(r"\d\d:\d\d:\d\d ", line)]


@pytest.mark.slow
@pytest.mark.parametrize(("chosen", "is_json"), [({}, False), ({"AUTHSVC_LOG_FORMAT": "json"}, True)])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_log_at_a_terminal(tmp_path: Path, chosen: dict[str, str], is_json: bool, workers: str) -> None:
    """At a terminal the log is text for people, unless the settings ask for JSON. Browsers get an address too."""
    with serving(tmp_path, AUTHSVC_WORKERS=workers, **chosen) as terminal:
        terminal.read_until(r"authsvc \S+ on http://127\.0\.0\.1:(\d+), .*http://localhost:\1, ")
        terminal.read_until("client_secret +sec_")
        printed = re.search(r"on (http://127\.0\.0\.1:\d+),", terminal.seen)
        assert printed is not None
        until(lambda: answers(printed[1]), WITHIN_S)
        assert terminal.end() == 0
    found = lines_of_the_log(terminal.seen)
    assert found
    for line in found:
        assert (line.startswith("{") and bool(json.loads(line))) == is_json, line
    assert re.search("stopped", terminal.seen.splitlines()[-1])


@pytest.mark.parametrize("workers", ["1", slow("2")])
@pytest.mark.parametrize("after_s", [0.15, slow(0.4), 0.8, slow(1.2), slow(1.6), slow(2.2)])
def test_ctrl_c_at_any_moment(tmp_path: Path, after_s: float, workers: str) -> None:
    """Ctrl-C ends the service at any moment, its start included, without a traceback. Nothing is left running."""
    for _ in range(20):
        with serving(tmp_path, AUTHSVC_WORKERS=workers) as terminal:
            time.sleep(after_s)  # each moment has to pass, whatever the program does in it
            status = terminal.end()
        if "Traceback" not in terminal.seen or re.search('program.py", line [0-9]+, in main', terminal.seen):
            break  # else the machine is so busy that Python had not yet called the program
    assert status in (0, INTERRUPTED, -signal.SIGINT)
    assert "Traceback" not in terminal.seen
    if status == INTERRUPTED:
        assert terminal.seen.endswith("\nauthsvc: interrupted\n")
    data_dir = tmp_path / "authsvc-data"
    assert not data_dir.exists() or processes_on(data_dir) == []


def test_ctrl_c_while_the_command_line_is_loaded(tmp_path: Path) -> None:
    """An interrupt in the imports of the command line ends the program at once, without a traceback."""
    code = (
        "import os, signal, sys\n"
        "class Interrupted:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'click': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupted())\n"
        "from authsvc.program import main\n"
        "main()\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=clean({}), capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (-signal.SIGINT, "")
