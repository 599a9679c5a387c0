"""What a client says of an authentication elsewhere, and who may say it."""

from typing import Any

import pytest

from authsvc.core.authentication import Vouched
from authsvc.core.client import Permission
from authsvc.flows import clients
from authsvc.flows.deps import OPERATOR
from authsvc.flows.explain import explain
from authsvc.store import keys
from tests.conftest import PASSWORD, Clock, Service, bearer
from tests.flows.test_issue import SUB, granted, issue
from tests.selection import one_in

AMR = ["pwd", "otp", "mfa"]
TOLD = {"auth_time", "amr", "acr", "vouched_by"}


@pytest.fixture
async def voucher(service: Service) -> tuple[str, str]:
    _, auth = await service.client("issue", "vouch")
    return auth


async def told(service: Service, token: dict[str, Any]) -> dict[str, Any]:
    """What introspection says of the authentication."""
    answer = await service.introspect(token["access_token"])
    assert answer["active"]
    return {name: answer[name] for name in TOLD & answer.keys()}


async def test_introspection_tells_what_was_vouched_for(
    service: Service, voucher: tuple[str, str], clock: Clock
) -> None:
    """All three members come back as they were given, with the client that gave them, one by one and in a batch."""
    at = int(clock()) - 100
    token = await granted(service, voucher, amr=AMR, acr="urn:example:loa:3", auth_time=at)
    expected = {"auth_time": at, "amr": AMR, "acr": "urn:example:loa:3", "vouched_by": voucher[0]}
    assert await told(service, token) == expected
    batch = {"tokens": [token["access_token"]] * 2}
    answers = (await service.http.post("/introspect/batch", json=batch, auth=service.admin)).json()
    assert [{name: answer[name] for name in TOLD} for answer in answers] == [expected] * 2
    shown = (await explain(service.deps, token["access_token"])).session or {}
    assert (shown["vouched_by"], shown["auth_time"]) == (voucher[0], at)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"amr": ["pwd"]}, {"amr": ["pwd"], "acr": "aal1"}),
        ({"amr": AMR}, {"amr": AMR, "acr": "aal2"}),
        ({"amr": AMR, "acr": "aal1"}, {"amr": AMR, "acr": "aal1"}),
        ({"acr": "aal2"}, {"acr": "aal2"}),
        ({"auth_time": 1}, {"auth_time": 1}),
    ],
)
async def test_what_is_left_out_is_not_made_up(
    service: Service, voucher: tuple[str, str], given: dict[str, Any], expected: dict[str, Any]
) -> None:
    """Without `auth_time` there is none. Only the level follows from the methods."""
    assert await told(service, await granted(service, voucher, **given)) == expected | {"vouched_by": voucher[0]}


@pytest.mark.parametrize("given", [{"amr": ["pwd"]}, {"acr": "aal2"}, {"auth_time": 1}])
async def test_without_the_permission_nothing_is_vouched_for(service: Service, given: dict[str, Any]) -> None:
    """Each of the three members takes the permission `vouch`, for admin clients too. No user is made."""
    _, auth = await service.client("issue", "admin")
    refused = await issue(service, auth, **given)
    assert (refused.status_code, refused.json()["error"]) == (403, "unauthorized_client")
    assert await service.deps.store.users.find(SUB) is None
    assert await told(service, await granted(service, auth)) == {}


async def test_vouching_takes_the_permission_to_issue(service: Service) -> None:
    """`vouch` alone issues nothing."""
    _, auth = await service.client("vouch")
    assert (await issue(service, auth, amr=AMR)).status_code == 403


async def test_the_word_of_a_client_counts_while_it_may_vouch(service: Service, voucher: tuple[str, str]) -> None:
    """Taking the permission away takes the claims from every session at once; giving it back returns them."""
    token = await granted(service, voucher, amr=AMR, auth_time=1)
    for _ in range(3):  # a repeated question is answered from memory
        assert (await told(service, token))["acr"] == "aal2"
    await clients.update(service.deps, OPERATOR, voucher[0], permissions=("issue",))
    assert await told(service, token) == {}
    await clients.update(service.deps, OPERATOR, voucher[0], permissions=("issue", "vouch"))
    assert (await told(service, token))["acr"] == "aal2"


async def test_a_new_password_leaves_what_was_vouched_for(
    service: Service, voucher: tuple[str, str], clock: Clock
) -> None:
    """The claims describe one authentication elsewhere. A password here does not make it look fresh."""
    user = await service.user()
    at = int(clock()) - 100
    token = await granted(service, voucher, sub=user.sub, amr=AMR, auth_time=at)
    body = {"current_password": PASSWORD, "new_password": "seven quiet herons wading"}
    answer = await service.http.post("/password", json=body, headers=bearer(token["access_token"]))
    assert answer.status_code == 200
    assert await told(service, answer.json()) == {
        "auth_time": at,
        "amr": AMR,
        "acr": "aal2",
        "vouched_by": voucher[0],
    }


async def test_the_clock_of_a_provider(service: Service, voucher: tuple[str, str], clock: Clock) -> None:
    """A time up to a minute ahead counts as now. A later one would stay fresh for longer than it is, and is refused."""
    now = int(clock())
    assert (await told(service, await granted(service, voucher, auth_time=now + 60)))["auth_time"] == now
    assert (await issue(service, voucher, auth_time=now + 61)).status_code == 400


@pytest.mark.parametrize(
    "given",
    one_in(
        3,
        [
            {"amr": []},
            {"amr": "pwd"},
            {"amr": ["a b"]},
            {"amr": [""]},
            {"amr": ['"']},
            {"amr": ["é"]},
            {"amr": ["x" * 17]},
            {"amr": ["x"] * 9},
            {"amr": [1]},
            {"acr": ""},
            {"acr": "a b"},
            {"acr": "x\n"},
            {"acr": "x" * 65},
            {"acr": 2},
            {"auth_time": 0},
            {"auth_time": -1},
            {"auth_time": "1"},
            {"auth_time": 1.5},
            {"auth_time": True},
            {"auth_time": 2**63},
            {"ip": "localhost"},
            {"ip": "::1%eth0"},
            {"user_agent": ""},
            {"user_agent": "a\nb"},
            {"user_agent": "x" * 1025},
            {"refresh": 1},
            {"vouched_by": "me"},
        ],
    ),
)
async def test_what_is_refused(service: Service, voucher: tuple[str, str], given: dict[str, Any]) -> None:
    """Ill-formed claims are a 400 that makes no user."""
    answer = await issue(service, voucher, **given)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request"), answer.text
    assert await service.deps.store.users.find(SUB) is None


async def test_what_the_record_grows_by(service: Service, voucher: tuple[str, str], clock: Clock) -> None:
    """40 bytes for three methods, a level and a time; nothing for a session without them."""

    async def stored(**given: Any) -> bytes:
        token = await granted(service, voucher, **given)
        return (await service.deps.store.sessions.get(token["session_id"])).to_json()

    plain = await stored()
    assert b'"how"' not in plain
    assert len(await stored(amr=AMR, acr="loa3", auth_time=int(clock()))) - len(plain) == 40
    assert len(await stored(amr=AMR, acr="aal2", auth_time=int(clock()))) - len(plain) == 36
    assert Vouched.of(1, ("pwd",), "aal1").acr == ""


async def test_the_users_address_and_browser(service: Service, voucher: tuple[str, str]) -> None:
    """The list of sessions shows the user's address and browser as the client names them."""
    chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
    token = await granted(service, voucher, ip="2001:DB8::1", user_agent=chrome, device="Ada's phone")
    shown = (await service.http.get("/me", headers=bearer(token["access_token"]))).json()["session"]
    assert (shown["ip"], shown["user_agent"], shown["device"]) == ("2001:db8::1", "Chrome 142 on Linux", "Ada's phone")


async def test_a_session_with_refresh(service: Service, clock: Clock) -> None:
    """With `refresh` the session has the client's lifetimes of a login, and the claims outlast each refresh."""
    _, auth = await service.client("issue", "vouch", idle_ttl_s=1000, session_ttl_s=5000)
    at = int(clock())
    token = await granted(service, auth, refresh=True, expires_in=100, amr=AMR, auth_time=at)
    assert token["expires_in"] == 100
    assert not await refreshes(service, service.admin, token), "another client spent the refresh token"
    for _ in range(6):
        clock.forward(900)
        renewed = await refreshes(service, auth, token)
        if clock() >= at + 5000:
            assert renewed is None
            return
        assert renewed is not None
        token = renewed
        assert (await told(service, token))["auth_time"] == at
    raise AssertionError("the session has no end")


async def refreshes(service: Service, auth: tuple[str, str], token: dict[str, Any]) -> dict[str, Any] | None:
    form = {"grant_type": "refresh_token", "refresh_token": token["refresh_token"]}
    answer = await service.http.post("/token", data=form, auth=auth)
    return answer.json() if answer.status_code == 200 else None


async def test_a_client_without_refresh_tokens(service: Service) -> None:
    """A client that is registered without refresh tokens gets none here either."""
    _, auth = await service.client("issue", refresh=False)
    assert (await issue(service, auth, refresh=True)).status_code == 403


@pytest.mark.parametrize("permissions", [("issue", "admin"), ("issue", "vouch")])
async def test_speaking_for_an_admin_takes_three_permissions(
    service: Service, permissions: tuple[Permission, ...]
) -> None:
    """Without one of `issue`, `vouch` and `admin` no token for an admin is issued, and no admin is made."""
    root = await service.user("root", roles=("admin",))
    _, auth = await service.client(*permissions)
    bodies: list[dict[str, Any]] = [{"sub": root.sub}, {"roles": ["admin"]}]
    for body in bodies:
        refused = await issue(service, auth, **body)
        assert (refused.status_code, refused.json()["error"]) == (403, "unauthorized_client"), body
    assert await service.deps.store.users.find(SUB) is None
    _, auth = await service.client("issue", "vouch", "admin")
    for body in bodies:
        token = await granted(service, auth, **body)
        answer = await service.http.get("/admin/users", headers=bearer(token["access_token"]))
        assert answer.status_code == 200


async def test_power_ends_with_any_of_the_three(service: Service) -> None:
    """A token for an admin has the power of an admin only while its client has all three permissions."""
    root = await service.user("root", roles=("admin",))
    three: tuple[Permission, ...] = ("issue", "vouch", "admin")
    client, auth = await service.client(*three)
    headers = bearer((await granted(service, auth, sub=root.sub))["access_token"])
    for taken in three:
        left = tuple(one for one in three if one != taken)
        await clients.update(service.deps, OPERATOR, client.client_id, permissions=left)
        assert (await service.http.get("/admin/users", headers=headers)).status_code == 403
        await clients.update(service.deps, OPERATOR, client.client_id, permissions=three)
        assert (await service.http.get("/admin/users", headers=headers)).status_code == 200


async def test_the_trail_says_what_was_vouched_for(service: Service, voucher: tuple[str, str]) -> None:
    """The audit event of the session has what the client said."""
    token = await granted(service, voucher, amr=AMR, auth_time=7)
    entries = [stored.entry async for stored in service.deps.store.audit.backwards()]
    (entry,) = [one for one in entries if one.session_id == token["session_id"]]
    assert (entry.details or {})["vouched"] == {"auth_time": 7, "amr": AMR}


async def test_a_login_tells_its_level(service: Service) -> None:
    """A login with a password is `aal1`, and nobody vouches for it."""
    await service.user()
    login = await service.login()
    found = await told(service, login)
    assert (found["amr"], found["acr"], "vouched_by" in found) == (["pwd"], "aal1", False)
    assert b'"how"' not in (await service.deps.store.sessions.get(login["session_id"])).to_json()


async def test_a_client_that_may_vouch_needs_a_newer_format(service: Service, valkey: Any) -> None:
    """The record of such a client has format 3, which an older version refuses."""
    client, _ = await service.client("issue", "vouch")
    assert b'"v":3' in valkey.get(keys.client(client.client_id))
