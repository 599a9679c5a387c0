"""The connection of lookups: a server that says nothing while it is reached, and many callers at once."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from authsvc.driver.connection import Connection
from authsvc.errors import StoreUnavailable
from tests import topologies
from tests.driver.reading import read


async def test_replies_reach_their_callers(tmp_path: Path) -> None:
    """A hundred callers at once get their own values, also when the connection is killed among them."""
    with topologies.standalone(tmp_path) as server:
        connection = Connection(server.url)
        reader, loop = connection.reader(), asyncio.get_running_loop()
        for number in range(100):
            await connection.call("SET", f"key{number}", number)
        for killed in (False, True):
            asked = [
                asyncio.create_task(read(reader, loop.time() + 5, f"key{number}", "absent")) for number in range(100)
            ]
            await asyncio.sleep(0)
            if killed:
                server.call("CLIENT", "KILL", "TYPE", "normal")
            told = await asyncio.gather(*asked)
            assert told == [[str(number).encode(), None] for number in range(100)]
        await reader.close()
        with pytest.raises(StoreUnavailable):
            await read(reader, loop.time() + 1, "key1")
        await connection.close()


async def test_a_server_that_says_nothing_at_first(tmp_path: Path) -> None:
    """Connecting is bounded: a connection on which no greeting is answered is given up, and the next one is used."""
    with topologies.standalone(tmp_path) as server:
        accepted: list[asyncio.StreamWriter] = []

        async def first_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            accepted.append(writer)
            if len(accepted) == 1:
                return  # accepted, and nothing is ever said
            host, port = server.address.split(":")
            there, back = await asyncio.open_connection(host, int(port))
            accepted.append(back)
            await asyncio.gather(_pass_on(reader, back), _pass_on(there, writer))

        between = await asyncio.start_server(first_silent, "127.0.0.1", 0)
        port = between.sockets[0].getsockname()[1]
        connection = Connection(f"redis://127.0.0.1:{port}")
        reader, loop = connection.reader(), asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(StoreUnavailable):
            await read(reader, loop.time() + 0.3, "key")
        while True:
            try:
                assert await read(reader, loop.time() + 0.3, "key") == [None]
                break
            except StoreUnavailable:
                assert loop.time() - began < 3, "the silent connection is still waited for"
                await asyncio.sleep(0.05)
        await reader.close()
        await connection.close()
        between.close()
        for writer in accepted:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def _pass_on(source: asyncio.StreamReader, target: Any) -> None:
    while data := await source.read(4096):
        target.write(data)
