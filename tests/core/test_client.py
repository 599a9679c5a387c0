"""Clients: secrets, permissions, audience, lifetimes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.core import token as tokens
from authsvc.core.client import BROWSER, REFRESHABLE, Client, Lifetimes
from authsvc.core.token import Kind
from tests.core.examples import NOW, a_client


def a_secret() -> str:
    return tokens.new(Kind.SECRET).text


def test_a_rotated_secret_overlaps() -> None:
    """After a rotation the new secret works at once, and the last one until the overlap is over."""
    old, new = a_secret(), a_secret()
    client = a_client().with_secret(old, NOW, 60).with_secret(new, NOW, 60)
    assert client.opens_with(new, NOW)
    assert client.opens_with(old, NOW + 59.9)
    assert not client.opens_with(old, NOW + 60)
    assert client.opens_with(new, NOW + 10**9)


def test_without_an_overlap_the_last_secret_stops_at_once() -> None:
    """An overlap of 0 is for a secret that has leaked."""
    old, new = a_secret(), a_secret()
    client = a_client().with_secret(old, NOW, 60).with_secret(new, NOW, 0)
    assert not client.opens_with(old, NOW)
    assert client.opens_with(new, NOW)


@given(st.lists(st.integers(0, 100), max_size=6))
def test_there_are_two_secrets_at_most(overlaps: list[int]) -> None:
    """The record holds the digests of the current and the last secret, however often secrets are rotated."""
    client, given_out = a_client(), [a_secret() for _ in overlaps]
    for secret, overlap in zip(given_out, overlaps, strict=True):
        client = client.with_secret(secret, NOW, overlap)
    works = [client.opens_with(secret, NOW) for secret in given_out]
    assert len(client.secrets) <= 2
    assert not any(works[:-2])
    assert works[-1:] in ([], [True])
    if len(overlaps) > 1:
        assert works[-2] == (overlaps[-1] > 0)
    assert not any(secret in client.to_json().decode() for secret in given_out)


@pytest.mark.parametrize("wrong", ["", "secret", a_secret(), tokens.new(Kind.ACCESS).text], ids=range(4))
def test_other_secrets_do_not_open(wrong: str) -> None:
    """Only the secret itself opens. A client without a secret opens with nothing."""
    assert not a_client().with_secret(a_secret(), NOW, 0).opens_with(wrong, NOW)
    assert not a_client().opens_with(wrong, NOW)


@pytest.mark.parametrize(
    ("own", "audience", "hears"),
    [
        ((), (), True),
        ((), ("orders",), True),
        (("orders",), ("orders", "mail"), True),
        (("orders",), ("mail",), False),
        (("orders",), (), False),
    ],
)
def test_who_may_see_a_token(own: tuple[str, ...], audience: tuple[str, ...], hears: bool) -> None:
    """A client with an audience may introspect tokens for a member of it. A client without one may introspect all."""
    assert a_client(audience=own).covers(audience) is hears


@pytest.mark.parametrize(
    ("client", "refreshable", "expected"),
    [
        (a_client(), True, REFRESHABLE),
        (a_client(), False, BROWSER),
        (a_client(access_ttl_s=60, idle_ttl_s=600, session_ttl_s=6000), True, Lifetimes(60, 600, 6000)),
        (a_client(session_ttl_s=300), True, Lifetimes(300, 300, 300)),
        (a_client(session_ttl_s=300), False, Lifetimes(300, 300, 300)),
        (a_client(access_ttl_s=60), False, Lifetimes(60, 1800, 43200)),
    ],
)
def test_lifetimes(client: Client, refreshable: bool, expected: Lifetimes) -> None:
    """The client's own lifetimes apply, or else the defaults. Nothing outlives the session."""
    assert client.lifetimes(refreshable=refreshable) == expected


def test_the_default_lifetimes() -> None:
    """The defaults are 15 minutes, 14 days and 30 days; for browsers 30 minutes idle and 12 hours."""
    assert Lifetimes(900, 14 * 86400, 30 * 86400) == REFRESHABLE
    assert Lifetimes(43200, 1800, 43200) == BROWSER


@given(st.integers(0, 10**13), st.floats(0, 10**10))
def test_a_cut_off_raises_the_epoch(epoch: int, now: float) -> None:
    """The epoch rises at least to the present, so a record that is deleted and made again revives no session."""
    raised = a_client(epoch=epoch).cut_off(now).epoch
    assert raised > epoch
    assert raised >= int(now * 1000)


def test_permissions_are_exact() -> None:
    """A client may do what it was given. No permission implies `admin`."""
    client = a_client(permissions=("introspect",))
    assert client.may("introspect")
    assert not client.may("revoke")
    assert not client.may("admin")
