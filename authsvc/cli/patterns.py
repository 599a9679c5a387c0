"""`authsvc patterns`: the rules by which secret scanners find the tokens of this service.

A rule is an expression for prefix, length and characters. No scanner computes check digits, so a find may be a mistake:
`POST /leaked` knows it by the check digits.
"""

from collections.abc import Callable, Mapping
from typing import Final

import yaml

from authsvc.core.token import Kind

_ABOUT: Final = "Token, key or client secret of authsvc"
# All that a token may begin with.
_PREFIXES: Final = tuple(sorted(f"{kind}_" for kind in Kind))


def expression(word: str = "") -> str:
    """The expression for all tokens, in the syntax that Go, Python and Hyperscan share.

    word: the word in front of new keys; older keys may have none. Any character may stand before a token, such as the
    `n` of a line's end in JSON. So the expression takes no other word than this one.
    """
    key = f"(?:{word}_)?{Kind.KEY}" if word else Kind.KEY
    kinds = "|".join(kind for kind in Kind if kind is not Kind.KEY)
    return rf"(?:{key}|{kinds})_[0-9A-Za-z]{{45}}\b"


def plain(word: str) -> str:
    return f"{expression(word)}\n"


def for_gitleaks(word: str) -> str:
    """A configuration that adds a rule to those of gitleaks."""
    keywords = ", ".join(f'"{prefix}"' for prefix in _PREFIXES)
    return f"""\
[extend]
useDefault = true

[[rules]]
id = "authsvc-token"
description = "{_ABOUT}"
regex = '''{expression(word)}'''
keywords = [{keywords}]
"""


def for_trufflehog(word: str) -> str:
    """A custom detector. It is not verified: TruffleHog would send each find somewhere, and live tokens would tell."""
    detector = {"name": "authsvc-token", "keywords": [*_PREFIXES], "regex": {"token": expression(word)}}
    return _yaml({"detectors": [detector]})


def for_github(word: str) -> str:
    """The fields of a custom pattern, and of an application to the partner program."""
    return _yaml(
        {
            "Pattern name": "authsvc token",
            "Secret format": expression(word),
            "Before secret": r"\A|[^0-9A-Za-z]|\\[nrt]",
            "After secret": r"\z|[^0-9A-Za-z]",
        }
    )


def for_gitguardian(word: str) -> str:
    """A custom detector."""
    matcher = {
        "type": "RegexMatcher",
        "pattern": f"(?P<token>{expression(word)})",
        "look_behind": "",
        "look_ahead": "(?![0-9A-Za-z_])",
    }
    detector = {"name": "authsvc_token", "display_name": _ABOUT, "family": "token", "matchers": [matcher]}
    return _yaml(detector)


SCANNERS: Final[Mapping[str, Callable[[str], str]]] = {
    "gitleaks": for_gitleaks,
    "trufflehog": for_trufflehog,
    "github": for_github,
    "gitguardian": for_gitguardian,
}


def _yaml(document: object) -> str:
    dumped: str = yaml.safe_dump(document, sort_keys=False, width=1000)
    return dumped
