"""The command line: `authsvc serve | openapi`."""

import sys

import click

from authsvc.errors import AuthError
from authsvc.serve import serve as run_server
from authsvc.settings import Settings
from authsvc.web import openapi as contract


@click.group()
def cli() -> None:
    """Opaque tokens whose state lives in Redis or Valkey."""


@cli.command()
def serve() -> None:
    """Serve HTTP, on an embedded Valkey unless AUTHSVC_REDIS_URL is set."""
    run_server(Settings.from_environment())


@cli.command()
def openapi() -> None:
    """Print the contract, openapi.yaml."""
    click.echo(contract.text(), nl=False)


def main() -> None:
    """The entry point: errors of ours are one line, without a traceback."""
    try:
        cli()
    except AuthError as error:
        click.echo(f"authsvc: {error}", err=True)
        sys.exit(1)
