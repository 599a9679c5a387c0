"""The second step of a login: a code, a recovery code, a passkey, or the first factor of the user."""

from starlette.responses import Response

from authsvc.api.schemas.passkeys import KnownCredential
from authsvc.console import cookies as pages_cookies
from authsvc.console.account import credentials
from authsvc.console.account.frame import LOGIN, STEP, go, show, wanted
from authsvc.console.account.problems import CORRECTABLE
from authsvc.console.account.session import begun, login_cookie, with_next
from authsvc.console.context import PageContext
from authsvc.core.factors import DEVICE_S
from authsvc.core.step import ENROL
from authsvc.errors import AuthError, InvalidRequest, InvalidSession
from authsvc.flows import factors, passkeys, step_up, steps, totp
from authsvc.flows.steps import Completed, InProgress, Prove
from authsvc.web.steps import in_progress

FEW_CODES = 3


async def step_form(ctx: PageContext) -> Response:
    """The ways to go on with the login that this browser has begun."""
    return await show_step(ctx, await progress_of(ctx))


async def step(ctx: PageContext) -> Response:
    """An answer. A right one completes the login."""
    progress, client = await in_progress(ctx, presented(ctx))
    try:
        method, prove = proof_of(ctx, progress)
        trust = "trust" in ctx.form
        done = await steps.answer(ctx.deps, ctx.caller, client, progress, method, prove, trust_device=trust)
    except CORRECTABLE as error:
        return await show_step(ctx, progress, error)
    return await begun(ctx, done, after(ctx, done, prove))


def proof_of(ctx: PageContext, progress: InProgress) -> tuple[str, Prove]:
    """The method that the form names, and the proof in it. Raises InvalidRequest."""
    deps, form, method = ctx.deps, ctx.form, ctx.form.get("method", "")
    if method == steps.PASSKEY:
        answer = credentials.of_form(ctx, KnownCredential).assertion()
        return method, passkeys.proof_by_passkey(deps, progress.token.handle, answer)
    code = form.get("code")
    if code is None:
        raise InvalidRequest("code: missing")
    if method == steps.TOTP:
        return method, totp.proof_by_code(deps, code.replace(" ", ""))
    if method == steps.RECOVERY:
        return method, factors.ProofByRecoveryCode(deps, code)
    if method == steps.PASSWORD:
        deps.hasher.refuse_if_full()
        return method, step_up.proof_by_password(deps, ctx.caller, code)
    raise InvalidRequest("method: unknown")


def after(ctx: PageContext, done: Completed, prove: Prove) -> Response:
    """Where the browser goes. Somebody with few recovery codes is told so."""
    if isinstance(prove, factors.ProofByRecoveryCode) and prove.left < FEW_CODES:
        return go(ctx, wanted(ctx), "security.codes_few", "warning")
    return go(ctx, wanted(ctx))


def presented(ctx: PageContext) -> str:
    """The token of the login that this browser has begun. Raises InvalidSession."""
    token = pages_cookies.read(ctx.request, login_cookie(ctx))
    if token is None:
        raise InvalidSession()
    return token


async def progress_of(ctx: PageContext) -> InProgress:
    """The login in progress. Raises InvalidSession."""
    return await steps.find(ctx.deps, presented(ctx))


async def show_step(ctx: PageContext, progress: InProgress, error: AuthError | None = None) -> Response:
    """The page of a login in progress."""
    methods = progress.step.methods
    return show(
        ctx,
        "enrol.html" if methods == (ENROL,) else "step.html",
        error=error,
        action=STEP,
        methods=methods if methods != (ENROL,) else steps.offered(ctx.deps),
        auth_session=progress.token.text,
        begin=None,
        trust_days=DEVICE_S // 86400 if progress.step.trusts else None,
        cancel=with_next(LOGIN, wanted(ctx)),
        next=wanted(ctx),
    )
