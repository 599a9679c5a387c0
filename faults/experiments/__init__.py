"""All experiments, in the order of the table."""

from faults.experiments import calm
from faults.lab import Experiment

ALL: tuple[Experiment, ...] = tuple(sorted((*calm.EXPERIMENTS,), key=lambda experiment: experiment.number))
