"""A site, and the argument of each of its pages: a request with its form, and the token that its own forms carry."""

import hmac
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from authsvc.console import cookies
from authsvc.console.policy import policy
from authsvc.errors import AuthError, CrossSite
from authsvc.flows.deps import Deps
from authsvc.web.context import RequestContext

TOKEN_FIELD = "form_token"  # noqa: S105 - the name of a field
_KEY_BYTES = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """name: in the title and at the top. home: the path of the first page. static: the prefix of static files.

    cookie_prefix: of the names of its cookies. headers: the header fields of its pages, made by `policy`.
    session_id: the public id of the session that a request presents, to which its forms are bound; None without one.
    problem: the page for an error, where it is not the general one, such as a redirect to the login. None: the general.
    layout: the template that its pages extend. context: what all templates get, such as the entries of its menu.
    """

    name: str
    home: str
    layout: str = "base.html"
    static: str
    cookie_prefix: str
    session_id: Callable[[Request], str | None]
    problem: Callable[["PageContext", AuthError], Awaitable[Response | None]]
    headers: Mapping[str, str] = field(default_factory=policy)
    context: Mapping[str, Any] = field(default_factory=dict)


class PageContext(RequestContext):
    """One request to a page.

    form: the fields of a POST without the empty ones; `page.py` has checked its token.
    me: who is logged in, as the site knows it, for templates. None: nobody, or nobody has looked.
    """

    def __init__(self, deps: Deps, request: Request, site: Site) -> None:
        super().__init__(deps, request)
        self.site = site
        self.form: Mapping[str, str] = {}
        self.me: Any = None

    @property
    def form_cookie(self) -> str:
        return f"{self.site.cookie_prefix}-form"

    @property
    def flash_cookie(self) -> str:
        return f"{self.site.cookie_prefix}-flash"

    @cached_property
    def known_form_key(self) -> str | None:
        """The key of this browser's forms; None if it has none yet."""
        return cookies.read(self.request, self.form_cookie)

    @cached_property
    def form_key(self) -> str:
        """The key of this browser's forms. `render` gives a new key to the browser."""
        return self.known_form_key or secrets.token_urlsafe(_KEY_BYTES)

    @property
    def form_token(self) -> str:
        """What each form of this page carries. It is good for this browser and this session only.

        The public id of the session is part of it, so that logging in or out makes all earlier forms useless.
        """
        return self.signed(f"form\n{self.site.session_id(self.request) or ''}")

    def signed(self, text: str) -> str:
        """A code that only this service can make for this text, and only for this browser."""
        return hmac.new(self.form_key.encode(), text.encode(), sha256).hexdigest()[:32]

    def check_form_token(self, presented: str | None) -> None:
        """Raise CrossSite unless a page of this browser and this session has made the form."""
        known = self.known_form_key is not None and presented is not None
        if not known or not hmac.compare_digest(self.form_token.encode(), (presented or "").encode()):
            raise CrossSite("this form is not from a page that you see now: load the page again")
