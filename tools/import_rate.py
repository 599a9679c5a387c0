"""Measures the rate of `authsvc user import` in users a second: `python tools/import_rate.py [USERS]`.

It starts a store without persistence for it, on a socket. The time of the importing process on its core is printed
beside the time that passed, since on a busy machine the second says more about the machine.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import redis

from tests.stores import running_store

HASH = "$2b$12$yJI/9YKZvCn.XQZHtQy0AOHN.rIH1EzDPmo1EJhCJ15QFqsLRVPJy"


def main(users: int) -> None:
    with tempfile.TemporaryDirectory() as directory, running_store() as store:
        with redis.Redis(unix_socket_path=str(store.socket)) as client:
            client.set("service", json.dumps({"epoch": int(time.time() * 1000)}))
        file = Path(directory) / "users.jsonl"
        with file.open("w") as lines:
            for number in range(users):
                row = {"username": f"user{number}@example.org", "password_hash": HASH, "roles": ["reader"]}
                lines.write(json.dumps(row) + "\n")
        nothing = Path(directory) / "nothing.jsonl"
        nothing.touch()
        overhead = run(store.url, nothing)
        for what in ("created", "passed over"):
            passed, used = (one - idle for one, idle in zip(run(store.url, file), overhead, strict=True))
            print(  # noqa: T201 - a program for the terminal
                f"{users} users {what}: {passed:.1f} s, {users / passed:,.0f}/s;"
                f" {used:.1f} s of a core, {users / used:,.0f} for each second of it"
            )


def run(url: str, file: Path) -> tuple[float, float]:
    """The seconds that passed, and the seconds of CPU time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    command = [sys.executable, "-m", "authsvc.cli", "user", "import", str(file)]
    subprocess.run(command, env=os.environ | {"AUTHSVC_REDIS_URL": url}, check=True, stderr=subprocess.DEVNULL)  # noqa: S603 - the command is ours
    passed = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return passed, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
