"""Describes the machine and the versions of the programs."""

import json
import os
import platform
import re
import shutil
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from authsvc.ops.binary import find_binary
from bench.install import PEERS
from bench.servers import run


def described() -> dict[str, str]:
    node = json.loads((PEERS / "oidc_provider" / "package.json").read_text())["dependencies"]
    django = dict(
        re.findall(r"^(\S+)==(\S+)$", (PEERS / "django_oauth_toolkit" / "requirements.txt").read_text(), re.M)
    )
    go = (PEERS / "go_introspect" / "go.mod").read_text()
    modules = dict(re.findall(r"/(fasthttp|rueidis|sonic) v(\S+)$", go, re.M))
    found = re.search(r"v=([\d.]+).*?malloc=(\S+)", run([find_binary(), "--version"]))
    return {
        "Date": datetime.now(UTC).strftime("%d %B %Y").lstrip("0"),
        "Processor": f"{_processor()}, {os.cpu_count()} cores",
        "Memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "System": f"{platform.system()} {platform.release()}",
        "authsvc": f"{version('authsvc')} on Python {platform.python_version()}, uvicorn {version('uvicorn')}, "
        f"uvloop {version('uvloop')}, httptools {version('httptools')}, redis-py {version('redis')}",
        "Store": f"Valkey or Redis {found[1]}, allocator {found[2]}, on a unix socket, without persistence"
        if found
        else "unknown",
        "oidc-provider": f"{node['oidc-provider']} with ioredis {node['ioredis']} on node "
        + (run(["node", "--version"]).strip().lstrip("v") if shutil.which("node") else "?"),
        "Go server": f"fasthttp {modules['fasthttp']}, rueidis {modules['rueidis']} and sonic {modules['sonic']} on "
        + (run(["go", "version"]).split()[2] if shutil.which("go") else "Go ?"),
        "django-oauth-toolkit": f"{django['django-oauth-toolkit']} with Django {django['Django']}, SQLite in memory, "
        f"gunicorn {django['gunicorn']}, one gthread worker",
        "argon2id": f"t=2, m=19456 KiB, p=1, by argon2-cffi {version('argon2-cffi')}",
    }


def busy(seconds: float = 2.0) -> float:
    """The share of the time of all cores that other programs use while the bench waits."""
    before = _times()
    time.sleep(seconds)
    spent = [now - then for now, then in zip(_times(), before, strict=True)]
    return 1 - (spent[3] + spent[4]) / max(sum(spent), 1)  # idle, and waiting for a disk


def _times() -> list[int]:
    return [int(ticks) for ticks in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or "unknown"
