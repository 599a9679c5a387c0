"""The image and compose: the linters check them, and the tests run their steps by hand, without a Docker engine."""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from authsvc.ops.binary import find_binary
from authsvc.settings import Settings
from tests.deploy.programs import program
from tests.deploy.walk import walk
from tests.e2e.conftest import Server, free_port
from tests.processes import until
from tests.stores import Secrets

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
COMPOSE = ROOT / "deploy" / "compose.yaml"

# The arguments of each kind of instruction, in their order. Continued lines are joined.
_TEXT = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
INSTRUCTIONS = [line.split(" ", 1) for line in _TEXT.splitlines() if line.strip()]


def said(kind: str) -> list[str]:
    return [" ".join(rest.split()) for name, rest in INSTRUCTIONS if name == kind]


def test_hadolint_accepts_the_dockerfile() -> None:
    done = subprocess.run([program("hadolint"), "--failure-threshold", "style", str(DOCKERFILE)], capture_output=True)
    assert done.returncode == 0, done.stdout.decode()


def test_the_image_has_an_ordinary_user_and_a_pinned_base() -> None:
    """The image has a numeric user and one pinned base for both stages, and neither a compiler nor curl."""
    assert said("USER")[-1] == "10001:10001"
    bases = {line.split()[0] for line in said("FROM")}
    (base,) = bases
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", base)
    assert not re.search(r"apt|gcc|build-essential|curl", "\n".join(said("RUN") + said("HEALTHCHECK")))


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """/opt/authsvc, made by the commands of the first stage from the files that .dockerignore allows."""
    directory = tmp_path_factory.mktemp("image")
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    source = directory / "source"
    source.mkdir()
    for name in kept:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    for step in said("RUN"):
        if "/opt/authsvc" in step:
            command = step.replace("/opt/authsvc", str(directory / "authsvc"))
            done = subprocess.run(command, shell=True, cwd=source, capture_output=True, text=True, check=False)  # noqa: S602
            if "No matching distribution" in done.stderr or "Could not find a version" in done.stderr:
                pytest.skip("no package index within reach")
            assert done.returncode == 0, done.stderr
    return directory / "authsvc"


@pytest.mark.slow
def test_the_image_holds_no_installer(image: Path) -> None:
    assert not (image / "bin" / "pip").exists()
    assert not list(image.glob("lib/python*/site-packages/pip"))
    assert (image / "bin" / "authsvc").exists()


@pytest.mark.slow
def test_the_image_has_pages_and_passkeys(image: Path) -> None:
    """What the settings can switch on is there: the templates, texts and files of pages, and passkeys."""
    program = (
        "import fido2; from authsvc.console import rendering, static; from authsvc.console.account import site, texts; "
        "rendering.environment().get_template('account/login.html'); texts.load(None); static.url('', 'style.css')"
    )
    done = subprocess.run(
        [image / "bin" / "python", "-c", program], cwd="/", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[tuple[Secrets, int]]:
    """The store of compose.yaml, started by its own command with local paths."""
    port = free_port()
    secrets = Secrets.made(tmp_path / "secrets", f"redis://127.0.0.1:{port}/0")
    data = tmp_path / "data"
    data.mkdir()
    store = service("store")
    places = {
        "valkey-server": find_binary(),
        "/etc/valkey/valkey.conf": str(COMPOSE.parent / composed()["configs"]["valkey.conf"]["file"]),
        "/run/secrets/users.acl": str(secrets.users),
        "/data": str(data),
        "*": "127.0.0.1",
    }
    command = [places.get(word, word) for word in store["command"]] + ["--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        until(lambda: b"NOAUTH" in ping(port))
        yield secrets, port
    finally:
        process.kill()
        process.wait()


def ping(port: int) -> bytes:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64)
    except OSError:
        return b""


@pytest.mark.slow
def test_the_service_runs_with_a_read_only_root(
    image: Path, stack: tuple[Secrets, int], new_server: Callable[..., Server]
) -> None:
    """The command of the image runs on the store of compose: a login works, and the health check succeeds."""
    secrets, _ = stack
    server = new_server()
    given = dict(pair.split("=", 1) for line in said("ENV") for pair in shlex.split(line))
    given |= {
        name: re.sub(r"\$\{\w+:-(.*)\}", r"\1", str(value)) for name, value in service("authsvc")["environment"].items()
    }
    given["PATH"] = f"{image}/bin:{os.environ['PATH']}"
    given["AUTHSVC_REDIS_URL_FILE"] = str(secrets.directory / "redis_url")
    given |= {"AUTHSVC_PORT": str(server.port), "AUTHSVC_HOST": "127.0.0.1"}
    server.environment = given
    server.program = str(image / "bin" / "authsvc")
    if os.geteuid() == 0 and shutil.which("unshare"):
        # compose allows writes to /tmp only, an empty file system in memory. The output is a pipe already.
        server.prefix = ("unshare", "--mount", "sh", "-c", READ_ONLY, "sh")
    server.start()
    walk(server)
    (check,) = said("HEALTHCHECK")
    command = json.loads(check[check.index("[") :])
    environment = {"PATH": given["PATH"], "AUTHSVC_PORT": str(server.port)}
    assert subprocess.run(command, env=environment, check=False).returncode == 0
    assert server.stop() == 0
    assert subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 1


# A mount namespace keeps the read-only mounts away from other processes.
READ_ONLY = """
mount --make-rprivate / && mount -o remount,bind,ro / && ! touch /opt/written 2>/dev/null && exec "$@"
"""


def composed() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return document


def service(name: str) -> dict[str, Any]:
    found: dict[str, Any] = composed()["services"][name]
    return found


@pytest.mark.slow
def test_docker_compose_accepts_the_file(tmp_path: Path) -> None:
    """`docker compose config` accepts the file, and its paths lead to files once the passwords are made."""
    command = [*compose(), "--file", str(COMPOSE), "config", "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    resolved = json.loads(done.stdout)
    assert Path(resolved["configs"]["valkey.conf"]["file"]).is_file()
    assert (Path(resolved["services"]["authsvc"]["build"]["context"]) / "deploy" / "Dockerfile").is_file()
    made = {path.name for path in Secrets.made(tmp_path / "secrets", "redis://store:6379/0").directory.iterdir()}
    assert {Path(secret["file"]).name for secret in resolved["secrets"].values()} <= made


def compose() -> list[str]:
    docker = shutil.which("docker")
    if docker and subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode == 0:
        return [docker, "compose"]
    return [program("docker-compose")]


@pytest.mark.parametrize("name", ["authsvc", "store"])
def test_the_containers_have_no_needless_rights(name: str) -> None:
    """The containers are read-only and bounded, without capabilities and new privileges."""
    found = service(name)
    assert found["read_only"] is True
    assert found["cap_drop"] == ["ALL"]
    assert found["security_opt"] == ["no-new-privileges:true"]
    assert "mem_limit" in found
    assert "pids_limit" in found


def test_the_service_knows_every_variable() -> None:
    """The service knows each variable of compose.yaml and the Dockerfile."""
    given = set(service("authsvc")["environment"]) | set(re.findall(r"AUTHSVC_\w+", "\n".join(said("ENV"))))
    fields = {name.removeprefix("AUTHSVC_").removesuffix("_FILE").lower() for name in given}
    assert fields <= set(Settings.model_fields)
