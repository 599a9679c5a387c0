"""Every fenced block of README and docs is run or parsed, or gives the reason why it is not."""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import trustme
import yaml

from tests.docs.blocks import OPTIONS, ROOT, Block, blocks_of, documented
from tests.docs.walk import BEYOND, PageServer, walk
from tests.e2e.conftest import free_port
from tests.selection import slow

PAGES = {str(page.relative_to(ROOT)): blocks_of(page) for page in documented()}
BLOCKS = [block for blocks in PAGES.values() for block in blocks]
RUN = {"sh", "python"}
# `text` is for readers only: a layout, an answer with an ellipsis.
LANGUAGES = RUN | {"json", "yaml", "toml", "nginx", "caddy", "js", "go", "java", "html", "ini", "text"}
# The page whose commands `make test` runs.
FIRST_READ = {"README.md"}
UNTOUCHED = [block for block in BLOCKS if "no-run" in block.options]


def of(*languages: str) -> pytest.MarkDecorator:
    found = [b for b in BLOCKS if b.language in languages and "no-run" not in b.options]
    return pytest.mark.parametrize("block", found, ids=lambda block: block.place)


def test_every_block_has_a_language_and_known_options() -> None:
    """Each block has a known language, known options, and a reason if it is not run."""
    for block in BLOCKS:
        assert block.language in LANGUAGES | {"serve"}, f"{block.place}: ```{block.language}: which of {LANGUAGES}?"
        assert block.options.keys() <= OPTIONS, block.place
        assert len(block.options.get("no-run", "a reason")) >= 8, f"{block.place}: no-run wants a reason"


@of("sh")
def test_commands_that_change_the_machine_are_not_run(block: Block) -> None:
    """A block with a command that would change the machine is not run, and gives a reason."""
    found = BEYOND.search(block.code)
    assert found is None, f'{block.place}: {found and found[0].strip()!r} is not run here: ```sh no-run="why"'


@pytest.mark.parametrize(
    "name",
    [
        name if name in FIRST_READ else slow(name)
        for name, blocks in PAGES.items()
        if {b.language for b in blocks} & RUN
    ],
)
def test_the_commands_of_a_page_succeed(name: str, page_server: PageServer) -> None:
    """All commands and programs of a page succeed in their order, beside a new service."""
    blocks = PAGES[name]
    if shutil.which("bash") is None or shutil.which("curl") is None:
        pytest.skip("no bash or no curl here")
    for block in blocks:
        if block.language == "serve":
            page_server.environment |= dict(line.split("=", 1) for line in block.code.split())
    page_server.start()
    done = walk(page_server, blocks)
    told = "\n".join(line for line in done.stderr.splitlines() if line)
    assert done.returncode == 0, f"{name} ended with {done.returncode}\n{done.stdout}\n{told}\n{page_server.log}"


def test_the_folders_of_a_store_are_private() -> None:
    """A command that makes a folder for the files of a store, or for lists of users, lets only the owner in."""
    made = [hit for block in BLOCKS for hit in re.findall(r"mkdir .*\b(?:data|backup|old)\b.*", block.code)]
    assert len(made) == 3
    assert [one for one in made if "-m 700" not in one] == []


def test_git_ignores_the_packages_that_pages_make_in_the_clone() -> None:
    """A package that a reader packs in the clone is no change of the clone."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("no git repository here")
    packed = [hit for block in BLOCKS for hit in re.findall(r"/path/to/authsvc/(\S+\.tgz)", block.code)]
    assert len(packed) == 2
    for path in packed:
        assert subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT, check=False).returncode == 0, path


@pytest.mark.parametrize("block", UNTOUCHED, ids=lambda block: block.place)
def test_a_block_that_is_not_run_parses(block: Block) -> None:
    """A block that is not run is parsed all the same."""
    if block.language == "sh" and shutil.which("bash") is not None:
        done = subprocess.run(["bash", "-n"], input=block.code, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{block.place}\n{done.stderr}"
    pytest.skip(f"not run: {block.options['no-run']}")


@of("json", "yaml", "toml")
def test_data_parses(block: Block) -> None:
    match block.language:
        case "json":
            json.loads(block.code)
        case "yaml":
            list(yaml.safe_load_all(block.code))
        case "toml":
            tomllib.loads(block.code)


@pytest.mark.slow
@of("js")
def test_scripts_parse(block: Block, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node here")
    path = tmp_path / "block.mjs"
    path.write_text(block.code)
    done = subprocess.run([node, "--check", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{block.place}\n{done.stderr}"


GATEWAY = ROOT / "deploy" / "nginx" / "gateway.conf"
NGINX = """
pid {directory}/nginx.pid;
events {{}}
http {{
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
{code}
}}
"""


@of("nginx")
def test_nginx_accepts_the_blocks(block: Block, tmp_path: Path) -> None:
    """nginx accepts the block, with a real certificate and a free port."""
    nginx = shutil.which("nginx")
    if nginx is None:
        pytest.skip("no nginx here: apt-get install nginx-light")
    pair = trustme.CA().issue_cert("auth.example.org")
    pair.private_key_and_cert_chain_pem.write_to_path(tmp_path / "pair.pem")
    code = block.code
    if "http://authsvc" in code and "upstream authsvc" not in code:  # it stands in the server of the shipped file
        code = GATEWAY.read_text().rstrip().removesuffix("}") + code + "}\n"
    code = re.sub(r"(ssl_certificate(?:_key)?\s+)\S+;", rf"\g<1>{tmp_path}/pair.pem;", code)
    code = re.sub(r"listen (?:\S+:)?\d+", lambda _: f"listen 127.0.0.1:{free_port()}", code)
    code = re.sub(r"(include\s+)(?=[^/\s]+;)", rf"\g<1>{ROOT}/deploy/nginx/", code)
    if "server {" not in code:
        code = f"server {{ listen 127.0.0.1:{free_port()};\n{code}\n}}"
    path = tmp_path / "nginx.conf"
    path.write_text(NGINX.format(directory=tmp_path, code=code))
    command = [nginx, "-t", "-c", str(path), "-e", str(tmp_path / "error.log")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{block.place}\n{done.stderr}"


@of("caddy")
def test_caddy_accepts_the_blocks(block: Block, tmp_path: Path) -> None:
    caddy = shutil.which("caddy")
    if caddy is None:
        pytest.skip("no caddy here: apt-get install caddy")
    (tmp_path / "Caddyfile").write_text(block.code)
    command = [caddy, "adapt", "--adapter", "caddyfile", "--validate", "--config", str(tmp_path / "Caddyfile")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{block.place}\n{done.stderr}"
