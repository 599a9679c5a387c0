"""The third answer: can't know. It is neither a yes nor a logout."""


class Unavailable(Exception):
    """The service could not be asked, so nobody knows whether the token is active. Answer 503, never 401.

    retry_after_s: when asking again is worth it, if the service said so.
    """

    def __init__(self, reason: str, retry_after_s: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s

    def again(self) -> "Unavailable":
        """The same for another caller: a raised exception collects the traceback of one."""
        return type(self)(self.reason, self.retry_after_s)


class Misconfigured(Unavailable):
    """The service refused us, not the token: wrong URL or secret, or no permission to introspect.

    Asking again does not help, but for whoever holds a token it is an outage like any other.
    """
