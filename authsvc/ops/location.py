"""Where the state of a service is, in words for the operator."""

from pathlib import Path

from authsvc.driver.urls import StoreUrl


def location(redis_url: str | None, data_dir: Path) -> str:
    """The store, without credentials: `127.0.0.1:6379, database 0`. redis_url: None for the embedded store.

    Raises StartupError for a URL that is none.
    """
    return f"an embedded Valkey in {data_dir.resolve()}" if redis_url is None else StoreUrl.parse(redis_url).where
