"""Every event of the audit trail raises the counters that describe it, under labels that Prometheus knows."""

import pytest

from authsvc.core.event import Event
from authsvc.core.leak import KINDS
from authsvc.metrics import families
from authsvc.metrics.event_counts import Count, counts_of

SERIES = {family.name: family.series for family in families(())}


def reason_of(event: Event) -> str:
    """A reason that the event may have."""
    return "access" if event is Event.TOKEN_LEAKED else "logout"


@pytest.mark.parametrize("kind", KINDS)
def test_a_leak_is_counted_by_its_kind(kind: str) -> None:
    """Only the leak of a session's token counts as its end."""
    counts = list(counts_of(Event.TOKEN_LEAKED, "success", kind))
    assert all(count.labels in SERIES[count.family] for count in counts)
    assert counts[0] == Count("tokens_leaked", (kind,))
    assert (Count("sessions_ended", ("leaked",)) in counts) == (kind in ("access", "refresh", "key"))


@pytest.mark.parametrize("event", Event)
def test_labels_are_listed(event: Event) -> None:
    """Each count names a series of its own, so no event counts as `other`."""
    for count in counts_of(event, "success", reason_of(event)):
        assert count.labels in SERIES[count.family], count


@pytest.mark.parametrize("event", Event)
def test_an_end_is_counted(event: Event) -> None:
    """An event that ends sessions counts as one ended session, or as one cut-off of those that it ends."""
    counts = list(counts_of(event, "success", reason_of(event)))
    ended = [count for count in counts if count.family == "sessions_ended"]
    cut_off = [count.labels[0] for count in counts if count.family == "cut_offs"]
    assert len(ended) == (event.ends == "session")
    assert cut_off == ([event.ends] if event.ends not in (None, "session") else [])


@pytest.mark.parametrize("event", [event for event in Event if event.ends not in (None, "session")])
@pytest.mark.parametrize("outcome", ["unsure", "failure"])
def test_only_a_successful_cut_off_counts(event: Event, outcome: str) -> None:
    """A cut-off that may be undone by a crash of the store is not counted yet."""
    assert [count for count in counts_of(event, outcome, None) if count.family == "cut_offs"] == []


@pytest.mark.parametrize("event", [event for event in Event if event.endswith((".failed", ".throttled"))])
def test_a_refused_password_is_counted(event: Event) -> None:
    """Each event of a wrong or throttled password or factor counts with this outcome."""
    (count,) = counts_of(event, "failure", None)
    if event.startswith("factor."):
        assert count == Count("factors_refused", (event.rpartition(".")[2],))
        return
    assert count == Count("passwords_checked", (event.rpartition(".")[0].replace(".", "_"), event.rpartition(".")[2]))
