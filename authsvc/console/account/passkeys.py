"""Adding a passkey. The script asks the API for the options and puts the authenticator's answer into the form."""

from starlette.responses import Response

from authsvc.api.schemas.passkeys import NewCredential
from authsvc.console.account import credentials
from authsvc.console.account.apps import given_name
from authsvc.console.account.frame import SECURITY, go, show
from authsvc.console.account.problems import CORRECTABLE
from authsvc.console.account.security import name_of, owner
from authsvc.console.context import PageContext
from authsvc.errors import AuthError
from authsvc.flows import factors, passkeys
from authsvc.flows.passkeys import NewAnswer
from authsvc.web.callers import UserPrincipal


async def passkey_form(ctx: PageContext) -> Response:
    """Ask for a name. A step, if one is needed, comes before it."""
    return _form(ctx, await owner(ctx))


async def add_passkey(ctx: PageContext) -> Response:
    """Add the passkey that has answered."""
    me = await owner(ctx)
    guard, sub = factors.by_session(me.active), me.active.user.sub
    try:
        added = await passkeys.register(ctx.deps, me.caller, guard, me.active.handle, answer_of(ctx), sub)
    except CORRECTABLE as error:
        return _form(ctx, me, error)
    if added.recovery_codes:
        return show(ctx, "codes.html", codes=added.recovery_codes, replaced=False, to=SECURITY)
    return go(ctx, SECURITY, "security.factor_added", name=name_of(ctx, added.passkey))


def answer_of(ctx: PageContext) -> NewAnswer:
    """The answer of the authenticator in the form. Raises InvalidRequest."""
    credential = credentials.of_form(ctx, NewCredential)
    return NewAnswer(credential.registration(), given_name(ctx), credential.transports)


def _form(ctx: PageContext, me: UserPrincipal, error: AuthError | None = None) -> Response:
    failed = "error.passkey_failed"
    return show(ctx, "passkey.html", error=error, instead=failed, here="security", me=me.active.user)
