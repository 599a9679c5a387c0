"""`make chaos`: runs the experiments, prints what they found, writes docs/chaos.md."""

import argparse
import asyncio
import signal
import sys
import tempfile
from pathlib import Path

from chaos import nginx, page, report
from chaos.experiments import ALL
from chaos.lab import Experiment, Outcome, conduct
from chaos.processes import ExperimentError


def main() -> None:
    arguments = _arguments()
    if arguments.list:
        print("\n".join(f"{one.number:>2}  {one.name:<20} {one.injected}" for one in ALL))
        return
    wanted = [one for one in ALL if _is_wanted(one, arguments)]
    left_out = {one.name: reason for one in wanted if (reason := one.needs()) is not None}
    for name, reason in left_out.items():
        print(f"left out: {name} ({reason})", flush=True)
    wanted = [one for one in wanted if one.name not in left_out]
    try:
        nginx.found()
        directory = Path(tempfile.mkdtemp(prefix="authsvc-chaos-"))
        outcomes = asyncio.run(_conduct(wanted, directory, arguments))
    except ExperimentError as error:
        print(f"chaos: {error}", file=sys.stderr)
        sys.exit(2)
    except asyncio.CancelledError:
        sys.exit(128 + signal.SIGTERM)
    failed = [outcome for outcome in outcomes if not outcome.passed]
    print(f"\n{len(outcomes)} experiments, {len(failed)} failed" + (f"; logs in {directory}" if failed else ""))
    if (arguments.long or arguments.write) and not (arguments.only or left_out or failed):
        page.write(outcomes, long=arguments.long)
        print("wrote docs/chaos.md")
    sys.exit(1 if failed else 0)


async def _conduct(wanted: list[Experiment], directory: Path, arguments: argparse.Namespace) -> list[Outcome]:
    running = asyncio.current_task()
    if running is not None:  # so that all that an experiment has started ends with it
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    outcomes = []
    for experiment in wanted:
        outcome = await conduct(experiment, directory, long=arguments.long, soak_s=arguments.soak_minutes * 60)
        print(report.told(outcome), flush=True)
        outcomes.append(outcome)
    if all(outcome.passed for outcome in outcomes):
        directory.rmdir()
    return outcomes


def _is_wanted(experiment: Experiment, arguments: argparse.Namespace) -> bool:
    if arguments.only:
        return experiment.name in arguments.only
    return arguments.long or not experiment.long_only


def _names(text: str) -> frozenset[str]:
    wanted = frozenset(text.split(","))
    unknown = wanted - {one.name for one in ALL}
    if unknown:
        raise argparse.ArgumentTypeError(f"no such experiment: {', '.join(sorted(unknown))}; see --list")
    return wanted


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--only", type=_names, metavar="NAME,NAME", help="only these; nothing is written then")
    parser.add_argument("--list", action="store_true", help="what there is")
    parser.add_argument("--write", action="store_true", help="write docs/chaos.md after a short run, too")
    parser.add_argument("--soak-minutes", type=float, default=10, metavar="N", help="length of the soak (10)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--short", dest="long", action="store_false", help="within ten minutes (the default)")
    form.add_argument("--long", action="store_true", help="the figures worth publishing; writes docs/chaos.md")
    parser.set_defaults(long=False)
    return parser.parse_args()


main()
