"""`authsvc service …`."""

from authsvc.cli.ending import ended_of_all, in_words
from authsvc.cli.groups import service as group
from authsvc.cli.options import as_json, yes
from authsvc.cli.output import say, show
from authsvc.cli.places import comment, operator
from authsvc.cli.prompts import confirm
from authsvc.cli.state import run
from authsvc.core.record import FORMAT
from authsvc.flows import revoke
from authsvc.flows.all_sessions import Count
from authsvc.flows.deps import Deps
from authsvc.flows.store_format import raise_store_format
from authsvc.flows.totp import forget_lost_keys


@group.command("cut-off", short_help="End every session there is.")
@yes
@comment
def cut_off(yes: bool) -> None:
    """End every session there is: after a backup was restored, or if the store or a backup may be stolen."""
    confirm("End every session of every user?", yes=yes)

    async def work(deps: Deps) -> Count | None:
        before = await deps.store.service.get()
        await revoke.revoke_all(deps, operator())
        return await ended_of_all(deps, before)

    say(f"ended every session there was: {in_words(run(work))}")


@group.command("format", short_help="Show the format of the store.")
@as_json
def show_format(as_json: bool) -> None:
    """Show the newest format that records in the store may have, and the newest that this version understands."""
    service = run(lambda deps: deps.store.service.get())
    show({"store_format": service.store_format, "understood": FORMAT}, as_json=as_json)


@group.command("raise-format", short_help="Raise the format of the store after an upgrade.")
@yes
@comment
def raise_format(yes: bool) -> None:
    """Raise the format of the store to the newest that this version understands, once every service runs it.

    Older versions then refuse to start on the store, and are not ready. The format can't be lowered.
    """
    confirm(f"Raise the store's format to {FORMAT}, which no older version understands?", yes=yes)
    raised = run(lambda deps: raise_store_format(deps, operator()))
    say(f"the store's format is {raised}")


@group.command("forget-factor-keys", short_help="Give up one-time codes whose key is lost.")
@yes
@comment
def forget_factor_keys(yes: bool) -> None:
    """Let the service start without the factor keys that AUTHSVC_FACTOR_KEY_FILE lacks.

    Authenticator apps under a lost key work no more. Their users have recovery codes, or an admin removes the factors.
    """
    confirm("Give up every authenticator app whose key is lost?", yes=yes)
    lost = run(lambda deps: forget_lost_keys(deps, operator()))
    say(f"gave up {len(lost)} factor key{'' if len(lost) == 1 else 's'}")
