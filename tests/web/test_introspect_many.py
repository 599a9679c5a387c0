"""Introspecting many tokens: in one batch, and in many requests at once."""

import asyncio
from typing import Any

import httpx
import pytest

from authsvc.core import token as tokens
from authsvc.core.token import Kind
from tests.conftest import Service


async def test_batch_answers_what_single_calls_answer(service: Service) -> None:
    """One answer for each token, in order, the same as one by one, for callers of every kind."""
    await service.user()
    await service.user("grace", roles=("editor",))
    _, orders_auth = await service.client("introspect", audience=("orders",))
    live = [await service.login(name) for name in ("ada", "grace", "ada")]
    await service.http.post("/revoke", data={"token": live[2]["access_token"]}, auth=service.admin)
    _, issuer_auth = await service.client("issue", audience=("orders",))
    issued = await service.http.post("/tokens", json={"sub": "ext|1", "scope": "read"}, auth=issuer_auth)
    asked = [one[kind] for one in live for kind in ("access_token", "refresh_token")]
    asked += [issued.json()["access_token"], "garbage", "", tokens.new(Kind.ACCESS).text, asked[0], asked[0][:-1] + "!"]
    for auth in (service.admin, orders_auth):
        batch = await service.http.post("/introspect/batch", json={"tokens": asked}, auth=auth)
        assert batch.status_code == 200
        one_by_one = [await service.introspect(text, auth) if text else {"active": False} for text in asked]
        assert batch.json() == one_by_one


async def test_batch_is_refused_like_single_calls(service: Service) -> None:
    """A batch without permission, with too many tokens or of wrong types gets the documented errors."""
    _, powerless_auth = await service.client()

    async def status(body: Any, auth: tuple[str, str] | None) -> tuple[int, str]:
        answer = await service.http.post("/introspect/batch", json=body, auth=auth or httpx.USE_CLIENT_DEFAULT)
        return answer.status_code, answer.json()["error"] if answer.status_code != 200 else ""

    assert await status({"tokens": ["x"]}, None) == (401, "invalid_client")
    assert await status({"tokens": ["x"]}, (service.admin[0], "no")) == (401, "invalid_client")
    assert await status({"tokens": ["x"]}, powerless_auth) == (403, "unauthorized_client")
    assert await status({"tokens": ["x"] * 1001}, service.admin) == (400, "invalid_request")
    assert await status({"tokens": "x"}, service.admin) == (400, "invalid_request")
    assert await status({"tokens": [1]}, service.admin) == (400, "invalid_request")
    assert await status({}, service.admin) == (400, "invalid_request")
    assert await status({"tokens": []}, service.admin) == (200, "")
    assert await status({"tokens": ["x"] * 1000}, service.admin) == (200, "")


@pytest.mark.parametrize("concurrent", [2, 40])
async def test_concurrent_introspections_do_not_mix(service: Service, concurrent: int) -> None:
    """Many callers at once each learn about their own token."""
    names = [f"user{number}" for number in range(8)]
    for name in names:
        await service.user(name)
    live = {name: (await service.login(name))["access_token"] for name in names}

    async def one(number: int) -> None:
        name = names[number % len(names)]
        assert (await service.introspect(live[name]))["username"] == name

    await asyncio.gather(*[one(number) for number in range(concurrent * 5)])
