"""Passkeys: the relying party by the settings, and the options for browsers."""

import pytest

from authsvc.core.passkey import (
    ALGORITHMS,
    Passkey,
    amr_of,
    creation_options,
    decoded,
    may_use,
    new_challenge,
    new_user_handle,
    relying_party,
    request_options,
)


@pytest.mark.parametrize(
    ("base_url", "rp_id", "origins", "expected"),
    [
        ("https://auth.example.org", None, (), ("auth.example.org", {"https://auth.example.org"})),
        ("https://auth.example.org:8443/auth", None, (), ("auth.example.org", {"https://auth.example.org:8443"})),
        ("http://127.0.0.1:8000", None, (), ("localhost", {"http://localhost:8000"})),
        ("http://[::1]:8000", None, (), ("localhost", {"http://localhost:8000"})),
        ("http://localhost", None, (), ("localhost", {"http://localhost"})),
        (
            "https://auth.example.org",
            "example.org",
            ("https://app.example.org",),
            ("example.org", {"https://app.example.org"}),
        ),
        ("http://192.0.2.1:8000", None, (), None),
        ("http://[2001:db8::1]", None, (), None),
        ("http://192.0.2.1:8000", "example.org", ("https://example.org",), ("example.org", {"https://example.org"})),
    ],
)
def test_the_relying_party(
    base_url: str, rp_id: str | None, origins: tuple[str, ...], expected: tuple[str, set[str]] | None
) -> None:
    """The issuer's host and origin by default; `localhost` for a loopback address; none for any other address."""
    found = relying_party(base_url, rp_id, origins)
    assert (None if found is None else (found.id, set(found.origins))) == expected


@pytest.mark.parametrize(
    ("origin", "may"),
    [
        ("https://example.org", True),
        ("https://app.example.org:8443", True),
        ("http://example.org", False),
        ("https://badexample.org", False),
        ("https://example.org.evil.test", False),
        ("android:apk-key-hash:pXpZ", True),
    ],
)
def test_which_origins_a_domain_has(origin: str, may: bool) -> None:
    """Pages of the domain and below it, over TLS; apps are bound to the domain by other means."""
    assert may_use(origin, "example.org") is may
    assert may_use("http://localhost:3000", "localhost")


def test_the_options() -> None:
    """The challenge has 32 random bytes and is new each time. Only who is known is told the ids of passkeys."""
    party = relying_party("https://auth.example.org", None, ())
    assert party is not None
    held = [Passkey(id="p", created_at=0, credential="AQ", key="", transports=("usb",))]
    handle = new_user_handle()
    challenge = new_challenge(100, user_handle=handle)
    made = creation_options(party, challenge, name="ada", site="auth.example.org", held=held)
    assert made["user"] == {"id": handle, "name": "ada", "displayName": "ada"}
    assert len(decoded(handle)) == 32
    assert [one["alg"] for one in made["pubKeyCredParams"]] == list(ALGORITHMS)
    assert made["excludeCredentials"] == [{"type": "public-key", "id": "AQ", "transports": ("usb",)}]
    known, unknown = (request_options(party, new_challenge(0), held=one) for one in (held, None))
    assert (known["userVerification"], unknown["userVerification"]) == ("preferred", "required")
    assert (len(known["allowCredentials"]), unknown["allowCredentials"]) == (1, [])
    assert len({made["challenge"], known["challenge"], unknown["challenge"]}) == 3
    assert len(decoded(known["challenge"])) == 32
    assert challenge.expires_at() == 400


def test_what_an_answer_proves() -> None:
    """A key in hardware or a synced one, and the verification of the user."""
    assert amr_of(synced=False, verified=True) == ("hwk", "user")
    assert amr_of(synced=True, verified=False) == ("swk",)
