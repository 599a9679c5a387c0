"""A backend that checks tokens through the SDK and its cache.

    python -m bench.backend speed|crowd|refusals URL CLIENT_ID CLIENT_SECRET TOKENS [NUMBER]

TOKENS is a file of access tokens, one a line. The backend reads orders from its standard input and prints the result of
each as one line of JSON. An order is a number of seconds for `speed` and `crowd`, and a token for `refusals`.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from ssl import create_default_context
from statistics import median, quantiles

from authsvc_sdk import Active, AsyncIntrospector, Inactive, Introspector, Unavailable

# A pass over so many tokens is timed as a whole. Between two passes the event loop gets a turn.
PASS = 10_000
WARM_WITHIN_S = 120
# One of many processes makes so many checks, then pauses.
AT_ONCE, PAUSE_S = 100, 0.005
# One look at a hundred subscribers takes 70 µs. A look in each turn of the event loop would slow the subscribers down.
LOOK_EVERY_S = 0.0005


def tell(told: object) -> None:
    print(json.dumps(told), flush=True)


async def orders() -> str:
    """The next line of the standard input; empty at its end."""
    line: str = await asyncio.to_thread(sys.stdin.readline)
    return line.strip()


def percentiles(times_ns: Sequence[int], name: str) -> dict[str, float]:
    return {f"{name}p50_us": median(times_ns) / 1000, f"{name}p99_us": quantiles(times_ns, n=100)[98] / 1000}


def right(token: str, answer: Active | Inactive) -> bool:
    return isinstance(answer, Active) and answer.session_id == token[4:16]


async def speed(made: Callable[[], AsyncIntrospector], synchronous: Introspector, tokens: list[str]) -> None:
    """Measure how many cached checks one core makes. Two checks in a row are about different tokens."""
    tokens = random.sample(tokens, min(PASS, len(tokens)))
    async with made() as introspector:
        await warm(introspector, tokens)
        await asyncio.to_thread(_warm_sync, synchronous, tokens)
        tell("warm")
        while seconds := await orders():
            await warm(introspector, tokens)
            figures = await _measured(introspector, tokens, float(seconds))
            figures |= await asyncio.to_thread(_measured_sync, synchronous, tokens, float(seconds))
            tell(figures)


async def _measured(introspector: AsyncIntrospector, tokens: list[str], seconds: float) -> dict[str, float]:
    checked, spent, times, wrong = 0, 0.0, [], 0
    clock, end = time.perf_counter_ns, time.perf_counter() + seconds
    while time.perf_counter() < end:
        begun = time.process_time()
        for token in tokens:
            if type(await introspector.introspect(token)) is not Active:
                wrong += 1
        checked += len(tokens)
        await asyncio.sleep(0)
        spent += time.process_time() - begun
    for token in tokens:
        before = clock()
        answer = await introspector.introspect(token)
        times.append(clock() - before)
        wrong += not right(token, answer)
    return {"rate": checked / spent, "wrong": wrong} | percentiles(times, "")


def _measured_sync(introspector: Introspector, tokens: list[str], seconds: float) -> dict[str, float]:
    _warm_sync(introspector, tokens)
    checked, spent, times, wrong = 0, 0.0, [], 0
    clock, end = time.perf_counter_ns, time.perf_counter() + seconds
    while time.perf_counter() < end:
        begun = time.process_time()
        for token in tokens:
            if type(introspector.introspect(token)) is not Active:
                wrong += 1
        checked += len(tokens)
        time.sleep(0)  # lets the listening thread run
        spent += time.process_time() - begun
    for token in tokens:
        before = clock()
        answer = introspector.introspect(token)
        times.append(clock() - before)
        wrong += not right(token, answer)
    return {"sync_rate": checked / spent, "sync_wrong": wrong} | percentiles(times, "sync_")


def _warm_sync(introspector: Introspector, tokens: list[str]) -> None:
    def ask(token: str) -> None:
        with suppress(Unavailable):
            introspector.introspect(token)

    introspector.start()
    deadline = time.monotonic() + WARM_WITHIN_S
    while missing := [token for token in tokens if introspector.cached(token) is None]:
        if time.monotonic() > deadline:
            raise SystemExit(f"{len(missing)} answers were not cached")
        with ThreadPoolExecutor(100) as threads:  # questions at the same time share requests
            list(threads.map(ask, missing[:1000]))


async def crowd(made: Callable[[], AsyncIntrospector], tokens: list[str]) -> None:
    """One of many processes of a backend. It prints the number of its checks."""
    async with made() as introspector:
        await warm(introspector, tokens)
        tell("warm")
        while seconds := await orders():
            checked, end = 0, time.monotonic() + float(seconds)
            while time.monotonic() < end:
                for token in random.sample(tokens, AT_ONCE):
                    if not right(token, await introspector.introspect(token)):
                        raise SystemExit("a wrong answer")
                    checked += 1
                await asyncio.sleep(PAUSE_S)
            tell(checked)


async def refusals(made: Callable[[], AsyncIntrospector], tokens: list[str], number: int) -> None:
    """Print for each of many subscribers the moment at which it stops accepting a token."""
    introspectors = [made() for _ in range(number)]
    await asyncio.gather(*(warm(introspector, tokens) for introspector in introspectors))
    tell("warm")
    while token := await orders():
        accepting = dict(enumerate(introspectors))
        refused = [0.0] * number
        for each in introspectors:
            if not right(token, await each.introspect(token)):
                raise SystemExit("a subscriber does not know the token")
        tell("looking")
        while accepting:
            for place, introspector in list(accepting.items()):
                if introspector.cached(token) is None:
                    refused[place] = time.perf_counter()  # the same clock in all processes
                    del accepting[place]
            await asyncio.sleep(LOOK_EVERY_S)
        answers = await asyncio.gather(*(introspector.introspect(token) for introspector in introspectors))
        if any(isinstance(answer, Active) for answer in answers):
            raise SystemExit("a revoked token is active")
        tell(refused)
    await asyncio.gather(*(introspector.aclose() for introspector in introspectors))


async def warm(introspector: AsyncIntrospector, tokens: list[str]) -> None:
    """Introspect all tokens until the cache has all answers."""
    deadline = time.monotonic() + WARM_WITHIN_S
    introspector.start()
    while missing := [token for token in tokens if introspector.cached(token) is None]:
        if time.monotonic() > deadline:
            raise SystemExit(f"{len(missing)} answers were not cached")
        # A question that gets no answer now is asked again in the next turn.
        answers = await asyncio.gather(*map(introspector.introspect, missing[:1000]), return_exceptions=True)
        if any(isinstance(answer, Inactive) for answer in answers):
            raise SystemExit("a wrong answer")
        await asyncio.sleep(0.05)


def main() -> Awaitable[None]:
    what, url, client_id, secret, file, *more = sys.argv[1:]
    tokens = Path(file).read_text().split()

    tls = create_default_context()  # one for all, because loading the certificates takes most of the time of a start

    def made() -> AsyncIntrospector:
        return AsyncIntrospector(url, client_id, secret, cache=True, tls=tls)

    if what == "speed":
        return speed(made, Introspector(url, client_id, secret, cache=True), tokens)
    return crowd(made, tokens) if what == "crowd" else refusals(made, tokens, int(more[0]))


if __name__ == "__main__":
    asyncio.run(main())  # type: ignore[arg-type]  # an Awaitable that is always a coroutine
