"""The programs of examples/: what a newcomer sees who starts one as it is."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.selection import one_in

ROOT = Path(__file__).parents[2]
SERVERS = ["asgi_app", "django_app", "fastapi_app", "stream_app"]


@pytest.mark.parametrize("name", one_in(4, SERVERS))
def test_a_server_without_its_settings_names_them(name: str) -> None:
    """One line says what to set and where to read on. There is no traceback."""
    pytest.importorskip({"django_app": "django", "asgi_app": "authsvc_sdk"}.get(name, "fastapi"))
    command = [sys.executable, "-c", f"import examples.{name}"]
    ended = subprocess.run(command, cwd=ROOT, env={"AUTH_URL": "http://127.0.0.1:1"}, capture_output=True, text=True)
    assert ended.returncode == 1
    page = ended.stderr.removeprefix("set AUTH_CLIENT_ID, AUTH_CLIENT_SECRET: ").removesuffix(" says how\n")
    assert (ROOT / page).is_file(), ended.stderr
