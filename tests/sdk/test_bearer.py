"""Reading a token from a request, and deciding whether its user may pass; without a service."""

import time
from typing import Any

import pytest
from authsvc_sdk import Active, Refused, demand, token_in
from authsvc_sdk.bearer import cookie_in

from authsvc.errors import InvalidRequest
from authsvc.web import cookies

NAME = cookies.NAME
USER = Active(sub="ada", client_id="app", session_id="7Hk2pQ9xV3bN", exp=20, iat=10)


@pytest.mark.parametrize(
    "headers",
    [
        [f"{NAME}=planted; {NAME}=real"],
        [f"{NAME}=planted", f"{NAME}=real"],
        [f"{NAME}=same;{NAME}=same"],
        [f"a=b; {NAME} = x; {NAME}="],
    ],
)
def test_two_session_cookies_are_refused(headers: list[str]) -> None:
    """Of two session cookies one was planted, so the SDK refuses the request, as the service does."""
    with pytest.raises(Refused) as caught:
        cookie_in(headers, NAME)
    assert caught.value.status == 400
    with pytest.raises(InvalidRequest):
        cookies.token_in(headers)


@pytest.mark.parametrize("byte", ["\x85", "\xa0", "\x1c", "\x0c"], ids=ascii)
def test_a_byte_before_the_name_makes_another_cookie(byte: str) -> None:
    """Only spaces and tabs are white space in a Cookie header: any other cookie name is another cookie."""
    assert cookie_in([f"{byte}{NAME}=planted"], NAME) is None
    assert cookie_in([f"{byte}{NAME}=planted; {NAME}\t= real"], NAME) == "real"
    assert cookie_in([f"{NAME}=real{byte}"], NAME) == f"real{byte}"


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [""],
        [f"{NAME}="],
        [f"{NAME}=tok_x"],
        [f"a=1; {NAME} = tok_x ;b=2", "c=3"],
        [f"x{NAME}=1", f"{NAME}x=2", f"a={NAME}=3"],
        [f'theme="dark; x"; {NAME}=tok_x=='],
        [NAME],
    ],
)
def test_the_cookie_is_read_as_by_the_service(headers: list[str]) -> None:
    """For any Cookie headers, the SDK and the service find the same token."""
    assert cookie_in(headers, NAME) == cookies.token_in(headers)


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer tok_x", "tok_x"),
        ("bEARER  tok_x ", "tok_x"),
        ("Bearer a-._~+/9==", "a-._~+/9=="),
        ("Basic YTpi", None),
        ("Bearertok_x", None),
        ("DPoP tok_x", None),
        ("", None),
    ],
)
def test_the_authorization_header(header: str, token: str | None) -> None:
    """The scheme is case-insensitive and ends with spaces (RFC 6750 section 2.1); other schemes carry no token."""
    assert token_in([header]) == token


@pytest.mark.parametrize(
    "credentials", ["", " ", " tok_x tok_y", " tok_x,tok_y", "\ttok_x", " tök", " tok_x\xa0", ' "a"']
)
def test_a_malformed_bearer_header_is_an_invalid_request(credentials: str) -> None:
    """The service answers 400 to a Bearer header without exactly one token in its grammar; so does the SDK."""
    with pytest.raises(Refused) as caught:
        token_in(["Bearer" + credentials])
    assert caught.value.status == 400


@pytest.mark.parametrize("headers", [["Bearer tok_x"] * 2, ["Basic YTpi", "Bearer tok_x"]])
def test_two_authorization_headers_are_an_invalid_request(headers: list[str]) -> None:
    """The SDK does not choose between two Authorization headers."""
    with pytest.raises(Refused) as caught:
        token_in(headers)
    assert caught.value.status == 400


def test_without_a_login_there_is_no_recent_login() -> None:
    """A token that was issued without a login never satisfies `max_age_s`, however large."""
    with pytest.raises(Refused) as caught:
        demand(USER, max_age_s=10**10)
    assert caught.value.status == 401
    assert b"insufficient_user_authentication" in caught.value.body
    assert demand(USER) is USER


@pytest.mark.parametrize(("age_s", "passes"), [(0, True), (299, True), (302, False)])
def test_the_age_of_a_login(age_s: int, passes: bool) -> None:
    """A login that is older than `max_age_s` is refused with the limit that it exceeds (RFC 9470)."""
    fields: dict[str, Any] = {"auth_time": int(time.time()) - age_s}
    user = Active(sub="ada", client_id="app", session_id="7Hk2pQ9xV3bN", exp=20, iat=10, **fields)
    if passes:
        assert demand(user, max_age_s=300) is user
        return
    with pytest.raises(Refused) as caught:
        demand(user, max_age_s=300)
    assert 'max_age="300"' in caught.value.headers["WWW-Authenticate"]
