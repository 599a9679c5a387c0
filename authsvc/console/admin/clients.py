"""Clients: the list, the page of one client, and what can be done to it."""

from collections.abc import Mapping
from typing import Any, get_args

from starlette.responses import Response

from authsvc.api.parsing import validated
from authsvc.api.schemas import requests
from authsvc.console.admin.access import Admin, page
from authsvc.console.admin.dialogs import Dialog
from authsvc.console.admin.secrets import show_secret
from authsvc.console.context import PageContext
from authsvc.console.page import Page
from authsvc.console.rendering import render
from authsvc.console.words import counted, duration
from authsvc.core.client import BUILT_IN, CLIENT_ID, Client, Permission
from authsvc.errors import InvalidRequest, NotFound
from authsvc.flows import clients, newest_sessions, revoke
from authsvc.flows.console_client import CONSOLE
from authsvc.store import listing

_PAGE = 100
_NUMBERS = ("access_ttl_s", "idle_ttl_s", "session_ttl_s")
_OVERLAPS = (0, 3600, 86400, 7 * 86400)
PERMISSIONS: Mapping[str, str] = {
    "introspect": "ask about tokens",
    "revoke": "end sessions of its audience",
    "issue": "issue tokens for users who were authenticated elsewhere",
    "vouch": "say how those users were authenticated",
    "token": "get tokens for itself",
    "exchange": "exchange tokens",
    "reset": "make reset codes",
    "client_ip": "name the address of its users",
    "admin": "do everything here",
}


async def list_clients(ctx: PageContext, me: Admin) -> Response:
    cursor = ctx.request.query_params.get("cursor") or None
    asked = cursor if cursor and listing.is_cursor(cursor) else None
    found, following = await ctx.deps.store.listing.clients(asked, _PAGE)
    found.sort(key=lambda client: (client.name.casefold(), client.client_id))
    return render(ctx, "admin/clients.html", clients=found, following=following, built_in=(BUILT_IN, CONSOLE))


async def show_client(ctx: PageContext, me: Admin) -> Response:
    client = await ctx.deps.store.clients.get(_client_id(ctx))
    live = await newest_sessions.page(ctx.deps, client_id=client.client_id, limit=5)
    secrets = [one for one in client.secrets if one.until is None or one.until > ctx.deps.clock()]
    return render(
        ctx,
        "admin/client.html",
        client=client,
        live=live,
        secrets=secrets,
        built_in=client.client_id in (BUILT_IN, CONSOLE),
        lifetimes=client.lifetimes(refreshable=client.refresh),
    )


def _client_id(ctx: PageContext) -> str:
    """The client's id in the path. Raises NotFound for text that no id can be: it would name other keys."""
    client_id: str = ctx.request.path_params["client_id"]
    if not CLIENT_ID.fullmatch(client_id):
        raise NotFound("no such client")
    return client_id


def _path(client: Client) -> str:
    return f"/clients/{client.client_id}"


# Creating and changing


def _form_of(client: Client | None) -> dict[str, Any]:
    """What the fields show at first."""
    if client is None:
        return {"name": "", "public": False, "permissions": ("introspect",), "audience": "", "scope": "",
                "any_scope": True, "refresh": True, "acr": False, **dict.fromkeys(_NUMBERS, "")}  # fmt: skip
    return {
        "name": client.name,
        "public": client.public,
        "permissions": client.permissions,
        "audience": "\n".join(client.audience),
        "scope": client.scope or "",
        "any_scope": client.scope is None,
        "refresh": client.refresh,
        "acr": client.acr is not None,
        **{name: getattr(client, name) or "" for name in _NUMBERS},
    }


def _typed(form: Mapping[str, str]) -> dict[str, Any]:
    """What the fields show again after a mistake."""
    return {
        "name": form.get("name", ""),
        "public": "public" in form,
        "permissions": tuple(one for one in get_args(Permission) if f"may_{one}" in form),
        "audience": form.get("audience", ""),
        "scope": form.get("scope", ""),
        "any_scope": "any_scope" in form,
        "refresh": "refresh" in form,
        "acr": "acr" in form,
        **{name: form.get(name, "") for name in _NUMBERS},
    }


def _values(form: Mapping[str, Any]) -> dict[str, Any]:
    """The members of the body that the API takes. Raises InvalidRequest for what is no number."""
    values = {
        "name": form["name"],
        "permissions": list(form["permissions"]),
        "audience": [line for line in form["audience"].replace("\r", "").split("\n") if line.strip(" ")],
        "scope": None if form["any_scope"] else form["scope"],
        "refresh": form["refresh"],
        "acr": "aal2" if form["acr"] else None,
    }
    for name in _NUMBERS:
        text = form[name]
        if text and not (text.isascii() and text.isdigit() and len(text) < 12):
            raise InvalidRequest(f"{name}: a whole number of seconds")
        values[name] = int(text) if text else None
    return values


def _dialog(title: str, button: str, back: str, form: Mapping[str, Any], *, new: bool) -> Dialog:
    words = {name: PERMISSIONS.get(name, "") for name in get_args(Permission)}
    return Dialog(
        title=title,
        consequences=["The next page shows the secret of the client, this once."]
        if new
        else ["The change counts from the next request on. Lifetimes count for new sessions."],
        button=button,
        back=back,
        fields="admin/fields/client.html",
        context={"form": form, "permissions": words, "new": new},
    )


async def new_client(ctx: PageContext, me: Admin) -> Response:
    return _dialog("New client", "Register the client", "/clients", _form_of(None), new=True).ask(ctx)


async def create_client(ctx: PageContext, me: Admin) -> Response:
    form = _typed(ctx.form)

    async def do() -> str | Response:
        body = validated(requests.NewClient, _values(form) | {"public": form["public"]})
        client, secret = await clients.create(ctx.deps, me.caller, **body.fields())
        if secret is None:
            return f"Registered {client.name}. Its client_id is {client.client_id}."
        return _secret(ctx, client, secret, f"{client.name} is registered")

    return await _dialog("New client", "Register the client", "/clients", form, new=True).do(ctx, do)


def _secret(ctx: PageContext, client: Client, secret: str, title: str) -> Response:
    text = "Copy this secret into the settings of the client now. Nobody can show it again."
    facts = [("client_id", client.client_id)]
    return show_secret(ctx, title=title, text=text, secret=secret, back=_path(client), facts=facts)


async def change_page(ctx: PageContext, me: Admin) -> Response:
    client = await ctx.deps.store.clients.get(_client_id(ctx))
    return _dialog(f"Change {client.name}", "Save", _path(client), _form_of(client), new=False).ask(ctx)


async def change_client(ctx: PageContext, me: Admin) -> Response:
    client = await ctx.deps.store.clients.get(_client_id(ctx))
    form = _typed(ctx.form) | {"public": client.public}

    async def do() -> str:
        body = validated(requests.ClientChange, _values(form))
        changed = await clients.update(ctx.deps, me.caller, client.client_id, **body.given())
        return f"Saved {changed.name}."

    return await _dialog(f"Change {client.name}", "Save", _path(client), form, new=False).do(ctx, do)


# Rotating the secret, cutting off, deleting


async def _rotation(ctx: PageContext) -> tuple[Client, Dialog]:
    client = await ctx.deps.store.clients.get(_client_id(ctx))
    usual = ctx.deps.settings.secret_overlap_s
    choices = [
        (value, "at once" if value == 0 else f"after {duration(value)}") for value in sorted({*_OVERLAPS, usual})
    ]
    return client, Dialog(
        title=f"New secret for {client.name}?",
        consequences=[
            "The next page shows the new secret, this once.",
            "The present secret goes on for the time that you choose. A secret from before it stops at once.",
        ],
        button="Make a new secret",
        back=_path(client),
        fields="admin/fields/overlap.html",
        context={"choices": choices, "usual": usual},
    )


async def rotate_page(ctx: PageContext, me: Admin) -> Response:
    return (await _rotation(ctx))[1].ask(ctx)


async def rotate_secret(ctx: PageContext, me: Admin) -> Response:
    client, dialog = await _rotation(ctx)

    async def do() -> Response:
        chosen = ctx.form.get("overlap_s", "")
        if chosen not in [str(value) for value, _ in dialog.context["choices"]]:
            raise InvalidRequest("choose when the present secret ends")
        changed, secret = await clients.rotate_secret(ctx.deps, me.caller, client.client_id, int(chosen))
        return _secret(ctx, changed, secret, f"The new secret of {changed.name}")

    return await dialog.do(ctx, do)


async def _ending(ctx: PageContext, *, deletes: bool) -> tuple[Client, str, Dialog]:
    client = await ctx.deps.store.clients.get(_client_id(ctx))
    count = (await newest_sessions.page(ctx.deps, client_id=client.client_id, limit=1)).live
    live = counted(count.sessions, "session", at_least=not count.whole) if count else "every session"
    if deletes:
        title, button = f"Delete {client.name}?", "Delete the client"
        more = "Its secrets stop working, and it can't be brought back."
    else:
        title, button = f"End every session of {client.name}?", "End all sessions"
        more = "Its users can log in again. Its secret goes on."
    consequences = [f"{live[:1].upper()}{live[1:]} through {client.name} will end at once.", more]
    dialog = Dialog(title=title, consequences=consequences, button=button, back=_path(client), danger=True, context={})
    return client, live, dialog


async def cut_off_page(ctx: PageContext, me: Admin) -> Response:
    return (await _ending(ctx, deletes=False))[2].ask(ctx)


async def cut_off(ctx: PageContext, me: Admin) -> Response:
    client, live, dialog = await _ending(ctx, deletes=False)

    async def do() -> str:
        await revoke.revoke_client(ctx.deps, me.caller, client.client_id)
        return f"Ended {live} through {client.name}."

    return await dialog.do(ctx, do)


async def delete_page(ctx: PageContext, me: Admin) -> Response:
    return (await _ending(ctx, deletes=True))[2].ask(ctx)


async def delete_client(ctx: PageContext, me: Admin) -> Response:
    client, live, dialog = await _ending(ctx, deletes=True)

    async def do() -> str:
        await clients.delete(ctx.deps, me.caller, client.client_id)
        return f"Deleted {client.name} and ended {live}."

    return await dialog.do(ctx, do, then="/clients")


PAGES: tuple[Page, ...] = (
    page("GET", "/clients", list_clients),
    page("GET", "/clients/new", new_client, "admin"),
    page("POST", "/clients/new", create_client, "admin"),
    page("GET", "/clients/{client_id}", show_client),
    page("GET", "/clients/{client_id}/change", change_page, "admin"),
    page("POST", "/clients/{client_id}/change", change_client, "admin"),
    page("GET", "/clients/{client_id}/secret", rotate_page, "admin"),
    page("POST", "/clients/{client_id}/secret", rotate_secret, "admin"),
    page("GET", "/clients/{client_id}/cut-off", cut_off_page, "admin"),
    page("POST", "/clients/{client_id}/cut-off", cut_off, "admin"),
    page("GET", "/clients/{client_id}/delete", delete_page, "admin"),
    page("POST", "/clients/{client_id}/delete", delete_client, "admin"),
)
