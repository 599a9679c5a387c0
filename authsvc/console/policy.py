"""The header fields of pages."""

from collections.abc import Mapping


def policy(*, form_action: tuple[str, ...] = (), referrer: str = "same-origin") -> Mapping[str, str]:
    """The header fields of pages. Nothing from elsewhere is loaded, nothing inline runs, and nobody may frame a page.

    form_action: origins to which the answer to a form may redirect, besides the own.
    referrer: with `no-referrer` browsers also hide the origin of a form, so that only Sec-Fetch-Site tells it.
    """
    targets = " ".join(("'self'", *form_action))
    return {
        "Cache-Control": "no-store",
        "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
        f"connect-src 'self'; form-action {targets}; base-uri 'none'; frame-ancestors 'none'",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": referrer,
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",  # for browsers that do not know frame-ancestors
    }
