"""The settings: one frozen model, read from `AUTHSVC_…` in the environment and from nowhere else."""

import os
import re
import sys
from collections.abc import Mapping
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from authsvc.core.address import in_url, is_loopback
from authsvc.core.argon2_profiles import RECOMMENDED, Argon2Profile
from authsvc.core.capability import Capability
from authsvc.core.client import BUILT_IN
from authsvc.core.durability import DurabilityLevel
from authsvc.core.factor_key import FactorKey
from authsvc.core.passkey import RelyingParty, may_use, relying_party
from authsvc.core.powers import Powers
from authsvc.core.scope import SCOPE
from authsvc.core.suggestion import did_you_mean
from authsvc.core.throttle import LIMITS, Limits
from authsvc.core.token import KEY_WORD
from authsvc.core.user import ADMIN_ROLE
from authsvc.errors import StartupError
from authsvc.setting_names import near
from authsvc.setting_values import (
    TEN_YEARS_S,
    AppOrigins,
    Attempts,
    FactorKeys,
    FilePath,
    ForeignPrefixes,
    GithubKeysText,
    Host,
    InARow,
    Issuer,
    Networks,
    Origins,
    Role,
    Roles,
    Seconds,
    Words,
    problem,
)

if TYPE_CHECKING:
    from authsvc.github import Keys as GithubKeys

PREFIX = "AUTHSVC_"
# Of a file that holds the value of a setting. A list may have lines.
_MOST_BYTES = 64 * 1024
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def _cores() -> int:
    """How many cores this process may use. The machine may have more."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


class Settings(BaseModel):
    """The defaults are the recommended values. `AUTHSVC_X_FILE` reads X from a file, for a mounted secret."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    redis_url: Annotated[str, Field(pattern=r"^((redis|rediss)(\+sentinel|\+cluster)?|unix)://")] | None = Field(
        None,
        repr=False,
        description="URL of the Redis or Valkey to use; by default the service starts a Valkey of its own",
    )
    store_wait_s: int = Field(
        5, ge=0, le=86_400, description="how long a start waits for a store that does not answer before it fails"
    )
    durability: DurabilityLevel = Field(
        "local",
        description="where a change has to be before the service answers with success: on the primary (`local`), "
        "on replicas too (`replica`), or on the disk of the primary (`disk`)",
    )
    durability_replicas: int = Field(
        1,
        ge=1,
        le=16,
        description="at the level `replica`: how many replicas; count every replica that may take over",
    )
    durability_timeout_ms: int = Field(
        500,
        ge=10,
        le=600,
        description="how long to wait for replicas or fsync before answering 503",
    )
    data_dir: FilePath = Field(Path("authsvc-data"), description="where the embedded Valkey keeps its files")
    first_admin_out: FilePath | None = Field(
        None,
        description="file, with mode 0600, to which the first start writes `client_id:client_secret` of the admin "
        "client; by default the start prints both",
    )
    host: Host = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on")
    console_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="port of the console for admins; by default 8001 for an embedded store on a loopback address, else "
        "none; 0: none",
    )
    console_host: Host = Field("127.0.0.1", description="address of the console's port")
    workers: int = Field(1, ge=1, le=256, description="server processes")
    max_requests: int = Field(
        1000,
        ge=1,
        le=100_000,
        description="requests in progress in a worker; requests above the limit get a 503",
    )
    max_connections: int = Field(
        10_000,
        ge=1,
        le=1_000_000,
        description="open connections of a worker, as far as descriptors allow; others get a 503",
    )
    keep_alive_s: int = Field(
        75,
        ge=1,
        le=3600,
        description="seconds for which a connection may be idle between two requests; a load balancer in front has to "
        "close its idle connections earlier",
    )
    issuer: Issuer | None = Field(None, description="public base URL (RFC 8414), such as https://auth.example.org")
    allowed_origins: Origins = Field(
        (), description="origins, besides the service's own, whose pages may call the service, also with the cookie"
    )
    app_scope: Annotated[str, Field(pattern=f"^({SCOPE.pattern})?$")] = Field(
        "",
        description=f"scope that logins of the built-in client `{BUILT_IN}` may ask for, words with spaces between; "
        "by default none, because everybody may call as this client",
    )
    trusted_proxies: Networks = Field(
        (), description="addresses or networks of the proxies whose X-Forwarded-For the service believes"
    )
    limit_per_pair: InARow = Field(5, description="wrong passwords in a row for one account from one address")
    limit_per_known_network: InARow = Field(
        100, description="wrong passwords in a row for one account from a network from which its owner logged in before"
    )
    limit_per_source: InARow = Field(
        20, description="wrong passwords for one account from one IPv4 /24 or IPv6 /48; then the source waits longer"
    )
    limit_per_account: InARow = Field(
        100, description="wrong passwords for one account from all unknown networks; then the account waits longer"
    )
    limit_per_address: Attempts = Field(20, description="wrong guesses from one address (IPv6: /64) in 5 minutes")
    limit_per_network: Attempts = Field(200, description="wrong guesses from one IPv6 /48 in 5 minutes")
    limit_per_client: Attempts = Field(10, description="wrong secrets of one client in a minute")
    limit_per_factor: InARow = Field(
        20, description="wrong codes of a second factor for one account between two logins; then the account waits"
    )
    unlimited_networks: Networks = Field(
        (), description="addresses or networks without a limit of their own; the limits of each account still hold"
    )
    refresh_grace_s: int = Field(
        10, ge=0, le=300, description="how long a spent refresh token returns the same pair of tokens again; 0: never"
    )
    max_sessions: int = Field(
        50,
        ge=1,
        le=10_000,
        description="logins of one user, and as many sessions of each client "
        "that issues tokens for the user; one more ends the least recently used",
    )
    password_min_length: int = Field(
        15,
        ge=8,
        le=64,
        description="characters of a new password; 8 is for accounts with a second factor",
    )
    password_context: Words = Field(
        ("authsvc",), description="names of this installation; a password must not consist of them"
    )
    argon2_time_cost: int = Field(RECOMMENDED.time_cost, ge=1, le=1000, description="argon2id passes")
    argon2_memory_kib: int = Field(RECOMMENDED.memory_kib, ge=8, le=16 * 2**20, description="argon2id memory, KiB")
    argon2_parallelism: int = Field(RECOMMENDED.parallelism, ge=1, le=256, description="argon2id lanes")
    hash_threads: int | None = Field(
        None,
        ge=1,
        le=256,
        description="password hashes at the same time in a worker; by default its share of the cores",
    )
    factor_key: FactorKeys = Field(
        (),
        repr=False,
        description="keys for one-time codes, the current one first, each a line such as `openssl rand -base64 32` "
        "prints; by default none, but the embedded service makes one beside its data directory",
    )
    passkey_rp_id: Annotated[str, Field(pattern=r"^[a-z0-9.-]+$")] | None = Field(
        None, description="domain of the passkeys; by default the issuer's host, or `localhost` for a loopback address"
    )
    passkey_origins: AppOrigins = Field(
        (),
        validate_default=True,
        description="exact origins of the pages and apps that may use passkeys, such as "
        "`https://app.example.org android:apk-key-hash:…`; by default the issuer's origin",
    )
    github_keys: GithubKeysText | None = Field(
        None,
        description="public keys of GitHub's secret scanning, which then may report leaked tokens at "
        "`POST /leaked/github`: the answer of https://api.github.com/meta/public_keys/secret_scanning, in a file",
    )
    require_factor_for: Roles = Field((), description="roles whose users need a second factor")
    support_role: Role | None = Field(
        None,
        description="role of the support: it sees all, ends sessions, makes reset codes, unlocks and suspends, but not "
        "for users with an administrative role; by default nobody has it",
    )
    auditor_role: Role | None = Field(
        None, description="role of auditors: they see all, and change nothing; by default nobody has it"
    )
    recent_login_s: Seconds = Field(
        600, description="how long after a login a user may change the password, the second factors and other accounts"
    )
    reset_code_ttl_s: Seconds = Field(600, description="lifetime of a password reset code")
    secret_overlap_s: int = Field(
        86400, ge=0, le=TEN_YEARS_S, description="how long the old secret of a client stays valid after a rotation"
    )
    key_prefix: Annotated[str, Field(pattern=f"^({KEY_WORD.pattern})?$")] = Field(
        "",
        description="word in front of new keys: `acme` makes `acme_key_…`, which secret scanners can tell from the "
        "keys of other issuers; keys with another word, or without one, work on",
    )
    foreign_key_prefixes: ForeignPrefixes = Field(
        (),
        description="how keys begin that another system issued and `authsvc key import` takes, such as `sk_live_`",
    )
    account_pages: bool = Field(
        False, description="whether to serve pages for users under `/account`; takes the extra `pages`"
    )
    app_name: Annotated[str, Field(pattern=r"^[^:\x00-\x1f\x7f-\x9f]{1,60}$")] | None = Field(
        None,
        description="name of the application on the account pages, in authenticator apps and in passkeys; by default "
        "the issuer's host",
    )
    app_colour: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")] | None = Field(
        None, description="colour of the account pages, such as `#3355cc`; it is made darker or lighter where needed"
    )
    app_logo: FilePath | None = Field(
        None, description="file with the logo of the account pages: SVG, PNG, JPEG or WebP, at most 256 KiB"
    )
    app_texts: FilePath | None = Field(
        None, description="TOML file with texts of the account pages, for another language; missing ones are English"
    )
    metrics_port: int | None = Field(
        None, ge=0, le=65535, description="port where Prometheus reads the metrics; by default none; 0: none"
    )
    metrics_host: Host = Field(
        "127.0.0.1",
        description="address of the metrics port; everybody who reaches it may read the metrics",
    )
    answer_memory_mb: int = Field(
        64, ge=0, le=16_384, description="memory of a worker for answers that it may give again, MB; 0: none"
    )
    log_format: Literal["json", "text"] | None = Field(
        None, description="lines of the log; by default `text` if stderr is a terminal, else `json`"
    )
    access_log_share: float = Field(0, ge=0, le=1, description="share of requests in the access log; 0: none")
    audit_retention_s: Seconds = Field(90 * 86400, description="how long the audit trail keeps an event")
    audit_max_events: int = Field(
        500_000, ge=1000, le=1_000_000_000, description="most events in the audit trail, some 350 bytes each"
    )

    @field_validator("passkey_origins")
    @classmethod
    def _of_one_domain(cls, origins: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        match info.data:
            case {"issuer": issuer, "host": host, "port": port, "passkey_rp_id": rp_id}:
                party = relying_party(_base_url(issuer, host, port), rp_id, origins)
            case _:
                return origins  # another setting is wrong, and is named
        if (origins or rp_id) and party and not all(may_use(origin, party.id) for origin in party.origins):
            raise PydanticCustomError("origin", "must be of the domain AUTHSVC_PASSKEY_RP_ID or below it, over TLS")
        return origins

    @field_validator("argon2_parallelism")
    @classmethod
    def _within_its_memory(cls, lanes: int, info: ValidationInfo) -> int:
        memory_kib = info.data.get("argon2_memory_kib")  # None: it is wrong, and is named
        if memory_kib is not None and memory_kib < 8 * lanes:  # RFC 9106 section 3.1
            message = f"{PREFIX}ARGON2_MEMORY_KIB must be at least 8 KiB for each lane, {8 * lanes} for {lanes} lanes"
            raise PydanticCustomError("memory", message)
        return lanes

    @field_validator("support_role", "auditor_role")
    @classmethod
    def _of_its_own(cls, role: str | None, info: ValidationInfo) -> str | None:
        if role is not None and role in (ADMIN_ROLE, info.data.get("support_role")):
            raise PydanticCustomError("role", "must be a role of its own")
        return role

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read the settings. Raises StartupError naming each variable that is unknown or wrong."""
        found: dict[str, str] = {}
        for name, value in environment.items():
            if not name.startswith(PREFIX):
                if name.upper().startswith(PREFIX):
                    raise StartupError(f"{name}: the names of settings are in upper case: write {name.upper()}")
                continue
            field = name.removeprefix(PREFIX).lower()
            if field.endswith("_file") and field not in cls.model_fields:
                field = field.removesuffix("_file")
                value = _read(name, value)
            if field in found:
                raise StartupError(f"{PREFIX}{field.upper()} is set both directly and from a file")
            found[field] = value
        return cls._of(found)

    def but(self, **changes: object) -> Self:
        """The same settings with some replaced. Raises StartupError."""
        return self._of(self.model_dump() | changes)

    @classmethod
    def _of(cls, values: Mapping[str, object]) -> Self:
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            problems = [f"{PREFIX}{e['loc'][0]}".upper() + f": {_problem(e)}" for e in error.errors()]
            raise StartupError("; ".join(dict.fromkeys(problems))) from None

    @cached_property
    def limits(self) -> Limits:
        return LIMITS.allowing(
            pair=self.limit_per_pair,
            known=self.limit_per_known_network,
            source=self.limit_per_source,
            account=self.limit_per_account,
            address=self.limit_per_address,
            network=self.limit_per_network,
            client=self.limit_per_client,
            factor=self.limit_per_factor,
        )

    @cached_property
    def factor_keys(self) -> tuple[FactorKey, ...]:
        return tuple(map(FactorKey.of, self.factor_key))

    @cached_property
    def capabilities(self) -> frozenset[Capability]:
        """What this service offers beside passwords. A call of another capability is not served."""
        totp: set[Capability] = {"totp"} if self.factor_key else set()
        passkeys: set[Capability] = {"passkeys"} if self.relying_party and find_spec("fido2") else set()
        factors: set[Capability] = {"factors"} if totp or passkeys else set()
        account: set[Capability] = {"account"} if self.account_pages else set()
        github: set[Capability] = {"github"} if self.github_keys else set()
        return frozenset(totp | passkeys | factors | account | github)

    @cached_property
    def github_public_keys(self) -> "GithubKeys":
        from authsvc.github import read_keys

        return read_keys(self.github_keys) if self.github_keys else {}

    @cached_property
    def relying_party(self) -> RelyingParty | None:
        """The site for which passkeys are made; None if no browser would make any."""
        party = relying_party(self.base_url, self.passkey_rp_id, self.passkey_origins)
        return party.also_on(self.console_port) if party and self.console_port else party

    @cached_property
    def powers(self) -> Powers:
        """The roles that give power over others."""
        return Powers(self.support_role, self.auditor_role)

    @property
    def argon2_profile(self) -> Argon2Profile:
        return Argon2Profile(self.argon2_time_cost, self.argon2_memory_kib, self.argon2_parallelism)

    @property
    def threads(self) -> int:
        """Password hashes that one worker computes at the same time."""
        return self.hash_threads or max(1, _cores() // self.workers)

    @property
    def is_local(self) -> bool:
        """Whether only programs on this machine reach the service directly."""
        return is_loopback(self.host)

    @cached_property
    def base_url(self) -> str:
        return _base_url(self.issuer, self.host, self.port)

    @property
    def local_host(self) -> str:
        """The host at which a program on this machine reaches the service. No program can ask all addresses."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - it is replaced

    @property
    def local_url(self) -> str:
        """The address at which a program on this machine reaches the service."""
        return _base_url(self.issuer, self.local_host, self.port)

    @property
    def browser_url(self) -> str:
        """The address at which a browser reaches the service. On this machine it is a name, which passkeys need."""
        listens_here = self.issuer is None and self.host == "127.0.0.1"
        return f"http://localhost:{self.port}" if listens_here else self.base_url

    @property
    def app_title(self) -> str:
        """The name by which people recognise this service."""
        return self.app_name or urlsplit(self.base_url).hostname or "authsvc"


def _base_url(issuer: str | None, host: str, port: int) -> str:
    return (issuer or f"http://{in_url(host)}:{port}").rstrip("/")


def traces_wanted(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the variables of OpenTelemetry say where to send traces. Its SDK reads the other variables."""
    exporter = environment.get("OTEL_TRACES_EXPORTER", "otlp")
    named = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    disabled = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    return exporter == "otlp" and any(environment.get(name) for name in named) and not disabled


def given_in_files(environment: Mapping[str, str] = os.environ) -> frozenset[str]:
    """The names of the settings that come from a file each."""
    names = {name.removeprefix(PREFIX).lower() for name in environment if name.startswith(PREFIX)}
    files = {name for name in names if name.endswith("_file") and name not in Settings.model_fields}
    return frozenset(name.removesuffix("_file") for name in files)


def _problem(error: ErrorDetails) -> str:
    name = str(error["loc"][0])
    if name in Settings.model_fields:
        return problem(name, Settings.model_fields[name], error)
    question = did_you_mean([f"{PREFIX}{one.upper()}" for one in near(name, Settings.model_fields)])
    return f"there is no such setting{question and f', {question}'}; `authsvc serve --settings` lists all settings"


def _read(name: str, path: str) -> str:
    """The text in a file. Raises StartupError for what can be the value of no setting, such as an empty file."""
    try:
        with open(path, "rb") as file:
            raw = file.read(_MOST_BYTES + 1)
        text = raw.decode().strip()
    except OSError as error:
        todo = f"correct the path, let the service read the file, or unset {name}"
        raise StartupError(f"{name}: {error.strerror}: {path}", todo=todo) from None
    except UnicodeDecodeError:
        raise StartupError(f"{name}: {path} is not text in UTF-8: write the value as plain text") from None
    if not text:
        raise StartupError(f"{name}: {path} is empty: write the value into it, or unset {name}")
    if len(raw) > _MOST_BYTES or _CONTROL.search(text):
        what = f"is over {_MOST_BYTES} bytes" if len(raw) > _MOST_BYTES else "holds a control character"
        raise StartupError(f"{name}: {path} {what}: write the value and nothing else")
    return text
