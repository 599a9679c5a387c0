"""The levels of durability that an operator can choose from."""

from typing import Literal

# The places that must hold a change before the service answers with success. local: the memory of the primary. replica:
# the memory of the replicas too. disk: the disk of the primary.
DurabilityLevel = Literal["local", "replica", "disk"]
