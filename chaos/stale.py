"""Patches with which a worker answers from records that it read before."""

from collections.abc import Sequence

from chaos.variation import Patch

# The answer of the store to a question, kept for each question.
KEPT_FOR_100_MS = (
    Patch(
        "edge/fast_path.py",
        "return self._deps.store.lookup.ask(request.client_id, request.handles, hear)",
        "asked = (request.client_id, *request.handles)\n\n"
        "        def hear_kept(found: Answer | BaseException) -> None:\n"
        "            until, kept = _kept.get(asked, (0.0, found))\n"
        "            if until < time.monotonic():\n"
        "                _kept[asked] = time.monotonic() + 0.1, found\n"
        "                kept = found\n"
        "            hear(kept)\n\n"
        "        return self._deps.store.lookup.ask(request.client_id, request.handles, hear_kept)",
    ),
    Patch(
        "edge/fast_path.py",
        "\nclass FastPath:",
        "\n_kept: dict[object, tuple[float, Answer | BaseException]] = {}\n\n\nclass FastPath:",
    ),
)

_FILE = "store/lookup.py"
_KEPT = Patch(
    _FILE,
    "\ndef _parse(",
    "\n_first: dict[str, Value] = {}\n\n\n"
    "def _kept(ids: Collection[str], raws: Sequence[Value]) -> list[Value]:\n"
    "    return [_first.setdefault(id_, raw) for id_, raw in zip(ids, raws, strict=True)]\n\n\n"
    "def _parse(",
)
# The texts that read each record, and the texts that keep it.
_RECORDS = {
    "session": (
        "_parse(handles, raws[len(callers) :], _session)",
        "_parse(handles, _kept(handles, raws[len(callers) :]), _session)",
    ),
    "user": ("_parse(subs, read[: len(subs)], _user)", "_parse(subs, _kept(subs, read[: len(subs)]), _user)"),
    "client": ("_parse(ids, read[len(subs) :], _client)", "_parse(ids, _kept(ids, read[len(subs) :]), _client)"),
    "asking client": (
        "_parse(callers, raws[: len(callers)], _client)",
        "_parse(callers, _kept(callers, raws[: len(callers)]), _client)",
    ),
    "service": ("_service(raw_service)\n    asking", '_service(_kept(["service"], [raw_service])[0])\n    asking'),
}
RECORDS = tuple(_RECORDS)


def kept_for_ever(record: str) -> Sequence[Patch]:
    """The worker answers from the bytes of this record that it read first. It reads the other four again."""
    return _KEPT, Patch(_FILE, *_RECORDS[record])
