"""The lines of the first start work as pasted, whatever the shell and the address are."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from authsvc.serve.banner import banner, first_steps
from authsvc.settings import Settings
from tests.selection import slow


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("redis://ada:s3cret@127.0.0.1:6420/1", "127.0.0.1:6420, database 1"),
        (None, "an embedded Valkey in /srv/data"),
    ],
)
def test_the_banner_names_the_store(url: str | None, where: str) -> None:
    """The line of a start has host, port and database, and no credentials: a wrong database is a new installation."""
    assert banner(Settings(redis_url=url, data_dir=Path("/srv/data"))).endswith(f", state in {where}")


@pytest.mark.parametrize("shell", [["bash", "-e"], ["zsh", "-f", "-i", "-s", "-e"]], ids=["bash", "zsh"])
@pytest.mark.parametrize("base", ["http://127.0.0.1:8000", slow("http://[::1]:8000")])
def test_every_line_asks_the_printed_address(shell: list[str], base: str, tmp_path: Path) -> None:
    """Bash and an interactive zsh give curl the address as it is, with the brackets of IPv6."""
    if shutil.which(shell[0]) is None:
        pytest.skip(f"no {shell[0]} here")
    curl = tmp_path / "curl"
    curl.write_text(f"""#!/bin/sh\nprintf '%s\\n' "$@" >> {tmp_path}/asked\necho '{{"access_token": "tok_x"}}'\n""")
    curl.chmod(0o755)
    lines = first_steps(base, "id", "sec_x").partition("terminal:")[2]
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(shell, input=lines, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    asked = [line for line in (tmp_path / "asked").read_text().splitlines() if line.startswith("http")]
    assert asked == [f"{base}/{path}" for path in ("admin/users", "login", "introspect", "revoke", "introspect")]
