"""How sure a change has to be before it is answered with success."""

from dataclasses import dataclass
from typing import Any, Literal

Level = Literal["local", "replica", "disk"]


@dataclass(frozen=True, slots=True)
class Durability:
    """`local`: the primary has it. `replica`: and that many replicas have received it. `disk`: and it is fsynced."""

    level: Level = "local"
    timeout_ms: int = 500
    replicas: int = 1

    @property
    def waits(self) -> bool:
        return self.level != "local"

    def command(self, left_s: float | None) -> tuple[str | int, ...]:
        """What to send behind a write, on its connection. left_s: what the request may still wait; None: no matter."""
        # At least one: zero would wait for ever.
        wait_ms = self.timeout_ms if left_s is None else max(1, min(self.timeout_ms, int(left_s * 1000) - _ANSWER_MS))
        return ("WAIT", self.replicas, wait_ms) if self.level == "replica" else ("WAITAOF", 1, 0, wait_ms)

    def reached(self, reply: Any) -> bool:
        """Whether this reply says so. The server sends the count that it got when the time was up, too."""
        if self.level == "replica":
            return isinstance(reply, int) and reply >= self.replicas
        return isinstance(reply, list) and bool(reply) and isinstance(reply[0], int) and reply[0] >= 1


# Kept back so that a count that falls short arrives before the request gives up.
_ANSWER_MS = 50
