"""The known networks of an account: how many there are, and when one is forgotten."""

from hypothesis import given
from hypothesis import strategies as st

from authsvc.core.known_networks import MEMORY_S, MOST, KnownNetworks, network_digest
from tests.core.examples import NOW

LOGINS = st.lists(st.tuples(st.sampled_from([f"192.0.2.{n}" for n in range(12)]), st.integers(1, MEMORY_S // 3)))


@given(LOGINS)
def test_the_last_eight_networks_are_known(logins: list[tuple[str, int]]) -> None:
    """Exactly the eight networks of the latest logins are known, each for 90 days after its login."""
    networks, now, last = KnownNetworks(), NOW, dict[str, int]()
    for network, later in logins:
        now += later
        networks = networks.with_login(network, now)
        last[network] = now
        expected = [one for one in sorted(last, key=lambda one: last[one])[-MOST:] if now < last[one] + MEMORY_S]
        assert {one for one in last if networks.has(one, now)} == set(expected)
        assert len(networks.noted) <= MOST
        assert networks.expires_at() == now + MEMORY_S


def test_a_login_is_noted_once_a_day() -> None:
    """A second login of a day from the same network changes nothing. A login of the next day is noted."""
    networks = KnownNetworks().with_login("a", NOW)
    assert not networks.due("a", NOW + 86399)
    assert networks.due("a", NOW + 86400)
    assert networks.due("b", NOW)


def test_digests_of_two_accounts_in_one_network_differ() -> None:
    """The stored digests do not tell that two accounts share a network, and hold no address."""
    assert network_digest("ada", "192.0.2.1") != network_digest("grace", "192.0.2.1")
    assert "192" not in network_digest("ada", "192.0.2.1")
