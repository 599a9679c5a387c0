"""The patterns of fields, and what each means: an error may not hold the characters of a pattern (RFC 6749)."""

from typing import Final

from authsvc.core.authentication import LEVEL, METHOD
from authsvc.core.leak import PLACE
from authsvc.core.scope import SCOPE
from authsvc.core.user import ROLE, SUB

LINE_PATTERN: Final = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]+$"
SUB_PATTERN: Final = f"^{SUB.pattern}$"
ROLE_PATTERN: Final = f"^{ROLE.pattern}$"
SCOPE_PATTERN: Final = f"^{SCOPE.pattern}$"
METHOD_PATTERN: Final = f"^{METHOD.pattern}$"
LEVEL_PATTERN: Final = f"^{LEVEL.pattern}$"
PLACE_PATTERN: Final = f"^{PLACE.pattern}$"
BASE64URL_PATTERN: Final = r"^[A-Za-z0-9_-]*$"
SHA256_PATTERN: Final = "^[0-9A-Fa-f]{64}$"

MEANINGS: Final = {
    LINE_PATTERN: "must be one line of visible characters",
    SUB_PATTERN: "must be 1 to 255 of A-Z a-z 0-9 . _ ~ : @ | + = / -",
    ROLE_PATTERN: "must be 1 to 64 of A-Z a-z 0-9 . _ : / -",
    SCOPE_PATTERN: "must be words of printable ASCII, without quotes and backslashes, with single spaces between",
    METHOD_PATTERN: "must be 1 to 16 of printable ASCII, without spaces, quotes and backslashes",
    LEVEL_PATTERN: "must be 1 to 64 of printable ASCII, without spaces, quotes and backslashes",
    PLACE_PATTERN: "must be a URL that begins with http:// or https://",
    BASE64URL_PATTERN: "must be base64url without padding",
    SHA256_PATTERN: "must be 64 hexadecimal digits",
}
