"""`make bench`: measures all rows, prints the table, writes docs/performance.md.

`--against PATH` compares rows of this checkout with those of the checkout at PATH, which has a .venv of its own. Both
run on the same stores.
"""

import argparse
import os
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from bench import against, goals, install, machine, page
from bench.context import Bench, Options
from bench.report import Results
from bench.rounds import ROWS, measured
from bench.servers import BenchError

RESULTS = install.CACHE / "results.json"
# The share of all cores that other programs use. Above it the figures describe those programs, not the service.
BUSY = 0.05


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers end, too
    arguments = _arguments()
    if arguments.report:
        _tell(Results.read(RESULTS), write=True)
        return
    if missing := install.missing_tools():
        print("the bench needs, and does not find:\n  " + "\n  ".join(missing), file=sys.stderr)
        sys.exit(2)
    if len(os.sched_getaffinity(0)) < 2:
        print("the bench needs two cores: one for the server, one for who asks it", file=sys.stderr)
        sys.exit(2)
    options = Options(
        rounds=arguments.rounds or (2 if arguments.quick else 5),
        seconds=arguments.seconds or (2 if arguments.quick else 8),
        many=100_000 if arguments.quick else 1_000_000,
        revocations=5 if arguments.quick else 25,
        refusals=50 if arguments.quick else 500,
    )
    wanted = frozenset(arguments.rows or ROWS)
    busy = machine.busy()
    if busy > BUSY:
        print(f"other programs use {busy:.0%} of the machine: the figures are noise", file=sys.stderr)
    install.CACHE.mkdir(parents=True, exist_ok=True)
    # In memory, where the system has such a folder, so that no peer waits for a disk.
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    try:
        with tempfile.TemporaryDirectory(prefix="authsvc-bench-", dir=place) as directory, ExitStack() as stack:
            bench = Bench(stack, Path(directory), options)
            if arguments.against:
                against.compare(bench, arguments.against, sorted(wanted & against.COMPARABLE))
                return
            figures = measured(bench, wanted)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        sys.exit(1)
    results = Results(
        figures,
        bench.facts.get("memory", []),
        machine.described() | {"Busy with other things before": f"{busy:.0%}"},
        {"rounds": options.rounds, "seconds": options.seconds, "many": options.many},
    )
    whole = wanted == ROWS and not arguments.quick
    if whole:
        results.write(RESULTS)
    _tell(results, write=whole)


def _tell(results: Results, *, write: bool) -> None:
    print("\n" + goals.table(results))
    if write:
        page.write(results)
        print("wrote docs/performance.md")
    else:
        print("docs/performance.md is written by a run of all rows without --quick")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, help="how often each row is measured (5)")
    parser.add_argument("--seconds", type=int, help="how long each time (8)")
    parser.add_argument("--rows", type=_rows, help="only these, such as 2,4; nothing is written then")
    parser.add_argument("--quick", action="store_true", help="to see that it runs: 2 rounds of 2 s, 100,000 sessions")
    parser.add_argument(
        "--against",
        type=lambda text: Path(text).resolve(),
        metavar="PATH",
        help="compare the rows with those of the checkout at PATH, in turns; nothing is written then",
    )
    parser.add_argument("--report", action="store_true", help="only write the report of the last whole run again")
    return parser.parse_args()


def _rows(text: str) -> frozenset[int]:
    wanted = frozenset(int(part) for part in text.split(","))
    if not wanted <= ROWS:
        raise argparse.ArgumentTypeError(f"rows are 1 to {max(ROWS)}")
    return wanted


main()
