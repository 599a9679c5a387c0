"""The clock that the SDK measures with: it only runs forward, and it runs while the machine sleeps."""

import time

if hasattr(time, "CLOCK_BOOTTIME"):
    # Linux: CLOCK_MONOTONIC stands still while the machine is suspended, and an old answer would look young after it.
    def now() -> float:
        """Seconds since some point in the past."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)
else:  # elsewhere the monotonic clock counts sleep, or there is no better one
    now = time.monotonic
