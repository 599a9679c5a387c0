"""The threads that compute hashes, and the end of a process."""

import subprocess
import sys

ENDS_AT_ONCE = """
import asyncio, threading
from authsvc.hashing.pool import HashThreads
from authsvc.metrics import Metrics

async def main():
    threads, computing = HashThreads(1, Metrics()), threading.Event()
    def hash():
        computing.set()
        threading.Event().wait(120)
    runs = [asyncio.create_task(threads.run(hash, lambda: None)) for _ in range(2)]
    await asyncio.to_thread(computing.wait)
    threads.close()
    print(await asyncio.wait(runs, timeout=0.1) and runs[1].cancelled())

asyncio.run(main())
"""


def test_no_process_waits_for_a_hash_at_its_end() -> None:
    """A thread at SCHED_IDLE may get no time for minutes, and a service that is told to stop ends all the same.

    Work that waited for the thread is cancelled.
    """
    ended = subprocess.run([sys.executable, "-c", ENDS_AT_ONCE], capture_output=True, text=True, timeout=60)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("True\n", "", 0)
