"""What an installation may offer beside passwords. A call of a capability that is switched off is not served."""

from typing import Literal

# `factors`: at least one kind of second factor. `account`: the account pages. `github`: its reports of leaked tokens.
Capability = Literal["factors", "totp", "passkeys", "account", "github"]
