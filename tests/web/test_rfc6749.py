"""The token endpoint as RFC 6749, RFC 9700 and section B of the security list ask for it."""

import base64
from urllib.parse import quote_plus

import httpx
import pytest
import redis

from tests.conftest import Clock, Service, Snapshot, bearer
from tests.web.conftest import assert_problem

CODES = {
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
}


def form(text: str) -> dict[str, object]:
    return {"content": text, "headers": {"Content-Type": "application/x-www-form-urlencoded"}}


@pytest.fixture
async def tokens(service: Service) -> dict[str, str]:
    await service.user()
    return await service.login(scope="orders:read orders:write")


async def test_only_post(service: Service) -> None:
    """The token endpoint takes POST only."""
    for method in ("GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"):
        answer = await service.http.request(method, "/token")
        assert answer.status_code == 405
        assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("name", ["grant_type", "refresh_token", "scope", "client_id", "unknown"])
async def test_repeated_parameters(service: Service, tokens: dict[str, str], name: str) -> None:
    """A repeated parameter is invalid_request, also an empty or unknown one, and rotates no token."""
    whole = (
        f"grant_type=refresh_token&client_id=app&scope=orders:read&unknown=1&refresh_token={tokens['refresh_token']}"
    )
    for again in ("x", ""):
        answer = await service.http.post("/token", **form(f"{whole}&{name}={again}"))  # type: ignore[arg-type]
        assert_problem(answer, 400, "invalid_request")
    assert (await service.refresh(tokens["refresh_token"])).status_code == 200


async def test_empty_is_omitted_and_unknown_is_ignored(service: Service, tokens: dict[str, str]) -> None:
    """An empty parameter counts as left out, an unknown one is ignored."""
    answer = await service.refresh(tokens["refresh_token"], scope="", foo="1", client_secret="")
    assert answer.status_code == 200
    assert answer.json()["scope"] == "orders:read orders:write"
    answer = await service.refresh("", scope="orders:read")
    assert_problem(answer, 400, "invalid_request")


@pytest.mark.parametrize("path", ["/introspect", "/revoke"])
async def test_basic_and_the_form_have_the_same_credentials(service: Service, path: str) -> None:
    """HTTP Basic and the form may both have the credentials, or a part of them. Different ones are invalid_request."""
    _, auth = await service.client("introspect")
    _, other = await service.client("introspect")

    async def post(**fields: str) -> httpx.Response:
        return await service.http.post(path, data={"token": "x"} | fields, auth=auth)

    for same in ({"client_id": auth[0]}, {"client_secret": auth[1]}, {"client_id": auth[0], "client_secret": auth[1]}):
        assert (await post(**same)).status_code == 200
    for different in (
        {"client_id": other[0]},
        {"client_secret": other[1]},
        {"client_id": auth[0], "client_secret": other[1]},
        {"client_id": other[0], "client_secret": auth[1]},
        {"client_id": other[0], "client_secret": other[1]},
    ):
        assert_problem(await post(**different), 400, "invalid_request")


async def test_an_empty_secret_is_none(service: Service, tokens: dict[str, str]) -> None:
    """HTTP Basic with an empty secret is client_id alone: enough for a public client, and never a guess."""
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    for _ in range(30):
        answer = await service.http.post("/token", data=form, auth=("app", ""))
        assert answer.status_code == 200
        form["refresh_token"] = answer.json()["refresh_token"]
    _, auth = await service.client("introspect")
    for _ in range(30):
        for client_id in (auth[0], "nobody"):
            answer = await service.http.post("/introspect", data={"token": "x"}, auth=(client_id, ""))
            assert_problem(answer, 401, "invalid_client")
    secret = {"token": "x", "client_secret": auth[1]}
    assert_problem(await service.http.post("/introspect", data=secret, auth=(auth[0], "")), 400, "invalid_request")


async def test_secret_in_the_form(service: Service) -> None:
    """Client_secret_post works at every endpoint for clients with a form."""
    _, (client_id, secret) = await service.client("introspect", "revoke")
    credentials = {"client_id": client_id, "client_secret": secret}
    for path in ("/introspect", "/revoke"):
        answer = await service.http.post(path, data={"token": "x"} | credentials)
        assert answer.status_code == 200
    answer = await service.http.post("/token", data={"grant_type": "refresh_token", "refresh_token": "x"} | credentials)
    assert_problem(answer, 400, "invalid_grant")


@pytest.mark.parametrize("path", ["/token", "/introspect", "/revoke"])
async def test_never_in_the_url(service: Service, path: str) -> None:
    """Credentials in the URL are refused, right as they may be."""
    _, (client_id, secret) = await service.client("introspect", "revoke")
    query = {"client_id": client_id, "client_secret": secret}
    answer = await service.http.post(path, params=query, data={"token": "x", "grant_type": "refresh_token"})
    assert_problem(answer, 400, "invalid_request")
    answer = await service.http.post(path, params=query, data={"token": "x"} | query)
    assert_problem(answer, 400, "invalid_request")


async def test_guessing_a_secret_is_throttled(service: Service) -> None:
    """Of a hundred wrong secrets ten are heard, and the client with the right one never notices."""
    _, auth = await service.client("introspect")
    statuses = []
    for _ in range(100):
        answer = await service.http.post("/introspect", data={"token": "x"}, auth=(auth[0], "sec_wrong"))
        statuses.append(answer.status_code)
    assert statuses == [401] * 10 + [429] * 90
    assert_problem(answer, 429, "too_many_attempts")
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert await service.introspect("x", auth) == {"active": False}


def basic(client_id: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()}


async def test_basic_is_form_urlencoded(service: Service) -> None:
    """Id and secret in HTTP Basic are form-urlencoded: they are decoded once, with + for a space."""
    _, (client_id, secret) = await service.client("introspect")
    encoded = "".join(f"%{ord(char):02X}" for char in client_id), "".join(f"%{ord(char):02x}" for char in secret)
    answer = await service.http.post("/introspect", data={"token": "x"}, headers=basic(*encoded))
    assert answer.status_code == 200
    twice = quote_plus(encoded[0]), secret
    wrong = (twice, (client_id, "+" + secret), (client_id, secret + ":"), ("a:b", secret), ("%", "%zz%ff%00"), ("", ""))
    for credentials in wrong:
        answer = await service.http.post("/introspect", data={"token": "x"}, headers=basic(*credentials))
        assert_problem(answer, 401, "invalid_client")


@pytest.mark.parametrize(
    "header",
    ["Basic", "Basic ", "Basic x", "Basic !!!!", "Basic  YTpi", "Basic YQ==", "Basic /w==", "Digest a=b", "basic"],
)
async def test_a_broken_authorization_header(service: Service, header: str) -> None:
    """A header other than HTTP Basic gets 401 with a matching challenge."""
    for path in ("/token", "/introspect", "/introspect/batch", "/tokens"):
        as_json = {"json": {"tokens": [], "sub": "x"}} if path in ("/introspect/batch", "/tokens") else {}
        as_form = {"data": {"grant_type": "refresh_token", "token": "x"}} if not as_json else {}
        answer = await service.http.post(path, headers={"Authorization": header}, **as_json, **as_form)  # type: ignore[arg-type]
        assert_problem(answer, 401, "invalid_client")
        assert answer.headers["www-authenticate"] == 'Basic realm="authsvc"'


async def test_answers_with_tokens_are_not_cached(service: Service) -> None:
    """Every answer with tokens has no-store, no-cache, a token_type and expires_in."""
    user = await service.user()
    login = await service.http.post("/login", json={"username": "ada", "password": "a walk by the river"})
    refresh = await service.refresh(login.json()["refresh_token"])
    issued = await service.http.post("/tokens", json={"sub": user.sub}, auth=service.admin)
    change = {"current_password": "a walk by the river", "new_password": "four herons at dawn"}
    changed = await service.http.post("/password", json=change, headers=bearer(refresh.json()["access_token"]))
    for answer in (login, refresh, issued, changed):
        assert answer.status_code == 200, answer.text
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["pragma"] == "no-cache"
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["token_type"] == "Bearer"
        assert answer.json()["expires_in"] > 0
        assert answer.json()["access_token"].startswith("tok_")


async def test_errors_of_the_token_endpoint(service: Service, tokens: dict[str, str]) -> None:
    """All are 400 but invalid_client, which is 401 with a challenge; the codes are those of section 5.2."""
    token = tokens["refresh_token"]
    _, auth = await service.client()

    async def post(auth: tuple[str, str] | None = None, **fields: str) -> httpx.Response:
        given = {"grant_type": "refresh_token", "client_id": "app"} if auth is None else {"grant_type": "refresh_token"}
        return await service.http.post("/token", data=given | fields, auth=auth or httpx.USE_CLIENT_DEFAULT)

    wrong = {
        "invalid_request": [await post(), await post(refresh_token=token, scope="")],
        "unsupported_grant_type": [await post(grant_type=kind) for kind in ("password", "authorization_code", "é")],
        "invalid_grant": [await post(refresh_token=kind) for kind in ("x", tokens["access_token"], token[:-1])],
        "invalid_scope": [await post(refresh_token=token, scope=scope) for scope in ("admin", "other", 'a"b', "a  b")],
    }
    assert wrong["invalid_request"].pop().status_code == 200
    renewed = (await service.refresh(token)).json()["refresh_token"]
    wrong["invalid_grant"].append(await post(auth, refresh_token=renewed))
    for code, answers in wrong.items():
        for answer in answers:
            assert code in CODES
            assert_problem(answer, 400, code)
            assert answer.headers["cache-control"] == "no-store"
    unauthenticated = [
        await post((auth[0], "wrong"), refresh_token=renewed),
        await post(refresh_token=renewed, client_id="nobody"),
        await post(refresh_token=renewed, client_id=auth[0]),
        await post(refresh_token=renewed, client_id=auth[0], client_secret="wrong"),
        await post(refresh_token=renewed, client_secret="sec_but_app_has_none"),
        await service.http.post("/token", data={"grant_type": "refresh_token", "refresh_token": renewed}),
    ]
    for answer in unauthenticated:
        assert_problem(answer, 401, "invalid_client")
        assert answer.headers["www-authenticate"].startswith("Basic ")


async def test_a_refresh_token_is_its_clients(service: Service, tokens: dict[str, str]) -> None:
    """Another client's refresh token is invalid_grant, and the attempt does nothing to it."""
    _, auth = await service.client("introspect", "revoke", "issue", "admin")
    stolen = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    assert_problem(await service.http.post("/token", data=stolen, auth=auth), 400, "invalid_grant")
    assert await service.active(tokens["access_token"])
    assert (await service.refresh(tokens["refresh_token"])).status_code == 200


async def test_scope_can_be_narrowed_and_comes_back(service: Service, tokens: dict[str, str]) -> None:
    """A wider scope is invalid_scope; a narrower one is the access token's only, the session keeps all of it."""
    wider = await service.refresh(tokens["refresh_token"], scope="orders:read orders:delete")
    assert_problem(wider, 400, "invalid_scope")
    narrowed = (await service.refresh(tokens["refresh_token"], scope="orders:read")).json()
    assert narrowed["scope"] == "orders:read"
    assert (await service.introspect(narrowed["access_token"]))["scope"] == "orders:read"
    full = (await service.refresh(narrowed["refresh_token"], scope="orders:write orders:read")).json()
    assert set(full["scope"].split()) == {"orders:read", "orders:write"}
    assert set((await service.refresh(full["refresh_token"])).json()["scope"].split()) == {
        "orders:read",
        "orders:write",
    }


async def test_the_store_holds_no_token(service: Service, tokens: dict[str, str], valkey: "redis.Redis") -> None:
    """The store holds neither tokens, secrets and codes nor their secret parts."""
    await service.client("introspect")
    admin = service.admin
    user = (await service.http.get("/admin/users", auth=admin)).json()["items"][0]
    code = (await service.http.post(f"/admin/users/{user['sub']}/reset-code", auth=admin)).json()["reset_code"]
    refreshed = (await service.refresh(tokens["refresh_token"])).json()
    stored = b""
    for key in valkey.scan_iter():
        kind = valkey.type(key)
        if kind == b"string":
            stored += key + (valkey.get(key) or b"")
        elif kind == b"zset":
            stored += key + repr(valkey.zrange(key, 0, -1)).encode()
        else:
            stored += repr(valkey.xrange(key)).encode()
    assert refreshed["session_id"].encode() in stored
    for secret in (*tokens.values(), *refreshed.values(), code, admin[1]):
        if isinstance(secret, str) and secret[:4] in ("tok_", "ref_", "rst_", "sec_"):
            assert secret.encode() not in stored
            assert secret[16:43].encode() not in stored
    assert b"a walk by the river" not in stored


async def test_reuse_ends_the_session(service: Service, tokens: dict[str, str], clock: Clock) -> None:
    """A spent refresh token that comes back after its grace ends the session, the newest tokens included."""
    newest = (await service.refresh(tokens["refresh_token"])).json()
    clock.forward(11)
    assert_problem(await service.refresh(tokens["refresh_token"]), 400, "invalid_grant")
    assert not await service.active(newest["access_token"])
    assert_problem(await service.refresh(newest["refresh_token"]), 400, "invalid_grant")


async def test_refresh_tokens_die_of_idleness_and_of_logout(service: Service, clock: Clock) -> None:
    """An idle session's refresh token is invalid_grant; so is one after a logout or the change of a password."""
    await service.user()
    kept, left, changed = [await service.login() for _ in range(3)]
    await service.http.post("/logout", headers=bearer(left["access_token"]))
    assert_problem(await service.refresh(left["refresh_token"]), 400, "invalid_grant")
    change = {"current_password": "a walk by the river", "new_password": "four herons at dawn"}
    answer = await service.http.post("/password", json=change, headers=bearer(changed["access_token"]))
    assert_problem(await service.refresh(kept["refresh_token"]), 400, "invalid_grant")
    fresh = (await service.refresh(answer.json()["refresh_token"])).json()
    clock.forward(14 * 86400 - 1)
    fresh = (await service.refresh(fresh["refresh_token"])).json()
    clock.forward(14 * 86400)
    assert_problem(await service.refresh(fresh["refresh_token"]), 400, "invalid_grant")


@pytest.mark.parametrize("kind", ["password", "authorization_code", "urn:ietf:params:oauth:x"])
async def test_no_other_grant(service: Service, kind: str) -> None:
    """The password grant, and every other, is unsupported_grant_type."""
    await service.user()
    fields = {"grant_type": kind, "username": "ada", "password": "a walk by the river", "client_id": "app"}
    assert_problem(await service.http.post("/token", data=fields), 400, "unsupported_grant_type")


async def test_tokens_carry_the_audience_and_no_scope_by_default(service: Service) -> None:
    """A token is for its client's audience, and without a request for it has no scope."""
    await service.user()
    client, _ = await service.client("issue", audience=("orders", "stock"))
    issued = await service.http.post("/tokens", json={"sub": "x"}, auth=_)
    told = await service.introspect(issued.json()["access_token"])
    assert told["aud"] == ["orders", "stock"]
    assert "scope" not in told
    assert told["client_id"] == client.client_id


@pytest.mark.parametrize("origin", ["https://evil.test", "null", "http://auth.test.evil.test"])
async def test_no_cors(service: Service, origin: str) -> None:
    """No answer allows another origin to read it, and there are no redirects."""
    for method, path in (
        ("OPTIONS", "/token"),
        ("POST", "/token"),
        ("GET", "/me"),
        ("POST", "/login"),
        ("GET", "/me/"),
    ):
        headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        answer = await service.http.request(method, path, headers=headers)
        assert answer.status_code >= 400
        assert not any(name.startswith("access-control-") for name in answer.headers)


async def test_a_trailing_slash_is_another_path(service: Service) -> None:
    """A call is never redirected, which would send credentials twice."""
    for path in ("/login/", "/token/", "//token", "/sessions/", "/admin/users/"):
        answer = await service.http.request("POST", path)
        assert answer.status_code in (404, 405)


async def test_a_dump_after_everything(service: Service, tokens: dict[str, str], dump: Snapshot) -> None:
    """A backup of the store holds no token either."""
    assert not any(prefix in value for value in dump().values() for prefix in (b"tok_", b"ref_", b"rst_", b"sec_"))
