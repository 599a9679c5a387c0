"""The log tells the end of an outage of the store."""

import asyncio
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from authsvc.driver.connection import Connection
from authsvc.errors import StoreUnavailable
from authsvc.waiting import until
from tests import topologies
from tests.conftest import PATIENT


async def test_the_end_of_an_outage_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One line for each outage names the server and how long it was away, also while no call is made."""
    with topologies.standalone(tmp_path) as store, caplog.at_level(logging.INFO):
        connection = Connection(store.url, timeouts=replace(PATIENT, watch_s=0.02))

        def ends() -> list[str]:
            return [line for line in caplog.messages if line.startswith("store available again")]

        try:
            await connection.call("GET", "session:none")
            for outages in (1, 2):
                await asyncio.to_thread(store.kill)
                async for _ in until(30):
                    try:
                        await connection.call("GET", "session:none")
                    except StoreUnavailable:
                        break
                assert len(ends()) == outages - 1
                await asyncio.to_thread(store.start)
                async for _ in until(30):
                    if len(ends()) == outages:
                        break
                assert len(ends()) == outages
        finally:
            await connection.close()
    assert all(line.startswith(f"store available again: {store.address}, after ") for line in ends())
