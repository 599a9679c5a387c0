"""The service leaves no secret in the store, a log, an error, a header, the audit trail or a representation.

A walk through every call remembers each secret that it has seen. For representations, the test finds the classes by
itself. It fills each field of a class with a text that names the field, and looks which of these texts are shown.
"""

import dataclasses
import importlib
import inspect
import json
import logging
import pkgutil
import re
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin, get_type_hints

import authsvc_sdk
import msgspec
import pydantic
import pytest
import redis

import authsvc
from authsvc.core import token as tokens
from authsvc.core.session import Session
from authsvc.errors import AuthError, CorruptRecord
from authsvc.flows.introspect import look_up
from authsvc.logs import JsonLines
from authsvc.settings import Settings
from authsvc.store.encoding import load
from tests.canaries import THIRD, Canaries, run_through_everything
from tests.conftest import CHEAP, Service, Snapshot, bearer
from tests.flows.contents import texts
from tests.test_layout import FRAMEWORKS

# Words in the names of fields that hold secrets.
SECRET = re.compile(r"password|secret|token|code|hash|encoded|seed|digest|credential|cookie|authorization|url|unknown")
# Fields with such a name that hold no secret, and why.
PUBLIC = {
    "Assertion.credential": "the id of a passkey, which browsers are told",
    "NewPasskey.credential": "a public key",
    "Passkey.credential": "the id of a passkey, which browsers are told",
    "Registered.credential": "the id of a passkey, which browsers are told",
    "Announcement.digests": "of the names of keys, told to every subscriber",
    "Active.token_use": "names a kind of token",
    "Config.url": "an address without credentials",
    "Login.url": "an address without credentials",
    "Credentials.reset_code": "the handle of the code",
    "Fault.code": "names a fault",
    "GithubLabel.token_type": "names a kind of token",
    "IntrospectForm.token_type_hint": "names a kind of token",
    "Introspection.token_use": "names a kind of token",
    "Metadata.token_endpoint": "an address",
    "Metadata.token_endpoint_auth_methods_supported": "names methods",
    "Pbkdf2.digest": "names a hash function",
    "RevokeForm.token_type_hint": "names a kind of token",
    "SaltedSha.digest": "names a hash function",
    "Site.cookie_prefix": "a part of names",
    "Service.hash_forms": "names of algorithms with their parameters",
    "Tokens.issued_token_type": "names a kind of token",
    "TokenForm.actor_token_type": "names a kind of token",
    "TokenForm.requested_token_type": "names a kind of token",
    "TokenForm.subject_token_type": "names a kind of token",
    "Settings.password_context": "words that no password may contain",
}


# Parts of the SDK whose frameworks need not be installed. They hold no secrets themselves. `authsvc.sdk` re-exports the
# SDK for one release, and warns, which is an error in tests.
PARTS = {f"authsvc_sdk.{name}" for name in FRAMEWORKS}


def modules() -> Iterator[Any]:
    for package in (authsvc, authsvc_sdk):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.", onerror=lambda _: None):
            if not (found.name.endswith("__main__") or found.name.startswith("authsvc.sdk") or found.name in PARTS):
                yield importlib.import_module(found.name)


def fields_of(cls: type) -> list[str]:
    """The names of the fields that a representation of the class may show; empty for ordinary classes."""
    if issubclass(cls, pydantic.RootModel):  # shows the representation of its one value
        return []
    if issubclass(cls, pydantic.BaseModel):
        return list(cls.model_fields)
    if issubclass(cls, msgspec.Struct):
        return list(cls.__struct_fields__)
    if issubclass(cls, tuple):
        return list(getattr(cls, "_fields", ()))
    return [field.name for field in dataclasses.fields(cls)] if dataclasses.is_dataclass(cls) else []


def classes() -> list[type]:
    found = {
        cls
        for module in modules()
        for _, cls in inspect.getmembers(module, inspect.isclass)
        if cls.__module__ == module.__name__ and fields_of(cls)
    }
    return sorted(found, key=lambda cls: f"{cls.__module__}.{cls.__qualname__}")


def holds_text(hint: Any) -> bool:
    """Whether a value of this type is text, or has text in it."""
    if get_origin(hint) is Literal:
        return False
    return hint in (str, bytes, Any) or any(holds_text(part) for part in get_args(hint))


def secrets_of(cls: type) -> list[str]:
    """The fields of the class that hold a secret, by their names and types."""
    hints = get_type_hints(cls)
    return [
        name
        for name in fields_of(cls)
        if SECRET.search(name) and holds_text(hints[name]) and f"{cls.__qualname__}.{name}" not in PUBLIC
    ]


def canary(field: str) -> str:
    return f"canary({field})"


def filled(cls: type) -> Any:
    """An object whose fields hold canaries; nothing is validated."""
    values = {name: canary(name) for name in fields_of(cls)}
    if issubclass(cls, pydantic.BaseModel):
        return cls.model_construct(None, **values)
    if issubclass(cls, msgspec.Struct):
        return cls(**values)
    if issubclass(cls, tuple):
        return cls._make(values.values())  # type: ignore[attr-defined]  # a NamedTuple
    made = object.__new__(cls)
    for name, value in values.items():
        object.__setattr__(made, name, value)
    return made


FOUND = classes()


def test_no_secret_in_a_representation() -> None:
    """A field with the name of a secret is in no repr, str or format of its object."""
    for cls in FOUND:
        if secrets := secrets_of(cls):
            made = filled(cls)
            shown = f"{made!r} {made!s} {[made]}"
            assert [name for name in secrets if canary(name) in shown] == [], cls


def test_the_classes_are_found() -> None:
    """The search reaches every kind of class, and the fields that are excepted exist."""
    names = {cls.__qualname__ for cls in FOUND}
    assert {"Login", "ClientCredentials", "Settings", "Grant", "Session", "Tokens"} <= names
    everything = {f"{cls.__qualname__}.{name}" for cls in FOUND for name in fields_of(cls)}
    assert set(PUBLIC) <= everything


@pytest.fixture
async def canaries(service: Service, caplog: pytest.LogCaptureFixture) -> Canaries:
    """The secrets of a walk through every call."""
    caplog.set_level(logging.DEBUG)
    for name in ("authsvc", "authsvc.audit", "asyncio", "redis"):
        caplog.set_level(logging.DEBUG, logger=name)
    canaries = Canaries()
    await run_through_everything(service, canaries)
    assert len(canaries.secrets) > 15
    assert len(canaries.errors) > 30
    return canaries


async def test_no_secret_in_the_store(canaries: Canaries, valkey: "redis.Redis", dump: Snapshot) -> None:
    """Neither a token, code, client secret or password nor its secret part is in any key, value or backup."""
    copies = [*texts(valkey), *dump().values(), *dump()]
    assert len(copies) > 40
    for part in canaries.parts().values():
        assert not any(part.encode() in copy for copy in copies)


async def test_no_secret_in_a_log_or_an_answer(
    canaries: Canaries, service: Service, valkey: "redis.Redis", caplog: pytest.LogCaptureFixture
) -> None:
    """After a walk through every flow, and an outage, no secret is in a log, an error, a header or the trail."""
    await an_outage(service, canaries, valkey)
    # httpx is the client here, and logs which URLs this test asks for.
    walked = [*caplog.get_records("setup"), *caplog.get_records("call")]
    records = [record for record in walked if not record.name.startswith("http")]
    formatted = "\n".join(JsonLines().format(record) for record in records)
    assert "login.succeeded" in formatted
    lists = [await pages(service, path) for path in ("/admin/audit", "/admin/users", "/admin/clients")]
    trail = json.dumps(lists)
    assert "password.changed" in trail
    places = {
        "log": formatted,
        "records": "".join(repr(vars(record)) for record in records),
        "errors": "".join(answer.text for answer in canaries.errors),
        "headers": "\n".join(canaries.headers),
        "trail": trail,
    }
    assert {name: canaries.in_text(text) for name, text in places.items() if canaries.in_text(text)} == {}


async def an_outage(service: Service, canaries: Canaries, valkey: "redis.Redis") -> None:
    """Ask while records are missing or damaged; some of them hold a token."""
    grant = await canaries.seen(service.http.post("/login", json={"username": "ada", "password": THIRD}))
    headers = bearer(grant["access_token"])
    held = {name: valkey.get(name) for name in ("service", "client:app")}
    valkey.delete("service")
    await canaries.seen(service.http.get("/me", headers=headers))
    for corrupt in (b"{", b'{"epoch":"' + grant["access_token"].encode() + b'"}'):
        for name in ("service", f"session:{grant['session_id']}", "client:app"):
            valkey.set(name, corrupt)
        for path in ("/me", "/sessions"):
            answer = await service.http.get(path, headers=headers)
            assert answer.status_code == 503
            canaries.errors.append(answer)
    for name, value in held.items():
        assert value is not None
        valkey.set(name, value)


async def pages(service: Service, path: str) -> list[Any]:
    answer = await service.http.get(path, params={"limit": 1000}, auth=service.admin)
    assert answer.status_code == 200
    items: list[Any] = answer.json()["items"]
    return items


class TestWithAccessLog:
    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(**CHEAP, access_log_share=1.0)

    async def test_no_token_in_a_logged_path(self, service: Service, caplog: pytest.LogCaptureFixture) -> None:
        """The access log masks a token that somebody puts into a path."""
        caplog.set_level(logging.INFO)
        await service.user()
        token = (await service.login())["access_token"]
        for path in (f"/admin/users/{token}", f"/sessions/{token}", f"/{token}"):
            await service.http.delete(path, headers=bearer(token))
        records = [record for record in caplog.records if record.name == "authsvc.access"]
        assert records
        assert not [record for record in records if token in JsonLines().format(record)]


async def test_no_secret_in_a_representation_of_what_is_there(canaries: Canaries, service: Service) -> None:
    """The parts of the running service, the records in the store and the decisions about tokens show no secret."""
    deps, store = service.deps, service.deps.store
    shown = [repr(part) for part in (deps, store, deps.settings, deps.hasher)]
    async for user in store.listing.every_user():
        shown += [repr(user), repr(await store.credentials.find(user.sub))]
        for handle, session in await store.sessions.listed(user.sub, deps.clock()):
            shown += [repr(session), repr(await store.lookup.session(handle))]
            assert session.seed is None or session.seed not in "".join(shown)
    async for client in store.listing.every_client():
        shown.append(repr(client))
    for secret in canaries.secrets:
        shown.append(repr(await look_up(deps, secret)))
        if token := tokens.parse(secret):
            shown += [repr(token), f"{token}", repr([token])]
    assert canaries.in_text("".join(shown)) == []


async def test_no_secret_in_an_exception(service: Service) -> None:
    """An exception says what happened, without the token that somebody used as an id."""
    await service.user()
    token = (await service.login())["access_token"]
    for work in (service.deps.store.users.get, service.deps.store.clients.get):
        with pytest.raises(AuthError) as caught:
            await work(token)
        assert token not in f"{caught.value!r} {caught.value}"


async def test_a_damaged_record_is_not_repeated(service: Service, valkey: "redis.Redis") -> None:
    """The error says which kind of record is damaged, and nothing of its content; nobody gets a decision."""
    await service.user()
    grant = await service.login()
    for damaged in (b"canary", b'{"sub":"canary"}', b'{"sub":["canary"]}', b"\xffcanary", b"[]", b"null", b""):
        with pytest.raises(CorruptRecord) as refused:
            load(Session, damaged)
        assert "canary" not in str(refused.value)
        valkey.set(f"session:{grant['session_id']}", damaged)
        with pytest.raises(AuthError):
            await look_up(service.deps, grant["access_token"])
