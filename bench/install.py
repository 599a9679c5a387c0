"""Installs the peers once, each into its own folder under bench/.cache."""

import hashlib
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.servers import ROOT, BenchError, run

CACHE = ROOT / "bench" / ".cache"
PEERS = ROOT / "bench" / "peers"
TOOLS = {
    "wrk": "the load generator (Debian and Ubuntu: apt install wrk)",
    "go": "builds the hand-tuned server, which is one of the peers, and a backend with the SDK",
    "node": "runs oidc-provider, which is one of the peers, and a backend with the SDK",
    "nginx": "the gateway in front of /verify (apt install nginx-light)",
    "npm": "installs oidc-provider and the compiler of the SDK",
    "taskset": "pins processes to cores (util-linux)",
}


def missing_tools() -> list[str]:
    return [f"{name}: {use}" for name, use in TOOLS.items() if shutil.which(name) is None]


def oidc_provider() -> Path:
    """The folder with the provider and its modules."""
    source, target = PEERS / "oidc_provider", CACHE / "oidc_provider"
    target.mkdir(parents=True, exist_ok=True)
    for file in source.iterdir():
        shutil.copy(file, target)
    if _changed(target, source / "package-lock.json"):
        _say("oidc-provider")
        run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=target)
        _done(target, source / "package-lock.json")
    return target


def django_oauth_toolkit() -> Path:
    """The virtual environment with Django, the toolkit and gunicorn."""
    wanted, target = PEERS / "django_oauth_toolkit" / "requirements.txt", CACHE / "django_oauth_toolkit"
    if _changed(target, wanted):
        _say("django-oauth-toolkit")
        run([sys.executable, "-m", "venv", str(target)])
        run([str(target / "bin" / "pip"), "install", "--quiet", "--requirement", str(wanted)])
        _done(target, wanted)
    return target


def obvious() -> Path:
    """A folder for PYTHONPATH with Starlette's parser of forms, which authsvc itself does not need."""
    wanted, target = PEERS / "obvious.requirements.txt", CACHE / "obvious"
    if _changed(target, wanted):
        _say("python-multipart")
        run([sys.executable, "-m", "pip", "install", "--quiet", "--target", str(target), "--requirement", str(wanted)])
        _done(target, wanted)
    return target


def go_introspect() -> Path:
    """The hand-tuned Go server."""
    source, target = PEERS / "go_introspect", CACHE / "go_introspect"
    program, wanted = target / "go_introspect", sorted(source.iterdir())
    if _changed(target, *wanted):
        _say("the hand-tuned Go server (the first build takes minutes)")
        target.mkdir(parents=True, exist_ok=True)
        run(["go", "build", "-trimpath", "-o", str(program), "."], cwd=source)
        _done(target, *wanted)
    return program


def node_sdk(checkout: Path) -> Path:
    """The module of the SDK for Node of this checkout, built."""
    source = checkout / "sdk" / "node"
    target = CACHE / f"node_sdk_{_digest([source / 'package-lock.json', *sorted((source / 'src').iterdir())])[:12]}"
    if not (target / "dist" / "index.js").exists():
        _say("the SDK for Node")
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("node_modules", "dist"), dirs_exist_ok=True)
        run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=target)
        run(["npm", "run", "build"], cwd=target)
    return target / "dist" / "index.js"


def go_backend(checkout: Path) -> Path:
    """The backend with the SDK for Go of this checkout."""
    source, sdk = ROOT / "bench" / "sdks" / "go", checkout / "sdk" / "go"
    digest = _digest([*sorted(source.iterdir()), *sorted(sdk.glob("*.go"))])
    target = CACHE / f"go_sdk_{digest[:12]}"
    if not (target / "backend").exists():
        _say("the backend in Go")
        shutil.copytree(source, target, dirs_exist_ok=True)
        run(["go", "mod", "edit", "-replace", f"authsvc/sdk/go={sdk}"], cwd=target)
        run(["go", "build", "-trimpath", "-o", "backend", "."], cwd=target)
    return target / "backend"


def _changed(target: Path, *wanted: Path) -> bool:
    stamp = target / "installed"
    return not stamp.exists() or stamp.read_text() != _digest(wanted)


def _done(target: Path, *wanted: Path) -> None:
    (target / "installed").write_text(_digest(wanted))


def _digest(files: Sequence[Path]) -> str:
    found = hashlib.sha256()
    for file in files:
        if not file.exists():
            raise BenchError(f"{file} is missing")
        found.update(file.read_bytes())
    return found.hexdigest()


def _say(what: str) -> None:
    print(f"installing {what} into bench/.cache …", flush=True)
