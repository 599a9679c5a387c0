"""A real service on a store with five million keys: power can be taken away at any time."""

from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from tests import topologies
from tests.e2e.conftest import PASSWORD, Server

KEYS = 5_000_000


@pytest.mark.slow
def test_no_admin_is_protected_by_the_number_of_keys(tmp_path: Path, new_server: Callable[..., Server]) -> None:
    """Admins, users and clients, are suspended, demoted and deleted over HTTP, also while the index is being filled."""
    with (
        topologies.standalone(tmp_path / "store", "enable-debug-command yes") as store,
        redis.Redis.from_url(store.url, socket_timeout=120) as valkey,
    ):
        valkey.execute_command("DEBUG", "POPULATE", KEYS, "session")
        server = new_server(AUTHSVC_WORKERS="2", AUTHSVC_REDIS_URL=store.url).start()
        assert power_taken(server) == [200, 200, 204, 200, 204]
        assert not valkey.exists("admins:filled"), "the walk over all keys takes much longer than these calls"


def power_taken(server: Server) -> list[int]:
    """The statuses of suspending, demoting and deleting users, and of demoting and deleting clients."""
    statuses = []
    with server.http(auth=server.admin) as http:
        for name, change in (("ada", {"status": "suspended"}), ("bea", {"roles": []}), ("eve", None)):
            body = {"username": name, "password": PASSWORD, "roles": ["admin"]}
            path = f"/admin/users/{http.post('/admin/users', json=body).json()['sub']}"
            answer = http.patch(path, json=change) if change else http.delete(path)
            statuses.append(answer.status_code)
        for method, change in (("PATCH", {"permissions": []}), ("DELETE", None)):
            body = {"name": "another", "permissions": ["admin"]}
            path = f"/admin/clients/{http.post('/admin/clients', json=body).json()['client_id']}"
            statuses.append(http.request(method, path, json=change).status_code)
    return statuses
