"""Both introspectors against a real service: their answers, their shared requests, their errors."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from math import inf, nan
from typing import get_type_hints

import httpx
import pytest
from authsvc_sdk import INACTIVE, Active, AsyncIntrospector, Introspector, Misconfigured, Unavailable
from authsvc_sdk.config import Config, Settings

from authsvc.core import token as tokens
from authsvc.core.token import Kind
from tests.e2e.conftest import free_port
from tests.processes import in_time, processes_on, until
from tests.sdk.conftest import World
from tests.sdk.network import Network
from tests.selection import slow


@pytest.fixture
async def ask(world: World) -> AsyncIterator[AsyncIntrospector]:
    async with AsyncIntrospector(world.server.url, *world.client) as introspector:
        yield introspector


@pytest.fixture
def ask_sync(world: World) -> Iterator[Introspector]:
    with Introspector(world.server.url, *world.client) as introspector:
        yield introspector


async def test_an_active_token(world: World, ask: AsyncIntrospector) -> None:
    """An active answer has everything that the service knows, typed, and its repr has no token."""
    sub = world.user(roles=["editor"], claims={"desk": {"rooms": [1, 2]}})
    token = world.token()
    answer = await ask.introspect(token)
    assert isinstance(answer, Active)
    assert (answer.sub, answer.username, answer.client_id) == (sub, "ada", "app")
    assert answer.session_id == token[4:16]
    assert answer.has_role("editor")
    assert not answer.has_role("editor", "admin")
    assert answer.auth_time is not None
    assert answer.auth_time <= answer.iat < answer.exp
    assert answer.claims["desk"]["rooms"] == (1, 2)
    assert token not in repr(answer)
    assert token[16:] not in repr(answer)
    with pytest.raises(TypeError):
        answer.claims["desk"]["rooms"] = ()


def test_from_threads(world: World, ask_sync: Introspector) -> None:
    """The introspector for threads gives the same answers."""
    world.user()
    token = world.token()
    answer = ask_sync.introspect(token)
    assert isinstance(answer, Active)
    assert answer.username == "ada"
    world.revoke(token=token)
    assert ask_sync.introspect(token) is INACTIVE


async def test_scope(world: World, ask: AsyncIntrospector) -> None:
    """`has_scope` is true only if the token has every given scope."""
    sub = world.user()
    issuer = world.client_of("issue")
    made = world.http.post("/tokens", json={"sub": sub, "scope": "a b", "expires_in": 60}, auth=issuer).json()
    answer = await ask.introspect(made["access_token"])
    assert isinstance(answer, Active)
    assert answer.scope == "a b"
    assert answer.has_scope("a")
    assert answer.has_scope("a", "b")
    assert not answer.has_scope("a", "c")


async def test_a_token_of_a_client(world: World, ask: AsyncIntrospector) -> None:
    """A token that speaks for a client itself is active, and says so. A user's token does not."""
    client = world.client_of("token")
    made = world.http.post("/token", data={"grant_type": "client_credentials"}, auth=client).raise_for_status().json()
    answer = await ask.introspect(made["access_token"])
    assert isinstance(answer, Active)
    assert (answer.token_use, answer.sub, answer.username) == ("client", client[0], None)
    world.user()
    answer = await ask.introspect(world.token())
    assert isinstance(answer, Active)
    assert answer.token_use is None


async def test_only_access_tokens(world: World, ask: AsyncIntrospector) -> None:
    """A refresh token is inactive, as any other text is, without a request."""
    world.user()
    tokens_of_login = world.login()
    assert await ask.introspect(tokens_of_login["refresh_token"]) is INACTIVE
    access = tokens_of_login["access_token"]
    assert await ask.introspect(access[:-1] + ("0" if access[-1] != "0" else "1")) is INACTIVE
    world.server.kill()
    for text in ("", "tok_", "\ud800", "x" * 100_000, tokens_of_login["refresh_token"]):
        assert await ask.introspect(text) is INACTIVE


async def test_an_audience(world: World) -> None:
    """With `audience`, a token without an audience or with another one is refused."""
    world.user()
    token = world.token()
    async with AsyncIntrospector(world.server.url, *world.client, audience="orders") as ask:
        assert await ask.introspect(token) is INACTIVE


@pytest.mark.slow
async def test_each_gets_its_own_answer(world: World, ask: AsyncIntrospector) -> None:
    """A hundred concurrent questions about different tokens each get their own answer."""
    subs = {world.user(f"user{number}"): f"user{number}" for number in range(10)}
    asked = [world.token(name) for name in subs.values() for _ in range(10)]
    made_up = [tokens.new(Kind.ACCESS).text for _ in range(100)]
    answers = await asyncio.gather(*map(ask.introspect, asked + made_up))
    assert all(answer is INACTIVE for answer in answers[100:])
    for token, answer in zip(asked, answers[:100], strict=True):
        assert isinstance(answer, Active)
        assert answer.session_id == token[4:16]
    assert {answer.sub for answer in answers[:100] if isinstance(answer, Active)} == set(subs)


def test_threads_share_requests(world: World, ask_sync: Introspector) -> None:
    """Fifty concurrent threads each get the answer to their own question."""
    world.user()
    asked = [world.token() for _ in range(5)] * 10
    answers: dict[int, object] = {}

    def one(number: int) -> None:
        answers[number] = ask_sync.introspect(asked[number])

    threads = [threading.Thread(target=one, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, token in enumerate(asked):
        answer = answers[number]
        assert isinstance(answer, Active)
        assert answer.session_id == token[4:16]


async def test_a_cancelled_caller_leaves_the_others_alone(world: World, ask: AsyncIntrospector) -> None:
    """When some callers of a shared request are cancelled, the other callers get their answer."""
    world.user()
    token = world.token()
    callers = [asyncio.create_task(ask.introspect(token)) for _ in range(10)]
    await asyncio.sleep(0)
    for caller in callers[::2]:
        caller.cancel()
    answers = await asyncio.gather(*callers, return_exceptions=True)
    assert all(isinstance(answer, asyncio.CancelledError) for answer in answers[::2])
    assert all(isinstance(answer, Active) for answer in answers[1::2])


@pytest.mark.slow
async def test_a_question_never_joins_an_older_one(world: World) -> None:
    """A question after an acknowledged revocation is answered `inactive`, even while an older answer is on its way."""
    world.user()
    token = world.token()
    with Network(world.server.port) as network:
        async with AsyncIntrospector(network.url, *world.client) as ask:
            await ask.introspect(token)
            network.hold()
            older = asyncio.create_task(ask.introspect(token))
            await asyncio.to_thread(until, lambda: network.held)
            await asyncio.to_thread(world.revoke, token=token)
            newer = asyncio.create_task(ask.introspect(token))
            await asyncio.to_thread(until, lambda: network.held == 2)
            assert not older.done()
            network.hold(False)
            assert await newer is INACTIVE
            assert isinstance(await older, Active)


async def test_no_service(world: World) -> None:
    """Without a service the answer is Unavailable."""
    async with AsyncIntrospector(f"http://127.0.0.1:{free_port()}", *world.client) as ask:
        with pytest.raises(Unavailable) as caught:
            await ask.introspect(tokens.new(Kind.ACCESS).text)
    assert not isinstance(caught.value, Misconfigured)


async def test_an_outage_is_logged_once_a_minute(
    world: World, now: Callable[[float], None], caplog: pytest.LogCaptureFixture
) -> None:
    """The log has the reason and the remedy, once a minute, and neither the secret nor a password of the URL."""
    port = free_port()
    async with AsyncIntrospector(f"http://me:pa55w0rd@127.0.0.1:{port}", *world.client) as ask:
        for seconds in (0, 30, 29, 2, 58, 2):
            now(seconds)
            with pytest.raises(Unavailable):
                await ask.introspect(tokens.new(Kind.ACCESS).text)
    assert len(caplog.records) == 3
    for record in caplog.records:
        assert (record.name, record.levelname) == ("authsvc_sdk", "WARNING")
        text = record.getMessage()
        assert f"authsvc at http://127.0.0.1:{port}: the service can't be reached: ConnectError" in text
        assert "Check that the service runs" in text
        assert "pa55w0rd" not in text
        assert world.client[1] not in text


async def test_a_refusal_is_logged_once_a_minute(
    world: World, now: Callable[[float], None], caplog: pytest.LogCaptureFixture
) -> None:
    """The log says that the service refuses the client, and what to check."""
    wrong = tokens.new(Kind.SECRET).text
    async with AsyncIntrospector(world.server.url, world.client[0], wrong) as ask:
        for seconds in (0, 30, 31):
            now(seconds)
            with pytest.raises(Misconfigured):
                await ask.introspect(tokens.new(Kind.ACCESS).text)
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert "check its URL, our client_id, secret and permission" in caplog.text
    assert wrong not in caplog.text


async def test_a_wrong_secret_is_said_once(
    world: World, now: Callable[[float], None], caplog: pytest.LogCaptureFixture
) -> None:
    """The feed and the checks share one line, which has the id of the client and not the secret."""
    wrong = tokens.new(Kind.SECRET).text
    async with AsyncIntrospector(world.server.url, world.client[0], wrong, cache=True) as ask:
        await asyncio.to_thread(until, lambda: caplog.records)
        for _ in range(3):
            with pytest.raises(Misconfigured):
                await ask.introspect(tokens.new(Kind.ACCESS).text)
    (record,) = caplog.records
    text = record.getMessage()
    assert f"authsvc at {world.server.url}, client {world.client[0]!r}: the service refused us with 401" in text
    assert text.endswith("until then nothing is cached, and requests with a token may get a 503")
    assert wrong not in text


async def test_the_end_of_an_outage_is_logged(
    world: World, now: Callable[[float], None], caplog: pytest.LogCaptureFixture
) -> None:
    """When the service answers again, the log says so once for each outage that it has."""
    world.user()
    token = world.token()
    url = f"http://me:pa55w0rd@127.0.0.1:{world.server.port}"
    async with AsyncIntrospector(url, *world.client, timeout_s=10) as ask:
        assert isinstance(await ask.introspect(token), Active)
        assert not caplog.records
        (store,) = processes_on(world.server.data_dir)
        for _ in range(2):  # the second outage comes within a minute, so the log has neither it nor its end
            os.kill(store, signal.SIGSTOP)
            try:
                with pytest.raises(Unavailable):
                    await ask.introspect(token)
            finally:
                os.kill(store, signal.SIGCONT)
            await asyncio.to_thread(until, lambda: httpx.get(f"{world.server.url}/readyz", timeout=5).is_success)
            for _ in range(2):
                assert isinstance(await ask.introspect(token), Active)
    assert [record.levelname for record in caplog.records if record.name == "authsvc_sdk"] == ["WARNING", "WARNING"]
    assert caplog.records[-1].getMessage() == f"authsvc at http://127.0.0.1:{world.server.port} answers again"


async def test_https_to_a_port_without_tls(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The log says that the service may speak http."""
    async with AsyncIntrospector(world.server.url.replace("http:", "https:"), *world.client) as ask:
        with pytest.raises(Unavailable):
            await ask.introspect(tokens.new(Kind.ACCESS).text)
    (record,) = caplog.records
    assert "Check that the service speaks https at this address, and not http" in record.getMessage()


async def test_a_store_outage(world: World, ask: AsyncIntrospector) -> None:
    """During an outage of the store the answer is Unavailable, with the service's `Retry-After`."""
    world.user()
    token = world.token()
    assert isinstance(await ask.introspect(token), Active)
    (store,) = processes_on(world.server.data_dir)
    os.kill(store, signal.SIGSTOP)
    try:
        with pytest.raises(Unavailable) as caught:
            await ask.introspect(token)
    finally:
        os.kill(store, signal.SIGCONT)
    assert caught.value.retry_after_s == 1


@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [
        ("secret", "401: wrong client_id or secret .`authsvc client rotate-secret ID`"),
        ("client", "401: wrong client_id or secret"),
        ("permission", "403: our client may not introspect .`authsvc client update ID --permission introspect`"),
        ("url", "404: this is not the address of authsvc"),
    ],
)
async def test_a_refused_client(world: World, wrong: str, remedy: str) -> None:
    """A wrong secret, client, permission or URL raises Misconfigured, which says what to do.

    No token or secret is in its repr.
    """
    client, url = world.client, world.server.url
    if wrong == "secret":
        client = (client[0], tokens.new(Kind.SECRET).text)
    elif wrong == "client":
        client = ("nobody", client[1])
    elif wrong == "permission":
        client = world.client_of("revoke")
    else:
        url += "/elsewhere"
    world.user()
    token = world.token()
    async with AsyncIntrospector(url, *client) as ask:
        with pytest.raises(Misconfigured, match=remedy) as caught:
            await ask.introspect(token)
    assert token not in repr(caught.value)
    assert client[1] not in repr(caught.value)


async def test_used_again_after_closing(world: World) -> None:
    """A closed introspector opens new connections when it is used again."""
    world.user()
    token = world.token()
    ask = AsyncIntrospector(world.server.url, *world.client)
    for _ in range(2):
        assert isinstance(await ask.introspect(token), Active)
        await ask.aclose()


def test_one_event_loop(world: World) -> None:
    """Use from a second event loop raises RuntimeError instead of hanging."""
    world.user()
    token = world.token()
    ask = AsyncIntrospector(world.server.url, *world.client)

    async def first() -> None:
        await ask.introspect(token)

    async def second() -> None:
        with pytest.raises(RuntimeError, match="one event loop"):
            await ask.introspect(token)

    with asyncio.Runner() as runner:
        runner.run(first())
        with asyncio.Runner() as other:
            other.run(second())
        runner.run(ask.aclose())


def test_an_event_loop_that_is_over(world: World) -> None:
    """An introspector that was left open when its event loop ended works in the next event loop."""
    world.user()
    program = """if True:
        import asyncio, sys
        from authsvc_sdk import AsyncIntrospector
        url, client_id, secret, token = sys.argv[1:]
        ask = AsyncIntrospector(url, client_id, secret, cache=True)
        for _ in range(3):
            print(ask.cached(token), asyncio.run(ask.introspect(token)).username)
    """
    arguments = [world.server.url, *world.client, world.token()]
    ran = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == ["None ada"] * 3
    assert ran.stderr == ""


@pytest.mark.parametrize(
    "settings",
    [
        {"timeout_s": 0},
        {"cache_size": 0},
        {"feed_silence_s": 1},
        {"serve_stale_for_s": 60},
        {"serve_stale_for_s": -1, "cache": True},
        {"timeout_s": nan},
        {"timeout_s": inf},
        {"feed_silence_s": nan},
        {"url": "auth.example"},
        {"client_secret": ""},
        {"audience": ""},
        {"foreign_key_prefixes": ("",)},
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, object]) -> None:
    """The constructor refuses settings that contradict each other."""
    given: dict[str, object] = {"url": "http://auth", "client_id": "a", "client_secret": "b"}
    with pytest.raises(ValueError, match=":"):
        AsyncIntrospector(**given | settings)  # type: ignore[arg-type]  # that is the point


AN_ID = "the id of a client, without a colon, and not its secret"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"cach": True}, "TypeError cach: not a setting, did you mean cache?"),
        ({"timeout": 3}, "TypeError timeout: not a setting, did you mean timeout_s?"),
        ({"client_id": ""}, f"ValueError client_id: has to be {AN_ID}; given: ''"),
        ({"client_id": "a:b"}, f"ValueError client_id: has to be {AN_ID}; given: 'a:b'"),
        ({"client_id": "sec_x"}, f"ValueError client_id: has to be {AN_ID}"),
        ({"client_secret": ""}, "ValueError client_secret: has to be text that is not empty"),
        ({"client_secret": b"sesame"}, "TypeError client_secret: has to be text that is not empty"),
        ({"timeout_s": 0}, "ValueError timeout_s: has to be a finite number above 0; given: 0"),
        ({"timeout_s": inf}, "ValueError timeout_s: has to be a finite number above 0; given: inf"),
        ({"timeout_s": "3"}, "TypeError timeout_s: has to be a finite number above 0; given: '3'"),
        ({"cache_size": -1}, "ValueError cache_size: has to be a whole number above 0; given: -1"),
        ({"cache_max_age_s": 0}, "ValueError cache_max_age_s: has to be a number above 0; given: 0"),
        ({"feed_silence_s": 1}, "ValueError feed_silence_s: has to be a number above 1; given: 1"),
        ({"serve_stale_for_s": -1}, "ValueError serve_stale_for_s: has to be a number, 0 or more; given: -1"),
        ({"serve_stale_for_s": 60}, "ValueError serve_stale_for_s: needs cache=True"),
        ({"audience": ["a"]}, "TypeError audience: has to be None, or text that is not empty; given: ['a']"),
        ({"audience": ""}, "ValueError audience: has to be None, or text that is not empty; given: ''"),
        ({"tls": False}, "TypeError tls: has to be an ssl.SSLContext, or None; given: False"),
        ({"cache": "off"}, "TypeError cache: has to be True or False; given: 'off'"),
        (
            {"foreign_key_prefixes": ("sk_live_", 1)},
            "ValueError foreign_key_prefixes: has to be a tuple of texts that are not empty; given: ('sk_live_', 1)",
        ),
        (
            {"url": b"http://me:pa55@auth"},
            "TypeError url: has to be http:// or https://, a host, perhaps a port and a path; given: b'http://auth'",
        ),
    ],
    ids=str,
)
def test_what_is_said_about_a_setting(settings: dict[str, object], told: str) -> None:
    """The message names one setting, in plain words, with the value. It never has the secret."""
    given: dict[str, object] = {"url": "http://auth", "client_id": "a", "client_secret": "b"}
    with pytest.raises((TypeError, ValueError)) as caught:
        Introspector(**given | settings)  # type: ignore[arg-type]  # that is the point
    assert f"{type(caught.value).__name__} {caught.value}" == told


def test_a_setting_like_no_other() -> None:
    """A setting whose name is like no other gets the list of all."""
    with pytest.raises(TypeError, match=r"^colour: not a setting, did you mean timeout_s or audience or .*stale_for_s"):
        AsyncIntrospector("http://auth", "a", "b", colour=1)  # type: ignore[call-arg]  # that is the point


WRONG_TYPES: list[dict[str, object]] = [
    {"tls": False},
    {"tls": "/etc/ssl/ca.pem"},
    {"audience": ["orders"]},
    {"foreign_key_prefixes": "sk_live_"},
    {"timeout_s": "3"},
    {"feed_silence_s": None},
    {"serve_stale_for_s": True, "cache": True},
    {"cache": "off"},
    {"cache_size": 10.5},
    {"url": None},
    {"client_secret": None},
    {"time_out": 3},
]


@pytest.mark.parametrize("settings", WRONG_TYPES, ids=str)
@pytest.mark.parametrize("make", [AsyncIntrospector, Introspector])
def test_settings_of_a_wrong_type(make: Callable[..., object], settings: dict[str, object]) -> None:
    """The constructor refuses a setting of a wrong type and one that does not exist, and names it."""
    given: dict[str, object] = {"url": "http://auth", "client_id": "a", "client_secret": "b"}
    with pytest.raises(TypeError, match=next(iter(settings))):
        make(**given | settings)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("auth.example", "auth.example"),
        ("http://me:pa55@auth:80000", "http://auth:80000"),
        ("http://auth:port", "http://auth:port"),
        ("http://auth:0", "http://auth:0"),
        ("http://me:pa55/@auth", "http://auth"),
        ("http://[::1", "http://[::1"),
        ("http://auth\x00", "http://auth\\x00"),
        ("https://auth.example.org\n", "https://auth.example.org\\n"),
        ("http://auth/ /", "http://auth/ /"),
        ("http://auth?a=b", "http://auth?a=b"),
        ("http://auth/#", "http://auth/#"),
        ("http://", "http://"),
        ("http://me:pa55@:80", "http://:80"),
    ],
)
def test_a_malformed_url(url: str, shown: str) -> None:
    """The constructor refuses a URL to which no request could go, and shows it without a password."""
    with pytest.raises(ValueError, match=rf"^url: has to be .*: '{re.escape(shown)}'$"):
        AsyncIntrospector(url, "a", "b")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000",
        "https://auth.example.org/",
        "http://me:pa55@[::1]:65535",
        "http://auth_1/base/path",
        "http://bücher",
    ],
)
def test_a_url(url: str) -> None:
    """A URL may have a port, a path, and a name and a password, which nothing uses."""
    AsyncIntrospector(url, "a", "b")


def test_type_checkers_know_all_settings() -> None:
    """`Settings` has the settings of `Config`, each with its type."""
    of_the_client = {"url", "client_id", "client_secret"}
    assert get_type_hints(Settings) == {
        name: kind for name, kind in get_type_hints(Config).items() if name not in of_the_client
    }


def test_importing_it_brings_nothing_of_the_service() -> None:
    """Importing the SDK loads no other module of the service and none of its dependencies but httpx."""
    names = "import sys; import authsvc_sdk; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", names], capture_output=True, text=True, check=True).stdout.split()
    assert not {"authsvc", "redis", "starlette", "fastapi", "argon2", "pydantic", "msgspec", "uvicorn"} & set(loaded)
    assert "httpx" in loaded


async def test_a_lost_request_is_repeated(world: World) -> None:
    """The SDK repeats a lost request on another connection, within the time limit."""
    world.user()
    token = world.token()
    with Network(world.server.port) as network:
        async with AsyncIntrospector(network.url, *world.client) as ask:
            await ask.introspect(token)
            network.hole()
            answer = asyncio.create_task(ask.introspect(token))
            await asyncio.to_thread(until, lambda: network.swallowed)
            network.hole(False)
            assert isinstance(await answer, Active)


@pytest.mark.parametrize("timeout_s", [0.3, slow(1.0)])
async def test_the_time_bound(world: World, timeout_s: float) -> None:
    """In a black hole a caller waits for the time limit and no longer, in threads too."""
    token = tokens.new(Kind.ACCESS).text
    with Network(world.server.port) as network:
        network.hole()
        async with AsyncIntrospector(network.url, *world.client, timeout_s=timeout_s) as ask:
            began = time.monotonic()
            with pytest.raises(Unavailable):
                await ask.introspect(token)
            in_time(time.monotonic() - began, timeout_s + 1)
        with Introspector(network.url, *world.client, timeout_s=timeout_s) as ask_sync:
            began = time.monotonic()
            with pytest.raises(Unavailable):
                await asyncio.to_thread(ask_sync.introspect, token)
            in_time(time.monotonic() - began, timeout_s + 1)
