"""`authsvc login` and `authsvc logout`: the login of an admin at a service, kept in a file of mode 0600."""

import json
import os
import re
import socket
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import click

from authsvc.cli.output import say
from authsvc.cli.prompts import line_of_stdin
from authsvc.cli.remote import Answer, Json, NotLoggedIn, Remote, ask, base_url, refusal, something_else
from authsvc.cli.state import settings
from authsvc.core.client import BUILT_IN
from authsvc.errors import AuthError, InvalidRequest, StartupError

# What a header can hold.
_TOKEN = re.compile("[!-~]+")
# Steps that a person can do at a terminal, with the question for each.
_CODES = {"totp": "Code of the authenticator app", "recovery": "Recovery code"}


@dataclass(frozen=True, slots=True)
class Login:
    """A login at a service, as the file has it."""

    url: str
    username: str
    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False, default=None)

    def __post_init__(self) -> None:
        """Raises ValueError for what can't be a login, such as a token that no header can hold."""
        named = isinstance(self.url, str) and isinstance(self.username, str)
        tokens = [self.access_token, *([] if self.refresh_token is None else [self.refresh_token])]
        if not named or not all(isinstance(token, str) and _TOKEN.fullmatch(token) for token in tokens):
            raise ValueError("it lacks a field, or a token is none")


class NotKept(AuthError):
    """The file with the login can't be written or removed."""


def path_of_login() -> Path:
    """The file with the login. `XDG_CONFIG_HOME` moves it. Raises NotKept if there is no home for it."""
    folder = Path(click.get_app_dir("authsvc"))
    if not folder.is_absolute():  # such as ~ for a user without a home, which a shell would not expand either
        raise NotKept("there is no home directory for the login: set XDG_CONFIG_HOME to an absolute path")
    return folder / "login.json"


def read() -> Login | None:
    """The login that is kept; None: there is none. Raises StartupError for a file that others can read."""
    try:
        path = path_of_login()
    except NotKept:
        return None
    try:
        with open(path, encoding="utf-8", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW)) as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise StartupError(f"others can read {path}: run `authsvc logout`, and log in again")
            return Login(**json.load(file))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError) as error:
        raise StartupError(f"{path} does not hold a login ({error}): remove it, and log in again") from None


def keep(login: Login) -> None:
    """Write the file in one step: another command may read it meanwhile. Raises NotKept."""
    path = path_of_login()
    written = path.with_name(f"login.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        written.unlink(missing_ok=True)
        with open(written, "x", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            json.dump(asdict(login), file)
        written.replace(path)
    except OSError as error:
        with suppress(OSError):
            written.unlink()
        raise NotKept(f"can't keep the login in {path}: {error.strerror}") from None


def forget() -> None:
    """Remove the file, if there is one. Raises NotKept."""
    path = path_of_login()
    try:
        path.unlink()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise NotKept(f"can't remove {path}: {error.strerror}") from None


def remote_of(login: Login) -> Remote:
    """The service of a login, which renews its token and proves its user as needed."""
    held = login

    def taken(answer: Json) -> str:
        nonlocal held
        held = _login(held.url, held.username, answer)
        keep(held)
        return held.access_token

    def renew() -> str:
        if held.refresh_token is None:
            raise NotLoggedIn(held.url)
        form = {"grant_type": "refresh_token", "client_id": BUILT_IN, "refresh_token": held.refresh_token}
        answer = ask(held.url, "POST", "/token", form=form)
        if answer.status in (400, 401):
            raise NotLoggedIn(held.url)
        return taken(_done(held.url, answer))

    def prove(token: str) -> str:
        say("this takes a recent login: prove who you are once more")
        begun = ask(held.url, "POST", "/step-up", token=token)
        if begun.status != 200:
            raise refusal(begun)
        return taken(_next_step(held.url, begun.body))

    return Remote(login.url, login.access_token, renew, prove)


def log_in(url: str, username: str, password: str) -> Login:
    """Log in, and ask for a second factor where one is needed. Raises AuthError."""
    body: Json = {"username": username, "password": password, "device": f"authsvc on {socket.gethostname()}"[:120]}
    answer = ask(url, "POST", "/login", body=body)
    return _login(url, username, _done(url, answer))


def _login(url: str, username: str, tokens: Json) -> Login:
    try:
        return Login(url, username, tokens["access_token"], tokens.get("refresh_token"))
    except ValueError:
        raise something_else(url) from None


def end(login: Login) -> None:
    """End the session of a login at its service. Raises AuthError."""
    answer = ask(login.url, "POST", "/logout", token=login.access_token)
    if answer.status == 401 and login.refresh_token is not None:  # the access token is over, and the session is not
        form = {"token": login.refresh_token, "client_id": BUILT_IN}
        answer = ask(login.url, "POST", "/revoke", form=form)
    if answer.status not in (200, 204, 401):
        raise refusal(answer)


def _done(url: str, answer: Answer) -> Json:
    """The tokens of a completed login, after its second step if it has one."""
    if answer.body.get("error") == "insufficient_authorization":
        return _next_step(url, answer.body)
    if answer.status != 200:
        raise refusal(answer)
    return answer.body


def _next_step(url: str, begun: Json) -> Json:
    methods = begun.get("methods", [])
    method = next((one for one in (*_CODES, "password") if one in methods), None)
    if method is None:
        known = "enrol" in methods
        raise InvalidRequest(
            "this account has to enrol a second factor first"
            if known
            else "this login takes a passkey, which the command line cannot use: enrol an authenticator app too"
        )
    if not sys.stdin.isatty():
        raise InvalidRequest("this takes a second step, and there is nobody to ask: log in at a terminal")
    if method == "totp" and "recovery" in methods:
        say("without the app, press Enter and give a recovery code")
        typed = _typed(_CODES["totp"], empty=True)
        method, typed = ("totp", typed) if typed else ("recovery", _typed(_CODES["recovery"]))
    else:
        typed = _typed(_CODES.get(method, "Password"))
    what = "password" if method == "password" else "code"
    answer = ask(url, "POST", f"/login/{method}", body={"auth_session": begun["auth_session"], what: typed})
    if answer.status != 200:
        raise refusal(answer)
    return answer.body


def _typed(question: str, *, empty: bool = False) -> str:
    return str(click.prompt(question, hide_input=True, err=True, default="" if empty else None, show_default=False))


def start(url: str | None, username: str | None, *, password_stdin: bool) -> None:
    """`authsvc login`: ask for what is missing, log in, and keep the login. Raises AuthError and UsageError."""
    service = _of_settings() if url is None else base_url(url)
    path_of_login()  # nobody types a password for a login that can't be kept
    if username is None:
        if not sys.stdin.isatty():
            raise click.UsageError("nobody to ask for a name: give --user")
        username = str(click.prompt("Username", err=True))
    if not password_stdin and not sys.stdin.isatty():
        raise click.UsageError("nobody to ask for a password: give --password-stdin")
    login = log_in(service, username, line_of_stdin() if password_stdin else _typed("Password"))
    before = read_if_fit()
    try:
        keep(login)
    except NotKept as error:
        _end(login, str(error))
        raise
    if before is not None:
        with suppress(AuthError):  # the service of the login before may be gone
            end(before)
    say(f"logged in to {service} as {username}; commands about users, sessions and the audit trail work there now")


def stop() -> None:
    """`authsvc logout`: end the session, and forget the login. Raises AuthError if the service does not answer."""
    login = read_if_fit()
    failure: NotKept | None = None
    try:
        forget()
    except NotKept as error:
        failure = error
    if login is not None:
        _end(login, str(failure or "the login is forgotten here"))
    if failure is not None:
        raise failure
    say("there is no login" if login is None else f"logged out of {login.url}")


def _end(login: Login, before: str) -> None:
    """End the session. before: what an error says first. Raises Unended."""
    try:
        end(login)
    except AuthError as error:
        raise Unended(f"{before}, and its session may go on at {login.url}: {error}") from None


def _of_settings() -> str:
    """The address of the service that the settings describe. Raises InvalidRequest if no login can go there."""
    url = settings().local_url
    try:
        return base_url(url)
    except InvalidRequest:
        raise InvalidRequest(f"the settings lead to {url}, where a token does not go without TLS: give --url") from None


def read_if_fit() -> Login | None:
    """The login that is kept, if its file can be used."""
    try:
        return read()
    except StartupError:
        return None


class Unended(AuthError):
    """The session of a login was not ended."""
