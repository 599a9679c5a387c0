"""The form of a password hash: the algorithm and its parameters, which decide what a check takes."""

import re
from dataclasses import dataclass
from typing import Final

from authsvc.errors import InvalidRequest

_TEXT: Final = re.compile(r"([a-z0-9-]{1,32})((?:[ ,][a-z]{1,16}=[0-9]{1,12}){0,8})")


@dataclass(frozen=True, slots=True)
class Form:
    """All hashes of one form take the same time and memory. Written as `scrypt n=16384,r=8,p=1,l=64`."""

    algorithm: str
    parameters: tuple[tuple[str, int], ...] = ()

    @classmethod
    def of(cls, algorithm: str, **parameters: int) -> "Form":
        return cls(algorithm, tuple(parameters.items()))

    @classmethod
    def parse(cls, text: str) -> "Form":
        """Raises InvalidRequest."""
        match = _TEXT.fullmatch(text)
        if match is None:
            raise InvalidRequest("not the form of a hash")
        pairs = (pair.split("=") for pair in match[2].lstrip().split(",") if pair)
        return cls(match[1], tuple((name, int(value)) for name, value in pairs))

    def __str__(self) -> str:
        parameters = ",".join(f"{name}={value}" for name, value in self.parameters)
        return f"{self.algorithm} {parameters}".rstrip()

    def covers(self, other: "Form") -> bool:
        """Whether a check of the other form takes no more: the same algorithm, and no parameter is larger."""
        mine, theirs = dict(self.parameters), dict(other.parameters)
        return (
            self.algorithm == other.algorithm
            and mine.keys() == theirs.keys()
            and all(theirs[name] <= value for name, value in mine.items())
        )


def with_form(forms: tuple[str, ...], new: Form) -> tuple[str, ...]:
    """The forms with one more. A form that another one covers adds nothing and is left out."""
    held = [Form.parse(form) for form in forms]
    if any(form.covers(new) for form in held):
        return forms
    return tuple(sorted(str(form) for form in (new, *held) if not new.covers(form) or form == new))
