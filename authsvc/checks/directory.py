"""Checks of the directory in which the embedded store keeps its files."""

from authsvc.checks import Check, Verdict, failed, not_applicable, passed, unknown
from authsvc.checks.facts import Facts
from authsvc.ops.data_dir import LEAST_FREE


def disk_space(facts: Facts) -> Verdict:
    if facts.address is not None:
        return not_applicable("the store is not ours")
    if facts.free_bytes is None:
        return unknown("there is no data directory yet")
    free = f"{facts.free_bytes // 2**20} MiB free"
    if facts.free_bytes < LEAST_FREE:
        return failed(f"{free}: the store ends when its disk is full", f"make room for {facts.settings.data_dir}")
    return passed(free)


def data_dir(facts: Facts) -> Verdict:
    if facts.address is not None:
        return not_applicable("the store is not ours")
    if facts.data_mode is None:
        return unknown("there is none yet")
    if facts.data_fault is not None:
        return failed(facts.data_fault.what, facts.data_fault.todo)
    if facts.data_mode & 0o077:
        return failed(f"others can get in ({facts.data_mode:04o})", f"chmod 700 {facts.settings.data_dir}")
    return passed("ours alone")


CHECKS = (
    Check("disk space", "ASVS 13.1.2", disk_space),
    Check("data directory", "ASVS 14.2.4", data_dir),
)
