"""The SDK's clock. It only runs forward, and it runs while the machine sleeps."""

import time

if hasattr(time, "CLOCK_BOOTTIME"):
    # On Linux, CLOCK_MONOTONIC stops while the machine is suspended. After that, an old answer would look young.
    def now() -> float:
        """Seconds since some point in the past."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)
else:  # on other systems the monotonic clock counts sleep, or is the best that there is
    now = time.monotonic
