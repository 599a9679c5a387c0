"""Administering clients, and authenticating them."""

from typing import Any

import pytest

from authsvc.core import token as tokens
from authsvc.core.token import Kind
from authsvc.errors import InvalidClient, InvalidRequest, InvalidScope, LastAdmin, NotFound, TooManyAttempts
from authsvc.flows import clients, revoke
from authsvc.flows.deps import OPERATOR
from tests.conftest import Clock, Service
from tests.flows.conftest import HERE, World

CLIENTS = "/admin/clients"


async def works(service: Service, auth: tuple[str, str]) -> bool:
    answer = await service.http.post("/introspect", data={"token": "x"}, auth=auth)
    assert answer.status_code in (200, 401)
    return answer.status_code == 200


async def test_create(service: Service) -> None:
    """The answer is 201 with the secret, which is shown only here. A public client has none."""
    body = {"name": "orders", "permissions": ["introspect"], "audience": ["orders"], "access_ttl_s": 60}
    answer = await service.http.post(CLIENTS, json=body, auth=service.admin)
    made = answer.json()
    assert answer.status_code == 201
    secret = made.pop("client_secret")
    assert tokens.parse(secret, Kind.SECRET)
    read = await service.http.get(f"{CLIENTS}/{made['client_id']}", auth=service.admin)
    assert read.json() == made
    assert made["audience"] == ["orders"]
    assert await works(service, (made["client_id"], secret))
    public = await service.http.post(CLIENTS, json={"name": "app 2", "public": True}, auth=service.admin)
    assert "client_secret" not in public.json()


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"public": True, "permissions": ("introspect",)}, InvalidRequest),
        ({"audience": ("a b",)}, InvalidRequest),
        ({"audience": ("",)}, InvalidRequest),
        ({"scope": "admin"}, InvalidScope),
        ({"scope": "a  b"}, InvalidScope),
    ],
)
async def test_what_no_client_can_be(world: World, fields: dict[str, Any], error: type[Exception]) -> None:
    """A public client with permissions, and a malformed audience or scope, are refused."""
    with pytest.raises(error):
        await clients.create(world.deps, OPERATOR, name="x", **fields)


async def test_rotating_the_secret_with_an_overlap(service: Service, clock: Clock) -> None:
    """Both secrets work for the overlap, then only the new one. There are never more than two."""
    client, first = await service.client("introspect")
    path = f"{CLIENTS}/{client.client_id}/secret"
    second = (client.client_id, (await service.http.post(path, auth=service.admin)).json()["client_secret"])
    assert await works(service, first)
    assert await works(service, second)
    clock.forward(86400)
    assert not await works(service, first)
    assert await works(service, second)
    answer = await service.http.post(path, json={"overlap_s": 100}, auth=service.admin)
    third = (client.client_id, answer.json()["client_secret"])
    answer = await service.http.post(path, json={"overlap_s": 100}, auth=service.admin)
    fourth = (client.client_id, answer.json()["client_secret"])
    assert [await works(service, auth) for auth in (second, third, fourth)] == [False, True, True]
    answer = await service.http.post(path, json={"overlap_s": 0}, auth=service.admin)
    fifth = (client.client_id, answer.json()["client_secret"])
    assert [await works(service, auth) for auth in (third, fourth, fifth)] == [False, False, True]
    assert (await service.http.post(f"{CLIENTS}/app/secret", auth=service.admin)).status_code == 400
    assert (await service.http.post(f"{CLIENTS}/nobody/secret", auth=service.admin)).status_code == 404


async def test_a_rotation_ends_no_session(service: Service) -> None:
    """A new secret leaves the tokens of the client alone. Ending its sessions is another call."""
    await service.user()
    client, auth = await service.client()
    login = {"username": "ada", "password": "a walk by the river"}
    granted = (await service.http.post("/login", json=login, auth=auth)).json()
    await clients.rotate_secret(service.deps, OPERATOR, client.client_id, 0)
    assert await service.active(granted["access_token"])
    await revoke.revoke_client(service.deps, OPERATOR, client.client_id)
    assert not await service.active(granted["access_token"])


async def test_changes_apply_to_the_next_request(service: Service) -> None:
    """Permissions and audience are read live. Fields that are left out stay."""
    client, auth = await service.client("introspect", audience=("orders",))
    path = f"{CLIENTS}/{client.client_id}"
    answer = await service.http.patch(path, json={"permissions": []}, auth=service.admin)
    assert answer.json()["audience"] == ["orders"]
    refused = await service.http.post("/introspect", data={"token": "x"}, auth=auth)
    assert refused.status_code == 403
    await service.http.patch(path, json={"permissions": ["introspect"]}, auth=service.admin)
    assert await works(service, auth)
    assert (await service.http.patch(f"{CLIENTS}/nobody", json={"name": "x"}, auth=service.admin)).status_code == 404


async def test_deleting_ends_its_sessions(service: Service) -> None:
    """Deleting a client ends its sessions and its secret. The built-in client cannot be deleted."""
    await service.user()
    client, auth = await service.client("introspect")
    login = {"username": "ada", "password": "a walk by the river"}
    granted = (await service.http.post("/login", json=login, auth=auth)).json()
    assert (await service.http.delete(f"{CLIENTS}/{client.client_id}", auth=service.admin)).status_code == 204
    assert not await service.active(granted["access_token"])
    assert not await works(service, auth)
    assert (await service.http.delete(f"{CLIENTS}/{client.client_id}", auth=service.admin)).status_code == 404
    assert (await service.http.delete(f"{CLIENTS}/app", auth=service.admin)).status_code == 400


async def test_the_last_admin_client(world: World) -> None:
    """The last admin client can neither be deleted nor lose the permission."""
    only = await world.client("admin")
    for act in (
        clients.delete(world.deps, OPERATOR, only.client_id),
        clients.update(world.deps, OPERATOR, only.client_id, permissions=("introspect",)),
    ):
        with pytest.raises(LastAdmin):
            await act
    await clients.update(world.deps, OPERATOR, only.client_id, permissions=("admin", "introspect"), name="renamed")
    await world.user("root", roles=("admin",))
    await clients.delete(world.deps, OPERATOR, only.client_id)
    with pytest.raises(NotFound):
        await clients.delete(world.deps, OPERATOR, only.client_id)


async def test_wrong_secrets_are_throttled_and_a_right_one_is_not(world: World, clock: Clock) -> None:
    """A client has ten wrong secrets a minute, an address twenty unknown ids in five minutes.

    The right secret always works.
    """
    client, secret = await clients.create(world.deps, OPERATOR, name="x", permissions=("introspect",))
    for client_id, free in ((client.client_id, 10), ("nobody", 20)):
        for _ in range(free):
            with pytest.raises(InvalidClient):
                await clients.authenticate(world.deps, HERE, client_id, tokens.new(Kind.SECRET).text)
        with pytest.raises(TooManyAttempts):
            await clients.authenticate(world.deps, HERE, client_id, "sec_x")
    assert await clients.authenticate(world.deps, HERE, client.client_id, secret) == client
    clock.forward(60)
    with pytest.raises(InvalidClient):
        await clients.authenticate(world.deps, HERE, client.client_id, "sec_x")


@pytest.mark.parametrize("secret", [None, "", "x"])
async def test_a_confidential_client_needs_its_secret(world: World, secret: str | None) -> None:
    """The name alone or an empty secret is refused. A public client has no right secret."""
    client = await world.client("introspect")
    with pytest.raises(InvalidClient):
        await clients.authenticate(world.deps, HERE, client.client_id, secret)
    if secret is not None:
        with pytest.raises(InvalidClient):
            await clients.authenticate(world.deps, HERE, "app", secret)
    for strange in ("a{b}", "", "x" * 65, "a\r\nb", "é"):
        with pytest.raises(InvalidClient):
            await clients.authenticate(world.deps, HERE, strange, secret)
