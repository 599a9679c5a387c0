"""Why a token is inactive."""

from enum import StrEnum


class Reason(StrEnum):
    """Why a token is inactive. For the audit trail and for operators, never for the caller."""

    UNKNOWN = "unknown"
    FORGED = "secret never issued"
    SPENT = "spent"
    REVOKED = "revoked"
    EXPIRED = "expired"
    IDLE = "expired idle"
    ENDED = "expired absolute"
    USER_GONE = "user deleted"
    USER_SUSPENDED = "user suspended"
    USER_CUT_OFF = "cut off by the user's epoch"
    CLIENT_GONE = "client deleted"
    CLIENT_CUT_OFF = "cut off by the client's epoch"
    KEYS_CUT_OFF = "cut off by the epoch of the user's keys"
    OUTSIDE = "not from a network of the key"
    SERVICE_CUT_OFF = "cut off by the service's epoch"
