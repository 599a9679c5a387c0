"""Importing users: what is taken, what is refused and how that is told, and starting again after any end."""

import json
import re
import signal
import subprocess
import sys
import tracemalloc
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from authsvc.cli.imports.files import InputFile
from authsvc.cli.imports.rows import Format, rows
from authsvc.cli.imports.systems import SYSTEMS
from authsvc.cli.statuses import INTERRUPTED, MISUSED, OK, REFUSED, UNAVAILABLE
from authsvc.core.hash_form import Form
from authsvc.core.user_import import ImportedUser
from authsvc.driver.connection import Connection
from authsvc.errors import InvalidCredentials, InvalidRequest, StoreUnavailable
from authsvc.flows import imported_forms
from authsvc.flows.bootstrap import first_start
from authsvc.flows.deps import Deps
from authsvc.hashing import cost as hash_cost
from authsvc.hashing.cost import Cost
from tests.cli.test_cli import Cli, program
from tests.conftest import PASSWORD as RIVER
from tests.hashes import PASSWORD, SAMPLES, keycloak
from tests.processes import until
from tests.selection import one_in, slow

EXAMPLES = Path(__file__).parents[2] / "docs" / "import"
HASH = SAMPLES["passlib bcrypt"]


def written(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def refusals(report: Path) -> list[tuple[int, str]]:
    return [(row["line"], row["reason"]) for row in map(json.loads, report.read_text().splitlines())]


def counted(started: Cli, *arguments: str, stdin: str = "") -> dict[str, Any]:
    """The counts of an import, also if it refused a row."""
    counts: dict[str, Any] = json.loads(started(*arguments, "--json", stdin=stdin).stdout)
    return counts


# Accepted rows


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["users.jsonl"], {"mary": "active", "nina": "suspended", None: "active"}),
        slow(["users.csv"], {"olga": "active", "petra": "active"}),
        slow(["--accept-weak-hashes", "ldap.jsonl"], {"sue": "active"}),
        slow(
            ["--from", "django", "django.jsonl"],
            {"ada": "active", "bea": "active", "cyn": "suspended", "dora": "active", "eve": "active"},
        ),
        slow(["--from", "devise", "devise.csv"], {"frances@example.org": "active", "gwen@example.org": "active"}),
        slow(["--from", "auth0", "auth0.ndjson"], {"hanna@example.org": "active", "ines@example.org": "active"}),
        slow(
            ["--from", "firebase", "--firebase-parameters", "firebase-parameters.json", "firebase.json"],
            {"mia@example.org": "active", "noa@example.org": "suspended"},
        ),
        slow(["--from", "keycloak", "keycloak.json"], {"jane": "active", "kate": "active", "lena": "suspended"}),
    ],
)
def test_the_examples_of_the_docs(started: Cli, options: list[str], names: dict[str | None, str]) -> None:
    """Each example can be imported. Its active users log in with their password, and with no other."""
    arguments = [str(EXAMPLES / word) if (EXAMPLES / word).is_file() else word for word in options]
    counts = started.json("user", "import", *arguments)
    assert (counts["created"], counts["there"], counts["refused"]) == (len(names), 0, 0)
    users = {user["username"]: user for user in started.lines("user", "list")}
    assert {name: user["status"] for name, user in users.items()} == names
    for name in names.keys() - {None, "petra", "eve", "noa@example.org"}:
        assert name is not None
        with pytest.raises(InvalidCredentials):
            started.login(name, RIVER + "!")
        if names[name] == "active":
            started.login(name, RIVER)
            assert hash_of(started, users[name]["sub"]).startswith("$argon2id$v=19$m=8,")
    again = started.json("user", "import", *arguments)
    assert (again["created"], again["there"], again["refused"]) == (0, len(names), 0)


def hash_of(started: Cli, sub: str) -> str:
    async def work(deps: Deps) -> str:
        held = await deps.store.credentials.find(sub)
        return (held and held.hash) or ""

    return started.do(work)


@pytest.mark.slow
def test_fields_become_what_they_mean(started: Cli) -> None:
    """Roles, claims, status, times, and the sub where applications know it from the tokens until now."""
    for source, file in (("django", "django.jsonl"), ("auth0", "auth0.ndjson"), ("keycloak", "keycloak.json")):
        started.ok("user", "import", "--from", source, str(EXAMPLES / file))
    started.ok("user", "import", str(EXAMPLES / "users.jsonl"))
    assert started.json("user", "show", "ada")["roles"] == ["editors"]
    assert started.json("user", "show", "hanna@example.org")["sub"] == "auth0|60425da93519d90068f82966"
    jane = started.json("user", "show", "3f1d6a1e-0c1d-4b6e-9d5a-2f0f2a6d7c01")
    assert (jane["username"], jane["roles"], jane["created_at"]) == ("jane", ["editor"], 1614963289)
    assert started.json("user", "show", "mary")["claims"] == {"team": "blue"}
    assert started.json("user", "show", "nina")["created_at"] == 1614962089


@pytest.mark.slow
def test_every_kind_of_hash_from_a_table(started: Cli, tmp_path: Path) -> None:
    """As columns of a CSV file with quotes, line ends of Windows and a byte order mark."""
    lines = ["username,password_hash", *(f'"{name.replace(" ", "-")}","{hash_}"' for name, hash_ in SAMPLES.items())]
    file = tmp_path / "all.csv"
    file.write_bytes(("\ufeff" + "\r\n".join(lines)).encode())
    assert started.json("user", "import", "--accept-weak-hashes", str(file))["created"] == len(SAMPLES)
    for name in SAMPLES:
        started.login(name.replace(" ", "-"), PASSWORD)


@pytest.mark.parametrize("algorithm", ["pbkdf2", slow("pbkdf2-sha256"), slow("pbkdf2-sha512"), slow("argon2")])
def test_keycloak_s_algorithms(started: Cli, algorithm: str) -> None:
    """All that Keycloak has had as its default."""
    realm = {"realm": "r", "users": [{"username": "ada", "credentials": [{"type": "otp"}, keycloak(algorithm)]}]}
    started.ok("user", "import", "--from", "keycloak", "-", stdin=json.dumps(realm))
    started.login("ada", PASSWORD)


@pytest.mark.parametrize(
    "custom",
    one_in(
        4,
        [
            {"algorithm": "bcrypt", "hash": {"value": SAMPLES["auth0"]}},
            {"algorithm": "argon2", "hash": {"value": SAMPLES["passlib argon2"]}},
            {"algorithm": "pbkdf2", "hash": {"value": SAMPLES["passlib pbkdf2 sha512"]}},
            {
                "algorithm": "scrypt",
                "hash": {"value": SAMPLES["django scrypt"].split("$")[5], "encoding": "base64"},
                "salt": {"value": SAMPLES["django scrypt"].split("$")[2]},
                "cost": 16,
                "parallelization": 5,
            },
        ],
    ),
    ids=lambda custom: custom["algorithm"],
)
def test_auth0_s_custom_hashes(started: Cli, custom: dict[str, Any]) -> None:
    """The import reads the form in which Auth0 itself imports hashes."""
    started.ok(
        "user", "import", "--from", "auth0", "-", stdin=json.dumps({"email": "ada", "custom_password_hash": custom})
    )
    started.login("ada", PASSWORD)


def test_the_name_may_be_another_field(started: Cli) -> None:
    """Users log in with their address if the option says so."""
    row = {"model": "accounts.user", "pk": 1, "fields": {"email": "ada@example.org", "password": HASH}}
    started.ok("user", "import", "--from", "django", "--username", "email", "-", stdin=json.dumps(row))
    started.login("ada@example.org", PASSWORD)


@pytest.mark.parametrize(
    ("options", "roles"),
    [
        (["--role", "Content editor=content-editor", "--role", "staff=team"], [["content-editor", "team", "x"]] * 2),
        (["--no-roles"], [[], []]),
    ],
)
def test_roles_get_the_names_of_this_service(
    started: Cli, tmp_path: Path, options: list[str], roles: list[list[str]]
) -> None:
    """A name with spaces is translated as a whole, from a list and from a table. Without roles, none is refused."""
    file = tmp_path / "users.csv"
    file.write_text('username,roles\nada,"Content editor, staff x"\n')
    started.ok("user", "import", str(file), *options)
    row = {"username": "bea", "roles": ["Content editor", "staff", "x"]}
    started.ok("user", "import", "-", *options, stdin=json.dumps(row))
    assert [started.json("user", "show", name)["roles"] for name in ("ada", "bea")] == roles


def test_a_role_becomes_admin_only_with_both_options(started: Cli) -> None:
    """Another name is no way around --allow-admins. A name that no role may have is refused at once."""
    row = json.dumps({"username": "ada", "password_hash": HASH, "roles": ["Boss"]})
    assert started.code("user", "import", "-", "--role", "Boss=admin", stdin=row) == REFUSED
    assert started.code("user", "import", "-", "--role", "Boss=two words", stdin=row) == REFUSED
    assert started.code("user", "import", "-", "--role", "Boss", stdin=row) == REFUSED
    assert started.lines("user", "list") == []
    assert started.code("user", "import", "-", "--role", "Boss=admin", "--allow-admins", stdin=row) == OK


# Refused rows


def test_a_refusal_names_the_line_and_never_shows_a_hash(started: Cli, tmp_path: Path) -> None:
    """The other rows are imported, and the status tells that a row was refused."""
    started.user("ada")
    lines = [
        json.dumps({"username": "bea", "password_hash": HASH}),
        json.dumps({"username": "ADA", "password_hash": HASH}),
        "not JSON " + HASH,
        json.dumps([HASH]),
        "",
        json.dumps({"username": "cyn", "password_hash": HASH, HASH: 1}),
        json.dumps({"username": "cyn", "password_hash": HASH, "shoe_size": 40}),
        json.dumps({"username": "dora", "password_hash": HASH.replace("$04$", "$31$")}),
        json.dumps({"username": HASH.replace("$", " "), "password_hash": HASH}),
        json.dumps({"username": "Bea", "password_hash": HASH}),
        json.dumps({"username": "eve", "password_hash": HASH, "roles": ["admin"]}),
        json.dumps({"username": "fay", "password_hash": HASH, "roles": "editor"}),
        json.dumps({"username": "gwen", "password_hash": "hunter2 in the clear"}),
    ]
    report = tmp_path / "report.jsonl"
    done = started("user", "import", "-", "--report", str(report), stdin="\n".join(lines))
    assert done.exit_code == REFUSED
    told = refusals(report)
    assert sorted(line for line, _ in told) == [2, 3, 4, 6, 7, 8, 9, 10, 11, 13]
    assert dict(told)[7] == "unknown field: shoe_size"
    assert dict(told)[8] == "bcrypt with cost 31: 4 to 14 are taken"
    assert dict(told)[10] == "the same name as in another line shortly before"
    for secret in (HASH, HASH[-31:], "hunter2"):
        assert secret not in done.output + done.stderr + report.read_text()
    assert "2 created, 0 there already, 10 refused" in done.stderr
    assert {user["username"] for user in started.lines("user", "list")} == {"ada", "bea", "fay"}
    started.login("ada")  # and not with what was to be imported over it
    (event,) = started.lines("audit", "--event", "users.imported")
    assert started.lines("audit", "--event", "users.import_started")
    assert event["details"] == {"created": 2, "there": 0, "refused": 10, "admins": 0}


def test_a_report_is_a_new_file(started: Cli, tmp_path: Path) -> None:
    """A file that exists keeps its content, and so does the input. An import that never began leaves no report."""
    file, report = tmp_path / "users.jsonl", tmp_path / "report.jsonl"
    file.write_text('{"username": "ada"}\n')
    before = file.read_text()
    told = started("user", "import", str(file), "--report", str(file), "--dry-run")
    assert told.exit_code == MISUSED
    assert f"{file} exists already" in told.stderr
    assert file.read_text() == before
    assert started.code("user", "import", str(tmp_path / "none"), "--report", str(report)) == REFUSED
    gone = started("user", "import", str(file), "--report", str(report), AUTHSVC_REDIS_URL="redis://127.0.0.1:9")
    assert gone.exit_code == UNAVAILABLE
    assert not report.exists()
    assert started.code("user", "import", str(file), "--report", str(report)) == OK
    assert report.read_text() == ""


def test_weak_hashes_are_imported_only_with_the_option(started: Cli, tmp_path: Path) -> None:
    """The reason names the option and the danger. A stored hash works without the option, until it is argon2id."""
    names = [name for name in SAMPLES if name.startswith("ldap")]
    rows = [{"username": name.replace(" ", "-"), "password_hash": SAMPLES[name]} for name in names]
    file = written(tmp_path / "users.jsonl", *rows)
    for options in (["--dry-run"], []):
        counts = counted(started, "user", "import", *options, str(file))
        assert (counts["created"], counts["refused"]) == (0, 3)
        (reason,) = counts["reasons"]
        assert "billions of passwords a second: --accept-weak-hashes" in reason
    assert started.lines("user", "list") == []
    assert started.json("user", "import", "--accept-weak-hashes", str(file))["created"] == 3
    assert "salted-sha1, salted-sha256, salted-sha512: an attacker" in started("check").output
    for row in rows:
        sub = started.json("user", "show", row["username"])["sub"]
        assert hash_of(started, sub) == row["password_hash"]
        with pytest.raises(InvalidCredentials):
            started.login(row["username"], PASSWORD + "!")
        started.login(row["username"], PASSWORD)
        assert hash_of(started, sub).startswith("$argon2id$")


def test_unknown_fields_can_be_left_out(started: Cli) -> None:
    """Only --ignore-unknown leaves unknown fields out."""
    row = json.dumps({"username": "ada", "password_hash": HASH, "shoe_size": 40})
    assert started.code("user", "import", "-", stdin=row) == REFUSED
    assert started.code("user", "import", "--ignore-unknown", "-", stdin=row) == OK


@pytest.mark.parametrize("role", ["support", "auditor"])
def test_roles_with_power(started: Cli, monkeypatch: pytest.MonkeyPatch, role: str) -> None:
    """The roles of support and auditors give power over others, too, where the settings name them."""
    monkeypatch.setenv("AUTHSVC_SUPPORT_ROLE", "support")
    monkeypatch.setenv("AUTHSVC_AUDITOR_ROLE", "auditor")
    row = json.dumps({"username": "ada", "password_hash": HASH, "roles": [role]})
    assert started.code("user", "import", "-", stdin=row) == REFUSED
    assert started.code("user", "import", "--allow-admins", "-", stdin=row) == OK


def test_admins_are_imported_only_with_the_option(started: Cli) -> None:
    """A group `admin` of another system would administer this service."""
    row = json.dumps({"username": "ada", "password_hash": HASH, "roles": ["admin"]})
    assert started.code("user", "import", "-", stdin=row) == REFUSED
    done = started("user", "import", "--allow-admins", "-", stdin=row)
    assert done.exit_code == OK
    assert "1 of them admins" in done.stderr


@pytest.mark.parametrize("header", [HASH, "username,username", "", "username,," + HASH], ids=str.__len__)
def test_a_table_without_a_header_is_refused_as_a_whole(started: Cli, tmp_path: Path, header: str) -> None:
    """In one line, without what is in it: it may be somebody's hash."""
    file = tmp_path / "users.csv"
    file.write_text(f"{header}\nada,{HASH}\n")
    done = started("user", "import", str(file))
    assert done.exit_code == REFUSED
    assert HASH not in done.output
    assert len(done.stderr.splitlines()) == 1
    assert started.lines("user", "list") == []


def test_a_table_s_trouble_stays_in_its_line(started: Cli, tmp_path: Path) -> None:
    """Too few fields, bytes that are no text, fields over several lines."""
    file, report = tmp_path / "users.csv", tmp_path / "report"
    file.write_bytes(b'username,password_hash,claims\nada,,\ntoo,few\nbea,,"{\n""a"":\n1}"\n\xff\xfe,,\ncyn,,\n')
    assert started("user", "import", str(file), "--report", str(report)).exit_code == REFUSED
    assert refusals(report) == [(3, "not as many fields as there are columns"), (7, "not UTF-8")]
    assert {user["username"]: user["claims"] for user in started.lines("user", "list")} == {
        "ada": {},
        "bea": {"a": 1},
        "cyn": {},
    }


def test_a_dry_run_says_the_same_and_changes_nothing(started: Cli, valkey: "redis.Redis", tmp_path: Path) -> None:
    """The counts and the reasons are those of the real import that follows."""
    rows = [{"username": "ada", "password_hash": HASH}, {"username": "bea"}, {"username": "a b"}]
    file = written(tmp_path / "users.jsonl", *rows)
    started.user("bea")
    before = {key: valkey.dump(key) for key in valkey.scan_iter()}
    dry = counted(started, "user", "import", "--dry-run", str(file))
    assert {key: valkey.dump(key) for key in valkey.scan_iter()} == before
    real = counted(started, "user", "import", str(file))
    assert dry | {"dry_run": False} == real
    assert (real["created"], real["refused"]) == (1, 2)


@pytest.mark.parametrize(
    "text", ['{"users": [', '{"users": [{"username": "ada"}', '{"users": [}', "[]", "", "{]", "nul"]
)
def test_a_broken_document_is_one_line(started: Cli, text: str) -> None:
    """The message holds nothing of the file."""
    done = started("user", "import", "--from", "keycloak", "-", stdin=text)
    assert done.exit_code == REFUSED
    assert "authsvc: not a JSON document with a list of users, or it breaks off" in done.stderr


def test_each_form_of_hashes_is_measured_once(started: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The costliest form of an algorithm is measured, and the list of forms has it before a user does."""
    measured: list[str] = []

    def cost(form: Form) -> Cost:
        measured.append(str(form))
        return Cost(0.1, 100)

    monkeypatch.setattr(imported_forms, "cost_of", cost)
    rows = [f"pbkdf2_sha256${n}$salt${'A' * 43}=" for n in (500, 300, 400, 500)] + [HASH] * 3
    lines = [json.dumps({"username": f"u{n}", "password_hash": hash_}) for n, hash_ in enumerate(rows)]
    started.ok("user", "import", "-", stdin="\n".join(lines))
    assert measured == ["pbkdf2-sha256 i=500,l=32", "bcrypt cost=4"]

    async def forms(deps: Deps) -> tuple[str, ...]:
        return (await deps.store.service.get()).hash_forms

    assert sorted(started.do(forms)) == sorted(measured)


def test_a_form_that_takes_too_much_here_is_refused(started: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has the form, the value and the limit. A dry run says the same."""
    monkeypatch.setattr(hash_cost, "MAX_CHECK_S", 0.0)
    hash_cost.cost_of.cache_clear()
    row = json.dumps({"username": "ada", "password_hash": HASH})
    for options in (["--dry-run"], []):
        counts = counted(started, "user", "import", *options, "-", stdin=row)
        (reason,) = counts["reasons"]
        assert re.fullmatch(r"bcrypt cost=4: a check takes .* s of a core, at most 0.0 s is taken", reason)
    assert started.lines("user", "list") == []


# Any file at all

PIECES = st.sampled_from(
    [b'"', b",", b"\n", b"{", b"}", b"[", b"]", b":", b'{"users": [', b"username", b"\xff", b"\r", b"1"]
)
GARBAGE = st.binary(max_size=300) | st.lists(PIECES, max_size=60).map(b"".join)


@given(GARBAGE, st.sampled_from(["csv", "jsonl", "document"]), st.sampled_from(sorted(SYSTEMS)))
def test_garbage_is_refused_line_by_line(raw: bytes, form: Format, source: str) -> None:
    """Any bytes are rows or refusals. Each has a line of the file, and the lines come in order."""
    lines = []
    with suppress(InvalidRequest):
        for row in rows(InputFile(BytesIO(raw)), form):
            lines.append(row.line)
            assert (row.fields is None) != (row.problem is None)
            if row.fields is not None:
                with suppress(InvalidRequest):
                    ImportedUser.of(SYSTEMS[source].read(row.fields, username=None, ignore_unknown=True), 1.7e9)
    assert lines == sorted(lines)
    assert all(1 <= line <= raw.count(b"," if form == "document" else b"\n") + 1 for line in lines)


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)
KNOWN = sorted({name for source in SYSTEMS.values() for name in source.known} | {"fields", "model"})


@given(st.dictionaries(st.sampled_from(KNOWN), JSON, max_size=6), st.sampled_from(sorted(SYSTEMS)))
def test_any_value_in_any_field_is_a_user_or_refused(fields: dict[str, Any], source: str) -> None:
    """A value of a wrong type leads to a refusal, and never to another error."""
    with suppress(InvalidRequest):
        ImportedUser.of(SYSTEMS[source].read(fields, username=None, ignore_unknown=True), 1.7e9)


class _Endless(BytesIO):
    """The same piece again and again, 64 MiB of it, after a beginning."""

    def __init__(self, piece: bytes, beginning: bytes = b"") -> None:
        self._piece, self._left, self._beginning = piece * (65536 // len(piece)), 1024, beginning

    def read(self, size: int | None = -1) -> bytes:
        if size == 0:
            return b""
        if self._beginning:
            beginning, self._beginning = self._beginning, b""
            return beginning
        self._left -= 1
        return self._piece if self._left >= 0 else b""


@pytest.mark.parametrize(
    ("piece", "form", "found"),
    [
        (b'{"username": "ada"}\n', "jsonl", 1_000_000),
        slow(b"username\n", "csv", 1_000_000),
        slow(b"x", "jsonl", 1),
        slow(b"x", "csv", 0),
        slow(b'a\n"', "csv", 1),
        slow(b"[", "document", 0),
        slow(b'{"a":', "document", 0),
    ],
)
def test_memory_does_not_grow_with_the_file(piece: bytes, form: Format, found: int) -> None:
    """Neither many rows nor an endless line or quote makes the memory grow."""
    tracemalloc.start()
    try:
        count = 0
        with suppress(InvalidRequest):
            for _ in rows(InputFile(_Endless(piece)), form):
                count += 1
                if count >= 50_000:  # enough to see it grow, traced as slowly as it is
                    break
        assert count >= min(found, 50_000)
        assert tracemalloc.get_traced_memory()[1] < 24 * 1024 * 1024
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.parametrize("beginning", [b'{"a": "', b'{"users": [{"username": "ada"}, {"username": "', b'{"users": [[['])
def test_a_value_that_never_ends_is_refused(beginning: bytes) -> None:
    """A document may hold any number of users. One value has a limit, and so has its depth."""
    file = InputFile(_Endless(b"[" if beginning.endswith(b"[") else b"x", beginning))
    with pytest.raises(InvalidRequest, match="not a JSON document with a list of users"):
        list(rows(file, "document"))
    assert file.read_bytes < 20 * 1024 * 1024


def test_a_realm_needs_the_extra_import(started: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ijson, the message says what to install. The other formats work."""
    monkeypatch.setitem(sys.modules, "ijson", None)
    done = started("user", "import", "--from", "keycloak", "-", stdin='{"users": []}')
    assert done.exit_code == REFUSED
    assert "pip install '/path/to/authsvc[import]'" in done.stderr
    assert started.code("user", "import", "-", stdin='{"username": "ada"}') == OK


def test_other_settings_of_a_realm_are_passed_over(started: Cli) -> None:
    """Settings may stand before and after the users, and one of them may be called users too."""
    realm = {"groups": [{"users": [{"username": "bea"}]}], "users": [{"username": "ada"}], "clients": [{"id": 1.5}]}
    started.ok("user", "import", "--from", "keycloak", "-", stdin=json.dumps(realm))
    assert [user["username"] for user in started.lines("user", "list")] == ["ada"]


# Starting again


MANY = 8000


def users_of(valkey: "redis.Redis") -> int:
    return sum(1 for _ in valkey.scan_iter("user:*", count=10_000))


@pytest.fixture
def many(tmp_path: Path) -> Path:
    return written(tmp_path / "many.jsonl", *({"username": f"user{at}", "password_hash": HASH} for at in range(MANY)))


def importing(file: Path | str, started: Cli, cwd: Path) -> "subprocess.Popen[str]":
    return program("user", "import", str(file), cwd=cwd, url=started.url)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_an_import_that_ends_early_is_started_again(
    started: Cli, valkey: "redis.Redis", many: Path, tmp_path: Path, number: int
) -> None:
    """Every user in the store has a password, no user exists twice, and in the end all users exist."""
    with importing(many, started, tmp_path) as process:
        until(lambda: users_of(valkey) > 500)
        process.send_signal(number)
        _, err = process.communicate(timeout=20)
    assert process.returncode == (INTERRUPTED if number == signal.SIGINT else -number)
    assert "Traceback" not in err
    there = users_of(valkey)
    assert 500 < there < MANY
    assert sum(1 for _ in valkey.scan_iter("credentials:*", count=10_000)) == there
    counts = started.json("user", "import", str(many))
    assert counts["refused"] == 0
    assert counts["created"] + counts["there"] == MANY
    assert users_of(valkey) == MANY == sum(1 for _ in valkey.scan_iter("login:*", count=10_000))


def test_a_pipe_that_says_nothing_can_be_interrupted(started: Cli, valkey: "redis.Redis", tmp_path: Path) -> None:
    """Rows that came before the interrupt are imported, and the program ends at once."""
    with importing("-", started, tmp_path) as process:
        assert process.stdin is not None
        for at in range(251):
            process.stdin.write(json.dumps({"username": f"user{at}"}) + "\n")
        process.stdin.flush()
        until(lambda: users_of(valkey) == 250)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == INTERRUPTED
        assert process.stderr is not None
        assert "Start it again" in process.stderr.read()


@pytest.mark.slow
def test_a_store_that_is_gone_for_a_while_is_waited_for(
    started: Cli, many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failover does not end an import. A store that stays away ends it, with one line."""
    batch, failures = Connection.batch, 5

    async def sometimes(self: Connection, commands: Any) -> Any:
        nonlocal failures
        if failures and commands and commands[0][0] == "MSETNX":
            failures -= 1
            raise StoreUnavailable("gone")
        return await batch(self, commands)

    monkeypatch.setattr(Connection, "batch", sometimes)
    assert started.json("user", "import", str(many))["created"] == MANY
    failures = 1_000_000
    monkeypatch.setattr("authsvc.flows.import_users.STORE_WAIT_S", 0.1)
    done = started("user", "import", "-", stdin='{"username": "ada"}')
    assert done.exit_code == 4
    assert "Start it again" in done.stderr


# And out again


@pytest.mark.slow
def test_what_is_exported_is_imported_elsewhere(started: Cli, valkey: "redis.Redis", tmp_path: Path) -> None:
    """The import restores every user with sub, roles, claims, status and password, also users without a name."""
    for source, name in (("native", "users.jsonl"), ("django", "django.jsonl"), ("keycloak", "keycloak.json")):
        started.ok("user", "import", "--from", source, str(EXAMPLES / name))
    started.user("Zoë", "--role", "admin", "--claims", '{"team": ["blue", 7]}')
    started.login("mary", RIVER)  # whose hash is ours by now
    before = {user["sub"]: user for user in started.lines("user", "list")}
    hashes = {sub: hash_of(started, sub) for sub in before}
    file = tmp_path / "out.jsonl"
    started.ok("user", "export", "--with-hashes", "--output", str(file))
    assert file.stat().st_mode & 0o777 == 0o600
    assert started("user", "export", "--output", str(file)).exit_code == 2
    valkey.flushall()
    started.do(first_start)
    counts = started.json("user", "import", "--allow-admins", str(file))
    assert (counts["created"], counts["refused"]) == (len(before), 0)
    after = {user["sub"]: user for user in started.lines("user", "list")}
    assert {sub: user | {"version": 1} for sub, user in before.items()} == after
    assert {sub: hash_of(started, sub) for sub in after} == hashes
    for name in ("Zoë", "mary", "dora", "kate"):
        started.login(name, RIVER)


def test_hashes_are_exported_only_with_the_option(started: Cli) -> None:
    """An export with hashes prints a warning. Every export writes an audit event."""
    started.user("ada")
    plain = started("user", "export")
    assert [set(json.loads(line)) for line in plain.stdout.splitlines()] == [
        {"sub", "username", "roles", "claims", "status", "created_at"}
    ]
    assert "hash" not in plain.stderr
    secret = started("user", "export", "--with-hashes")
    assert json.loads(secret.stdout)["password_hash"].startswith("$argon2id$")
    assert "password hashes" in secret.stderr
    told = [event["details"] for event in started.lines("audit", "--event", "users.exported")]
    assert told == [{"users": 1, "with_hashes": True}, {"users": 1, "with_hashes": False}]


@pytest.mark.slow
def test_nobody_is_exported_twice(started: Cli, many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The walk through the keys may return a user twice."""
    started.ok("user", "import", str(many))
    scan = Connection.scan

    async def stammering(self: Connection, *arguments: Any) -> Any:
        position, names = await scan(self, *arguments)
        return position, names * 2

    monkeypatch.setattr(Connection, "scan", stammering)
    names = [json.loads(line)["username"] for line in started.ok("user", "export").splitlines()]
    assert len(names) == len(set(names)) == MANY
