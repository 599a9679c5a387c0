"""The bodies of requests and answers about keys."""

from typing import Self

from pydantic import Field

from authsvc.api.schemas.fields import Answer, Audience, Body, Comment, Handle, Label, Networks, Subject, Text
from authsvc.api.schemas.patterns import SHA256_PATTERN
from authsvc.core import api_key
from authsvc.core.client import BUILT_IN
from authsvc.core.session import Session
from authsvc.flows.api_keys import Issued, Wanted
from authsvc.flows.import_keys import Row


class NewKey(Body):
    name: Label = Field(description="by which the owner recognises the key", examples=["nightly backup"])
    scope: Text = Field("", description="none by default; within that of the session", examples=["orders:read"])
    audience: Audience | None = Field(
        None, description="the resource servers that the key is for; by default, and at most, those of the session"
    )
    expires_in: int = Field(
        api_key.DEFAULT_LIFE_S, ge=60, le=api_key.MAX_LIFE_S, description="seconds", examples=[api_key.DEFAULT_LIFE_S]
    )
    networks: Networks = Field([])

    def wanted(self) -> Wanted:
        audience = None if self.audience is None else tuple(self.audience)
        return Wanted(self.name, self.scope, audience, self.expires_in, tuple(self.networks))


class NewUserKey(NewKey):
    """For an admin. Scope and audience stay within those of the client."""

    client_id: Text = Field(BUILT_IN, description="the client that ends the key when it is cut off or deleted")
    comment: Comment = None


class ImportedKey(Body):
    """A line of `authsvc key import`: a key that another system issued."""

    sha256: str = Field(pattern=SHA256_PATTERN, repr=False)
    sub: Subject
    name: Label
    exp: int
    scope: Text = ""
    audience: Audience | None = None
    networks: Networks = Field([])
    client_id: Text = BUILT_IN

    def row(self) -> Row:
        return Row(
            sha256=bytes.fromhex(self.sha256),
            sub=self.sub,
            client_id=self.client_id,
            name=self.name,
            exp=self.exp,
            scope=self.scope,
            aud=None if self.audience is None else tuple(self.audience),
            networks=tuple(self.networks),
        )


class KeyRotation(Body):
    overlap_s: int = Field(
        api_key.DEFAULT_OVERLAP_S,
        ge=0,
        le=api_key.MAX_OVERLAP_S,
        description="seconds that the last secret stays valid",
        examples=[3600],
    )


class KeyView(Answer):
    """A key as its owner sees it, without its secret. Times in epoch seconds."""

    key_id: Handle
    name: str
    scope: str | None = Field(None, description="absent if empty", exclude_if=lambda scope: not scope)
    audience: list[str] = Field(description="empty: every resource server")
    networks: list[str] = Field(description="empty: everywhere")
    client_id: str
    created_at: int
    exp: int
    expires_soon: bool = Field(description="within 14 days")
    last_used_at: int | None = Field(description="null: never; written down at most once in an hour")
    last_used_ip: str | None = Field(description="as the resource server named it; null: it named none")

    @classmethod
    def of(cls, key_id: str, session: Session, now: float) -> Self:
        return cls(
            key_id=key_id,
            name=session.device or "",
            scope=session.scope,
            audience=list(session.aud),
            networks=list(session.networks),
            client_id=session.client_id,
            created_at=session.created_ms // 1000,
            exp=session.end,
            expires_soon=api_key.is_expiring(session, now),
            last_used_at=api_key.last_used_at(session),
            last_used_ip=session.ip,
        )


class NewKeyView(Answer):
    """The only answer with the text of the key."""

    key: str = Field(description="shown this once", examples=["key_…"], repr=False)
    key_id: Handle
    name: str
    scope: str | None = Field(None, description="absent if empty", exclude_if=lambda scope: not scope)
    exp: int = Field(description="epoch seconds")

    @classmethod
    def of(cls, issued: Issued) -> Self:
        session = issued.session
        return cls(
            key=issued.text, key_id=issued.key_id, name=session.device or "", scope=session.scope, exp=session.end
        )


class Keys(Answer):
    items: list[KeyView]
    next: str | None
