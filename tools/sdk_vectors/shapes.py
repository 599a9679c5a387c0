"""Vectors of token shapes and of the digests of keys."""

from dataclasses import replace
from typing import Any

from authsvc_sdk.answers import INACTIVE, Active
from authsvc_sdk.cache import _keys_of, key_digest
from authsvc_sdk.tokens import handle_of, is_token

from authsvc.core.token import ALPHABET, Kind, assemble, check

HANDLE = "7Hk2pQ9xV3bN"
TOKEN = assemble(Kind.ACCESS, HANDLE, 62**26 + 987654321).text
OTHER = assemble(Kind.ACCESS, "000000000001", 0).text
KEY = assemble(Kind.KEY, HANDLE, 62**26 + 987654321).text
WORDED = assemble(Kind.KEY, HANDLE, 62**26 + 987654321, "acme").text
FOREIGN = "sk_live_" + "4fQ0kzPq1LxA" * 2
THIRD = assemble(Kind.ACCESS, "zzzzzzzzzzzz", 62**27 - 1).text
_PREFIXES = ["ref", "rst", "sec", "aut", "key", "dev", "Tok", "TOK", "tok", "acme_tok", "acme_ref"]
_FOREIGN_PREFIXES = ("sk_live_", "pat-")


def tokens() -> dict[str, Any]:
    """Texts, and whether each of them has the form of an access token or a key."""
    texts = {
        "an access token": TOKEN,
        "the lowest secret": OTHER,
        "the highest secret": THIRD,
        "leading zeros in the check": _with_leading_zero(),
        "empty": "",
        "only the prefix": "tok_",
        "one character short": TOKEN[:-1],
        "one character long": TOKEN + "0",
        "a line feed at the end": TOKEN + "\n",
        "a space before": " " + TOKEN,
        "a space after": TOKEN + " ",
        "a zero byte at the end": TOKEN + "\0",
        "twice": TOKEN + TOKEN,
        "a hyphen in the secret": _checked(TOKEN[:20] + "-" + TOKEN[21:43]),
        "an underscore in the handle": _checked(TOKEN[:8] + "_" + TOKEN[9:43]),
        "a hyphen instead of the underscore": _checked("tok-" + TOKEN[4:43]),
        "full-width digit": _checked(TOKEN[:20] + "\uff10" + TOKEN[21:43]),
        "Cyrillic o in the prefix": _checked("t\u043ek_" + TOKEN[4:43]),
        "Arabic-Indic digit": _checked(TOKEN[:20] + "\u0663" + TOKEN[21:43]),
        "long s": _checked(TOKEN[:20] + "\u017f" + TOKEN[21:43]),
        "Kelvin sign in the prefix": _checked("to\u212a_" + TOKEN[4:43]),
        "combining accent at the end": TOKEN + "\u0301",
        "49 characters outside of the BMP": "\U0001d7d8" * 49,
        "a key": KEY,
        "a key with a word in front": WORDED,
        "a key with the longest word": assemble(Kind.KEY, HANDLE, 7, "a" + "9" * 15).text,
        "a key with a word that is too long": assemble(Kind.KEY, HANDLE, 7, "a" * 17).text,
        "a key with a word in capitals": assemble(Kind.KEY, HANDLE, 7, "Acme").text,
        "a key with a word that begins with a digit": assemble(Kind.KEY, HANDLE, 7, "1acme").text,
        "a key with two words": assemble(Kind.KEY, HANDLE, 7, "acme_eu").text,
        "a key with an empty word": _checked("_" + KEY[:43]),
        "a key with another word than its digits have": "emca" + WORDED[4:],
        "a key without its word": WORDED[5:],
        "a key with a word that its digits lack": "acme_" + KEY,
        "a key one character short": WORDED[:-1],
        "a key with a line feed at the end": WORDED + "\n",
        "a foreign key": FOREIGN,
        "another foreign key": "pat-" + "x._~+/=-" * 2 + "0",
        "the shortest foreign key": "pat-" + "0" * 16,
        "a foreign key that is too short": "pat-" + "0" * 15,
        "the longest foreign key": "pat-" + "0" * 196,
        "a foreign key that is too long": "pat-" + "0" * 197,
        "a foreign key with a space": FOREIGN + " 0",
        "a foreign key with a line feed at the end": FOREIGN + "\n",
        "a foreign key with a letter beyond ASCII": FOREIGN + "\u00e9",
        "a foreign prefix that is not named": "sk_test_" + FOREIGN[8:],
        "a foreign prefix in another case": FOREIGN.replace("sk", "SK"),
    }
    for prefix in _PREFIXES:
        texts[f"the prefix {prefix}, with its check digits"] = _checked(f"{prefix}_{TOKEN[4:43]}")
        texts[f"the prefix {prefix}, with the digits of tok"] = f"{prefix}_{TOKEN[4:]}"
    for at in (4, 16, 42, 43, 48):
        texts[f"another character at {at}"] = TOKEN[:at] + _next(TOKEN[at]) + TOKEN[at + 1 :]
    texts["two characters exchanged"] = TOKEN[:5] + TOKEN[6] + TOKEN[5] + TOKEN[7:]
    texts["another case"] = TOKEN[:4] + TOKEN[4:].swapcase()
    return {
        "foreign_key_prefixes": _FOREIGN_PREFIXES,
        "cases": [
            {"name": name, "text": text, "handle": handle_of(text) if is_token(text, _FOREIGN_PREFIXES) else None}
            for name, text in texts.items()
        ],
    }


def digests() -> dict[str, Any]:
    """Keys of the store with their digests, and the digests on which an answer depends."""
    keys = [
        f"session:{HANDLE}",
        "user:{4fQ0kzPq1LxA}",
        "user:{gro\u00dfe Stra\u00dfe}",
        "user:{\U0001f511}",
        "user:{}",
        "client:app",
        "client:0fJ2mVq8ZsTb",
        "service",
    ]
    own = "backend"
    answers: list[tuple[str, Active | None]] = [
        (TOKEN, user(TOKEN)),
        (OTHER, user(OTHER, sub="gro\u00dfe Stra\u00dfe", client_id="shop")),
        (TOKEN, None),
        (KEY, user(KEY)),
        (WORDED, user(WORDED)),
        (FOREIGN, user(FOREIGN)),
        (TOKEN, replace(user(TOKEN, client_id="orders"), clients=("web", "mobile"))),
    ]
    every = [key_digest(f"client:{own}"), key_digest("service")]
    return {
        "keys": [{"key": key, "digest": key_digest(key)} for key in keys],
        "own_client_id": own,
        "answers": [
            {
                "token": token,
                "active": answer is not None,
                "sub": answer.sub if answer else None,
                "client_id": answer.client_id if answer else None,
                "clients": list(answer.clients) if answer else [],
                "digests": sorted([*_keys_of(token, answer or INACTIVE), *every]),
            }
            for token, answer in answers
        ],
    }


def user(token: str, sub: str = "ada", client_id: str = "app") -> Active:
    return Active(sub=sub, client_id=client_id, session_id=handle_of(token), exp=0, iat=0)


def _checked(body: str) -> str:
    return body + check(body)


def _next(character: str) -> str:
    return ALPHABET[(ALPHABET.index(character) + 1) % 62]


def _with_leading_zero() -> str:
    """The first token whose check digits begin with a zero."""
    made = (assemble(Kind.ACCESS, HANDLE, secret).text for secret in range(1000))
    return next(text for text in made if text[43] == "0")
