"""A service that is asked over HTTP, with the login of an admin. The base install has no HTTP client besides urllib."""

import http.client
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.error import URLError
from urllib.parse import SplitResult, quote, urlencode, urlsplit
from urllib.request import HTTPErrorProcessor, OpenerDirector, ProxyHandler, Request, build_opener, getproxies

from authsvc.cli.statuses import NotReached
from authsvc.core.address import is_loopback
from authsvc.errors import AccessDenied, AuthError, InvalidRequest, NotFound, StoreUnavailable

TIMEOUT_S = 15
# An answer to a list of a thousand users with large claims is smaller.
_MOST_BYTES = 16 * 2**20
_PAGE = 200
# 503 of the service; the others of a proxy in front of it.
_UNAVAILABLE = (502, 503, 504)
# Without credentials, query and fragment.
_URL = re.compile(r'https?://(\[[0-9a-f:.]+\]|[0-9a-z._-]+)(:[0-9]{1,5})?(/[!"$->@-~]*)?', re.IGNORECASE)

Json = dict[str, Any]


class Refused(AuthError):
    """The service refused a request. `status` and `code` are those of its answer; `body` is the whole answer."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        super().__init__(str(body.get("error_description") or f"the service answers {status}"))
        self.status = status
        self.code = str(body.get("error", ""))
        self.body = body


class NotLoggedIn(AuthError):
    """There is no login, or the service does not accept it any more."""

    def __init__(self, url: str) -> None:
        super().__init__(f"not logged in at {url}: run `authsvc login --url {url}`")


class _EveryAnswer(HTTPErrorProcessor):
    """Returns each answer, whatever its status. No redirect is followed: the token must go nowhere else."""

    def http_response(self, request: Request, response: Any) -> Any:
        return response

    https_response = http_response


class _Fields(dict[str, Any]):
    """An object of an answer. `[]` raises NotReached for a field that each service sends."""

    url = ""

    def __missing__(self, name: str) -> Any:
        raise something_else(self.url)


def something_else(url: str) -> NotReached:
    """The exception for an answer of another program."""
    return NotReached(f"{url}: something else answers there")


def base_url(text: str) -> str:
    """The address of a service, as it was typed. Raises InvalidRequest: a token goes over TLS or stays here."""
    parts = _split(text)
    if parts is None or not _URL.fullmatch(text):
        raise InvalidRequest("--url: a whole URL, such as https://auth.example.org")
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise InvalidRequest("--url: http:// is for a service on this machine; take https://")
    return text.rstrip("/")


def _split(url: str) -> SplitResult | None:
    """The parts of a URL. None: its host or its port can't be."""
    try:
        parts = urlsplit(url)
        (parts.hostname or "").encode("idna")  # as a look-up does; it takes no empty part, and none over 63 characters
        return parts if parts.port != 0 else None
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the service. `body`: its JSON, empty for 204."""

    status: int
    body: Json


def ask(
    url: str,
    method: str,
    path: str,
    *,
    query: Mapping[str, object] = {},
    body: Json | None = None,
    form: Mapping[str, str] | None = None,
    token: str | None = None,
) -> Answer:
    """Send one request. An error of the service is an answer. Raises NotReached, which may come after the change."""
    try:
        asked = urlencode({name: value for name, value in query.items() if value is not None})
    except UnicodeEncodeError:
        raise InvalidRequest("what was typed is not text in UTF-8") from None
    whole = f"{url}{path}{f'?{asked}' if asked else ''}"
    data, kind = (urlencode(form), "application/x-www-form-urlencoded") if form is not None else (None, "")
    if body is not None:
        data, kind = json.dumps(body), "application/json"
    headers = {"Accept": "application/json"} | ({"Content-Type": kind} if data is not None else {})
    headers |= {} if token is None else {"Authorization": f"Bearer {token}"}
    request = Request(whole, data.encode() if data is not None else None, headers, method=method)  # noqa: S310
    try:
        with _opener().open(request, timeout=TIMEOUT_S) as response:
            status, raw = response.status, response.read(_MOST_BYTES)
    except (URLError, OSError, http.client.HTTPException) as error:
        raise NotReached(f"{url} does not answer: {getattr(error, 'reason', error)}") from None
    answer = _parsed(raw, url)
    if answer is None and status < 300:
        raise something_else(url)
    return Answer(status, _Fields() if answer is None else answer)


def _opener() -> OpenerDirector:
    # Through a proxy only with TLS, or the proxy would read the token. TLS is verified by default.
    proxies = {scheme: proxy for scheme, proxy in getproxies().items() if scheme == "https"}
    return build_opener(_EveryAnswer, ProxyHandler(proxies))


def _parsed(raw: bytes, url: str) -> _Fields | None:
    """The JSON object in an answer, an empty one for an empty answer. None: it is something else."""

    def fields(found: Json) -> _Fields:
        made = _Fields(found)
        made.url = url
        return made

    try:
        parsed = json.loads(raw or b"{}", object_hook=fields)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, _Fields) else None


class Remote:
    """A service, and the login of an admin there.

    renew: makes a new access token when the present one is over. prove: proves the admin again, for a change that takes
    a recent login. Both return the new token, and raise AuthError.
    """

    def __init__(self, url: str, token: str, renew: Callable[[], str], prove: Callable[[str], str]) -> None:
        self.url = url
        self._token = token
        self._renew = renew
        self._prove = prove

    def get(self, path: str, **query: object) -> Json:
        return self._asked("GET", path, query=query)

    def post(self, path: str, body: Json) -> Json:
        return self._asked("POST", path, body={name: value for name, value in body.items() if value is not None})

    def patch(self, path: str, body: Json) -> Json:
        return self._asked("PATCH", path, body={name: value for name, value in body.items() if value is not None})

    def delete(self, path: str, **query: object) -> None:
        self._asked("DELETE", path, query=query)

    def items(self, path: str, **query: object) -> list[Json]:
        """The items of one answer."""
        return self._items(self.get(path, **query))

    def listed(self, path: str, most: int | None = None, **query: object) -> Iterator[Json]:
        """The items of a list, page by page. most: how many at most."""
        left = most
        cursor: str | None = None
        while True:
            limit = _PAGE if left is None else min(left, _PAGE)
            page = self.get(path, **query, limit=limit, cursor=cursor)
            items = self._items(page)
            yield from items[:limit]
            left = None if left is None else left - len(items)
            cursor = page["next"]
            if cursor is None or left == 0:
                return

    def _items(self, page: Json) -> list[Json]:
        items = page["items"]
        if not isinstance(items, list) or not all(isinstance(one, dict) for one in items):
            raise something_else(self.url)
        return items

    def _asked(self, method: str, path: str, **sent: Any) -> Json:
        answer = ask(self.url, method, path, token=self._token, **sent)
        if answer.status == 401 and answer.body.get("error") == "invalid_token":
            self._token = self._renew()
            answer = ask(self.url, method, path, token=self._token, **sent)
        if answer.body.get("error") == "insufficient_user_authentication":
            self._token = self._prove(self._token)
            answer = ask(self.url, method, path, token=self._token, **sent)
        if answer.status >= 300:
            raise refusal(answer)
        return answer.body


def refusal(answer: Answer) -> AuthError:
    """The exception for an answer that is no success."""
    error = Refused(answer.status, answer.body)
    if answer.status == 404 and error.code:
        return NotFound(str(error))
    if answer.status in _UNAVAILABLE:
        return StoreUnavailable(str(error))
    return AccessDenied(str(error)) if answer.status == 403 and error.code != "insufficient_authorization" else error


def segment(text: str) -> str:
    """A subject or an id as a segment of a path."""
    return quote(text, safe="")
