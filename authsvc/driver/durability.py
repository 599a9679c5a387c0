"""The level of durability that a change must reach before the service answers with success."""

from dataclasses import dataclass
from typing import Any

from authsvc.core.durability import DurabilityLevel

# Kept back from the request's time, so that a count which falls short still arrives before the request gives up.
_ANSWER_MS = 50


@dataclass(frozen=True, slots=True)
class Durability:
    """`local`: the primary. `replica`: that many replicas, too. `disk`: the primary's disk (fsync), too."""

    level: DurabilityLevel = "local"
    timeout_ms: int = 500
    replicas: int = 1

    @property
    def waits(self) -> bool:
        return self.level != "local"

    @property
    def wait_s(self) -> float:
        """How much longer a reply may take because the server waits."""
        return self.timeout_ms / 1000 if self.waits else 0.0

    @property
    def in_sync_replicas(self) -> int:
        """How many replicas have every change that was answered with success."""
        return self.replicas if self.level == "replica" else 0

    def command(self, left_s: float | None) -> tuple[str | int, ...]:
        """The command that follows a write on its connection.

        left_s: how long the request may still wait; None outside of requests.
        """
        # At least 1 ms: for the server zero means without end.
        wait_ms = self.timeout_ms if left_s is None else max(1, min(self.timeout_ms, int(left_s * 1000) - _ANSWER_MS))
        return ("WAIT", self.replicas, wait_ms) if self.level == "replica" else ("WAITAOF", 1, 0, wait_ms)

    def reached(self, reply: Any) -> bool:
        """Whether the server's reply says that the level is reached. A server that ran out of time replies as well."""
        if self.level == "replica":
            return isinstance(reply, int) and reply >= self.replicas
        return isinstance(reply, list) and bool(reply) and isinstance(reply[0], int) and reply[0] >= 1
