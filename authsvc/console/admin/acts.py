"""What can be done to a user: each act with its level, its consequences in numbers and its result."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from starlette.responses import Response

from authsvc.console.admin.access import Admin, page, safe_path
from authsvc.console.admin.dialogs import Dialog
from authsvc.console.admin.secrets import show_reset_code
from authsvc.console.admin.users import MOST_KEYS, name_of, path_of, roles_in
from authsvc.console.context import PageContext
from authsvc.console.flash import Message, redirect
from authsvc.console.page import Page
from authsvc.console.words import counted, duration
from authsvc.core.factors import Factors
from authsvc.core.powers import Level
from authsvc.core.user import ADMIN_ROLE, User
from authsvc.errors import NotDurable, NotFound
from authsvc.flows import api_keys, factors, password, revoke, sessions, users
from authsvc.web.users import sub_of


@dataclass(frozen=True, slots=True)
class Target:
    """A user and the numbers of live sessions and keys, as read when the dialog is shown or answered.

    more_keys: whether there are more keys than were counted.
    """

    user: User
    live: int
    keys: int
    more_keys: bool
    held: Factors

    @property
    def name(self) -> str:
        return name_of(self.user)

    @property
    def sessions(self) -> str:
        return counted(self.live, "session")

    @property
    def everything(self) -> str:
        """Sessions, and keys if there are any."""
        keys = counted(self.keys, "key", at_least=self.more_keys)
        return f"{self.sessions} and {keys}" if self.keys else self.sessions


Words = Callable[[Target], list[str]]
Do = Callable[[PageContext, Admin, Target], Awaitable[str | Response]]


@dataclass(frozen=True, slots=True)
class Act:
    """One act. path: below the page of the user. title: with the user's name at `{}`. fields: a template of more."""

    path: str
    level: Level
    title: str
    button: str
    consequences: Words
    do: Do
    danger: bool = True
    fields: str | None = None
    # Whether the user is gone afterwards.
    removes: bool = False


async def _suspend(ctx: PageContext, me: Admin, target: Target) -> str:
    await users.suspend(ctx.deps, me.caller, target.user.sub)
    return f"Suspended {target.name} and ended {target.everything}."


async def _reinstate(ctx: PageContext, me: Admin, target: Target) -> str:
    await users.reinstate(ctx.deps, me.caller, target.user.sub)
    return f"{target.name} can log in again."


async def _unlock(ctx: PageContext, me: Admin, target: Target) -> str:
    await users.unlock(ctx.deps, me.caller, target.user.sub)
    return f"Unlocked {target.name}."


async def _end_sessions(ctx: PageContext, me: Admin, target: Target) -> str:
    await revoke.revoke_user(ctx.deps, me.caller, target.user.sub)
    return f"Ended {target.everything} of {target.name}."


async def _end_keys(ctx: PageContext, me: Admin, target: Target) -> str:
    await api_keys.revoke_all(ctx.deps, me.caller, target.user.sub)
    return f"Ended {counted(target.keys, 'key', at_least=target.more_keys)} of {target.name}."


async def _set_roles(ctx: PageContext, me: Admin, target: Target) -> str:
    wanted = roles_in(ctx.form.get("roles", ""))
    await users.update(ctx.deps, me.caller, target.user.sub, roles=wanted)
    done = f"{target.name} has {counted(len(wanted), 'role')} now, in every session."
    if (ADMIN_ROLE in wanted) == (ADMIN_ROLE in target.user.roles):
        return done
    return f"{target.name} is {'an' if ADMIN_ROLE in wanted else 'no'} admin now. {done}"


async def _reset_code(ctx: PageContext, me: Admin, target: Target) -> Response:
    await users.get_for_reset(ctx.deps, me.caller, target.user.sub)
    code, life_s = await password.new_reset_code(ctx.deps, me.caller, target.user.sub)
    return show_reset_code(
        ctx,
        title=f"A reset code for {target.name}",
        text=f"Give this code to {target.name}. It sets a new password, once, within {duration(life_s)}.",
        code=code,
        back=path_of(target.user.sub),
    )


async def _remove_factors(ctx: PageContext, me: Admin, target: Target) -> str:
    await factors.remove_all(ctx.deps, me.caller, target.user.sub)
    return f"Removed {_factors_of(target)} of {target.name} and ended {target.everything}."


async def _delete(ctx: PageContext, me: Admin, target: Target) -> str:
    await users.delete(ctx.deps, me.caller, target.user.sub)
    return f"Deleted {target.name} and ended {target.everything}."


def _factors_of(target: Target) -> str:
    return counted(len(target.held.apps) + len(target.held.passkeys), "second factor")


def _ends(target: Target) -> str:
    if not target.live and not target.keys:
        return "No session is live now."
    verb = "ends" if target.live == 1 and not target.keys else "end"
    return f"{target.everything} of {target.name} {verb} at once."


ACTS = (
    Act(
        "suspend", "support", "Suspend {}?", "Suspend",
        lambda target: [_ends(target), "Nobody can log in to this account until it is reinstated."], _suspend,
    ),
    Act(
        "reinstate", "admin", "Reinstate {}?", "Reinstate",
        lambda target: [f"{target.name} can log in again.", "No session that was ended comes back."], _reinstate,
        danger=False,
    ),
    Act(
        "unlock", "support", "Unlock {}?", "Unlock",
        lambda target: ["The wrong passwords and codes so far are forgotten.", "Guessing can go on, too."], _unlock,
        danger=False,
    ),
    Act(
        "end-sessions", "support", "End every session of {}?", "End everything",
        lambda target: [_ends(target), "Logins and refreshes that are under way end, too. The user can log in again."],
        _end_sessions,
    ),
    Act(
        "end-keys", "support", "End every key of {}?", "End all keys",
        lambda target: [
            f"{counted(target.keys, 'key', at_least=target.more_keys)} of {target.name} will stop working at once.",
            "Sessions go on.",
        ],
        _end_keys,
    ),
    Act(
        "roles", "admin", "Change the roles of {}", "Save the roles",
        lambda target: [f"The roles count from the next request on, in {target.sessions} that are live."], _set_roles,
        danger=False, fields="admin/fields/roles.html",
    ),
    Act(
        "reset-code", "support", "Make a reset code for {}?", "Make the code",
        lambda target: [
            "The next page shows the code, this once. Earlier codes stop working.",
            f"When the code is used, {target.everything} end.",
        ],
        _reset_code, danger=False,
    ),
    Act(
        "remove-factors", "admin", "Remove the second factors of {}?", "Remove the factors",
        lambda target: [
            f"{_factors_of(target)} and the recovery codes stop working. Then the password alone is enough.",
            _ends(target),
        ],
        _remove_factors,
    ),
    Act(
        "delete", "admin", "Delete {}?", "Delete the user",
        lambda target: [_ends(target), "The account, its roles and its factors are gone. The audit trail stays."],
        _delete, removes=True,
    ),
)  # fmt: skip


async def _target(ctx: PageContext) -> Target:
    user = await ctx.deps.store.users.get(sub_of(ctx.request))
    live = await sessions.list_active(ctx.deps, user.sub)
    keys, more = await api_keys.page(ctx.deps, user.sub, None, MOST_KEYS)
    held = await ctx.deps.store.factors.find(user.sub) or Factors()
    return Target(user, len(live), len(keys), more is not None, held)


def _dialog(ctx: PageContext, act: Act, target: Target) -> Dialog:
    return Dialog(
        title=act.title.format(target.name),
        consequences=act.consequences(target),
        button=act.button,
        danger=act.danger,
        back=path_of(target.user.sub),
        fields=act.fields,
        # After a mistake, the form shows again what was typed.
        context={"roles": ctx.form.get("roles", " ".join(target.user.roles))},
    )


async def _ask(act: Act, ctx: PageContext, me: Admin) -> Response:
    return _dialog(ctx, act, await _target(ctx)).ask(ctx)


async def _act(act: Act, ctx: PageContext, me: Admin) -> Response:
    target = await _target(ctx)
    then = "/users" if act.removes else None
    return await _dialog(ctx, act, target).do(ctx, lambda: act.do(ctx, me, target), then=then)


async def end_session(ctx: PageContext, me: Admin) -> Response:
    """End one session, from any list. The form names the page that it stands in."""
    handle = ctx.request.path_params["session_id"]
    session = await ctx.deps.store.sessions.find(handle)
    back = safe_path(ctx.form.get("back", "/sessions"))
    try:
        await revoke.end_by_admin(ctx.deps, me.caller, handle)
    except NotFound:
        return redirect(ctx, back, Message("This session had ended already.", "warning"))
    except NotDurable:
        return redirect(ctx, back, Message("The session ended, but that may not last: end it again.", "warning"))
    user = await ctx.deps.store.users.find(session.sub) if session else None
    whose = f" of {name_of(user)}" if user else ""
    return redirect(ctx, back, Message(f"Ended 1 session{whose}."))


PAGES: tuple[Page, ...] = (
    *(page("GET", f"/users/{{sub}}/{act.path}", partial(_ask, act), act.level) for act in ACTS),
    *(page("POST", f"/users/{{sub}}/{act.path}", partial(_act, act), act.level) for act in ACTS),
    page("POST", "/sessions/{session_id}/end", end_session, "support"),
)
