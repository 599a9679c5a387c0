"""The command line, for the people who run the service: `authsvc serve | user | client | token | audit | …`."""

import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import Any

import click
from click.shell_completion import get_completion_class

from authsvc import __version__
from authsvc.cli import groups
from authsvc.cli.completing import client_names, user_names
from authsvc.cli.options import Number, as_json, duration, event, events, exact_times, on_store, url
from authsvc.cli.output import printable_lines, say
from authsvc.cli.statuses import INACTIVE, INTERRUPTED, REFUSED, UNAVAILABLE, WrongSettings, status_of
from authsvc.errors import AuthError, StartupError, StoreUnavailable
from authsvc.streams import drop_what_stdout_refuses

EPILOG = """
Commands work on the store of AUTHSVC_REDIS_URL. Without this variable they work on the store of the service that runs
on AUTHSVC_DATA_DIR, or on the files there while no service runs. Data goes to stdout (--json: for scripts), messages go
to stderr. Secrets are read from stdin or asked for, never taken as arguments.

\b
Exit status:
  0    done; `token explain`: the token is active; `check`, `status`: nothing failed
  1    refused: the message says why
  2    wrong usage, or a wrong AUTHSVC_ variable
  3    no such user, client or session
  4    the store, or the service over HTTP, is not available, or the store was never started
  5    `token explain`: the token is inactive; `check`, `status`: something failed
  130  interrupted
  143  ended by SIGTERM
"""


# What a write to stdout may say.
_UNWRITABLE = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO)
# The longest message of click, which repeats what was typed.
_MOST_SHOWN = 2000


class Program(click.Group):
    """Turns an error of the service into one line on stderr and its exit status."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with _shortly():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _shortly():
                return super().invoke(ctx)
        except AuthError as error:
            todo = error.todo if isinstance(error, StoreUnavailable) else None
            say(f"authsvc: {error}" if todo is None else f"authsvc: {error}. {todo}.")
            ctx.exit(status_of(error))
        except FileNotFoundError:
            if _is_in_a_directory():
                raise
            say("authsvc: the working directory does not exist any more: go to another one")
            ctx.exit(REFUSED)
        except (KeyboardInterrupt, click.Abort):
            say("\nauthsvc: interrupted")  # below the line with the ^C
            ctx.exit(INTERRUPTED)


def _is_in_a_directory() -> bool:
    try:
        return bool(os.getcwd())
    except FileNotFoundError:
        return False


@contextmanager
def _shortly() -> Iterator[None]:
    """Cut a message of click that repeats a long text, and escape what could steer the terminal."""
    try:
        yield
    except click.ClickException as error:
        told = error.format_message()
        shown = printable_lines(told.replace("\t", "  "))
        if len(shown) > _MOST_SHOWN:
            shown = f"{shown[:100]}…{shown[100 - _MOST_SHOWN :]}"  # the end says what would be right
        if shown == told:
            raise
        raise (
            click.UsageError(shown, error.ctx) if isinstance(error, click.UsageError) else click.ClickException(shown)
        ) from None


@click.group(
    cls=Program, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__)
def cli() -> None:
    """Opaque tokens whose state lives in Redis or Valkey."""


for group in (groups.user, groups.client, groups.key, groups.session, groups.token, groups.service):
    cli.add_command(group)


# A command imports what it needs when it runs, so that help and completion do not wait for a web framework.
@cli.command(short_help="Serve HTTP.")
@click.option("--host", help="Address to listen on; by default AUTHSVC_HOST, or 127.0.0.1.")
@click.option("--port", type=Number(0, 65535), help="Port to listen on; by default AUTHSVC_PORT, or 8000.")
@click.option("--workers", type=Number(1, 256), help="Server processes; by default AUTHSVC_WORKERS, or 1.")
@click.option(
    "--dev",
    is_flag=True,
    help="For development on this machine: allow pages on localhost, log text, give an embedded store a user `demo`.",
)
@click.option(
    "--settings", "listed", is_flag=True, help="Print every AUTHSVC_ variable with its default, and serve nothing."
)
def serve(dev: bool, listed: bool, **given: Any) -> None:
    """Serve HTTP, on an embedded Valkey unless AUTHSVC_REDIS_URL is set."""
    if listed:
        from authsvc.cli.setting_list import show_settings

        show_settings()
        return
    # Python ignores a KeyboardInterrupt in the locks of its imports. There is nothing to clean up yet.
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    from authsvc.cli.state import settings
    from authsvc.serve.start import serve as run_server

    signal.signal(signal.SIGINT, before)
    configured = settings({name: value for name, value in given.items() if value is not None})
    try:
        run_server(configured, dev=dev)
    except StartupError as error:
        raise (error if error.setting is None else WrongSettings(str(error))) from None


@cli.command()
def openapi() -> None:
    """Print the contract, openapi.yaml."""
    from authsvc.api import openapi as contract

    click.echo(contract.text(), nl=False)


@cli.command(short_help="Print rules for secret scanners.")
@click.option(
    "--for",
    "scanner",
    type=click.Choice(["gitleaks", "trufflehog", "github", "gitguardian"]),
    help="The rule in this scanner's form; by default the bare expression.",
)
def patterns(scanner: str | None) -> None:
    """Print the rule by which a secret scanner finds the tokens, keys and client secrets of this service.

    Keys have the word of AUTHSVC_KEY_PREFIX in front. Report finds at POST /leaked.
    """
    from authsvc.cli.patterns import SCANNERS, plain
    from authsvc.cli.state import settings

    click.echo(SCANNERS.get(scanner or "", plain)(settings({}).key_prefix), nl=False)


@cli.command()
@click.option("--limit", type=Number(1), help="At most this many events; by default 50, or 10 with --follow.")
@click.option(
    "--event",
    callback=event,
    shell_complete=events,
    help="Only this event (user.created), or all events of a kind (user).",
)
@click.option(
    "--user", "--sub", "sub", metavar="SUB_OR_NAME", shell_complete=user_names, help="Only events about this user."
)
@click.option(
    "--client",
    "client_id",
    metavar="ID_OR_NAME",
    shell_complete=client_names,
    help="Only events about this client.",
)
@click.option("--since", callback=duration, metavar="DURATION", help="Only the last 90s, 15m, 24h or 7d.")
@click.option("--follow", "-f", is_flag=True, help="Oldest first, and then each new event, until interrupted.")
@exact_times
@as_json
@url
@on_store
def audit(
    limit: int | None,
    event: str | None,
    sub: str | None,
    client_id: str | None,
    since: int | None,
    follow: bool,
    exact_times: bool,
    as_json: bool,
    url: str | None,
    on_store: bool,
) -> None:
    """Show the audit trail, newest first, or as it grows."""
    from authsvc.cli import over_http
    from authsvc.cli.places import remote
    from authsvc.cli.trail import Filter, follow_trail, show_trail

    service = remote(url, on_store=on_store or follow)
    if service is not None:
        over_http.audit(
            service,
            limit=limit or 50,
            event=event,
            sub=sub,
            client_id=client_id,
            since=since,
            exact_times=exact_times,
            as_json=as_json,
        )
        return
    test = Filter(event, sub, client_id)
    if follow:
        follow_trail(test, limit=limit or 10, since_s=since, as_json=as_json, exact_times=exact_times)
    else:
        show_trail(test, limit=limit or 50, since_s=since, as_json=as_json, exact_times=exact_times)


@cli.command(short_help="Log in to a service, for commands over HTTP.")
@click.option("--url", metavar="URL", help="The service; by default the one that the settings here describe.")
@click.option("--user", "username", metavar="NAME", help="The name to log in with; asked for if it is not given.")
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin, one line.")
def login(url: str | None, username: str | None, password_stdin: bool) -> None:
    """Log in to a service as a user with power over others.

    From then on, commands about users, sessions and the audit trail work over HTTP at this service. The login is kept
    in a file that only you can read. A second factor is asked for where one is needed.
    """
    from authsvc.cli import logins

    logins.start(url, username, password_stdin=password_stdin)


@cli.command(short_help="End the login at a service.")
def logout() -> None:
    """End the login at a service, and forget it. Commands then work on the store again."""
    from authsvc.cli import logins

    logins.stop()


@cli.command(short_help="Print the script for completion in a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script with which a shell completes commands and options.

    \b
    bash:  authsvc completion bash > ~/.local/share/bash-completion/completions/authsvc
    zsh:   authsvc completion zsh > _authsvc, in a directory of $fpath
    fish:  authsvc completion fish > ~/.config/fish/completions/authsvc.fish
    """
    kind = get_completion_class(shell)
    if kind is not None:  # it is one of the choices above
        made = kind(cli, {}, "authsvc", "_AUTHSVC_COMPLETE")
        click.echo(made.source_template % made.source_vars())


@cli.command(short_help="Check the settings, the store and the clients.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for scripts.")
@click.option("--strict", is_flag=True, help="Count warnings as failures.")
@click.option("--all", "everything", is_flag=True, help="Print the rows that pass, too.")
@click.pass_context
def check(ctx: click.Context, as_json: bool, strict: bool, everything: bool) -> None:
    """Check the settings, the store and the clients. Each problem comes with its remedy."""
    from authsvc.cli.check import show_checks

    asked, fine = show_checks(as_json=as_json, strict=strict, everything=everything)
    if not asked:
        ctx.exit(UNAVAILABLE)
    if not fine:
        ctx.exit(INACTIVE)


@cli.command(short_help="Show whether all is well, on one screen.")
@exact_times
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for scripts.")
@click.pass_context
def status(ctx: click.Context, exact_times: bool, as_json: bool) -> None:
    """Show whether the service is ready, its store, live sessions, the last events, and how many checks fail.

    It asks the service at AUTHSVC_HOST and AUTHSVC_PORT, as set here.
    """
    from authsvc.cli.status import show_status

    asked, fine = show_status(as_json=as_json, exact_times=exact_times)
    if not asked:
        ctx.exit(UNAVAILABLE)
    if not fine:
        ctx.exit(INACTIVE)


def main() -> None:
    """The entry point."""
    # The default handler would end the program at once, and leave behind a store that was started for the command.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if isinstance(sys.stdout, TextIOWrapper):  # a name that the terminal can't show must not end in a traceback
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        cli(prog_name="authsvc")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except OSError as error:
        if error.errno not in _UNWRITABLE or error.filename is not None:
            raise
        say(f"authsvc: can't write the output: {os.strerror(error.errno).lower()}")
        sys.exit(REFUSED)
    finally:
        drop_what_stdout_refuses()
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # nothing is left to do, so another Ctrl-C needs no traceback
