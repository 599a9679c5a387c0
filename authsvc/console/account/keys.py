"""The keys of the user: making one for a program, and deleting it."""

from starlette.responses import Response

from authsvc.api.parsing import validated
from authsvc.api.schemas.api_keys import KeyView
from authsvc.api.schemas.fields import Form, Label
from authsvc.console.account.destination import HOME
from authsvc.console.account.frame import confirm, go, me_of, recent_me_of, show, texts
from authsvc.console.account.problems import CORRECTABLE
from authsvc.console.context import PageContext
from authsvc.errors import AuthError, InvalidRequest
from authsvc.flows import api_keys
from authsvc.flows.api_keys import Wanted
from authsvc.store.api_keys import is_cursor
from authsvc.web.callers import UserPrincipal

KEYS = f"{HOME}/keys"
LIVES_DAYS = (30, 90, 365)
_PER_PAGE = 50
_DAY_S = 86400


class NewKey(Form):
    """name: by which the owner recognises the key. Each further field `scope:WORD` is a word of the scope."""

    name: Label
    days: str = str(LIVES_DAYS[1])


async def keys(ctx: PageContext) -> Response:
    """The keys, those first that end first."""
    me = await me_of(ctx)
    cursor = ctx.request.query_params.get("after")
    cursor = cursor if cursor is not None and is_cursor(cursor) else None
    found, following = await api_keys.page(ctx.deps, me.active.user.sub, cursor, _PER_PAGE)
    now = ctx.deps.clock()
    views = [KeyView.of(one.handle, one.session, now) for one in found]
    return show(ctx, "keys.html", here="keys", me=me.active.user, keys=views, following=following, first=cursor is None)


async def key_form(ctx: PageContext) -> Response:
    """Ask what the key is for. A step, if one is needed, comes before it."""
    return _form(ctx, await recent_me_of(ctx, always=True))


async def create(ctx: PageContext) -> Response:
    """Make a key. Only this answer shows the key."""
    me = await recent_me_of(ctx, always=True)
    try:
        issued = await api_keys.create(ctx.deps, me.caller, me.active, _wanted(ctx))
    except CORRECTABLE as error:
        return _form(ctx, me, error)
    return show(ctx, "key.html", here="keys", me=me.active.user, key=issued.text, until=issued.session.end, back=KEYS)


async def delete_form(ctx: PageContext) -> Response:
    """Ask before programs lose their key."""
    me = await recent_me_of(ctx)
    t, name = texts(ctx), await _name(ctx, me)
    return confirm(
        ctx,
        me,
        here="keys",
        back=KEYS,
        title=t("keys.confirm", name=name),
        lines=[t("keys.confirm_text")],
        submit=t("keys.delete"),
    )


async def delete(ctx: PageContext) -> Response:
    """Revoke a key."""
    me = await recent_me_of(ctx)
    key_id, sub = ctx.request.path_params["key_id"], me.active.user.sub
    revoked = await api_keys.revoke(ctx.deps, me.caller, key_id, sub=sub)
    return go(ctx, KEYS, "keys.deleted", name=revoked.device or key_id)


def _wanted(ctx: PageContext) -> Wanted:
    """The key in the form. Raises InvalidRequest."""
    form = validated(NewKey, dict(ctx.form))
    if form.days not in map(str, LIVES_DAYS):
        raise InvalidRequest("days: not one of those that are offered")
    words = [name.removeprefix("scope:") for name in ctx.form if name.startswith("scope:")]
    return Wanted(form.name, " ".join(words), life_s=int(form.days) * _DAY_S)


def _form(ctx: PageContext, me: UserPrincipal, error: AuthError | None = None) -> Response:
    return show(
        ctx,
        "new_key.html",
        error=error,
        here="keys",
        me=me.active.user,
        name=ctx.form.get("name"),
        lives=LIVES_DAYS,
        usual=LIVES_DAYS[1],
        words=[word for word in me.active.scope.split(" ") if word],
        back=KEYS,
    )


async def _name(ctx: PageContext, me: UserPrincipal) -> str:
    """The name of the user's key in the path. Raises NotFound."""
    key_id = ctx.request.path_params["key_id"]
    session = await api_keys.get(ctx.deps, key_id, sub=me.active.user.sub)
    return session.device or key_id
