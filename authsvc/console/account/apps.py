"""Setting up an authenticator app: its key as a QR code, and its first code; also in a login that demands one."""

from collections.abc import Mapping
from typing import NamedTuple

from starlette.responses import Response

from authsvc.api.parsing import validated
from authsvc.api.schemas.fields import Form, Label
from authsvc.console.account.frame import SECURITY, go, show, wanted
from authsvc.console.account.problems import CORRECTABLE
from authsvc.console.account.qr import picture_of
from authsvc.console.account.security import name_of, owner
from authsvc.console.context import PageContext
from authsvc.core.user import User
from authsvc.errors import AuthError
from authsvc.flows import factors, totp
from authsvc.flows.totp import Enrolment

_GROUP = 4


class NewFactor(Form):
    """name: by which the user recognises the factor."""

    name: Label | None = None


class Frame(NamedTuple):
    """Where the page stands. action: the path of its form. back: of the page before. user: None during a login."""

    action: str
    back: str
    user: User | None


_OWN = f"{SECURITY}/app"


async def app_form(ctx: PageContext) -> Response:
    """Ask for a name. A step, if one is needed, comes before it."""
    me = await owner(ctx)
    return show(ctx, "new_app.html", here="security", me=me.active.user)


async def add_app(ctx: PageContext) -> Response:
    """Begin with a new key, or confirm with the first code. Only the first answer shows the key."""
    me = await owner(ctx)
    guard, frame = factors.by_session(me.active), Frame(_OWN, SECURITY, me.active.user)
    if begins(ctx):
        enrolment = await totp.enrol(ctx.deps, guard, me.active.user, given_name(ctx))
        return show_key(ctx, frame, enrolment)
    factor, code = ctx.form["factor"], first_code(ctx)
    try:
        confirmed = await totp.confirm(ctx.deps, me.caller, guard, me.active.user.sub, factor, code)
    except CORRECTABLE as error:
        return ask_again(ctx, frame, factor, error)
    if confirmed.recovery_codes:
        return show(ctx, "codes.html", codes=confirmed.recovery_codes, replaced=False, to=SECURITY)
    return go(ctx, SECURITY, "security.factor_added", name=name_of(ctx, confirmed.app))


def begins(ctx: PageContext) -> bool:
    """Whether the form asks for a new key: at first, or again after the key was typed wrongly."""
    return "factor" not in ctx.form or "anew" in ctx.form


def given_name(ctx: PageContext) -> str | None:
    """The name in the form. Raises InvalidRequest if the name is too long."""
    return validated(NewFactor, dict(ctx.form)).name


def first_code(ctx: PageContext) -> str:
    return ctx.form.get("code", "").replace(" ", "")


def show_key(ctx: PageContext, frame: Frame, enrolment: Enrolment) -> Response:
    """The page with the key of a new app, in groups that a person can type."""
    secret = enrolment.secret
    groups = [secret[start : start + _GROUP] for start in range(0, len(secret), _GROUP)]
    key = {"picture": picture_of(enrolment.uri), "groups": groups, "uri": enrolment.uri}
    return _page(ctx, frame, enrolment.id, key=key)


def ask_again(ctx: PageContext, frame: Frame, factor: str, error: AuthError) -> Response:
    """The page after a wrong code, without the key: it is shown once. A new key can be made there."""
    return _page(ctx, frame, factor, error)


def _page(
    ctx: PageContext,
    frame: Frame,
    factor: str,
    error: AuthError | None = None,
    *,
    key: Mapping[str, object] | None = None,
) -> Response:
    return show(
        ctx,
        "app.html",
        error=error,
        here="security",
        factor=factor,
        key=key,
        frame=frame,
        me=frame.user,
        name=ctx.form.get("name"),
        next=wanted(ctx),
    )
