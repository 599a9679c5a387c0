"""A wrong setting is named, with what it must be."""

from urllib.parse import urlsplit

import pytest
from argon2.low_level import Type, hash_secret

from authsvc.errors import StartupError
from authsvc.settings import PREFIX, Settings
from tests.selection import one_in

NUMBERS = [name for name, field in Settings.model_fields.items() if field.annotation in (int, int | None, float)]


def refused(**settings: str) -> str:
    with pytest.raises(StartupError) as error:
        Settings.from_environment({f"{PREFIX}{name.upper()}": value for name, value in settings.items()})
    return str(error.value)


@pytest.mark.parametrize("name", ["console_port", "metrics_port"])
def test_no_port(name: str) -> None:
    """0 means that there is none, for the console and for the metrics."""
    assert getattr(Settings.from_environment({f"{PREFIX}{name.upper()}": "0"}), name) == 0


@pytest.mark.parametrize("name", one_in(4, NUMBERS))
@pytest.mark.parametrize("value", ["", "abc", "-1", "1e400", "nan", "9" * 30, "9" * 30 + "." + "9" * 30])
def test_a_number_has_a_range(name: str, value: str) -> None:
    """Every number has a least and a greatest value. The error names them, and no other setting."""
    told = refused(**{name: value})
    assert told.startswith(f"{PREFIX}{name.upper()}: must be a ")
    assert "number from " in told
    assert told.count(PREFIX) == 1


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("durability", "ram", "must be local, replica or disk"),
        ("log_format", "xml", "must be json or text"),
        ("account_pages", "perhaps", "must be true or false"),
        ("port", "70000", "must be a whole number from 0 to 65535, not 70000"),
        ("access_log_share", "1.5", "must be a number from 0 to 1, not 1.5"),
        ("trusted_proxies", "10.0.0.1/8", "without bits behind the prefix, not 10.0.0.1/8"),
        ("issuer", "https://auth.example.org:port", "must be a whole URL with its scheme"),
        ("issuer", "https://auth.example.org:70000", "must have a port from 0 to 65535"),
        ("issuer", "https://auth.example.org/a b", "must be a whole URL with its scheme"),
        ("issuer", "https://ada:secret@auth.example.org", "must be a whole URL with its scheme"),
        ("allowed_origins", "https://App.example.org", "never matches: write https://app.example.org, as browsers do"),
        ("allowed_origins", "https://app.example.org:443", "write https://app.example.org, as browsers do"),
        ("allowed_origins", "https://app.example.org;x", "must be whole origins"),
        ("passkey_origins", "https://auth.example.org:443", "write https://auth.example.org, as browsers do"),
        ("host", "127.0.0.1:8000", "must be an address, or the name of a host"),
        ("unlimited_networks", "10.0.0.0/8 x 10.0.0.0/8", "must be addresses or networks such as 10.0.0.0/8, "),
        ("metrics_host", "", "must be an address, or the name of a host"),
        ("require_factor_for", "admin a;b", "must be roles"),
        ("keep_alive_s", "7\x1b[2J", "must be a whole number from 1 to 3600"),
    ],
)
def test_each_setting_says_what_it_must_be(name: str, value: str, rule: str) -> None:
    """One problem for each wrong value, without characters that act on a terminal."""
    told = refused(**{name: value})
    assert rule in told
    assert told.count(f"{PREFIX}{name.upper()}: ") == 1
    assert told.isprintable()


@pytest.mark.parametrize(
    ("issuer", "origin"),
    [
        ("https://auth.example.org", "https://auth.example.org"),
        ("https://Auth.example.org:443/path/", "https://auth.example.org"),
        ("https://auth.example.org:8443", "https://auth.example.org:8443"),
        ("http://127.0.0.1:80", "http://localhost"),
        ("http://[::1]:8000", "http://localhost:8000"),
    ],
)
def test_passkeys_are_for_the_origin_that_browsers_send(issuer: str, origin: str) -> None:
    """However the issuer is written. It stays as it was written for OAuth clients, who compare it exactly."""
    settings = Settings(issuer=issuer)
    assert settings.relying_party is not None
    assert settings.relying_party.origins == {origin}
    assert settings.base_url == issuer.rstrip("/")


@pytest.mark.parametrize("host", ["::1", "::", "fd00::1", "127.0.0.1", "localhost", "auth_service"])
def test_the_url_of_a_host(host: str) -> None:
    """An IPv6 address stands in brackets."""
    assert urlsplit(Settings(host=host, port=8000).base_url)[:2] == (
        "http",
        f"[{host}]:8000" if ":" in host else f"{host}:8000",
    )


def test_every_wrong_setting_is_named() -> None:
    """Two wrong settings have a problem each."""
    told = refused(port="http", workers="0")
    assert told == (
        "AUTHSVC_PORT: must be a whole number from 0 to 65535, not 'http'; "
        "AUTHSVC_WORKERS: must be a whole number from 1 to 256, not 0"
    )


def test_argon2_needs_memory_for_each_lane() -> None:
    """The library refuses less than 8 KiB for a lane. The error names both settings."""
    told = refused(argon2_memory_kib="8", argon2_parallelism="4")
    assert told == (
        "AUTHSVC_ARGON2_PARALLELISM: AUTHSVC_ARGON2_MEMORY_KIB must be at least 8 KiB for each lane, 32 for 4 lanes"
    )
    fits = Settings(argon2_memory_kib=32, argon2_parallelism=4, argon2_time_cost=1).argon2_profile
    assert hash_secret(b"x", bytes(16), fits.time_cost, fits.memory_kib, fits.parallelism, 32, Type.ID)


@pytest.mark.parametrize(
    "name",
    ["redis_url", "factor_key", "allowed_origins", "issuer", "github_keys", "trusted_proxies"],
)
def test_what_may_hold_a_secret_is_not_shown(name: str) -> None:
    """A password may stand in a URL, or in the variable of another setting."""
    for value in ("hunter2", "https://ada:hunter2@", "ada:hunter2@auth.example.org"):
        assert "hunter2" not in refused(**{name: value})


@pytest.mark.parametrize("name", ["port", "access_log_share", "durability", "log_format", "account_pages"])
def test_the_value_of_a_number_or_a_choice_is_shown(name: str) -> None:
    """A short value is in the message. A longer one, or one with the signs of a URL, may be a secret."""
    assert refused(**{name: "80a"}).endswith(", not '80a'")
    for value in ("hunter2" * 4, "redis://:hunter2@r", "hunter2\x1b[2J"):
        assert "hunter2" not in refused(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "written"),
    [
        ("issuer", "auth.example.org", "https://auth.example.org"),
        ("issuer", "localhost:8000", "http://localhost:8000"),
        ("allowed_origins", "localhost:3000", "http://localhost:3000"),
        ("allowed_origins", "https://a.example app.example.org", "https://app.example.org"),
        ("passkey_origins", "10.0.0.1:8443", "https://10.0.0.1:8443"),
    ],
)
def test_a_host_without_its_scheme(name: str, value: str, written: str) -> None:
    """The message says that the scheme is missing, and what to write."""
    host = written.partition("//")[2]
    assert refused(**{name: value}).endswith(f": {host} lacks the scheme, write {written}")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("prot", "PORT"),
        ("consol_port", "CONSOLE_PORT"),
        ("redis", "REDIS_URL"),
        ("origins", "ALLOWED_ORIGINS PASSKEY_ORIGINS"),
        ("cors_origin", "ALLOWED_ORIGINS PASSKEY_ORIGINS"),
        ("log_level", "LOG_FORMAT"),
        ("access_ttl_s", ""),
        ("nonsense", ""),
        ("s", ""),
        ("", ""),
    ],
)
def test_a_setting_that_does_not_exist(name: str, near: str) -> None:
    """The message names the settings with the same words or a typing error less, and where all of them are listed."""
    told = refused(**{name: "1"})
    named = [f"{PREFIX}{one}" for one in near.split()]
    question = f", did you mean {' or '.join(named)}?" if named else ""
    assert told == (
        f"{PREFIX}{name.upper()}: there is no such setting{question}; `authsvc serve --settings` lists all settings"
    )


@pytest.mark.parametrize("name", ["authsvc_port", "Authsvc_Port"])
def test_a_name_in_lower_case_is_refused(name: str) -> None:
    """It would be ignored otherwise."""
    with pytest.raises(StartupError) as error:
        Settings.from_environment({name: "8000"})
    assert str(error.value) == f"{name}: the names of settings are in upper case: write AUTHSVC_PORT"


def test_a_file_that_is_missing_comes_with_its_remedy() -> None:
    """The message names the variable, the file, and what to do."""
    with pytest.raises(StartupError) as error:
        Settings.from_environment({"AUTHSVC_FACTOR_KEY_FILE": "/nope"})
    assert str(error.value) == (
        "AUTHSVC_FACTOR_KEY_FILE: No such file or directory: /nope: "
        "correct the path, let the service read the file, or unset AUTHSVC_FACTOR_KEY_FILE"
    )
