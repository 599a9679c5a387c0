"""A store with a started service, for the tests of the import."""

import pytest
import redis

from authsvc.flows.bootstrap import first_start
from tests.cli.test_cli import Cli


@pytest.fixture
def started(patient: None, valkey: "redis.Redis", valkey_url: str) -> Cli:
    cli = Cli(valkey_url)
    cli.do(first_start)
    return cli
