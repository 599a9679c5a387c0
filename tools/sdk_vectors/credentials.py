"""Vectors of credentials: which token a request carries, and which requests are refused."""

import json
from typing import Any

from authsvc_sdk.bearer import cookie_in, token_in
from authsvc_sdk.refused import Refused

_COOKIE = "__Host-session"
_A, _B = ("Authorization", "Bearer tok_x"), ("Cookie", f"{_COOKIE}=tok_y")
# The headers of each request, one character for each byte. Every case is read with and without a cookie of that name.
_REQUESTS: dict[str, list[tuple[str, str]]] = {
    "no header": [],
    "a bearer token": [_A],
    "another case of the scheme": [("Authorization", "bEARER tok_x")],
    "another case of the field's name": [("aUTHORIZATION", "Bearer tok_x")],
    "two spaces after the scheme": [("Authorization", "Bearer  tok_x")],
    "a space at the end": [("Authorization", "Bearer tok_x ")],
    "a tab at the end": [("Authorization", "Bearer tok_x\t")],
    "all characters of the grammar": [("Authorization", "Bearer aZ09-._~+/9==")],
    "an empty header": [("Authorization", "")],
    "the scheme alone": [("Authorization", "Bearer")],
    "the scheme and a space": [("Authorization", "Bearer ")],
    "a tab after the scheme": [("Authorization", "Bearer\ttok_x")],
    "a tab after the space": [("Authorization", "Bearer \ttok_x")],
    "two tokens with a space": [("Authorization", "Bearer tok_x tok_y")],
    "two tokens with a comma": [("Authorization", "Bearer tok_x,tok_y")],
    "a token in quotes": [("Authorization", 'Bearer "tok_x"')],
    "an equals sign in the middle": [("Authorization", "Bearer tok=x")],
    "a byte above ASCII": [("Authorization", "Bearer t\u00f6k")],
    "a no-break space at the end": [("Authorization", "Bearer tok_x\u00a0")],
    "a next-line byte at the end": [("Authorization", "Bearer tok_x\u0085")],
    "the scheme without a space": [("Authorization", "Bearertok_x")],
    "Basic": [("Authorization", "Basic YTpi")],
    "DPoP": [("Authorization", "DPoP tok_x")],
    "two bearer headers": [_A, _A],
    "Basic and a bearer token": [("Authorization", "Basic YTpi"), _A],
    "a cookie": [_B],
    "a cookie between others": [("Cookie", f"a=1; {_COOKIE}=tok_y; b=2")],
    "a cookie without spaces": [("Cookie", f"a=1;{_COOKIE}=tok_y;b=2")],
    "a cookie with spaces and tabs": [("Cookie", f"a=1;\t {_COOKIE} \t= tok_y \t;b=2")],
    "an empty cookie": [("Cookie", f"{_COOKIE}=")],
    "a cookie without an equals sign": [("Cookie", _COOKIE)],
    "a cookie with equals signs": [("Cookie", f"{_COOKIE}=tok_y==")],
    "a cookie after a quoted semicolon": [("Cookie", f'theme="dark; x"; {_COOKIE}=tok_y')],
    "other cookies": [("Cookie", f"x{_COOKIE}=1; {_COOKIE}x=2; a={_COOKIE}=3")],
    "another case of the cookie's name": [("Cookie", f"{_COOKIE.lower()}=tok_y")],
    "a no-break space before the cookie's name": [("Cookie", f"\u00a0{_COOKIE}=planted")],
    "a no-break space after the cookie's value": [("Cookie", f"{_COOKIE}=tok_y\u00a0")],
    "two cookies of the name": [("Cookie", f"{_COOKIE}=planted; {_COOKIE}=tok_y")],
    "two cookies of the name in two headers": [("Cookie", f"{_COOKIE}=planted"), _B],
    "the same cookie twice": [("Cookie", f"{_COOKIE}=tok_y;{_COOKIE}=tok_y")],
    "a bearer token and a cookie": [_A, _B],
    "a bearer token and an empty cookie": [_A, ("Cookie", f"{_COOKIE}=")],
    "Basic and a cookie": [("Authorization", "Basic YTpi"), _B],
    "a malformed bearer token and a cookie": [("Authorization", "Bearer"), _B],
}


def credentials() -> dict[str, Any]:
    """Requests, and the token that each carries or the refusal."""
    cases = [
        {"name": name, "headers": headers, "cookie": cookie} | _read(headers, cookie)
        for name, headers in _REQUESTS.items()
        for cookie in ([None, _COOKIE] if any(field == "Cookie" for field, _ in headers) else [None])
    ]
    return {"cases": cases}


def _read(headers: list[tuple[str, str]], cookie: str | None) -> dict[str, Any]:
    def values(wanted: str) -> list[str]:
        return [value for name, value in headers if name.lower() == wanted]

    try:
        found = cookie_in(values("cookie"), cookie) if cookie else None
        return {"token": token_in(values("authorization"), found), "refused": None}
    except Refused as refused:
        return {"token": None, "refused": described(refused)}


def described(refused: Refused) -> dict[str, Any]:
    """The refusal as the vectors have it. The body is JSON, and its white space is free."""
    return {"status": refused.status, "headers": refused.headers, "body": json.loads(refused.body)}
