"""The later steps of a login, and of proving something again: a code, a passkey, a password, the first factor."""

import json
from collections.abc import Callable
from urllib.parse import quote

from starlette.responses import Response

from authsvc.api.parsing import load_json, validated
from authsvc.api.schemas.passkeys import KnownCredential
from authsvc.console import cookies
from authsvc.console.admin.access import active_of, safe_path
from authsvc.console.admin.login import STEP, entered, to_step, with_session
from authsvc.console.context import PageContext
from authsvc.console.flash import Message, redirect
from authsvc.console.local import is_local
from authsvc.console.rendering import render
from authsvc.core.step import ENROL
from authsvc.errors import (
    AccessDenied,
    InsufficientAuthorization,
    InvalidRequest,
    InvalidSession,
    NotFound,
    TooManyAttempts,
    WrongFactor,
)
from authsvc.flows import factors, passkeys, sessions, step_up, steps, totp
from authsvc.flows.console_client import console_client
from authsvc.flows.steps import Completed, InProgress, Prove

_AGAIN = Message("That login took too long, or something changed meanwhile. Please begin again.", "warning")


async def step_page(ctx: PageContext) -> Response:
    following = safe_path(ctx.request.query_params.get("next", "/"))
    try:
        progress = await _progress(ctx)
    except InvalidSession:
        return redirect(ctx, f"/login?next={quote(following, safe='')}", _AGAIN)
    return await _step_form(ctx, progress, following)


async def _step_form(
    ctx: PageContext, progress: InProgress, following: str, status: int = 200, fault: str | None = None
) -> Response:
    step = progress.step
    enrols = step.methods == (ENROL,)
    template = "admin/enrol.html" if enrols else "admin/step.html"
    return render(
        ctx, template, status, methods=step.methods, again=step.session is not None, following=following, fault=fault,
        enrolment=None, can_enrol="totp" in ctx.deps.settings.capabilities,
        options=await _options(ctx, progress) if steps.PASSKEY in step.methods else None,
    )  # fmt: skip


async def _options(ctx: PageContext, progress: InProgress) -> str:
    """What the browser asks the authenticator for, as JSON. The script of the page passes it on."""
    account = await steps.alive(ctx.deps, await console_client(ctx.deps), progress, steps.PASSKEY)
    return json.dumps(await passkeys.step_options(ctx.deps, progress.token.handle, account))


async def answer_step(ctx: PageContext) -> Response:
    following, method = safe_path(ctx.form.get("next", "/")), ctx.form.get("method", "")
    try:
        progress = await _progress(ctx)
        proof = _PROOFS[method](ctx, progress) if method in _PROOFS else None
        if proof is None:
            return await _step_form(ctx, progress, following, 400, "Choose how to prove that it is you.")
        done = await _answered(ctx, progress, method, proof)
    except WrongFactor:
        return await _step_form(ctx, progress, following, 401, "That was not right. Try again.")
    except TooManyAttempts as error:
        return await _step_form(
            ctx, progress, following, 429, f"Too many attempts. Wait {error.retry_after_s} seconds."
        )
    except InvalidSession:
        return redirect(ctx, f"/login?next={quote(following, safe='')}", _AGAIN)
    except InsufficientAuthorization as more:  # the password was right, and the policy demands a factor
        return to_step(ctx, more, following)
    response = redirect(ctx, following)
    return await entered(ctx, done.grant, response) if done.begins else with_session(ctx, done.grant, response)


async def enrol(ctx: PageContext) -> Response:
    """Show the secret for an authenticator app, this once."""
    following = safe_path(ctx.form.get("next", "/"))
    try:
        progress = await _progress(ctx)
        account = await steps.alive(ctx.deps, await console_client(ctx.deps), progress, ENROL)
        made = await totp.enrol(ctx.deps, factors.by_login(progress.step), account.user, "console")
    except InvalidSession:
        return redirect(ctx, "/login", _AGAIN)
    return _enrolment_form(ctx, following, made.id, made.secret, made.uri)


def _enrolment_form(
    ctx: PageContext, following: str, id_: str, secret: str, uri: str, status: int = 200, fault: str | None = None
) -> Response:
    grouped = " ".join(secret[at : at + 4] for at in range(0, len(secret), 4))
    enrolment = {"id": id_, "secret": secret, "grouped": grouped, "uri": uri}
    return render(
        ctx, "admin/enrol.html", status, enrolment=enrolment, following=following, fault=fault, methods=(ENROL,),
        again=False, can_enrol=True,
    )  # fmt: skip


async def confirm_enrolment(ctx: PageContext) -> Response:
    """Take the first code of the app. That completes the login; the recovery codes are shown this once."""
    following, id_ = safe_path(ctx.form.get("next", "/")), ctx.form.get("id", "")
    try:
        progress = await _progress(ctx)
        guard = factors.by_login(progress.step)
        proof = totp.ProofByFirstCode(ctx.deps, ctx.caller, guard, id_, _code(ctx))
        done = await _answered(ctx, progress, ENROL, proof)
    except WrongFactor:
        secret, uri = ctx.form.get("secret", ""), ctx.form.get("uri", "")
        return _enrolment_form(ctx, following, id_, secret, uri, 401, "That was not the present code. Try again.")
    except (InvalidSession, NotFound):
        return redirect(ctx, "/login", _AGAIN)
    response = render(ctx, "admin/recovery_codes.html", codes=proof.recovery_codes, following=following)
    return await entered(ctx, done.grant, response)


async def confirm_page(ctx: PageContext) -> Response:
    """Begin to prove something again, for a change that takes a recent or a stronger login."""
    following = safe_path(ctx.request.query_params.get("next", "/"))
    active = await active_of(ctx)
    try:
        begun = await step_up.step_up(ctx.deps, ctx.caller_as(f"user:{active.user.sub}"), active, cookie=True)
    except AccessDenied:
        begun = None
    if begun is None or (begun.methods == (steps.PASSWORD,) and not is_local(ctx.request)):
        # The password alone is not enough from another machine. The next login adds a second factor.
        await sessions.logout(ctx.deps, ctx.caller_as(f"user:{active.user.sub}"), active)
        message = Message("From another machine the console takes a second factor. Log in to add one.", "warning")
        return redirect(ctx, f"/login?next={quote(following, safe='')}", message)
    return to_step(ctx, begun, following)


async def _progress(ctx: PageContext) -> InProgress:
    return await steps.find(ctx.deps, cookies.read(ctx.request, STEP) or "")


async def _answered(ctx: PageContext, progress: InProgress, method: str, proof: Prove) -> Completed:
    return await steps.answer(ctx.deps, ctx.caller, await console_client(ctx.deps), progress, method, proof)


def _code(ctx: PageContext) -> str:
    """The code as people type it, in groups."""
    return ctx.form.get("code", "").replace(" ", "")


def _proof_by_password(ctx: PageContext, progress: InProgress) -> Prove:
    ctx.deps.hasher.refuse_if_full()
    return step_up.proof_by_password(ctx.deps, ctx.caller, ctx.form.get("password", ""))


def _proof_by_passkey(ctx: PageContext, progress: InProgress) -> Prove:
    try:
        answer = validated(KnownCredential, load_json(ctx.form.get("credential", "").encode()))
    except InvalidRequest:
        raise WrongFactor() from None
    return passkeys.proof_by_passkey(ctx.deps, progress.token.handle, answer.assertion())


_PROOFS: dict[str, Callable[[PageContext, InProgress], Prove]] = {
    steps.PASSKEY: _proof_by_passkey,
    steps.TOTP: lambda ctx, _: totp.proof_by_code(ctx.deps, _code(ctx)),
    steps.RECOVERY: lambda ctx, _: factors.ProofByRecoveryCode(ctx.deps, ctx.form.get("code", "")),
    steps.PASSWORD: _proof_by_password,
}
