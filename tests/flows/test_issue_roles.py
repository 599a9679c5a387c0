"""What a client that issues tokens may change: roles by its list, users by who registered them, sessions of its own."""

from typing import Any

import pytest

from authsvc.flows import users
from authsvc.flows.deps import OPERATOR
from authsvc.settings import Settings
from tests.conftest import CHEAP, Clock, Service
from tests.flows.test_issue import SUB, granted, issue


async def issuer(service: Service, *audience: str, **fields: Any) -> tuple[str, str]:
    _, auth = await service.client("issue", audience=audience, **fields)
    return auth


async def roles_of(service: Service, sub: str = SUB) -> set[str]:
    return set((await service.deps.store.users.get(sub)).roles)


async def refused(service: Service, auth: tuple[str, str], **body: Any) -> None:
    before = await service.deps.store.users.find(body.get("sub", SUB))
    answer = await issue(service, auth, **body)
    assert (answer.status_code, answer.json()["error"]) == (403, "unauthorized_client"), answer.text
    assert await service.deps.store.users.find(body.get("sub", SUB)) == before


async def test_only_listed_roles_can_be_set(service: Service) -> None:
    """A role that the list lacks is refused, and then nothing is changed: no user, no session, no other role."""
    wiki = await issuer(service, "wiki", issue_roles=("wiki:editor", "wiki:reader"))
    await refused(service, wiki, roles=["payments:approver"])
    await refused(service, wiki, roles=["wiki:editor", "payments:approver"])
    await granted(service, wiki, roles=["wiki:editor"])
    await refused(service, wiki, roles=["payments:approver"])
    assert await roles_of(service) == {"wiki:editor"}
    nothing = await issuer(service, issue_roles=())
    await refused(service, nothing, roles=["wiki:editor"])
    await granted(service, nothing)


async def test_roles_of_others_stay(service: Service) -> None:
    """Two issuers set their own roles of one user, and neither takes the roles of the other away."""
    wiki = await issuer(service, "wiki", issue_roles=("wiki:editor", "wiki:reader"))
    payments = await issuer(service, "payments", issue_roles=("payments:approver",))
    await granted(service, payments, roles=["payments:approver"])
    await granted(service, wiki, roles=["wiki:editor"])
    assert await roles_of(service) == {"payments:approver", "wiki:editor"}
    await granted(service, wiki, roles=["wiki:reader"])
    assert await roles_of(service) == {"payments:approver", "wiki:reader"}
    await granted(service, wiki, roles=[])
    assert await roles_of(service) == {"payments:approver"}
    await granted(service, wiki)
    assert await roles_of(service) == {"payments:approver"}


async def test_an_unlisted_issuer_changes_its_own_users_only(service: Service) -> None:
    """Without a list, a client may set every role, so it may not touch the roles of a user of another client."""
    wiki, payments = await issuer(service, "wiki"), await issuer(service, "payments")
    await granted(service, payments, roles=["approver"])
    for roles in (["owner"], ["approver", "owner"], []):
        await refused(service, wiki, roles=roles)
    assert (await granted(service, wiki))["access_token"], "a token without roles changes nothing"
    assert (await granted(service, wiki, roles=["approver"]))["access_token"], "nor do the roles that the user has"
    await granted(service, payments, roles=["auditor"])
    assert await roles_of(service) == {"auditor"}


async def test_users_from_before_belong_to_every_unlisted_issuer(service: Service) -> None:
    """Users of an older version do not say who registered them. Every client that issues may set their roles."""
    wiki, payments = await issuer(service, "wiki"), await issuer(service, "payments")
    await granted(service, payments, roles=["approver"])
    await service.deps.store.users.change(SUB, lambda user: user.but(created_by=None))
    await granted(service, wiki, roles=["editor"])
    assert await roles_of(service) == {"editor"}


async def test_no_list_makes_an_admin(service: Service) -> None:
    """The role `admin` takes the permission `admin`, also if a list names it."""
    listed = await issuer(service, issue_roles=("admin", "editor"))
    await refused(service, listed, roles=["admin"])
    await granted(service, listed, roles=["editor"])
    await users.update(service.deps, OPERATOR, SUB, roles=("editor", "admin"))
    await refused(service, listed, roles=["editor"])
    await refused(service, listed)
    await granted(service, service.admin, roles=["other"])
    assert await roles_of(service) == {"other"}, "an admin client may set every role of every such user"


async def test_roles_of_an_account_stay_an_admins(service: Service) -> None:
    """A list gives no power over the roles of a user with an account here."""
    user = await service.user(roles=("editor",))
    listed = await issuer(service, issue_roles=("editor", "owner"))
    answer = await issue(service, listed, sub=user.sub, roles=["owner"])
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    await granted(service, listed, sub=user.sub, roles=["editor"])
    assert await roles_of(service, user.sub) == {"editor"}


async def test_unchanged_roles_are_no_change(service: Service) -> None:
    """The same roles in another order leave the user's version as it is."""
    wiki = await issuer(service, issue_roles=("a", "b"))
    await granted(service, wiki, roles=["a", "b"])
    version = (await service.deps.store.users.get(SUB)).version
    await granted(service, wiki, roles=["b", "a", "b"])
    assert (await service.deps.store.users.get(SUB)).version == version


async def test_an_admin_sets_the_list(service: Service) -> None:
    """`issue_roles` is set at the registration and by PATCH; null is no list; a malformed role is refused."""
    body = {"name": "wiki", "permissions": ["issue"], "issue_roles": ["editor"]}
    made = (await service.http.post("/admin/clients", json=body, auth=service.admin)).json()
    assert made["issue_roles"] == ["editor"]
    path = f"/admin/clients/{made['client_id']}"
    for given in (["reader"], [], None):
        changed = await service.http.patch(path, json={"issue_roles": given}, auth=service.admin)
        assert changed.json()["issue_roles"] == given
        assert (await service.http.get(path, auth=service.admin)).json()["issue_roles"] == given
    kept = await service.http.patch(path, json={"name": "x", "issue_roles": ["a"]}, auth=service.admin)
    assert (await service.http.patch(path, json={"name": "y"}, auth=service.admin)).json()["issue_roles"] == ["a"]
    assert kept.status_code == 200
    for wrong in ("editor", ["a b"], [""], ["a\n"], ["x" * 65], [1], ["r"] * 65):
        answer = await service.http.patch(path, json={"issue_roles": wrong}, auth=service.admin)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request"), wrong


class TestCap:
    """With a cap of 2."""

    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(**CHEAP | {"max_sessions": 2})

    async def test_issued_sessions_end_no_login(self, service: Service, clock: Clock) -> None:
        """A client that issues tokens can't log the user out, however many it issues."""
        user = await service.user()
        logins = [await service.login(), await service.login()]
        wiki = await issuer(service, "wiki")
        issued = []
        for _ in range(5):
            clock.forward(1)
            issued.append(await granted(service, wiki, sub=user.sub))
        assert [await service.active(one["access_token"]) for one in logins] == [True, True]
        assert [await service.active(one["access_token"]) for one in issued] == [False, False, False, True, True]

    async def test_an_issuer_ends_no_token_of_another(self, service: Service, clock: Clock) -> None:
        """Each client has its own share, so one of them can't end what the other one has issued."""
        payments, wiki = await issuer(service, "payments"), await issuer(service, "wiki")
        kept = await granted(service, payments)
        for _ in range(5):
            clock.forward(1)
            await granted(service, wiki)
        assert await service.active(kept["access_token"])

    async def test_logins_end_no_issued_session(self, service: Service, clock: Clock) -> None:
        """Logins make room among logins."""
        user = await service.user()
        issued = await granted(service, await issuer(service), sub=user.sub)
        logins = []
        for _ in range(4):
            clock.forward(1)
            logins.append(await service.login())
        assert await service.active(issued["access_token"])
        assert [await service.active(one["access_token"]) for one in logins] == [False, False, True, True]
