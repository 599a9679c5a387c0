"""The rig: a store, groups of workers, and nginx in front of them. All are real processes."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from chaos.http import Http, NoAnswer
from chaos.nginx import Nginx
from chaos.processes import ExperimentError, Serve, Store, free_port
from chaos.proxy import Proxy
from chaos.variation import Variation

# Hashing is cheap, so that the load is not hashing. A user may have so many sessions that none is ended for the limit.
SETTINGS = {
    "AUTHSVC_ARGON2_MEMORY_KIB": "8",
    "AUTHSVC_ARGON2_TIME_COST": "1",
    "AUTHSVC_MAX_SESSIONS": "10000",
    "AUTHSVC_TRUSTED_PROXIES": "127.0.0.1",
}


@dataclass
class Options:
    """The wishes of an experiment. proxied: a proxy stands between the workers and the store.

    per_group: extra environment variables of a group, by its number. store_url: a store that the experiment has started
    itself.
    """

    groups: int = 2
    workers: int = 2
    proxied: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    store: Sequence[str] = ()
    per_group: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    store_url: str | None = None


@dataclass
class Rig:
    """The running processes. admin: the client_id and secret of the first admin."""

    directory: Path
    store: Store
    proxy: Proxy | None
    groups: list[Serve]
    nginx: Nginx
    admin: tuple[str, str]
    settings: Mapping[str, str]
    http: Http
    _stack: AsyncExitStack

    @classmethod
    async def start(cls, directory: Path, variation: Variation, options: Options) -> Self:
        async with AsyncExitStack() as stack:
            store = Store(directory, [*options.store, *variation.store])
            stack.callback(store.kill)
            proxy = None
            if options.store_url is None:
                await asyncio.to_thread(store.start)
                url = f"redis://127.0.0.1:{store.port}"
                if options.proxied:
                    proxy = await stack.enter_async_context(Proxy(free_port(), store.port))
                    url = f"redis://127.0.0.1:{proxy.port}"
            else:
                url = options.store_url
            settings = SETTINGS | {"AUTHSVC_REDIS_URL": url, "AUTHSVC_WORKERS": str(options.workers)}
            settings |= {**options.settings, **variation.settings}
            package = variation.package(directory)
            if package is not None:
                settings["PYTHONPATH"] = str(package)
            groups = [
                Serve(
                    f"serve-{number}", directory, variation.python(), settings | dict(options.per_group.get(number, {}))
                )
                for number in range(options.groups)
            ]
            for group in groups:
                stack.callback(group.kill)
            admin = await _started(groups)
            nginx = Nginx(directory, [group.port for group in groups])
            stack.callback(nginx.end)
            await asyncio.to_thread(nginx.start)
            http = Http(nginx.port)
            stack.callback(http.close)
            return cls(directory, store, proxy, groups, nginx, admin, settings, http, stack.pop_all())
        raise AssertionError  # the stack swallows no exception

    async def stop(self) -> None:
        await self._stack.aclose()

    @property
    def workers(self) -> list[int]:
        return [pid for group in self.groups for pid in group.workers]

    def logs(self) -> list[Path]:
        """All files that may hold a secret by mistake: the output of the processes and the files of the store."""
        found = [
            *self.directory.glob("*.log"),
            *self.directory.glob("nodes/*/log"),
            *self.store.data.rglob("*.aof"),
            *self.store.data.rglob("*.rdb"),
        ]
        return [file for file in found if file.is_file()]


async def _started(groups: list[Serve]) -> tuple[str, str]:
    """Start the first group, which registers the first admin, then the others."""
    first, *others = groups
    first.start()
    await asyncio.to_thread(first.wait_until, lambda: first.admin is not None)
    for group in others:
        group.start()
    for group in groups:
        await until_ready(group)
    if first.admin is None:
        raise ExperimentError("no admin was made")
    admin = first.admin
    first.forget_the_secret()
    return admin


async def until_ready(group: Serve, seconds: float = 90) -> None:
    """Wait until a group answers that it is ready. Raises ExperimentError."""
    http = Http(group.port)
    try:
        async with asyncio.timeout(seconds):
            while True:
                try:
                    if (await http.call("GET", "/readyz", timeout_s=2)).status == 200:
                        return
                except NoAnswer:
                    if not group.runs:
                        raise ExperimentError(f"{group.name} ended: {group.log.read_text()[-2000:]}") from None
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise ExperimentError(f"{group.name} is not ready: {group.log.read_text()[-2000:]}") from None
    finally:
        http.close()
