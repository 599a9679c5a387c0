"""Giving an answer about a token again while its records are unchanged. `store/memory.py` says why that is safe."""

from authsvc.core.client import Client
from authsvc.core.session import Active
from authsvc.flows.deps import Deps
from authsvc.store.memory import Remembered
from authsvc.store.moment import Moment


def recalled(deps: Deps, remembered: Remembered | None, moment: Moment, now: float) -> bytes | None:
    """The remembered answer, if its records are unchanged at this moment. Counts the token."""
    if remembered is None or not remembered.fits(moment, now):
        return None
    deps.metrics.tokens_checked.add("active")
    return remembered.answer


def remember(
    deps: Deps,
    moment: Moment,
    question: bytes,
    active: Active,
    asker: Client | None,
    now: float,
    answer: bytes,
    at_most_until: int | None = None,
) -> None:
    """Remember the answer to a question that is asked again, unless this use of the session has to be noted.

    asker: the client that asks, None if it does not authenticate. at_most_until: when the answer becomes another one,
    in epoch seconds, because of what the question demands.
    """
    if deps.memory.is_asked_again(question) and (until := _holds_until(active, asker, now)) is not None:
        until = until if at_most_until is None else min(until, at_most_until)
        asker_id = None if asker is None else asker.client_id
        remembered = Remembered.of(moment, active, asker_id, until, answer)
        if remembered is not None:
            deps.memory.put(question, remembered)


def _holds_until(active: Active, asker: Client | None, now: float) -> int | None:
    """Until when the same records give the same answer, in epoch seconds.

    None: this use has to be noted, or the answer depends on more than the records.
    """
    session = active.session
    previous = session.previous
    if session.due_for_touch(now) or (previous is not None and previous.awaits_answer(now)):
        return None
    if session.networks:  # the answer depends on the address, too
        return None
    # A use has to be noted from `recheck_at` on. It is no later than the end of the session and of the token.
    ends = [secret.until for secret in asker.secrets if secret.until is not None] if asker is not None else []
    return min((session.recheck_at(now, active.exp), *(end for end in ends if end > now)))
