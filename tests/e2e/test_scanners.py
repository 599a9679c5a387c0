"""Real secret scanners find planted tokens by the rules of `authsvc patterns`, and nothing that only looks like one."""

import base64
import json
import os
import random
import secrets
import shutil
import string
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from authsvc.cli.patterns import SCANNERS
from authsvc.core import token as tokens
from authsvc.core.token import ALPHABET, Kind

pytestmark = pytest.mark.slow

LOOK_ALIKES = 100_000
PLANTED = 50
WORD = "acme"


def program(name: str) -> str:
    """The path of a scanner: on the PATH, or where tools/install_scanners.sh puts it."""
    beside = os.environ.get("SCANNERS", str(Path.home() / ".cache" / "authsvc-scanners"))
    found = shutil.which(name, path=f"{os.environ['PATH']}:{beside}")
    if found is None:
        pytest.skip(f"{name} is not installed: tools/install_scanners.sh builds gitleaks")
    return found


def planted() -> list[str]:
    """Tokens of every kind; keys with the word and without."""
    kinds = [(kind, "") for kind in Kind] + [(Kind.KEY, WORD)]
    return [tokens.new(*kind[:1], word=kind[1]).text for kind in (kinds * PLANTED)[:PLANTED]]


def _base62(random_: random.Random, length: int) -> str:
    return "".join(random_.choices(ALPHABET, k=length))


def _nearly(random_: random.Random) -> str:
    """The form of a token with one thing wrong. What has the form and wrong check digits is left out: no expression
    can tell that."""
    prefix = random_.choice([*Kind])
    return random_.choice(
        [
            f"{prefix}_{_base62(random_, random_.choice((12, 27, 39, 43, 44)))}",
            f"{prefix}_{_base62(random_, random_.choice((46, 47, 64, 100)))}",
            f"{prefix}-{_base62(random_, 45)}",
            f"{prefix}{_base62(random_, 46)}",
            f"{prefix.upper()}_{_base62(random_, 45)}",
            f"{prefix}_{_base62(random_, 20)}{random_.choice('-_.+/=')}{_base62(random_, 24)}",
            f"{random_.choice(('ghp', 'npm', 'pat', 'api', 'acc'))}_{_base62(random_, 45)}",
        ]
    )


def _of_others(random_: random.Random) -> str:
    """The forms of other issuers, hashes and encoded bytes."""
    raw = random_.randbytes(random_.choice((16, 20, 32, 48, 64)))
    return random_.choice(
        [
            f"ghp_{_base62(random_, 36)}",
            f"github_pat_{_base62(random_, 22)}_{_base62(random_, 59)}",
            f"sk_live_{_base62(random_, 24)}",
            f"xoxb-{random_.randrange(10**11)}-{_base62(random_, 24)}",
            f"AKIA{''.join(random_.choices(string.ascii_uppercase + string.digits, k=16))}",
            f"npm_{_base62(random_, 36)}",
            raw.hex(),
            base64.b64encode(raw).decode(),
            base64.urlsafe_b64encode(raw).decode(),
            f"sec_{raw.hex()[:40]}",
            f"tok_{random_.choice(('visa', 'mastercard', 'amex_debit'))}",
            f"my_key_{_base62(random_, 32)}",
        ]
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files: planted tokens among lines of a program, and look-alikes."""
    directory = tmp_path_factory.mktemp("scanned")
    seed = secrets.randbits(64)
    random_ = random.Random(seed)
    (directory / "seed").write_text(str(seed))
    look_alikes = [random_.choice((_nearly, _of_others))(random_) for _ in range(LOOK_ALIKES)]
    # gitleaks cuts large files at empty lines. In a file without any, it may cut off the 46th character of a text.
    lines = [f'value_{n} = "{text}"\n' + "\n" * (n % 20 == 0) for n, text in enumerate(look_alikes)]
    (directory / "others.txt").write_text("".join(lines))
    return directory


def written(folder: Path, found: list[str]) -> Path:
    """Plant tokens, each with some lines of other text around it."""
    filling = "".join(f"# line {n} of a program that does nothing in particular\n" for n in range(10))
    lines = [
        f'{filling}token = "{text}"\n' if n % 2 else f'{filling}{{"log": "a\\n{text}\\nb"}}\n'
        for n, text in enumerate(found)
    ]
    path = folder / "planted.py"
    path.write_text("".join(lines))
    return path


def by_gitleaks(folder: Path, rules: Path) -> Iterator[str]:
    report = rules.with_name("report.json")
    command = [program("gitleaks"), "dir", str(folder), "--config", str(rules), "--report-path", str(report)]
    subprocess.run([*command, "--exit-code", "0", "--no-banner"], check=True, capture_output=True, timeout=280)
    yield from (find["Secret"] for find in json.loads(report.read_text()) if find["RuleID"] == "authsvc-token")


def by_trufflehog(folder: Path, rules: Path) -> Iterator[str]:
    command = [program("trufflehog"), "filesystem", str(folder), "--config", str(rules), "--json", "--no-update"]
    ran = subprocess.run([*command, "--no-verification"], check=True, capture_output=True, timeout=280)
    for line in ran.stdout.splitlines():
        find = json.loads(line)
        if find.get("ExtraData", {}) and find["ExtraData"].get("name") == "authsvc-token":
            yield find["Raw"]


@pytest.mark.parametrize(("scanner", "scan"), [("gitleaks", by_gitleaks), ("trufflehog", by_trufflehog)])
def test_a_scanner_finds_what_is_planted_and_nothing_else(
    folder: Path, tmp_path: Path, scanner: str, scan: Callable[[Path, Path], Iterator[str]]
) -> None:
    """Each planted token is found as a whole, and none of 100,000 look-alikes."""
    rules = tmp_path / "rules"
    rules.write_text(SCANNERS[scanner](WORD))
    texts = planted()
    written(folder, texts)
    assert sorted(set(scan(folder, rules))) == sorted(texts), (folder / "seed").read_text()
