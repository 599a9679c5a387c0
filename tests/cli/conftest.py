"""A store with a started service. The command line waits for the store as patiently as other tests do."""

from functools import partial

import pytest
import redis

from authsvc.composition import open_deps
from authsvc.flows.bootstrap import first_start
from tests.cli.test_cli import Cli
from tests.conftest import PATIENT


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("authsvc.cli.state.open_deps", partial(open_deps, timeouts=PATIENT))


@pytest.fixture
def started(valkey: "redis.Redis", valkey_url: str) -> Cli:
    cli = Cli(valkey_url)
    cli.do(first_start)
    return cli
