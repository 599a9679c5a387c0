"""Time-based one-time codes (RFC 6238) as authenticator apps make them: SHA-1, 6 digits, 30 seconds."""

import hmac
import re
from base64 import b32encode
from typing import Final
from urllib.parse import quote, urlencode

PERIOD_S: Final = 30
DIGITS: Final = 6
SEED_BYTES: Final = 20
# A code of the step before or after counts too: phones have wrong clocks, and people type slowly.
WINDOW: Final = 1

CODE: Final = re.compile(r"[0-9]{6}")


def code_at(seed: bytes, step: int, digits: int = DIGITS) -> str:
    """The code of a time step (RFC 4226 section 5.3). step: the time divided by 30 seconds."""
    mac = hmac.digest(seed, step.to_bytes(8, "big"), "sha1")
    at = mac[-1] & 0xF
    number = int.from_bytes(mac[at : at + 4], "big") & 0x7FFFFFFF
    return f"{number % 10**digits:0{digits}}"


def matching_step(seed: bytes, code: str, now: float, last: int) -> int | None:
    """The time step of this code, None if the code is wrong or was used. last: the last step that was accepted.

    RFC 6238 section 5.2: a code counts once. So do all earlier codes once a later one was accepted.
    """
    if CODE.fullmatch(code) is None:
        return None
    current = int(now) // PERIOD_S
    found = None
    for step in range(current - WINDOW, current + WINDOW + 1):
        right = hmac.compare_digest(code_at(seed, step), code)
        if right and step > last:
            found = step
    return found


def as_text(seed: bytes) -> str:
    """The seed in base32, as people type it into an app."""
    return b32encode(seed).decode().rstrip("=")


def uri(seed: bytes, issuer: str, account: str) -> str:
    """The `otpauth://` address that an app reads as a QR code. issuer: the name that the app shows."""
    label = quote(f"{issuer}:{account}", safe="")
    # RFC 3986: a space is %20. Some apps would show the plus of a form.
    return f"otpauth://totp/{label}?" + urlencode({"secret": as_text(seed), "issuer": issuer}, quote_via=quote)
