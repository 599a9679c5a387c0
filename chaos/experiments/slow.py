"""The store is slow or silent."""

import asyncio
import time
from contextlib import suppress

from chaos.http import Http, NoAnswer
from chaos.lab import Control, Experiment, Lab
from chaos.statistics import percentile
from chaos.variation import Patch, Variation

ANSWER_S = 1.5
HEALED_S = 5.0
LAG_S = 0.1
# The most connections of one worker to the store: 50 of the pool, two readers, the watch and the listener.
CONNECTIONS = 54


async def slow_store(lab: Lab) -> None:
    rig, world = await lab.set_up(proxied=True)
    proxy = rig.proxy
    assert proxy is not None
    lags: list[float] = []
    probe = asyncio.create_task(_probe(rig.groups[0].port, lags))
    async with lab.load().running():
        await asyncio.sleep(1)
        calm = percentile(lags, 95)
        for delay_s in (0.2, 2.0):
            proxy.delay_s = delay_s
            await _watched(lab, f"+{delay_s * 1000:.0f} ms", lab.pick(2, 15))
        proxy.delay_s = 0.0
        proxy.black_hole = True
        await _watched(lab, "silent", lab.pick(3, 30))
        proxy.black_hole = False
        healed = time.monotonic()
        await asyncio.sleep(HEALED_S + 1)
    probe.cancel()
    late = [call for call in lab.calls if call.sent > healed + HEALED_S and call.status == 503]
    last = max((call.sent - healed for call in lab.calls if call.sent > healed and call.status == 503), default=0.0)
    lab.figure("last 503 after healing", f"{last:.1f} s")
    lab.require(not late, "recovery", f"{len(late)} calls failed more than {HEALED_S:g} s after the store was back")
    lab.figure("event loop", f"{percentile(lags, 99) * 1000:.0f} ms (p99)")
    lab.require(
        percentile(lags, 95) < max(LAG_S, 5 * calm), "lag", "a worker that waits for the store does not answer /healthz"
    )
    most = CONNECTIONS * len(rig.workers)
    lab.figure("connections", f"{proxy.most} of at most {most}")
    lab.require(proxy.most <= most, "pool", f"{proxy.most} connections to the store at a time")
    await world.sweep()


async def _watched(lab: Lab, name: str, seconds: float) -> None:
    began = time.monotonic()
    await asyncio.sleep(seconds)
    during = [call for call in lab.calls if call.sent > began]
    slowest = max((call.answered - call.sent for call in during), default=0.0)
    # A call without an answer is not in the journal yet, so the number of answers is checked, too.
    lab.figure(name, f"{slowest:.2f} s at most, {sum(call.status == 503 for call in during)} of {len(during)} 503")
    lab.require(slowest <= ANSWER_S, "slow", f"an answer took {slowest:.2f} s ({name})")
    lab.require(len(during) > seconds * 5, "slow", f"only {len(during)} answers in {seconds:g} s ({name})")


async def _probe(port: int, lags: list[float]) -> None:
    """Measure again and again how long a worker takes for a call that needs no store."""
    http = Http(port)
    while True:
        began = time.monotonic()
        with suppress(NoAnswer):
            await http.call("GET", "/healthz")
        lags.append(time.monotonic() - began)
        await asyncio.sleep(0.05)


NO_TIMEOUTS = [
    Patch("driver/timeouts.py", f"    {name}: float = {value}\n", f"    {name}: float = 30.0\n")
    for name, value in (("reply_s", "0.5"), ("call_s", "1.0"), ("request_s", "0.8"))
]

EXPERIMENTS = (
    Experiment(
        "slow-store",
        3,
        "a proxy delays every reply of the store by 200 ms, then by 2 s, then swallows everything",
        "each call gets an answer or a 503 within 1.5 s; no call fails later than 5 s after the store is back",
        slow_store,
        [Control("the store may take 30 s", ("slow",), Variation(NO_TIMEOUTS))],
    ),
)
