"""The levels of durability that an operator can choose from."""

from typing import Literal

# Where a change has to be before the service answers with success: in the memory of the primary, in the memory of the
# replicas too, or on the disk of the primary.
DurabilityLevel = Literal["local", "replica", "disk"]
