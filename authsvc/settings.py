"""All that can be configured: one frozen model, read from `AUTHSVC_…` in the environment and nowhere else."""

import os
import sys
from collections.abc import Mapping
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from authsvc.core.argon2_profiles import RECOMMENDED, Argon2Profile
from authsvc.errors import StartupError

PREFIX = "AUTHSVC_"


_PATTERNS = {
    "redis_url": "has to begin with redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://, "
    "the last two also as rediss+…",
    "allowed_origins": "whole origins such as https://app.example.org, no wildcard and not null",
}


def _cores() -> int:
    """How many this process may run on, which may be fewer than there are."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _split(value: object) -> object:
    return tuple(filter(None, value.replace(",", " ").split())) if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], BeforeValidator(_split)]
Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], BeforeValidator(_split)]
# Whole origins: with credentials a wildcard would be every site there is, and `null` any sandboxed frame.
Origins = Annotated[tuple[Annotated[str, Field(pattern=r"^https?://[^\s/*@?#\\]+$")], ...], BeforeValidator(_split)]
Seconds = Annotated[int, Field(ge=1)]


class Settings(BaseModel):
    """Defaults are the recommended parameters. `AUTHSVC_X_FILE` reads X from a file, for secrets that are mounted."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    redis_url: Annotated[str, Field(pattern=r"^((redis|rediss)(\+sentinel|\+cluster)?|unix)://")] | None = Field(
        None, repr=False, description="Redis or Valkey to use; without it an embedded one is started"
    )
    durability: Literal["local", "replica", "disk"] = Field(
        "local", description="who must have a change before it is answered: the primary; a replica too; or its disk"
    )
    durability_replicas: int = Field(
        1,
        ge=1,
        le=16,
        description="how many replicas, at the level `replica`: all those that may take over",
    )
    durability_timeout_ms: int = Field(500, ge=10, le=600, description="how long that is waited for; then 503")
    data_dir: Path = Field(Path("authsvc-data"), description="where the embedded Valkey keeps its files")
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on")
    workers: int = Field(1, ge=1, le=256, description="server processes")
    max_requests: int = Field(1000, ge=1, description="requests in progress that a worker takes; more are told 503")
    max_connections: int = Field(
        10_000, ge=1, description="open connections that a worker takes, descriptors allowing; more are told 503"
    )
    issuer: str | None = Field(None, description="public base URL (RFC 8414), such as https://auth.example.org")
    allowed_origins: Origins = Field(
        (), description="origins besides our own whose pages may call us, also with the cookie"
    )
    trusted_proxies: Networks = Field(
        (), description="proxies (addresses or networks) whose X-Forwarded-For is believed"
    )
    refresh_grace_s: int = Field(
        10, ge=0, le=300, description="how long a spent refresh token gets its pair again; 0: never"
    )
    max_sessions: int = Field(50, ge=1, le=10_000, description="sessions of one user; the oldest ends")
    password_min_length: int = Field(15, ge=8, le=64, description="characters; 8 is for accounts with a second factor")
    password_context: Words = Field(
        ("authsvc",), description="words about this installation that no password may be made of"
    )
    argon2_time_cost: int = Field(RECOMMENDED.time_cost, ge=1, description="argon2id passes")
    argon2_memory_kib: int = Field(RECOMMENDED.memory_kib, ge=8, description="argon2id memory, KiB")
    argon2_parallelism: int = Field(RECOMMENDED.parallelism, ge=1, description="argon2id lanes")
    hash_threads: int | None = Field(
        None, ge=1, description="password hashes at a time in a worker; default: its share of cores"
    )
    reset_code_ttl_s: Seconds = Field(600, description="life of a password reset code")
    secret_overlap_s: int = Field(
        86400, ge=0, description="how long a rotated client secret stays valid beside the new one"
    )
    metrics_port: int | None = Field(
        None, ge=1, le=65535, description="port where Prometheus reads the metrics; without it nobody can"
    )
    metrics_host: str = Field("127.0.0.1", description="address of that port; whoever reaches it may read")
    access_log_share: float = Field(0, ge=0, le=1, description="share of requests that is logged; 0: none")
    audit_retention_s: Seconds = Field(90 * 86400, description="how long audit events are kept")
    audit_max_events: int = Field(500_000, ge=1000, description="audit events kept at most, some 350 bytes each")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read the settings. Raises StartupError naming each variable that is unknown or wrong, never its value."""
        found: dict[str, str] = {}
        for name, value in environment.items():
            if not name.startswith(PREFIX):
                continue
            field = name.removeprefix(PREFIX).lower()
            if field.endswith("_file") and field not in cls.model_fields:
                field = field.removesuffix("_file")
                value = _read(name, value)
            if field in found:
                raise StartupError(f"{PREFIX}{field.upper()} is set both directly and from a file")
            found[field] = value
        try:
            return cls.model_validate(found)
        except ValidationError as error:
            problems = [f"{PREFIX}{e['loc'][0]}".upper() + f": {_problem(e)}" for e in error.errors()]
            raise StartupError("; ".join(problems)) from None

    def but(self, **changes: object) -> Self:
        """The same settings with some replaced."""
        return type(self).model_validate(self.model_dump() | changes)

    @property
    def argon2_profile(self) -> Argon2Profile:
        return Argon2Profile(self.argon2_time_cost, self.argon2_memory_kib, self.argon2_parallelism)

    @property
    def threads(self) -> int:
        """Password hashes that one worker computes at the same time."""
        return self.hash_threads or max(1, _cores() // self.workers)

    @cached_property
    def base_url(self) -> str:
        return (self.issuer or f"http://{self.host}:{self.port}").rstrip("/")


def traces_wanted(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether OpenTelemetry's own variables say where traces go; everything else about them is for its SDK to read."""
    exporter = environment.get("OTEL_TRACES_EXPORTER", "otlp")
    named = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    disabled = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    return exporter == "otlp" and any(environment.get(name) for name in named) and not disabled


def given_in_files(environment: Mapping[str, str] = os.environ) -> frozenset[str]:
    """The settings that are read from files of their own."""
    names = {name.removeprefix(PREFIX).lower() for name in environment if name.startswith(PREFIX)}
    files = {name for name in names if name.endswith("_file") and name not in Settings.model_fields}
    return frozenset(name.removesuffix("_file") for name in files)


def _problem(error: ErrorDetails) -> str:
    if error["type"] == "extra_forbidden":
        return "there is no such setting"
    if error["type"] == "string_pattern_mismatch":
        return _PATTERNS[str(error["loc"][0])]
    return error["msg"]


def _read(name: str, path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        raise StartupError(f"{name}: {error.strerror}: {path}") from None
