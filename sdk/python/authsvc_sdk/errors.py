"""The third answer: the service can't tell. It is neither a yes nor a logout."""


class Unavailable(Exception):
    """The service gave no answer, so the token may or may not be active. Answer 503, never 401.

    retry_after_s: when to ask again. None: the service did not say.
    """

    def __init__(self, reason: str, retry_after_s: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s

    def again(self) -> "Unavailable":
        """A copy for another caller. Each caller needs its own, because raising adds a traceback."""
        return type(self)(self.reason, self.retry_after_s)


class Misconfigured(Unavailable):
    """The service refused our client, not the token: wrong URL or secret, or no permission. `reason` says which.

    A retry does not help. For the holder of a token this is an outage like any other.
    """
