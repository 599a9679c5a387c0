"""What a program gives to the parts for frameworks, checked when it is given: a mistake must not wait for a request."""

import re

from authsvc_sdk.async_introspector import AsyncIntrospector
from authsvc_sdk.introspector import Introspector

# The characters of scopes (RFC 6749 section 3.3). A challenge quotes them, so others would break it.
_WORD = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
_WORDS = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]*")
_TEXTS = {
    "scope": (_WORDS, "one text, with spaces between the scopes"),
    "role": (_WORD, "the name of one role"),
    "acr": (_WORD, "one level, such as 'aal2'"),
}
# The service has the first two. A client with the permission `vouch` may name the third, which NIST SP 800-63B defines,
# and levels of other vocabularies.
_LEVELS = ("aal1", "aal2", "aal3")


def check_introspector(given: object, wanted: type[AsyncIntrospector] | type[Introspector]) -> None:
    """Raise TypeError for the introspector of the other kind of program, and for what is none.

    An object of the program's own, such as a test's, passes if it has `introspect`.
    """
    other = Introspector if wanted is AsyncIntrospector else AsyncIntrospector
    if isinstance(given, (other, type)) or not callable(getattr(given, "introspect", None)):
        what = f"the class {given.__name__}" if isinstance(given, type) else type(given).__name__
        raise TypeError(
            f"introspector: has to be an {wanted.__name__}(url, client_id, client_secret, ...) here, not {what}"
        )


def check_demands(*, scope: object = "", role: object = None, acr: object = None, max_age_s: object = None) -> None:
    """Raise TypeError for a demand of a wrong type, and ValueError for one that no user can meet."""
    for name, value in (("scope", scope), ("role", role), ("acr", acr)):
        form, meaning = _TEXTS[name]
        if not isinstance(value, str) and (value is not None or name == "scope"):
            raise TypeError(f"{name}: has to be {meaning}, not {value!r}")
        if isinstance(value, str) and form.fullmatch(value) is None:
            raise ValueError(f"{name}: has to be {meaning}, not {value!r}")
    if isinstance(acr, str) and acr[:3].lower() == "aal" and acr not in _LEVELS:
        raise ValueError(f"acr: there is no level {acr!r}; the service gives 'aal1' and 'aal2'")
    if max_age_s is not None and (not isinstance(max_age_s, int) or isinstance(max_age_s, bool)):
        raise TypeError(f"max_age_s: has to be a whole number of seconds, not {max_age_s!r}")
    if isinstance(max_age_s, int) and max_age_s < 0:
        raise ValueError(f"max_age_s: has to be 0 or more, not {max_age_s}")


def check_scopes(required_scopes: object) -> None:
    """Raise TypeError unless this is a list of scopes, or None. Each letter of a text would be a scope."""
    if required_scopes is not None and not isinstance(required_scopes, list | tuple):
        raise TypeError(f"required_scopes: has to be a list of scopes, not {required_scopes!r}")
