"""Checks of the settings, which need no store."""

from ipaddress import IPv4Network
from urllib.parse import urlsplit

from authsvc import __version__
from authsvc.checks import Check, Verdict, failed, not_applicable, passed, unknown, warned
from authsvc.checks.facts import Facts
from authsvc.core import password as passwords
from authsvc.core.address import is_loopback
from authsvc.core.argon2_profiles import asvs_floor_kib
from authsvc.errors import WeakPassword


def version(facts: Facts) -> Verdict:
    return passed(f"authsvc {__version__}")


def issuer(facts: Facts) -> Verdict:
    given = facts.settings.issuer
    todo = "set AUTHSVC_ISSUER to the public https:// URL"
    if given is None:
        if is_loopback(facts.settings.host):
            return warned("not set; fine on this machine only", todo)
        return failed("not set, though others can reach the service", todo)
    parts = urlsplit(given)
    if parts.query or parts.fragment:
        return failed("has a query or a fragment", todo)
    if parts.scheme == "https" and parts.hostname:
        return passed(given)
    if is_loopback(parts.hostname or "?"):
        return warned("plain HTTP, on this machine only", todo)
    return failed("not an https:// URL: tokens would travel in the clear", todo)


def cookie(facts: Facts) -> Verdict:
    if _https(facts):
        return passed("browsers keep __Host-session")
    todo = "serve over https before browsers of other machines use the service"
    return warned("without https, only browsers on this machine keep __Host-session, at localhost", todo)


def hsts(facts: Facts) -> Verdict:
    if not _https(facts):
        return not_applicable("the service is not on https")
    return passed("every answer carries it, for a year, unless the proxy takes it away")


def _https(facts: Facts) -> bool:
    return (facts.settings.issuer or "").startswith("https://")


def proxies(facts: Facts) -> Verdict:
    trusted = facts.settings.trusted_proxies
    if not trusted and _https(facts):
        return warned(
            "no proxy is trusted, but one serves https: all users share the limits of its address",
            "name the proxy in AUTHSVC_TRUSTED_PROXIES",
        )
    if not trusted:
        return passed("nobody's X-Forwarded-For is believed: right if no proxy is in front")
    everybody = [str(network) for network in trusted if network.prefixlen == 0]
    if everybody:
        return failed(f"{', '.join(everybody)} lets anybody choose an address", "name the proxies' own addresses")
    wide = [str(n) for n in trusted if n.prefixlen < (8 if isinstance(n, IPv4Network) else 32)]
    public = [str(n) for n in trusted if n.is_global and n.num_addresses > 256]
    if wide or public:
        return warned(f"many addresses are believed: {', '.join({*wide, *public})}", "name the proxies' own addresses")
    return passed(", ".join(map(str, trusted)))


def origins(facts: Facts) -> Verdict:
    allowed = facts.settings.allowed_origins
    if not allowed:
        return passed("none but our own")
    plain = [origin for origin in allowed if not origin.startswith("https://")]
    if [origin for origin in plain if not is_loopback(urlsplit(origin).hostname or "?")]:
        return failed(f"anybody on the way can speak for {', '.join(plain)}", "allow https:// origins only")
    if plain:
        return warned(f"for development only: {', '.join(plain)}", "remove it in production")
    return passed(", ".join(allowed))


def argon2(facts: Facts) -> Verdict:
    passes, memory, lanes = facts.settings.argon2_profile
    floor = asvs_floor_kib(passes)
    what = f"argon2id t={passes} m={memory} KiB p={lanes}"
    if memory < floor:
        return failed(f"{what}; {passes} passes take {floor} KiB", f"set AUTHSVC_ARGON2_MEMORY_KIB={floor} or more")
    return passed(what)


def hashing(facts: Facts) -> Verdict:
    if facts.hash_ms is None:
        return unknown("not measured")
    took = f"{facts.hash_ms:.0f} ms a password, {facts.settings.threads} at a time in each worker"
    if facts.hash_ms > 1000:
        return warned(took, "people wait for that, and few can log in at once: lower the parameters or add cores")
    if facts.hash_ms < 5:
        return warned(took, "raise the argon2 parameters: whoever steals the store guesses as fast")
    return passed(took)


def password_length(facts: Facts) -> Verdict:
    least = facts.settings.password_min_length
    if least < 15:
        return warned(f"{least} characters; without a second factor 15", "set AUTHSVC_PASSWORD_MIN_LENGTH=15")
    return passed(f"{least} characters")


def blocklist(facts: Facts) -> Verdict:
    if not facts.settings.password_context:
        return warned("no words of this installation", "set AUTHSVC_PASSWORD_CONTEXT to your names")
    for common in ("password", "qwertyuiop", *facts.settings.password_context):
        try:
            passwords.check(common, min_length=1, context=facts.settings.password_context)
        except WeakPassword:
            continue
        return failed(f"the common password {common!r} is accepted", "install the package anew: the list is missing")
    return passed(f"common ones, usernames, and: {', '.join(facts.settings.password_context)}")


def refresh_grace(facts: Facts) -> Verdict:
    grace = facts.settings.refresh_grace_s
    if grace > 60:
        return warned(f"a stolen spent refresh token works for {grace} s", "set AUTHSVC_REFRESH_GRACE_S to 10")
    return passed(f"{grace} s in which a retry gets the same pair; later it ends the session")


def secrets(facts: Facts) -> Verdict:
    if facts.address is None or not facts.address.password:
        return not_applicable("no secret is configured")
    if "redis_url" in facts.in_files:
        return passed("AUTHSVC_REDIS_URL is read from a file")
    return warned("AUTHSVC_REDIS_URL holds a password", "mount it, and set AUTHSVC_REDIS_URL_FILE")


CHECKS = (
    Check("version", "ASVS 15.2.1", version),
    Check("issuer", "RFC 8414 §2", issuer),
    Check("cookie", "ASVS 3.3.1", cookie),
    Check("HSTS", "ASVS 3.4.1", hsts),
    Check("trusted proxies", "ASVS 4.1.3", proxies),
    Check("allowed origins", "ASVS 3.4.2", origins),
    Check("password hash", "ASVS 11.4.2", argon2),
    Check("hashing time", "ASVS 11.4.2", hashing),
    Check("password length", "NIST 800-63B-4 §3.1.1.2", password_length),
    Check("password blocklist", "ASVS 6.2.4, 6.2.11", blocklist),
    Check("refresh grace", "RFC 9700 §4.14.2", refresh_grace),
    Check("secrets", "ASVS 13.3.1", secrets),
)
