"""Bare argon2id: verifies one hash again and again in some threads, and prints the rate per second.

python -m bench.peers.argon2_loop HASH PASSWORD THREADS SECONDS
"""

import sys
import threading
import time

from argon2 import PasswordHasher


def main() -> None:
    stored, password, threads, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    hasher = PasswordHasher()
    hasher.verify(stored, password)
    counts = [0] * threads
    begun = time.perf_counter()
    end = begun + seconds

    def work(number: int) -> None:
        while time.perf_counter() < end:
            hasher.verify(stored, password)
            counts[number] += 1

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    print(sum(counts) / (time.perf_counter() - begun))


main()
