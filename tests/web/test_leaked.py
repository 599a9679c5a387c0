"""`POST /leaked` and GitHub's call: who may report, what is answered, and when."""

import asyncio
import hashlib
import json
import time
from base64 import b64encode
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.hashes import SHA384

from authsvc.core import token as tokens
from authsvc.core.leak import MAX_TOKENS
from authsvc.core.token import Kind
from authsvc.errors import StartupError
from authsvc.settings import Settings
from authsvc.web import leaked
from tests.conftest import APP_SCOPE, CHEAP, Service
from tests.github import KEY, KEY_ID, finds, published, signed
from tests.processes import in_time
from tests.web.conftest import StoreCalls, assert_problem

FINDER = "https://git.example/ada/notes/blob/main/.env"


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers need not wait where a test is not about their time."""
    monkeypatch.setattr(leaked, "STEP_S", 0.001)


async def report(service: Service, *texts: str, **fields: Any) -> httpx.Response:
    return await service.http.post("/leaked", json={"tokens": texts, **fields})


@pytest.mark.usefixtures("step")
async def test_the_answer_is_always_the_same(service: Service) -> None:
    """Live tokens, dead tokens, garbage and nothing: 202 and an empty object."""
    await service.user()
    grant = await service.login()
    live, dead = grant["refresh_token"], tokens.new(Kind.ACCESS).text
    answers = [
        await report(service, *texts, url=FINDER) for texts in ([live], [live], [dead], ["garbage"], [], [live, dead])
    ]
    assert {(answer.status_code, answer.text, answer.headers["cache-control"]) for answer in answers} == {
        (202, "{}", "no-store")
    }
    assert not await service.active(grant["access_token"])


@pytest.mark.usefixtures("step")
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"tokens": "tok_"},
        {"tokens": [7]},
        {"tokens": [None]},
        {"tokens": ["x"] * (MAX_TOKENS + 1)},
        {"tokens": [], "url": "ftp://git.example/a"},
        {"tokens": [], "url": "javascript:alert(1)"},
        {"tokens": [], "url": "https://git.example/\u001b[31m"},
        {"tokens": [], "url": "https://git.example/ a"},
        {"tokens": [], "url": "https://git.example/" + "a" * 1000},
        {"tokens": [], "url": 7},
        {"tokens": [], "more": 1},
    ],
)
async def test_a_report_that_does_not_fit(service: Service, store_calls: StoreCalls, body: Any) -> None:
    """It is refused without asking the store."""
    store_calls.reset()
    assert_problem(await service.http.post("/leaked", json=body), 400, "invalid_request")
    assert store_calls.made() == {}


@pytest.mark.usefixtures("step")
async def test_a_thousand_tokens_fit(service: Service) -> None:
    """A report of the largest size fits into the bound of a body; a larger body is 413."""
    await service.user()
    grants = [await service.login() for _ in range(3)]
    texts = [tokens.new(Kind.ACCESS).text for _ in range(MAX_TOKENS - 3)] + [one["access_token"] for one in grants]
    assert (await report(service, *texts, url="https://git.example/" + "a" * 980)).status_code == 202
    assert not any([await service.active(one["access_token"]) for one in grants])
    assert_problem(await report(service, "x" * 70_000), 413, "too_large")


@pytest.mark.usefixtures("step")
async def test_too_many_reports(service: Service) -> None:
    """The sixty-first report of an address within five minutes is 429, with the time to wait."""
    token = tokens.new(Kind.ACCESS).text
    for _ in range(60):
        assert (await report(service, token)).status_code == 202
    refused = await report(service, token)
    assert_problem(refused, 429, "too_many_attempts")
    assert int(refused.headers["retry-after"]) <= 300


@pytest.mark.parametrize(("passed_s", "left_s"), [(0.004, 0.996), (0.31, 0.69), (1.0, 0), (1.001, 0.999), (2.7, 0.3)])
def test_an_answer_leaves_at_a_step(passed_s: float, left_s: float) -> None:
    """However long the work took, the answer leaves a second after the report came, or two, and so on."""
    assert leaked.to_next_step(passed_s) == pytest.approx(left_s)


async def test_only_reports_with_tokens_wait(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Garbage is answered at once, and so is a refusal."""
    monkeypatch.setattr(leaked, "STEP_S", 3600)
    assert (await report(service, "garbage", tokens.new(Kind.SECRET).text)).status_code == 202
    assert (await report(service, url="ftp://git.example/a")).status_code == 400
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await report(service, tokens.new(Kind.ACCESS).text)


@pytest.mark.slow
async def test_the_time_of_the_answer(service: Service) -> None:
    """Reports of a thousand live tokens and of a thousand dead ones are answered after the same time."""
    took: dict[str, list[float]] = {"live": [], "dead": []}
    for round_ in range(5):
        issued = [
            await service.http.post("/tokens", json={"sub": f"elsewhere|{round_}-{n}"}, auth=service.admin)
            for n in range(MAX_TOKENS)
        ]
        texts = [answer.json()["access_token"] for answer in issued]
        for state in ("live", "dead"):
            started = time.perf_counter()
            assert (await report(service, *texts)).status_code == 202
            took[state].append(time.perf_counter() - started)
    live_s, dead_s = (sorted(took[state])[2] for state in ("live", "dead"))
    in_time(abs(live_s - dead_s), leaked.STEP_S / 10, took)


# GitHub


class TestWithoutKeys:
    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(**CHEAP | {"github_keys": None})

    async def test_off_by_default(self, service: Service) -> None:
        """Without the public keys the call is not served."""
        body = finds()
        assert_problem(await service.http.post("/leaked/github", content=body, headers=signed(body)), 404, "not_found")


@pytest.mark.usefixtures("step")
class TestGithub:
    @pytest.fixture
    def settings(self) -> Settings:
        keys = published(("old", ec.generate_private_key(ec.SECP256R1())), (KEY_ID, KEY))
        return Settings(**CHEAP | {"app_scope": APP_SCOPE, "github_keys": keys})

    async def post(self, service: Service, body: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
        return await service.http.post("/leaked/github", content=body, headers=headers or signed(body))

    async def test_a_find_ends_the_session(self, service: Service) -> None:
        """The token ends, the trail names GitHub and the place, and the answer labels each find by its form alone."""
        await service.user()
        grant = await service.login()
        live, dead = grant["access_token"], tokens.new(Kind.ACCESS).text
        answer = await self.post(service, finds(live, dead, "not one"))
        assert answer.status_code == 200
        assert [one["label"] for one in answer.json()] == ["true_positive", "true_positive", "false_positive"]
        assert answer.json()[0] == {
            "token_hash": b64encode(hashlib.sha256(live.encode()).digest()).decode(),
            "token_type": "authsvc_token",
            "label": "true_positive",
        }
        assert live not in answer.text
        assert not await service.active(live)
        trail = (await service.http.get("/admin/audit", auth=service.admin)).json()["items"]
        assert trail[0]["event"] == "token.leaked"
        assert trail[0]["actor"] == "github"
        assert trail[0]["details"]["url"] == "https://github.com/ada/notes/blob/main/.env"
        assert (await self.post(service, finds(live, dead, "not one"))).text == answer.text, (
            "dead now, and no difference"
        )

    @pytest.mark.parametrize("url", ["", None, "some_url", "https://git.example/\u001b"])
    async def test_a_place_may_be_anything(self, service: Service, url: str | None) -> None:
        """GitHub says that the URL may be empty. The token ends all the same."""
        await service.user()
        grant = await service.login()
        assert (await self.post(service, finds(grant["access_token"], url=url))).status_code == 200
        assert not await service.active(grant["access_token"])

    async def test_only_githubs_signature_of_these_bytes(self, service: Service) -> None:
        """Another key, body, hash or name, and fields that are missing or doubled, are refused, and nothing ends."""
        await service.user()
        token = (await service.login())["access_token"]
        body, right = finds(token), signed(finds(token))
        other = ec.generate_private_key(ec.SECP256R1())
        field = "Github-Public-Key-Signature"
        wrong = [
            signed(body, other),
            signed(body + b" "),
            signed(json.dumps(json.loads(body), indent=1).encode()),
            signed(body, name="unknown"),
            signed(body, name="old"),
            right | {field: b64encode(KEY.sign(body, ec.ECDSA(SHA384()))).decode()},
            right | {field: ""},
            right | {field: "%%%"},
            right | {field: right[field][:-8]},
            right | {field: "A" * 5000},
            {"Content-Type": "application/json"},
            {name: value for name, value in right.items() if name != field},
            {name: value for name, value in right.items() if name != "Github-Public-Key-Identifier"},
        ]
        for headers in wrong:
            assert_problem(await self.post(service, body, headers), 403, "access_denied")
        doubled = [*right.items(), (field, right[field])]
        assert_problem(await service.http.post("/leaked/github", content=body, headers=doubled), 403, "access_denied")
        assert await service.active(token)
        assert (await self.post(service, body)).status_code == 200
        assert not await service.active(token)

    @pytest.mark.parametrize(
        "body", [b"", b"{}", b"[", b'[{"token": 7, "type": "a"}]', b'[{"type": "a"}]', b'"a"', b"[null]"]
    )
    async def test_a_signed_body_that_does_not_fit(self, service: Service, body: bytes) -> None:
        assert_problem(await self.post(service, body), 400, "invalid_request")

    async def test_there_is_no_limit_for_github(self, service: Service) -> None:
        """GitHub has one address for all its finds."""
        body = finds(tokens.new(Kind.ACCESS).text)
        for _ in range(70):
            assert (await self.post(service, body)).status_code == 200

    async def test_many_finds(self, service: Service) -> None:
        """A thousand finds are one report. More are refused."""
        texts = [tokens.new(Kind.ACCESS).text for _ in range(MAX_TOKENS)]
        assert len((await self.post(service, finds(*texts))).json()) == MAX_TOKENS
        assert_problem(await self.post(service, finds(*texts, texts[0])), 400, "invalid_request")
        assert_problem(await self.post(service, b" " * 600_000), 413, "too_large")


@pytest.mark.parametrize(
    "keys",
    [
        "",
        "{}",
        "[]",
        '{"public_keys": []}',
        '{"public_keys": [{"key_identifier": "a"}]}',
        '{"public_keys": [{"key_identifier": "a", "key": "no key"}]}',
        published(("a", ec.generate_private_key(ec.SECP384R1()))),
        published(("a", ed25519.Ed25519PrivateKey.generate())),
        published((KEY_ID, KEY), ("a", ed25519.Ed25519PrivateKey.generate())),
    ],
)
def test_keys_that_are_none(keys: str) -> None:
    """The start says what the file has to hold."""
    with pytest.raises(StartupError, match="AUTHSVC_GITHUB_KEYS"):
        Settings.from_environment({"AUTHSVC_GITHUB_KEYS": keys})


def test_the_keys_may_come_from_a_file(tmp_path: Any) -> None:
    """As GitHub answers them."""
    (tmp_path / "keys.json").write_text(published((KEY_ID, KEY)))
    settings = Settings.from_environment({"AUTHSVC_GITHUB_KEYS_FILE": str(tmp_path / "keys.json")})
    assert "github" in settings.capabilities
    assert list(settings.github_public_keys) == [KEY_ID]
    assert "github" not in Settings().capabilities
