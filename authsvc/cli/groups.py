"""The groups of commands. The modules of the commands are imported when a command is asked for."""

from importlib import import_module

import click


class LazyGroup(click.Group):
    """A group whose commands add themselves to it when their modules are imported."""

    def __init__(self, name: str, *modules: str, help: str) -> None:
        super().__init__(name, help=help)
        self._modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:
        self._import()
        return list(self.commands)  # in the order of a user's life, which is more help than the alphabet's

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        self._import()
        return super().get_command(ctx, cmd_name)

    def _import(self) -> None:
        for module in self._modules:
            import_module(module)


user = LazyGroup(
    "user",
    "authsvc.cli.users",
    "authsvc.cli.user_factors",
    "authsvc.cli.user_import",
    "authsvc.cli.user_export",
    help="Create, show, change, import and export users.",
)
client = LazyGroup("client", "authsvc.cli.clients", help="Register, show, change and delete clients.")
key = LazyGroup("key", "authsvc.cli.api_keys", help="Make, list, rotate, revoke and import keys for programs.")
session = LazyGroup("session", "authsvc.cli.sessions", help="List and end the sessions of all users.")
token = LazyGroup("token", "authsvc.cli.tokens", help="Issue a token, explain why one is inactive, take one back.")
service = LazyGroup("service", "authsvc.cli.service", help="What concerns every session there is.")
