"""All checks, in the order of the rows."""

from authsvc.checks import Check, Verdict, configuration, directory, records, store
from authsvc.checks.facts import Facts

# The checks that need only the facts of `at_once`. All others need the records, or are unknown without them.
AT_ONCE: tuple[Check, ...] = (*configuration.CHECKS, *store.CHECKS, *directory.CHECKS)
CHECKS: tuple[Check, ...] = (*AT_ONCE, *records.CHECKS)


def judge(facts: Facts, checks: tuple[Check, ...] = CHECKS) -> list[tuple[Check, Verdict]]:
    return [(check, check.judge(facts)) for check in checks]
