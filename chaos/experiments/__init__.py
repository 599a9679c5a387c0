"""All experiments, in the order of the table."""

from chaos.experiments import (
    abuse,
    calm,
    cancelled,
    clocks,
    crashes,
    durable,
    edge,
    files,
    flood,
    full,
    guesses,
    linearizable,
    races,
    repeated,
    replicas,
    single_use,
    slots,
    slow,
    steps,
    timing,
)
from chaos.lab import Experiment

_FAMILIES = (
    abuse,
    calm,
    cancelled,
    clocks,
    crashes,
    durable,
    edge,
    files,
    flood,
    full,
    guesses,
    linearizable,
    races,
    repeated,
    replicas,
    single_use,
    slots,
    slow,
    steps,
    timing,
)
ALL: tuple[Experiment, ...] = tuple(
    sorted((one for family in _FAMILIES for one in family.EXPERIMENTS), key=lambda experiment: experiment.number)
)
