"""What the values of settings may be, and the errors that say so."""

import re
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from authsvc.core.address import is_loopback, network_of, origin_of
from authsvc.core.factor_key import MIN_CHARACTERS
from authsvc.core.token import FOREIGN_PREFIX
from authsvc.core.user import ROLE

_NO_SUCH_NUMBER = {"int_parsing", "int_parsing_size", "float_parsing", "greater_than_equal", "less_than_equal"}
_HARMLESS = re.compile(r"[+-]?[0-9][0-9./]{0,20}")
# Values of a number or a choice that a message may show. Other text may be the secret of another setting.
_SHORT = re.compile(r"[\w .,+-]{0,20}")
# A host without its scheme. A password or a token does not look like this.
_BARE_HOST = re.compile(r"(?=.{1,64}$)(localhost|([0-9a-z-]+\.)+[a-z]{2,24}|[0-9]{1,3}(\.[0-9]{1,3}){3})(:[0-9]{1,5})?")
_ONE_ROLE = "must be one role: 1 to 64 of A-Z a-z 0-9 . _ : / -"
_A_HOST = "must be an address, or the name of a host; 0.0.0.0 for all addresses of this machine"
_PATTERNS = {
    "host": _A_HOST,
    "console_host": _A_HOST,
    "metrics_host": _A_HOST,
    "redis_url": "must begin with redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://, "
    "the last two also as rediss+…",
    "issuer": "must be a whole URL with its scheme, such as https://auth.example.org",
    "app_name": "must be a line of at most 60 visible characters, without a colon",
    "app_colour": "must be a colour of six hexadecimal digits, such as #3355cc",
    "app_scope": "must be words of printable ASCII, without quotes and backslashes, with single spaces between",
    "passkey_rp_id": "must be a domain, in lower case, such as example.org",
    "passkey_origins": "must be whole origins such as https://app.example.org or android:apk-key-hash:…",
    "key_prefix": "must be a word of lower-case letters and digits, at most 16, that begins with a letter",
    "foreign_key_prefixes": "must be prefixes of 3 to 32 letters, digits and . _ ~ -, such as sk_live_",
    "support_role": _ONE_ROLE,
    "auditor_role": _ONE_ROLE,
    "require_factor_for": "must be roles: 1 to 64 of A-Z a-z 0-9 . _ : / - each",
    "allowed_origins": "must be whole origins such as https://app.example.org, without a wildcard or null",
}
# Settings of URLs with a scheme and a host.
_WITH_SCHEME = frozenset({"issuer", "allowed_origins", "passkey_origins"})


def _path(value: object) -> object:
    """Refuse a path that is no text, and an empty path: it would mean the current directory."""
    if isinstance(value, str) and not (value and value.isprintable()):
        raise ValueError("must be a path of printable characters")
    return value


def _split(value: object) -> object:
    return tuple(filter(None, value.replace(",", " ").split())) if isinstance(value, str) else value


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return network_of(text)
    except ValueError:
        message = "must be addresses or networks such as 10.0.0.0/8, without bits behind the prefix{given}"
        raise PydanticCustomError("network", message, {"given": _but_is(text)}) from None


def _lines(value: object) -> object:
    return tuple(filter(None, map(str.strip, value.splitlines()))) if isinstance(value, str) else value


def _address_or_name(host: str) -> str:
    if ":" in host:
        try:
            ip_address(host)
        except ValueError:
            raise PydanticCustomError("host", _A_HOST) from None
    return host


def _with_a_port(url: str) -> str:
    try:
        origin_of(url)
    except ValueError:
        raise PydanticCustomError("port", "must have a port from 0 to 65535, and an IPv6 address in brackets") from None
    return url


def _as_browsers_write_it(origin: str) -> str:
    if not origin.startswith("http"):  # of an app
        return origin
    written = origin_of(_with_a_port(origin))
    if origin != written:
        raise PydanticCustomError(
            "origin",
            "{given} never matches: write {written}, as browsers do",
            {"given": origin, "written": written},
        )
    return origin


def _long_enough(key: str) -> str:
    if len(key) < MIN_CHARACTERS:
        message = f"must be lines of at least {MIN_CHARACTERS} characters, such as `openssl rand -base64 32` prints"
        raise PydanticCustomError("key", message)
    return key


def _keys_of_github(document: str) -> str:
    from authsvc.github import read_keys  # loads a library that most installations do not need here

    read_keys(document)
    return document


FilePath = Annotated[Path, BeforeValidator(_path)]
Words = Annotated[tuple[str, ...], BeforeValidator(_split)]
Networks = Annotated[
    tuple[Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)], ...], BeforeValidator(_split)
]
# Without credentials.
_ORIGIN = r"https?://(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+)(:[0-9]{1,5})?"
Issuer = Annotated[str, Field(pattern=rf"^{_ORIGIN}([/?#][!-~]*)?$"), AfterValidator(_with_a_port)]
# Whole origins only. A wildcard would allow every site that sends credentials, and `null` any sandboxed frame.
Origins = Annotated[
    tuple[Annotated[str, Field(pattern=f"^{_ORIGIN}$"), AfterValidator(_as_browsers_write_it)], ...],
    BeforeValidator(_split),
]
# Pages, and apps as `android:apk-key-hash:…`.
AppOrigins = Annotated[
    tuple[Annotated[str, Field(pattern=rf"^({_ORIGIN}|android:[!-~]+)$"), AfterValidator(_as_browsers_write_it)], ...],
    BeforeValidator(_split),
]
ForeignPrefixes = Annotated[
    tuple[Annotated[str, Field(pattern=f"^{FOREIGN_PREFIX.pattern}$")], ...], BeforeValidator(_split)
]
FactorKeys = Annotated[tuple[Annotated[str, AfterValidator(_long_enough)], ...], BeforeValidator(_lines)]
Attempts = Annotated[int, Field(ge=1, le=100_000)]
# NIST SP 800-63B-4 section 3.2.2 allows 100.
InARow = Annotated[int, Field(ge=1, le=100)]
TEN_YEARS_S = 10 * 365 * 86400
GithubKeysText = Annotated[str, AfterValidator(_keys_of_github)]
Seconds = Annotated[int, Field(ge=1, le=TEN_YEARS_S)]
Role = Annotated[str, Field(pattern=f"^{ROLE.pattern}$")]
Roles = Annotated[tuple[Role, ...], BeforeValidator(_split)]
Host = Annotated[str, Field(pattern=r"^[!-~]+$"), AfterValidator(_address_or_name)]


def problem(name: str, field: FieldInfo, error: ErrorDetails) -> str:
    """What is wrong with a setting, and what it must be."""
    given, kind = str(error["input"]), error["type"]
    if kind in ("string_pattern_mismatch", "string_unicode") and name in _PATTERNS:
        if name == "allowed_origins" and re.fullmatch(_ORIGIN, origin := given.rstrip("/")):
            return f"{given} is more than an origin: write {origin}, without the slash"
        if name in _WITH_SCHEME and _BARE_HOST.fullmatch(given):
            return f"{_PATTERNS[name]}: {given} lacks the scheme, write {_scheme_of(given)}://{given}"
        return _PATTERNS[name]
    if kind == "string_unicode":
        return "must be text in UTF-8"
    if kind == "literal_error":
        return f"must be {error['ctx']['expected']}".replace("'", "") + _but_is(given, short=True)
    if kind == "bool_parsing":
        return f"must be true or false{_but_is(given, short=True)}"
    if kind in _NO_SUCH_NUMBER:
        least, most = (getattr(part, word) for word in ("ge", "le") for part in field.metadata if hasattr(part, word))
        whole = "" if field.annotation is float else "whole "
        return f"must be a {whole}number from {least} to {most}{_but_is(given, short=True)}"
    return error["msg"].removeprefix("Value error, ")


def _but_is(given: str, *, short: bool = False) -> str:
    """The end of an error with the value, if that is a number or an address: other text may be a secret.

    short: other short text is shown too. For settings in which nobody keeps a secret.
    """
    if _HARMLESS.fullmatch(given):
        return f", not {given}"
    return f", not {given!r}" if short and _SHORT.fullmatch(given) else ""


def _scheme_of(host: str) -> str:
    """The scheme with which pages of this host are most likely served."""
    return "http" if is_loopback(host.partition(":")[0]) else "https"
