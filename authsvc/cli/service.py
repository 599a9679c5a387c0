"""`authsvc service …`."""

from authsvc.cli.groups import service as group
from authsvc.cli.options import yes
from authsvc.cli.output import say
from authsvc.cli.prompts import confirm
from authsvc.cli.state import run
from authsvc.flows import revoke
from authsvc.flows.deps import OPERATOR


@group.command("cut-off", short_help="End every session there is.")
@yes
def cut_off(yes: bool) -> None:
    """End every session there is, as after restoring a stolen or an old backup."""
    confirm("End every session of every user?", yes=yes)
    run(lambda deps: revoke.revoke_all(deps, OPERATOR))
    say("ended every session there was")
