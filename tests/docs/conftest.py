"""The service beside which the commands of a page run."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.walk import PageServer


@pytest.fixture
def page_server(tmp_path: Path) -> Iterator[PageServer]:
    server = PageServer(tmp_path, 0, {"AUTHSVC_DATA_DIR": str(tmp_path / "authsvc-data")})
    # The default parameters of argon2, as for a reader, because `authsvc check` judges them.
    server.environment |= {"AUTHSVC_ARGON2_MEMORY_KIB": "19456", "AUTHSVC_ARGON2_TIME_COST": "2"}
    yield server
    server.clean_up()
