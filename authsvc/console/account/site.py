"""The site of the account pages: its table of pages, and what an error leads to."""

from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from authsvc.console import static
from authsvc.console.account import (
    activity,
    apps,
    brand,
    confirm,
    devices,
    enrol,
    keys,
    login,
    passkeys,
    password,
    security,
    step,
    texts,
)
from authsvc.console.account.destination import HOME
from authsvc.console.account.frame import CONFIRM, LOGIN, go, show, wanted
from authsvc.console.account.session import with_next
from authsvc.console.account.times import when
from authsvc.console.context import PageContext, Site
from authsvc.console.page import Page, routes
from authsvc.console.policy import policy
from authsvc.core import token as tokens
from authsvc.core.capability import Capability
from authsvc.errors import (
    AuthError,
    CrossSite,
    InsufficientUserAuthentication,
    InvalidSession,
    InvalidToken,
    MissingToken,
    NotFound,
    WrongAudience,
)
from authsvc.flows.deps import Deps
from authsvc.web import cookies

# Every page that takes a form can be read too: a step, or a login, leads back to it.
_PAGES = (
    Page("GET", "/", devices.devices),
    Page("GET", "/sessions/others/end", devices.end_others_form),
    Page("POST", "/sessions/others/end", devices.end_others),
    Page("GET", "/sessions/{session_id}/end", devices.end_form),
    Page("POST", "/sessions/{session_id}/end", devices.end),
    Page("GET", "/security", security.security),
    Page("GET", "/password", password.password_form),
    Page("POST", "/password", password.change_password),
    Page("GET", "/keys", keys.keys),
    Page("GET", "/keys/new", keys.key_form),
    Page("POST", "/keys/new", keys.create),
    Page("GET", "/keys/{key_id}/delete", keys.delete_form),
    Page("POST", "/keys/{key_id}/delete", keys.delete),
    Page("GET", "/activity", activity.activity),
    Page("GET", "/confirm", confirm.confirm_form),
    Page("POST", "/confirm", confirm.confirm),
    Page("GET", "/login", login.login_form),
    Page("POST", "/login", login.log_in),
    Page("GET", "/logout", login.logout_form),
    Page("POST", "/logout", login.log_out),
    Page("GET", "/reset", password.reset_form),
    Page("POST", "/reset", password.reset),
    Page("GET", "/theme.css", brand.theme, headers=static.HEADERS),
    Page("GET", "/logo", brand.logo, headers=static.HEADERS),
)
_OF: tuple[tuple[Capability, tuple[Page, ...]], ...] = (
    (
        "factors",
        (
            Page("GET", "/login/step", step.step_form),
            Page("POST", "/login/step", step.step),
            Page("GET", "/login/enrol", enrol.enrol_again),
            Page("POST", "/login/enrol", enrol.enrol),
            Page("GET", "/security/codes", security.codes_form),
            Page("POST", "/security/codes", security.replace_codes),
            Page("GET", "/security/factors/{factor_id}/remove", security.remove_form),
            Page("POST", "/security/factors/{factor_id}/remove", security.remove),
        ),
    ),
    ("totp", (Page("GET", "/security/app", apps.app_form), Page("POST", "/security/app", apps.add_app))),
    (
        "passkeys",
        (
            Page("POST", "/login/passkey", login.log_in_by_passkey),
            Page("GET", "/security/passkey", passkeys.passkey_form),
            Page("POST", "/security/passkey", passkeys.add_passkey),
        ),
    ),
)


def account_routes(deps: Deps) -> list[BaseRoute]:
    """The routes of the account pages. Raises StartupError for texts or a logo that cannot be used."""
    capabilities = deps.settings.capabilities
    pages = _PAGES + tuple(page for name, of in _OF if name in capabilities for page in of)
    # Every other path below is a page too, which says that there is none.
    return routes(deps, _site(deps), (*pages, Page("GET", "/{rest:path}", _no_such_page)))


def _site(deps: Deps) -> Site:
    settings = deps.settings
    of_app = brand.Brand.of(settings.app_title, settings.app_colour, settings.app_logo)
    t = texts.load(settings.app_texts)
    return Site(
        name=of_app.name,
        home=HOME,
        layout="account/layout.html",
        static=f"{HOME}/static",
        cookie_prefix="account",
        session_id=_session_id,
        problem=_problem,
        # Browsers apply form-action to redirects too.
        headers=policy(form_action=settings.allowed_origins),
        context={"t": t, "when": partial(when, t), "brand": of_app, "capabilities": settings.capabilities},
    )


def _session_id(request: Request) -> str | None:
    """The public id of the session in the cookie. None for two cookies: forms bind themselves to neither."""
    presented = cookies.session_tokens(request)
    token = tokens.parse(presented[0]) if len(presented) == 1 else None
    return None if token is None else token.handle


async def _no_such_page(ctx: PageContext) -> Response:
    if ctx.request.url.path == f"{HOME}/":
        return go(ctx, HOME)
    raise NotFound("no such page")


async def _problem(ctx: PageContext, error: AuthError) -> Response:
    """What an error leads to: the login, a step, or a page that says what to do."""
    path = ctx.request.url.path
    if isinstance(error, MissingToken | InvalidToken | WrongAudience):
        response = go(ctx, with_next(LOGIN, path))
        if isinstance(error, InvalidToken):
            cookies.clear_session(response)  # its session is over, so the browser forgets it too
        return response
    if isinstance(error, InsufficientUserAuthentication):
        return go(ctx, with_next(CONFIRM, path))
    if isinstance(error, InvalidSession):
        return go(ctx, with_next(LOGIN, wanted(ctx)), "login.began_again", "warning")
    # Browsers store the cookie over TLS and on localhost only.
    lost = ctx.request.method == "POST" and isinstance(error, CrossSite) and ctx.known_form_key is None
    back = LOGIN if path.startswith(LOGIN) else HOME
    return show(ctx, "problem.html", error=error, instead="error.cookies" if lost else None, back=back)
