"""Commands that list everything print as they read: their memory does not grow with the number of users or events."""

import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import pytest
import redis

from authsvc.store import keys
from authsvc.store.distinct import Distinct
from tests.cli.test_cli import CHEAPLY, Cli

FEW, MANY = 2000, 20_000
# 18,000 collected records take 1 KB each or more. The page of a table, and the names of the users, take less.
MOST_GROWTH_MB = 9

# Prints the most memory that the process has had, in KB, after the output of the command. Not `ru_maxrss`, which begins
# with the memory of the process that forked.
PROGRAM = """
import re, sys
from pathlib import Path
from authsvc.cli import cli
try:
    cli(sys.argv[1:])
finally:
    sys.stdout.flush()
    print(re.search("VmHWM:\\s+([0-9]+)", Path("/proc/self/status").read_text())[1], file=sys.stderr)
"""

COMMANDS = [
    ["user", "list"],
    ["user", "list", "--json"],
    ["user", "export", "--with-hashes"],
    ["audit", "--limit", "1000000", "--json"],
]


class Ran(NamedTuple):
    lines: list[str]
    memory_mb: float


def ran(url: str, command: Sequence[str], cwd: Path) -> Ran:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *command],
        cwd=cwd,
        env=os.environ | CHEAPLY | {"AUTHSVC_REDIS_URL": url},
        capture_output=True,
        text=True,
        check=True,
    )
    return Ran(done.stdout.splitlines(), int(done.stderr.split()[-1]) / 1024)


def fill(valkey: "redis.Redis", start: int, end: int) -> None:
    with valkey.pipeline(transaction=False) as pipeline:
        for number in range(start, end):
            sub = f"sub{number:09d}"
            user = {"sub": sub, "username": f"user{end - number:09d}-{start}", "epoch": 1, "created_at": 1}
            pipeline.set(keys.user(sub), json.dumps(user))
            pipeline.set(keys.credentials(sub), json.dumps({"hash": "$argon2id$" + "x" * 60, "changed_at": 1}))
            entry = {"event": "user.created", "actor": "operator", "outcome": "success", "sub": sub}
            pipeline.xadd(keys.AUDIT, {"at": 1000 * number, "e": json.dumps(entry)})
        pipeline.execute()


@pytest.mark.slow
def test_memory_does_not_grow_with_what_is_listed(
    started: Cli, valkey: "redis.Redis", valkey_url: str, tmp_path: Path
) -> None:
    """A list, an export and the trail of ten times as many records take about as much memory, and miss nothing."""
    fill(valkey, 0, FEW)
    few = [ran(valkey_url, command, tmp_path) for command in COMMANDS]
    fill(valkey, FEW, MANY)
    many = [ran(valkey_url, command, tmp_path) for command in COMMANDS]
    growth = {" ".join(c): round(m.memory_mb - f.memory_mb) for c, f, m in zip(COMMANDS, few, many, strict=True)}
    assert max(growth.values()) < MOST_GROWTH_MB, growth
    table, listed, exported, events = (each.lines for each in many)
    users = [json.loads(line) for line in listed]
    assert len({user["sub"] for user in users}) == len(users) == MANY
    assert users == sorted(users, key=lambda user: user["username"])
    assert [line.split()[0] for line in table[1:]] == [user["sub"] for user in users]
    assert len({len(line.split("  ")[0]) for line in table}) <= 2, "columns stay in their places"
    assert {json.loads(line)["sub"] for line in exported} == {user["sub"] for user in users}
    subs = [json.loads(line).get("sub") for line in events]
    assert [sub for sub in subs if sub] == [f"sub{number:09d}" for number in reversed(range(MANY))]


@pytest.mark.slow
def test_distinct_texts_take_little_memory() -> None:
    """Names of records take a fifth of what a set of them takes, and come once and in order."""
    names = [f"user:{{{(number * 7919) % 200_000:012d}}}" for number in range(400_000)]
    tracemalloc.start()
    try:
        distinct = Distinct()
        for name in names:
            distinct.add(name)
        held = list(islice(distinct, 3))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held == [f"user:{{{number:012d}}}" for number in range(3)]
    assert peak < 12e6
    assert list(distinct) == sorted(set(names))
    assert list(Distinct()) == []
