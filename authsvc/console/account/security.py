"""What logs the user in: the password, passkeys, authenticator apps and recovery codes; and removing one of them."""

from starlette.responses import Response

from authsvc.console.account.frame import SECURITY, confirm, go, me_of, show, texts
from authsvc.console.context import PageContext
from authsvc.core.factors import Account, Totp
from authsvc.core.passkey import Passkey
from authsvc.core.strength import must_have_factor
from authsvc.errors import InvalidToken, NotFound
from authsvc.flows import factors, step_up
from authsvc.web.callers import UserPrincipal


async def security(ctx: PageContext) -> Response:
    """Everything by which the user can log in."""
    me = await me_of(ctx)
    account = await _account(ctx, me)
    return show(
        ctx,
        "security.html",
        here="security",
        me=me.active.user,
        account=account,
        capabilities=ctx.deps.settings.capabilities,
    )


async def remove_form(ctx: PageContext) -> Response:
    """Ask before a factor is removed, and say what follows."""
    me = await owner(ctx)
    t, account, held = texts(ctx), await _account(ctx, me), await _factor(ctx, me)
    lines = [t("remove.text")]
    if account.factors is not None and len(account.factors.apps) + len(account.factors.passkeys) == 1:
        policy = ctx.deps.settings.require_factor_for
        required = must_have_factor(account.user, me.active.client, policy)
        lines.append(t("remove.last_required" if required else "remove.last"))
    return confirm(
        ctx,
        me,
        here="security",
        back=SECURITY,
        title=t("remove.title", name=name_of(ctx, held)),
        lines=lines,
        submit=t("remove.submit"),
    )


async def remove(ctx: PageContext) -> Response:
    """Remove one factor."""
    me = await owner(ctx)
    held = await _factor(ctx, me)
    await factors.remove(ctx.deps, me.caller, me.active, held.id)
    return go(ctx, SECURITY, "security.factor_removed", name=name_of(ctx, held))


async def codes_form(ctx: PageContext) -> Response:
    """Ask before the recovery codes are replaced."""
    me = await owner(ctx)
    t, held = texts(ctx), await factors.find(ctx.deps, me.active.user.sub)
    return confirm(
        ctx,
        me,
        here="security",
        back=SECURITY,
        title=t("new_codes.title"),
        lines=[t("new_codes.text", count=len(held.codes))],
        submit=t("new_codes.submit"),
    )


async def replace_codes(ctx: PageContext) -> Response:
    """Make new recovery codes. Only this answer shows the codes."""
    me = await owner(ctx)
    codes = await factors.replace_codes(ctx.deps, me.caller, me.active)
    return show(ctx, "codes.html", codes=codes, replaced=True, to=SECURITY)


async def owner(ctx: PageContext) -> UserPrincipal:
    """The user, who has logged in a short time ago: a thief of a session must not change the factors."""
    me = await me_of(ctx)
    await step_up.require_recent(ctx.deps, me.active, enrols=True)
    return me


def name_of(ctx: PageContext, held: Totp | Passkey) -> str:
    t = texts(ctx)
    return held.name or t("security.unnamed_app" if isinstance(held, Totp) else "security.unnamed_passkey")


async def _account(ctx: PageContext, me: UserPrincipal) -> Account:
    account = await ctx.deps.store.users.find_account(me.active.user.sub)
    if account is None:
        raise InvalidToken("the session has ended")
    return account


async def _factor(ctx: PageContext, me: UserPrincipal) -> Totp | Passkey:
    """The factor in the path. Raises NotFound."""
    held = await factors.find(ctx.deps, me.active.user.sub)
    found: list[Totp | Passkey] = [*held.passkeys, *held.apps]
    for one in found:
        if one.id == ctx.request.path_params["factor_id"]:
            return one
    raise NotFound("no such factor")
