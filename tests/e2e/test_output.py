"""stdout on a full disk, and streams that the caller closed."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from authsvc.cli.statuses import OK, REFUSED
from tests.e2e.conftest import AUTHSVC, Server, clean
from tests.processes import until
from tests.selection import slow

FULL = Path("/dev/full")
on_linux = pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")


def shell(line: str, directory: Path) -> "subprocess.CompletedProcess[str]":
    """Run the program through a shell, in which `authsvc` stands for its path."""
    return subprocess.run(
        ["sh", "-c", line.replace("authsvc", AUTHSVC, 1)],
        cwd=directory,
        env=clean({"AUTHSVC_DATA_DIR": str(directory / "data")}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.slow
@on_linux
@pytest.mark.parametrize("command", ["openapi", "--help", "check", "patterns"])
def test_a_full_disk_is_told_in_one_line(tmp_path: Path, command: str) -> None:
    """A backup or a report that could not be written must not end with status 0."""
    ended = shell(f"authsvc {command} >/dev/full", tmp_path)
    assert ended.returncode == REFUSED
    assert ended.stderr == "authsvc: can't write the output: no space left on device\n"


@pytest.mark.parametrize("closed", [">&-", slow("2>&-"), slow("<&-"), slow("<&- >&- 2>&-")])
def test_a_closed_stream_takes_what_is_printed(tmp_path: Path, closed: str) -> None:
    """The program works as if the stream were /dev/null."""
    ended = shell(f"authsvc openapi {closed}", tmp_path)
    assert ended.returncode == OK, ended.stderr
    assert ended.stderr == ""
    assert ended.stdout.startswith("openapi: ") == (">&-" not in closed.split())


@pytest.mark.slow
@on_linux
def test_a_first_admin_that_nobody_saw(new_server: Callable[..., Server]) -> None:
    """The service serves, and its log says which secret is lost and what to do."""
    server = new_server()
    server.prefix = ("sh", "-c", 'exec "$0" "$@" >/dev/full')
    server.start()
    until(lambda: "nobody has the secret of the admin client" in server.log)
    assert server.admin == ("", "")
    assert server.stop() == 0
    assert "Traceback" not in server.log
    assert "Exception ignored" not in server.log
