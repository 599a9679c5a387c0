"""All checks, in the order of the rows."""

from authsvc.checks import Check, Verdict, configuration, directory, records, store
from authsvc.checks.facts import Facts

# Those that the facts of `at_once` suffice for. The others are unknown without the records or a measurement.
AT_ONCE: tuple[Check, ...] = (*configuration.CHECKS, *store.CHECKS, *directory.CHECKS)
CHECKS: tuple[Check, ...] = (*AT_ONCE, *records.CHECKS)


def judge(facts: Facts, checks: tuple[Check, ...] = CHECKS) -> list[tuple[Check, Verdict]]:
    return [(check, check.judge(facts)) for check in checks]
