"""Users: the list with its search and filters, and the page of one user."""

from typing import Any
from urllib.parse import quote, urlencode

from starlette.responses import Response

from authsvc.console.admin.access import Admin
from authsvc.console.admin.dialogs import Dialog
from authsvc.console.admin.secrets import show_reset_code
from authsvc.console.context import PageContext
from authsvc.console.rendering import render
from authsvc.console.words import duration
from authsvc.core import api_key
from authsvc.core.factors import Factors
from authsvc.core.user import ROLE, User
from authsvc.errors import InvalidRequest
from authsvc.flows import api_keys, directory, sessions, trail, users
from authsvc.flows.directory import UserState
from authsvc.web.users import sub_of

_PAGE = 50
_EVENTS = 10
# How many keys of a user are counted, and shown.
MOST_KEYS = 100
# Each filter: its words, and the query that asks for it.
FILTERS: tuple[tuple[str, dict[str, str]], ...] = (
    ("All", {}),
    ("Suspended", {"status": "suspended"}),
    ("Locked", {"locked": "yes"}),
    ("Admins", {"role": "admin"}),
    ("Without a second factor", {"factor": "none"}),
)
_ASKED = ("q", "status", "role", "locked", "factor")


async def list_users(ctx: PageContext, me: Admin) -> Response:
    query = {name: value for name in _ASKED if (value := ctx.request.query_params.get(name, "").strip(" "))}
    cursor = ctx.request.query_params.get("cursor") or None
    found = await directory.page(
        ctx.deps, _asked(query), cursor=cursor if cursor and directory.is_cursor(cursor) else None, limit=_PAGE
    )
    held = await ctx.deps.store.factors.find_all([one.user.sub for one in found.users])
    rows = [(state, bool(factors and factors.active)) for state, factors in zip(found.users, held, strict=True)]
    chosen = {name: value for name, value in query.items() if name != "q"}
    return render(
        ctx,
        "admin/users.html",
        rows=rows,
        query=query,
        chips=[(words, _link(_with_q(asked, query)), asked == chosen) for words, asked in FILTERS],
        following=_link(query | {"cursor": found.next}) if found.next else None,
        first=_link(query) if cursor else None,
        complete=found.complete,
    )


def _asked(query: dict[str, str]) -> directory.Asked:
    status = query.get("status")
    return directory.Asked(
        q=query.get("q"),
        status="suspended" if status == "suspended" else "active" if status == "active" else None,
        role=query.get("role"),
        locked=query.get("locked") == "yes",
        without_factor=query.get("factor") == "none",
    )


def _with_q(asked: dict[str, str], query: dict[str, str]) -> dict[str, str]:
    return ({"q": query["q"]} if "q" in query else {}) | asked


def _link(query: dict[str, str]) -> str:
    return f"/users?{urlencode(query)}" if query else "/users"


def path_of(sub: str) -> str:
    """The page of a user."""
    return f"/users/{quote(sub, safe='')}"


def name_of(user: User) -> str:
    return user.username or user.sub


def roles_in(text: str) -> tuple[str, ...]:
    """The roles in a field, with spaces or commas between. Raises InvalidRequest, which names the word that is none."""
    words = tuple(dict.fromkeys(filter(None, text.replace(",", " ").split(" "))))
    for word in words:
        if not ROLE.fullmatch(word):
            raise InvalidRequest(f"{word[:64]!r} can be no role: a role has 1 to 64 of A-Z a-z 0-9 . _ : / -")
    return words


async def show_user(ctx: PageContext, me: Admin) -> Response:
    deps = ctx.deps
    user = await deps.store.users.get(sub_of(ctx.request))
    live = await sessions.list_active(deps, user.sub)
    ids = sorted({one.session.client_id for one in live})
    clients = dict(zip(ids, await deps.store.clients.find_all(ids), strict=True))
    factors = await deps.store.factors.find(user.sub) or Factors()
    credentials = await deps.store.credentials.find(user.sub)
    found = await trail.page(deps, trail.Asked(sub=user.sub), limit=_EVENTS)
    state: UserState = await directory.state(deps, user)
    keys, more_keys = await api_keys.page(deps, user.sub, None, MOST_KEYS)
    return render(
        ctx,
        "admin/user.html",
        user=user,
        state=state,
        sessions=live,
        clients=clients,
        factors=factors,
        keys=[(one, api_key.last_used_at(one.session)) for one in keys],
        more_keys=more_keys is not None,
        has_password=bool(credentials and credentials.hash),
        found=found,
        guarded=deps.settings.powers.over(user.roles),
        own=session_here(me),
    )


def session_here(me: Admin) -> str:
    """The id of the session that looks at the page."""
    return me.active.handle


async def new_user(ctx: PageContext, me: Admin) -> Response:
    return _new({}).ask(ctx)


async def create_user(ctx: PageContext, me: Admin) -> Response:
    form = {name: ctx.form.get(name, "") for name in ("username", "roles")}

    async def do() -> Response:
        user, code = await users.create(
            ctx.deps,
            me.caller,
            username=form["username"],
            roles=roles_in(form["roles"]),
        )
        life = duration(ctx.deps.settings.reset_code_ttl_s)
        return show_reset_code(
            ctx,
            title=f"{name_of(user)} is registered",
            text=f"Give this code to {name_of(user)}. It sets the first password, once, within {life}.",
            code=code or "",
            back=path_of(user.sub),
            facts=[("Subject", user.sub)],
        )

    return await _new(form).do(ctx, do)


def _new(form: dict[str, Any]) -> Dialog:
    return Dialog(
        title="New user",
        consequences=["The next page shows a code, with which the user sets the first password."],
        button="Register the user",
        back="/users",
        fields="admin/fields/user.html",
        context={"form": form},
    )
