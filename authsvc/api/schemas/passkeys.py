"""The bodies of calls about passkeys. A credential is what `PublicKeyCredential.toJSON()` gives (WebAuthn level 3)."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from authsvc.api.schemas.fields import Answer, Body, Label, Text, UserAddress
from authsvc.api.schemas.patterns import BASE64URL_PATTERN, MEANINGS
from authsvc.core.passkey import Assertion, Registration, decoded

_AUTH_SESSION = "of a login in progress"


def _base64url(text: str) -> str:
    try:
        decoded(text)
    except ValueError:
        raise PydanticCustomError("base64url", MEANINGS[BASE64URL_PATTERN]) from None
    return text


Base64url = Annotated[str, StringConstraints(pattern=BASE64URL_PATTERN), AfterValidator(_base64url)]


def _at_most(size: int) -> int:
    """The length of so many bytes in base64url."""
    return -(-size * 4 // 3)


# Genuine attestation objects have less than a kilobyte, and up to three with a statement about the maker.
_ATTESTATION = _at_most(8192)
_CLIENT_DATA = _at_most(4096)
_CREDENTIAL_ID = _at_most(1023)


class FromBrowser(BaseModel):
    """A part of a credential. Browsers send more than is needed, and newer browsers send more than today's."""

    model_config = ConfigDict(defer_build=True, strict=True, extra="ignore", hide_input_in_errors=True)


class AttestationResponse(FromBrowser):
    clientDataJSON: Base64url = Field(max_length=_CLIENT_DATA)  # noqa: N815 - a wire name
    attestationObject: Base64url = Field(max_length=_ATTESTATION)  # noqa: N815 - a wire name
    transports: list[Annotated[str, StringConstraints(max_length=32)]] = Field([], max_length=10)


class AssertionResponse(FromBrowser):
    clientDataJSON: Base64url = Field(max_length=_CLIENT_DATA)  # noqa: N815 - a wire name
    authenticatorData: Base64url = Field(max_length=_at_most(2048))  # noqa: N815 - a wire name
    signature: Base64url = Field(max_length=_at_most(1024), repr=False)
    userHandle: Base64url | None = Field(None, max_length=_at_most(64))  # noqa: N815 - a wire name


class NewCredential(FromBrowser):
    id: Base64url = Field(max_length=_CREDENTIAL_ID)
    type: Literal["public-key"]
    response: AttestationResponse

    def registration(self) -> Registration:
        return Registration(decoded(self.response.clientDataJSON), decoded(self.response.attestationObject))

    @property
    def transports(self) -> tuple[str, ...]:
        return tuple(self.response.transports)


class KnownCredential(FromBrowser):
    id: Base64url = Field(max_length=_CREDENTIAL_ID)
    type: Literal["public-key"]
    response: AssertionResponse = Field(repr=False)

    def assertion(self) -> Assertion:
        said = self.response
        return Assertion(
            credential=decoded(self.id),
            client_data=decoded(said.clientDataJSON),
            authenticator_data=decoded(said.authenticatorData),
            signature=decoded(said.signature),
            user_handle=decoded(said.userHandle) if said.userHandle else None,
        )


_ANSWER: dict[str, Any] = {
    "id": "8fJ0aQ",
    "type": "public-key",
    "response": {"clientDataJSON": "eyJ0eXBlIjoi", "authenticatorData": "SZYN5YgO", "signature": "MEUCIQ"},
}
_NEW_ANSWER: dict[str, Any] = _ANSWER | {
    "response": {"clientDataJSON": "eyJ0eXBlIjoi", "attestationObject": "o2NmbXRk", "transports": ["internal"]}
}


class CreationRequest(Body):
    auth_session: Text | None = Field(
        None, description="of a login that waits for a new factor", examples=["aut_…"], repr=False
    )


class NewPasskey(CreationRequest):
    credential: NewCredential = Field(examples=[_NEW_ANSWER])
    name: Label | None = Field(None, description="by which the user recognises the passkey", examples=["Ada's phone"])


class PasskeyQuestion(Body):
    auth_session: Text | None = Field(
        None,
        description=f"{_AUTH_SESSION}; without one, a login by passkey alone begins",
        examples=["aut_…"],
        repr=False,
    )
    ip: UserAddress | None = None


class PasskeyAnswer(Body):
    auth_session: Text = Field(description=_AUTH_SESSION, examples=["aut_…"], repr=False)
    credential: KnownCredential = Field(examples=[_ANSWER], repr=False)
    trust_device: bool = Field(False, description="ask for no second factor on this device for 30 days")
    client_id: Text | None = Field(None, description="of a login by passkey alone, as at `/login`")
    scope: Text | None = Field(None, description="of a login by passkey alone")
    device: Label | None = Field(None, description="of a login by passkey alone", examples=["Ada's phone"])
    cookie: bool | None = Field(None, description="of a login by passkey alone, as at `/login`")
    ip: UserAddress | None = None


class CreationOptions(Answer):
    publicKey: dict[str, Any] = Field(  # noqa: N815 - a wire name
        description="for `PublicKeyCredential.parseCreationOptionsFromJSON` and `navigator.credentials.create`"
    )


class RequestOptions(Answer):
    auth_session: str = Field(repr=False, examples=["aut_…"])
    publicKey: dict[str, Any] = Field(  # noqa: N815 - a wire name
        description="for `PublicKeyCredential.parseRequestOptionsFromJSON` and `navigator.credentials.get`"
    )
