"""Input that is malformed, too large or of the wrong kind: the documented 4xx, and the store is not asked.

A call that a client or an admin authenticates for may read that caller's record first, which is one MGET.
"""

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authsvc.api import statuses
from authsvc.api.parsing import load_form, load_json, plain, validated
from authsvc.api.routes import ROUTES
from authsvc.api.schemas import fields
from authsvc.errors import AuthError
from tests.conftest import PASSWORD, Service, bearer
from tests.selection import examples, one_in
from tests.web.conftest import StoreCalls, assert_problem

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
STATUSES = {400, 401, 403, 404, 405, 409, 413, 415, 429, 431, 500, 503}
DESCRIPTION = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]*")

LOGIN: dict[str, Any] = {"username": "ada", "password": PASSWORD}
# One JSON call of each kind of caller, and the forms.
JSON_CALLS = ["/login", "/password/reset", "/tokens", "/admin/users", "/admin/clients", "/introspect/batch"]
FORM_CALLS = ["/token", "/introspect", "/revoke"]


@pytest.fixture
def send(service: Service, store_calls: StoreCalls) -> Any:
    """Send raw bytes to a call, with the admin client's credentials; at most the one read for these is made."""

    async def call(
        path: str, content: Any, content_type: str | None = JSON, method: str = "POST", **headers: str
    ) -> httpx.Response:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if content_type is not None:
            given["Content-Type"] = content_type
        auth = httpx.USE_CLIENT_DEFAULT if path in ("/login", "/password/reset") else service.admin
        store_calls.reset()
        answer = await service.http.request(method, path, content=content, headers=given, auth=auth)
        if 400 <= answer.status_code < 500:
            assert_problem(answer, answer.status_code, answer.json()["error"])
            assert answer.status_code in STATUSES
            made = store_calls.made()
            assert made in ({}, {"mget": 1}), made
            if auth is httpx.USE_CLIENT_DEFAULT:
                assert made == {}
        return answer

    return call


def dumped(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


async def endless(chunks: list[int]) -> AsyncIterator[bytes]:
    while True:
        chunks.append(1)
        yield b" " * 8192


@pytest.mark.parametrize("path", JSON_CALLS + FORM_CALLS)
async def test_a_body_over_the_limit(send: Any, path: str) -> None:
    """One byte over the limit is 413, with or without a true length, and the connection is not used again."""
    kind = FORM if path in FORM_CALLS else JSON
    most = limit_of(path)
    over = b"x" * (most + 1)
    for headers in ({}, {"Content_Length": "10"}, {"Content_Length": "0"}):
        answer = await send(path, over, kind, **headers)
        assert_problem(answer, 413, "too_large")
        assert answer.headers["connection"] == "close"
    for length in (str(most + 1), "1" * 40, "-1", "1e3", "x", ""):
        assert_problem(await send(path, b"{}", kind, Content_Length=length), 413, "too_large")


@pytest.mark.parametrize("path", ["/login", "/introspect", "/admin/users"])
async def test_a_chunked_body_without_end(send: Any, path: str) -> None:
    """An endless body is read up to the limit and no further."""
    chunks: list[int] = []
    answer = await send(path, endless(chunks), FORM if path in FORM_CALLS else JSON)
    assert_problem(answer, 413, "too_large")
    assert len(chunks) <= limit_of(path) // 8192 + 2


async def test_a_body_of_the_limit_is_read(service: Service) -> None:
    """A body of the very limit is still read: what is refused is what it says."""
    whole = dumped(**LOGIN)
    padded = whole + b" " * (limit_of("/login") - len(whole))
    answer = await service.http.post("/login", content=padded, headers={"Content-Type": JSON})
    assert_problem(answer, 401, "invalid_grant")


def test_anonymous_calls_take_less() -> None:
    """A body that is read before anybody has authenticated has 20 KiB: a large one holds the event loop up."""
    before = [row.path for row in ROUTES if "anyone" in row.who and row.takes is not None] + FORM_CALLS
    # A thousand tokens; and what GitHub has signed, which is checked before it is parsed.
    larger = {"/leaked": 64 * 1024, "/leaked/github": 512 * 1024}
    assert {path: limit_of(path) for path in before} == dict.fromkeys(before, 20 * 1024) | larger
    assert {"/login", "/password/reset", "/token", "/introspect", "/revoke"} <= set(before)


async def test_the_longest_login_fits(service: Service) -> None:
    """A login with the longest values is read, also if each character of them is escaped."""
    longest = {"username": "a" * 254, "password": "p" * 1024, "device": "d" * 120, "scope": "s" * 1000}
    escaped = {name: "".join([f"\\u{ord(char):04x}" for char in text]) for name, text in longest.items()}
    members = ",".join([f'"{name}":"{text}"' for name, text in escaped.items()])
    answer = await service.http.post("/login", content=f"{{{members}}}", headers={"Content-Type": JSON})
    assert answer.status_code != 413


async def test_a_large_document_is_not_walked_through(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """An anonymous document that does not fit its model is refused before Python code looks at its values."""
    walked: list[object] = []
    monkeypatch.setattr("authsvc.web.reading.load_json", walked.append)
    for body in (b'{"a":[' + b'{"a":1},' * 1000 + b"{}]}", b"[" * 5000, b'{"username":{"a":1}}', b'{"x":1}', b"{"):
        for path in ("/login", "/password/reset"):
            answer = await service.http.post(path, content=body, headers={"Content-Type": JSON})
            assert_problem(answer, 400, "invalid_request")
    assert walked == []


def limit_of(path: str) -> int:
    return next(row.max_body for row in ROUTES if (row.method, row.path) == ("POST", path))


@pytest.mark.parametrize(
    "content_type",
    one_in(
        4,
        [
            "",
            "text/plain",
            "multipart/form-data; boundary=x",
            "application/octet-stream",
            "application/xml",
            "application/json; charset=utf-16",
            "application/json; charset=utf-7",
            "application/json; charset=latin-1",
            "application/json;charset=utf-8;charset=utf-16",
            "application/json, text/plain",
            "application/jsonx",
        ],
    ),
)
async def test_content_types(send: Any, content_type: str) -> None:
    """A body that is not declared as the expected type in UTF-8 gets 415, unread."""
    for path in JSON_CALLS + FORM_CALLS:
        assert_problem(await send(path, b"{}", content_type), 415, "unsupported_media_type")


@pytest.mark.parametrize("body", [b"", b"{}", b"token=x"])
async def test_no_content_type(send: Any, body: bytes) -> None:
    """A call that needs a body and gets none, or one without a content type, is 400."""
    for path in JSON_CALLS + FORM_CALLS:
        assert_problem(await send(path, body, None), 400, "invalid_request")


@pytest.mark.parametrize("name", ["utf-16", "ISO-8859-1", '"UTF-8"', "windows-1252", ""])
async def test_any_charset_of_a_form(service: Service, name: str) -> None:
    """The octets of a form are ASCII, and its escapes UTF-8: `charset` and other parameters change nothing."""
    for parameter in (f"; charset={name}", f";Charset = {name} ; boundary=x", f";{name}"):
        headers = {"Content-Type": f"application/x-www-form-urlencoded{parameter}"}
        answer = await service.http.post("/introspect", content=b"token=x", headers=headers, auth=service.admin)
        assert answer.json() == {"active": False}


@pytest.mark.parametrize("name", ["utf-8", "UTF-8", "utf8", "UTF8", '"utf-8"', "unicode-1-1-utf-8"])
async def test_spellings_of_utf_8(service: Service, name: str) -> None:
    """JSON is taken with every name of UTF-8, and with parameters that mean nothing for JSON."""
    for parameter in (f"; charset={name}", f";CHARSET={name};odata=verbose"):
        headers = {"Content-Type": f"application/json{parameter}"}
        body = '{"username": "zoë", "password": "a walk by the river"}'.encode()
        assert_problem(await service.http.post("/login", content=body, headers=headers), 401, "invalid_grant")


@pytest.mark.parametrize("path", JSON_CALLS + FORM_CALLS)
async def test_the_other_type_and_two_types(service: Service, send: Any, path: str) -> None:
    """A form where JSON belongs, JSON where a form belongs, and two types at once are 415."""
    other = JSON if path in FORM_CALLS else FORM
    assert_problem(await send(path, b"a=b", other), 415, "unsupported_media_type")
    twice = [("Content-Type", JSON), ("Content-Type", FORM)]
    for headers in (twice, twice[::-1], twice[:1] * 2, twice[1:] * 2):
        answer = await service.http.post(path, content=b"{}", headers=headers, auth=service.admin)
        assert_problem(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "identity, gzip", "x", "GZIP"])
async def test_compressed_bodies(send: Any, coding: str) -> None:
    """A compressed body is not unpacked: 415."""
    for path in JSON_CALLS + FORM_CALLS:
        kind = FORM if path in FORM_CALLS else JSON
        assert_problem(await send(path, b"\x1f\x8b", kind, Content_Encoding=coding), 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"']
)
async def test_utf_8_may_be_said(service: Service, content_type: str) -> None:
    """UTF-8 may be declared or not, in any case."""
    await service.user()
    answer = await service.http.post("/login", content=dumped(**LOGIN), headers={"Content-Type": content_type})
    assert answer.status_code == 200


BAD_JSON = [
    b"",
    b" ",
    b"null",
    b"1",
    b'"x"',
    b"[]",
    b'[{"username":"ada"}]',
    b"{",
    b"{}{}",
    b"{'username':1}",
    b'{"username":"ada",}',
    b'{"username":"ada","username":"eve","password":"x"}',
    b'{"username":"ada","user\\u006eame":"eve","password":"x"}',
    b'{"username":"ada","password":"x","device":{"a":1,"a":2}}',
    b'\xef\xbb\xbf{"username":"ada","password":"x"}',
    '{"username":"ada","password":"x"}'.encode("utf-16"),
    b'{"username":"\xff","password":"x"}',
    b'{"username":"\xc0\xaf","password":"x"}',
    b'{"username":"\xed\xa0\x80","password":"x"}',
    b'{"username":"\\ud800","password":"x"}',
    b'{"username":"a","password":"\\udfff\\ud800"}',
    b'{"\\ud800":"a"}',
    b'{"username":"a\\u0000","password":"x"}',
    b'{"username":"a\x00","password":"x"}',
    b'{"user\\u0000name":"a"}',
    b'{"username":"a","password":NaN}',
    b'{"username":"a","password":Infinity}',
    b'{"username":"a","password":-Infinity}',
    b'{"username":"a","password":1e999}',
    b'{"username":"a","password":-1e999}',
    b'{"username":"a","password":' + b"9" * 15000 + b"}",
    b'{"username":"a","password":9223372036854775808000}',
    b"[" * 15000,
    b'{"a":' * 3000,
    b'{"a":' * 2500 + b"1" + b"}" * 2500,
    b'{"claims":' + b"[" * 30 + b"]" * 30 + b"}",
    b"{" + b",".join(b'"%d":1' % number for number in range(1400)) + b"}",
    b"\x00" * 100,
]


@pytest.mark.parametrize("content", one_in(4, BAD_JSON), ids=lambda content: repr(content[:40]))
async def test_bad_json(send: Any, content: bytes) -> None:
    """Bytes that are no plain JSON object, repeated keys, NUL, strange numbers: 400."""
    for path in JSON_CALLS:
        assert_problem(await send(path, content), 400, "invalid_request")


@pytest.mark.parametrize(
    "number", ["1e999", "-1e999", "NaN", "Infinity", "9" * 20, "-" + "9" * 4000, "[" * 30 + "]" * 30]
)
async def test_numbers_in_claims(send: Any, number: str) -> None:
    """Claims may be anything, but numbers that JSON can't say again and deep nests; no user is made."""
    content = f'{{"username":"ada","claims":{{"a":[{number}]}}}}'.encode()
    assert_problem(await send("/admin/users", content), 400, "invalid_request")


BAD_FORMS = [
    b"token=x&token=y",
    b"token=x&token=x",
    b"token=x&token=",
    b"token=x&%74oken=y",
    b"token=x&a=1&a=2",
    b"token=%00",
    b"token=x&scope=%00",
    b"token=%ff",
    b"token=%c0%af",
    b"token=%ed%a0%80",
    b"token=\xff",
    "token=é".encode(),
    b"\xef\xbb\xbftoken=x",
    b"&".join(b"a%d=1" % number for number in range(101)),
    b"&" * 16000,
]


@pytest.mark.parametrize("content", one_in(4, BAD_FORMS), ids=lambda content: repr(content[:40]))
async def test_bad_forms(send: Any, content: bytes) -> None:
    """Repeated fields, NUL, bytes that are no UTF-8, too many fields: 400."""
    for path in FORM_CALLS:
        assert_problem(await send(path, b"grant_type=refresh_token&" + content, FORM), 400, "invalid_request")


async def test_a_form_is_decoded_once(service: Service) -> None:
    """A form is decoded once, so a token that was encoded twice is no token."""
    await service.user()
    token = (await service.login())["access_token"]
    for prefix, active in (("%74", True), ("%2574", False)):
        form = {"content": f"token={prefix}{token[1:]}", "headers": {"Content-Type": FORM}}
        answer = await service.http.post("/introspect", auth=service.admin, **form)  # type: ignore[arg-type]
        assert answer.json()["active"] is active


@pytest.mark.parametrize(
    "path",
    ["/login", "/token", "/introspect", "/revoke", "/tokens", "/password/reset", "/admin/users", "/admin/clients"],
)
async def test_a_query_beside_a_body(service: Service, store_calls: StoreCalls, path: str) -> None:
    """A call with a body refuses any query."""
    for query in ("x", "token=x", "username=ada", "%ff", "a=1&a=1"):
        answer = await service.http.post(f"{path}?{query}", json={}, auth=service.admin)
        assert_problem(answer, 400, "invalid_request")
    assert store_calls.made() == {}


@pytest.mark.parametrize(
    "path",
    [
        "/logout",
        "/password",
        "/sessions/4fQ0kzPq1LxA",
        "/admin/users/x",
        "/admin/users/x/sessions",
        "/admin/users/x/reset-code",
        "/admin/clients/x",
        "/admin/clients/x/secret",
    ],
)
async def test_a_query_on_a_change(service: Service, store_calls: StoreCalls, path: str) -> None:
    """A change is not made where the query asks for something that is not there, like a dry run."""
    await service.user("root", roles=("admin",))
    root = bearer((await service.login("root"))["access_token"])
    store_calls.reset()
    methods = [
        route.method
        for route in ROUTES
        if route.path.replace("{sub}", "x")
        == path.replace("clients/x", "clients/{client_id}").replace("4fQ0kzPq1LxA", "{session_id}")
    ]
    for method in methods:
        if method != "GET":
            answer = await service.http.request(method, f"{path}?dry_run=true", headers=root)
            assert_problem(answer, 400, "invalid_request")
    assert methods
    assert store_calls.made() == {}


@pytest.mark.parametrize(
    "query",
    one_in(
        4,
        [
            "all=yes",
            "all=True",
            "all=1",
            "al=true",
            "all=true&all=true",
            "all=true&x=1",
            "all=%ff",
            "all=true%00",
            "ALL=true",
        ],
    ),
)
async def test_the_query_of_a_change(service: Service, query: str) -> None:
    """`DELETE /sessions` takes `all` as `true` or `false`, once, and nothing that only looks like it."""
    await service.user()
    token = (await service.login())["access_token"]
    other = (await service.login())["access_token"]
    assert_problem(await service.http.delete(f"/sessions?{query}", headers=bearer(token)), 400, "invalid_request")
    assert await service.active(other)


@pytest.mark.parametrize(
    "query",
    one_in(
        4,
        [
            *(
                f"limit={limit}"
                for limit in ("0", "-1", "1001", "1.0", "1e2", "+5", "%205", "1_0", "x", "9" * 5000, "0x1", "%D9%A3")
            ),
            *(
                f"cursor={cursor}"
                for cursor in (
                    "x",
                    "-1",
                    "18446744073709551616",
                    "99999999999999999999",
                    "1!x",
                    "1!session:x",
                    "9" * 401,
                    "%0a",
                    "5%0d%0aDEL",
                    "0-0",
                )
            ),
            "limit=1&limit=2",
            "x=1",
        ],
    ),
)
async def test_pages(service: Service, store_calls: StoreCalls, query: str) -> None:
    """A limit is 1 to 1000 in digits, and a cursor comes from an earlier page. The store sees no other cursor."""
    for path in ("/admin/users", "/admin/clients", "/admin/audit"):
        store_calls.reset()
        answer = await service.http.get(f"{path}?{query}", auth=service.admin)
        assert_problem(answer, 400, "invalid_request")
        assert store_calls.made() in ({}, {"mget": 1})


async def test_an_empty_parameter_is_none(service: Service) -> None:
    """An empty limit or cursor counts as left out, as in a form."""
    assert (await service.http.get("/admin/users?limit=&cursor=", auth=service.admin)).status_code == 200


NOT_INTEGERS = [-1, 0, 1.5, 1.0, True, False, "1", "x", [], {}, 1e308, 2**63, 10 * 365 * 86400 + 1]


@pytest.mark.parametrize("number", one_in(4, NOT_INTEGERS), ids=repr)
async def test_lifetimes(send: Any, number: Any) -> None:
    """A lifetime is a whole number of seconds, written as one, and within bounds."""
    calls = [("/tokens", {"sub": "x", "expires_in": number})]
    fields = ("access_ttl_s", "idle_ttl_s", "session_ttl_s")
    calls += [("/admin/clients", {"name": "x", field: number}) for field in fields]
    for path, body in calls:
        assert_problem(await send(path, dumped(**body)), 400, "invalid_request")
    if number != 0 or number is False:
        content = dumped(overlap_s=number)
        if number not in (1.0, True) or not isinstance(number, int):
            assert_problem(await send("/admin/clients/app/secret", content), 400, "invalid_request")


def each(path: str, rest: dict[str, Any], name: str, *values: Any) -> list[tuple[str, dict[str, Any]]]:
    """A body for each of the values that the field is given."""
    return [(path, rest | {name: value}) for value in values]


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("/login", {}),
    ("/login", {"username": "ada"}),
    ("/login", {"password": "x"}),
    *each("/login", LOGIN, "username", None, 1, True, ["ada"], {"$ne": ""}, "a" * 4097),
    *each("/login", LOGIN, "password", None, 1, True, [PASSWORD], {}),
    *each("/login", LOGIN, "cookie", "true", 1, 0, None, "on"),
    *each("/login", LOGIN, "device", "", "a\nb", "a\u2028b", "\x85", "x" * 121, 1),
    *each("/login", LOGIN, "scope", None, ["a"], "a" * 4097),
    *[("/login", LOGIN | {name: "x"}) for name in ("sub", "roles", "role", "admin", "Username", "grant_type", "")],
    ("/password/reset", {"reset_code": 1, "new_password": PASSWORD}),
    ("/password/reset", {"reset_code": "rst_x"}),
    *each("/tokens", {}, "sub", "", "a b", "a{b}", "x" * 256, "é", "a\nb", "a*", None, 1, "a\\", "a#"),
    *each("/tokens", {"sub": "x"}, "roles", "admin", [1], [None], {}, [["a"]]),
    *[("/tokens", {"sub": "x", name: "y"}) for name in ("username", "aud", "client_id", "refresh", "claims")],
    *each("/admin/users", {"username": "x"}, "roles", "a", [1], [""], ["a b"], ["x" * 65], ["{}"]),
    *each("/admin/users", {"username": "x"}, "claims", [], "x", None, 1),
    *each("/admin/users", {}, "username", "", "a b", "a\tb", "\u202eada", "a\u200bb", "a{b}", ".a", "x" * 255),
    *[
        ("/admin/users", {"username": "x", name: "y"})
        for name in ("sub", "epoch", "version", "status", "hash", "created_at")
    ],
    *each("/admin/clients", {}, "name", "", None, 1, "x" * 121, "a\nb"),
    *each("/admin/clients", {"name": "x"}, "permissions", "admin", ["root"], [1], None),
    *each("/admin/clients", {"name": "x"}, "audience", "x", [1], [""], ["a b"], ['"'], ["x"] * 65),
    *[("/admin/clients", {"name": "x", name: "y"}) for name in ("client_id", "client_secret", "secrets", "epoch")],
    ("/admin/clients", {"name": "x", "public": True, "permissions": ["admin"]}),
    ("/introspect/batch", {}),
    *each("/introspect/batch", {}, "tokens", "x", [1], [None], ["x"] * 1001, {}, None),
    ("/introspect/batch", {"tokens": [], "token": "x"}),
]


@pytest.mark.parametrize("path", sorted({path for path, _ in WRONG}))
async def test_wrong_and_unlisted_fields(send: Any, path: str) -> None:
    """Missing, ill-typed, unfit and unlisted fields are invalid_request; nothing is coerced."""
    for body in (body for to, body in WRONG if to == path):
        assert_problem(await send(path, dumped(**body)), 400, "invalid_request")


@pytest.mark.parametrize(
    "scope",
    one_in(4, ["admin", "a admin", "admin ", " admin", "a\tb", "a\u00a0b", "a  b", 'a"b', "a\\b", "é", "a" * 1025]),
)
async def test_scopes(service: Service, send: Any, scope: str) -> None:
    """A scope that is malformed or reserved is invalid_scope, before the password is looked at."""
    store_read = await service.http.post("/login", json=LOGIN | {"scope": scope})
    assert_problem(store_read, 400, "invalid_scope")
    assert_problem(await send("/tokens", dumped(sub="x", scope=scope)), 400, "invalid_scope")
    assert_problem(await send("/admin/clients", dumped(name="x", scope=scope)), 400, "invalid_scope")


@pytest.mark.parametrize("size", [1025, 15_000])
async def test_long_passwords(service: Service, store_calls: StoreCalls, size: int) -> None:
    """Over 1024 bytes a password is refused before it is hashed; only the client was read."""
    await service.user()
    for password in ("x" * size, "é" * (size // 2 + 1)):
        store_calls.reset()
        answer = await service.http.post(
            "/login",
            content=json.dumps({"username": "ada", "password": password}, ensure_ascii=False),
            headers={"Content-Type": JSON},
        )
        assert_problem(answer, 400, "invalid_request")
        assert store_calls.made() == {"mget": 1}


async def test_unfit_names_log_in_like_unknown_ones(service: Service) -> None:
    """A username that nobody can have gets the very answer of an unknown one."""
    answers = [
        await service.http.post("/login", json=LOGIN | {"username": name}, headers={"X-Request-ID": "same"})
        for name in ("nobody", "a b", "\u202eada", "a{b}", "x" * 4096, "a\nb", "")
    ]
    for answer in answers:
        assert_problem(answer, 401, "invalid_grant")
        assert (answer.content, answer.headers) == (answers[0].content, answers[0].headers)


@pytest.mark.parametrize(
    "segment",
    [
        "%00",
        "a%0d%0ab",
        "%ff",
        "%c0%af",
        "a%20b",
        "%7Ba%7D",
        "*",
        "%2A",
        "a%255Cb",
        "x" * 256,
        "%F0%9F%98%80",
        "%25",
        "a%3Fb",
        "..",
    ],
)
async def test_an_impossible_id_in_a_path(service: Service, store_calls: StoreCalls, segment: str) -> None:
    """Text that can be no id is 404 and becomes no key."""
    for path in (f"/admin/users/{segment}", f"/admin/clients/{segment}x", f"/admin/users/{segment}/factors"):
        store_calls.reset()
        answer = await service.http.get(path, auth=service.admin)
        assert answer.status_code == 404
        assert store_calls.made() in ({}, {"mget": 1}) or segment == ".."


@pytest.mark.parametrize(
    "sub",
    one_in(
        4, ["a|b", "google/1", "x/sessions", "x/reset-code", "a@b", "a+b", "a=b:c~d", "//", "..a", "%s" % ("/" * 255)]
    ),
)
async def test_subjects_in_paths(service: Service, sub: str) -> None:
    """Any subject can be named in a path, percent-encoded, and means nobody else; a bare slash does not."""
    everybody = {sub, "x", "a", "google"}
    for one in everybody:
        assert (await service.http.post("/tokens", json={"sub": one}, auth=service.admin)).status_code == 200
    path = "/admin/users/" + "".join(f"%{ord(char):02X}" for char in sub)
    assert (await service.http.get(path, auth=service.admin)).json()["sub"] == sub
    assert len((await service.http.get(f"{path}/sessions", auth=service.admin)).json()["items"]) == 1
    change = await service.http.patch(path, json={"roles": ["y"]}, auth=service.admin)
    assert change.json()["sub"] == sub
    if sub in ("google/1", "x/reset-code"):
        bare = await service.http.delete(f"/admin/users/{sub}", auth=service.admin)
        assert bare.status_code in (404, 405)
    assert (await service.http.delete(f"{path}/sessions", auth=service.admin)).status_code == 204
    assert (await service.http.delete(path, auth=service.admin)).status_code == 204
    for one in everybody - {sub}:
        assert (await service.http.get(f"/admin/users/{one}", auth=service.admin)).status_code == 200
        assert len((await service.http.get(f"/admin/users/{one}/sessions", auth=service.admin)).json()["items"]) == 1


async def test_a_path_may_be_encoded(service: Service) -> None:
    """The same path in other words is the same path."""
    assert (await service.http.get("/%68ealthz")).status_code == 200
    assert (await service.http.get("/healthz%2F")).status_code == 404


async def test_a_body_without_a_type_is_not_overlooked(service: Service) -> None:
    """Rotating with an overlap that lacks its content type is refused, not done with the default; no body is fine."""
    client, auth = await service.client("introspect")
    path = f"/admin/clients/{client.client_id}/secret"
    assert_problem(
        await service.http.post(path, content=b'{"overlap_s":0}', auth=service.admin), 400, "invalid_request"
    )
    assert (await service.http.post(path, auth=service.admin)).status_code == 200
    assert await service.introspect("x", auth) == {"active": False}
    assert (await service.http.post(path, json={"overlap_s": 0}, auth=service.admin)).status_code == 200
    assert (await service.http.post("/introspect", data={"token": "x"}, auth=auth)).status_code == 401


FUZZ = st.text(st.characters(codec="utf-8"), max_size=60)
CANARY = "zQ7canary"


def refused(work: Any) -> AuthError | None:
    try:
        work()
    except AuthError as error:
        return error
    return None


@settings(max_examples=examples(150), deadline=None, derandomize=True)
@given(
    text=FUZZ, field=FUZZ, model=st.sampled_from(sorted({r.takes for r in ROUTES if r.takes}, key=lambda m: m.__name__))
)
def test_descriptions_never_echo(text: str, field: str, model: type[fields.Body]) -> None:
    """Every description has only the characters of RFC 6749 section 5.2 and no input value."""
    value = f"{text}{CANARY}{text}"
    for values in ({field: value}, dict.fromkeys(model.model_fields, value), {field or "x": {CANARY: value}}):
        error = refused(lambda values=values: validated(model, values))
        if error is not None:
            assert statuses.STATUSES[type(error)] == (400, "invalid_request")
            assert DESCRIPTION.fullmatch(plain(str(error)))
            assert CANARY not in str(error)


@settings(max_examples=examples(200), deadline=None, derandomize=True)
@given(
    body=st.one_of(st.binary(max_size=80), FUZZ.map(str.encode), st.from_regex(rb'\A[{}\[\]",:0-9eE+.\\u-]{0,60}\Z'))
)
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    """Any bytes as a JSON body or a form give an object or invalid_request, and nothing else."""
    for parse in (load_json, load_form):
        error = refused(lambda parse=parse: parse(body))
        assert error is None or statuses.STATUSES[type(error)] == (400, "invalid_request")


async def test_no_error_repeats_what_was_sent(service: Service) -> None:
    """Over HTTP neither: a canary in each place of a request comes back in no error and no header."""
    canary = "zQ7canary"
    await service.user()
    token = (await service.login())["access_token"]
    for route in ROUTES:
        path = re.sub(r"\{\w+(:\w+)?\}", canary, route.path)
        attempts: list[dict[str, Any]] = [
            {"headers": {"Authorization": f"Bearer {canary}"}},
            {"headers": {"Authorization": f"Basic {canary}"}},
            {"headers": {"Cookie": f"__Host-session={canary}", "Origin": f"http://{canary}"}},
            {"headers": {"Content-Type": canary, "Content-Encoding": canary} | bearer(token)},
            {"params": {canary: canary, "cursor": canary, "limit": canary}, "auth": service.admin},
            {"json": {canary: canary, "username": canary}, "auth": service.admin},
            {"data": {"token": canary, "grant_type": canary, "sub": canary}, "auth": (canary, canary)},
            {"content": f'{{"{canary}": {canary}}}', "headers": {"Content-Type": JSON}, "auth": service.admin},
        ]
        for attempt in attempts:
            answer = await service.http.request(route.method, path, **attempt)
            if answer.status_code >= 400:
                assert answer.status_code in STATUSES - {500, 503}
                assert canary not in answer.text
                assert canary not in str(answer.headers)
                assert DESCRIPTION.fullmatch(answer.json()["error_description"])
