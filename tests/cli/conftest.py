"""A store with a started service. The command line waits for the store as patiently as other tests do."""

import pytest
import redis

from authsvc.flows.bootstrap import first_start
from tests.cli.test_cli import Cli


@pytest.fixture(autouse=True)
def _patient(patient: None) -> None:
    pass


@pytest.fixture
def started(valkey: "redis.Redis", valkey_url: str) -> Cli:
    cli = Cli(valkey_url)
    cli.do(first_start)
    return cli
