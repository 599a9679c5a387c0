"""Checks of the clients and admins there are."""

from collections.abc import Callable

from authsvc.checks import Check, Verdict, failed, names, not_applicable, passed, refused, unknown, warned
from authsvc.checks.facts import Facts, Records
from authsvc.core.api_key import WARNED_S
from authsvc.core.client import BUILT_IN, Client

HOUR, DAY = 3600, 86400


def of_records(judge: Callable[[Facts, Records], Verdict]) -> Callable[[Facts], Verdict]:
    def known(facts: Facts) -> Verdict:
        if facts.records is None or not facts.records.used:
            return unknown("there are no records to look at")
        return judge(facts, facts.records)

    return known


def _name(client: Client) -> str:
    return client.client_id if client.client_id == client.name else f"{client.client_id} ({client.name})"


@of_records
def access_lifetimes(facts: Facts, records: Records) -> Verdict:
    # A token that can't be refreshed lives with its session, by design; that is the next check's.
    long = [_name(c) for c in records.clients if c.refresh and c.lifetimes(refreshable=True).access > HOUR]
    if long:
        return warned(f"over 60 min: {names(long)}", "lower access_ttl_s: it bounds what a lost revocation can do")
    return passed("60 min at most")


@of_records
def session_lifetimes(facts: Facts, records: Records) -> Verdict:
    def is_long(client: Client) -> bool:
        lives = client.lifetimes(refreshable=client.refresh)
        return lives.session > (30 * DAY if client.refresh else DAY) or lives.idle > 14 * DAY

    long = [_name(c) for c in records.clients if is_long(c)]
    if long:
        return warned(f"longer than 30 days, or than a day without refresh: {names(long)}", "lower their lifetimes")
    return passed("14 days idle and 30 in all, a day without refresh, at most")


@of_records
def audiences(facts: Facts, records: Records) -> Verdict:
    # Clients of admins may do anything anyway.
    asking = [c for c in records.clients if c.may("introspect") and not c.may("admin")]
    without = [_name(c) for c in asking if not c.audience]
    if without:
        return warned(
            f"none: {names(without)}; such a resource server may ask about any token", "give them an audience"
        )
    return passed("every resource server has one") if asking else not_applicable("no client but admins' may introspect")


@of_records
def scopes(facts: Facts, records: Records) -> Verdict:
    def grants_any(client: Client) -> bool:
        issuing = client.may("issue") or client.may("token")
        granting = client.public or (issuing and not client.may("admin"))
        return granting and client.widest_scope(facts.settings.app_scope) is None

    anything = [_name(c) for c in records.clients if grants_any(c)]
    if anything:
        return warned(
            f"{names(anything)}: every scope that is asked for is granted, so a scope protects nothing",
            "authsvc client update ID --scope WORDS",
        )
    granted = facts.settings.app_scope or "no scope (AUTHSVC_APP_SCOPE is empty)"
    own = next((c.scope for c in records.clients if c.client_id == BUILT_IN and c.scope is not None), None)
    return passed(f"logins through `{BUILT_IN}` may ask for {granted if own is None else own or 'no scope'}")


@of_records
def issued_roles(facts: Facts, records: Records) -> Verdict:
    issuing = [c for c in records.clients if c.may("issue") and not c.may("admin")]
    unbounded = [_name(c) for c in issuing if c.issue_roles is None]
    if unbounded:
        why = f"{names(unbounded)} may give users every role but `admin`, also roles that are for other audiences"
        return warned(why, "authsvc client update ID --issue-role ROLE, or --no-issue-roles")
    return passed("each issuing client has a list") if issuing else not_applicable("no client but admins' may issue")


@of_records
def account_calls(facts: Facts, records: Records) -> Verdict:
    def logs_in(client: Client) -> bool:
        return client.public or client.may("issue") or client.may("client_ip") or not client.permissions

    issuer = facts.settings.base_url
    lacking = [_name(c) for c in records.clients if logs_in(c) and c.audience and issuer not in c.audience]
    asking = [_name(c) for c in records.clients if c.may("introspect") and issuer in c.audience]
    if lacking:
        todo = f"add {issuer} to the audience of a client whose users call /me, /sessions or /password"
        return warned(f"closed to bearer tokens of {names(lacking)}, which are for other resource servers", todo)
    if asking:
        todo = f"take {issuer} out of its audience, or the permission introspect"
        return warned(f"{names(asking)} may introspect the tokens of all clients that have this audience", todo)
    return passed("open to the tokens of every client that logs users in")


@of_records
def admin_clients(facts: Facts, records: Records) -> Verdict:
    found = [_name(c) for c in records.clients if c.may("admin")]
    if not found and not set(records.admins) - set(records.locked_out):
        return failed("nobody can administer the service", "authsvc client create NAME --permission admin")
    if len(found) > 3:
        return warned(f"{len(found)} may do everything: {names(found)}", "leave them the permissions they use")
    return passed(names(found) or "none; users with the role admin there are")


@of_records
def public_clients(facts: Facts, records: Records) -> Verdict:
    found = [_name(c) for c in records.clients if c.public]
    powerful = [_name(c) for c in records.clients if c.public and c.permissions]
    if powerful:
        return failed(f"anybody can call as {names(powerful)}", "take their permissions away")
    return passed(f"{names(found)}: their refresh tokens rotate") if found else not_applicable("there are none")


@of_records
def rotations(facts: Facts, records: Records) -> Verdict:
    def end(client: Client) -> int:
        return max((secret.until or 0 for secret in client.secrets), default=0)

    running = [c for c in records.clients if end(c) > facts.now]
    slow = [_name(c) for c in running if end(c) > facts.now + 7 * DAY]
    if slow:
        return warned(f"an old secret works for over a week: {names(slow)}", "rotate again with a shorter overlap")
    if running:
        return passed(f"the old secret still works for {names([_name(c) for c in running])}")
    return passed("no old secret is in use")


@of_records
def admin_users(facts: Facts, records: Records) -> Verdict:
    if records.locked_out:
        todo = "authsvc user reset-code NAME, or take the role from them"
        return warned(f"have no password, so a reset code makes an admin: {names(records.locked_out)}", todo)
    return passed(names(records.admins)) if records.admins else not_applicable("there are none")


@of_records
def second_factors(facts: Facts, records: Records) -> Verdict:
    if records.wrong_key is not None:
        return refused(records.wrong_key)
    roles = facts.settings.require_factor_for
    demanding = [_name(c) for c in records.clients if c.acr is not None]
    # The key of an embedded store is beside it, and the settings do not name it.
    if (roles or demanding) and facts.address is not None and "factors" not in facts.settings.capabilities:
        return failed(
            "one is demanded, and nobody can enrol one", "set AUTHSVC_FACTOR_KEY_FILE, or install the extra passkeys"
        )
    powerful = facts.settings.powers.roles_for("auditor")
    lacking = [role for role in powerful if role not in roles]
    if records.admins and lacking:
        wanted = " ".join((*powerful, *(role for role in roles if role not in powerful)))
        return warned(
            f"users with the role {' or '.join(lacking)} need none", f"set AUTHSVC_REQUIRE_FACTOR_FOR={wanted}"
        )
    return passed(f"demanded of the roles {names(roles)}" if roles else "users may enrol one; no user is an admin")


@of_records
def keys(facts: Facts, records: Records) -> Verdict:
    if records.expiring:
        why = f"a key ends within {WARNED_S // DAY} days: {names(records.expiring)}"
        return warned(why, "authsvc key list NAME shows which; make another one, because a rotation moves no end")
    return passed("none ends soon") if records.key_users else not_applicable("there are none")


@of_records
def imported_hashes(facts: Facts, records: Records) -> Verdict:
    objections = []
    if records.uncheckable:
        why = f"{records.uncheckable} can't log in: their hashes are damaged or over the bounds"
        objections.append((why, "authsvc user export --with-hashes names them; give them reset codes"))
    if records.unfit_forms:
        todo = "change this machine so that it can check them, or give their users reset codes"
        objections.append((f"not checked as they should be here: {'; '.join(records.unfit_forms)}", todo))
    if records.weak_forms:
        why = f"{names(records.weak_forms)}: an attacker who reads the store tries billions of passwords a second"
        objections.append((why, "authsvc user require-reset NAME for those who do not log in soon"))
    if not objections:
        return passed("every stored hash can be checked")
    return warned("; ".join(why for why, _ in objections), "; ".join(todo for _, todo in objections))


CHECKS = (
    Check("access lifetimes", "RFC 9700 §2.2.1", access_lifetimes),
    Check("session lifetimes", "ASVS 7.3.1, 10.4.8", session_lifetimes),
    Check("audiences", "RFC 9700 §2.3", audiences),
    Check("scopes", "RFC 9700 §2.3", scopes),
    Check("issued roles", "ASVS 8.2.1", issued_roles),
    Check("account calls", "RFC 9068 §4", account_calls),
    Check("admin clients", "ASVS 8.2.1", admin_clients),
    Check("public clients", "RFC 9700 §2.2.2", public_clients),
    Check("client secrets", "ASVS 13.3.4", rotations),
    Check("keys", "ASVS 13.3.4", keys),
    Check("password hashes", "ASVS 11.4.2", imported_hashes),
    Check("second factors", "ASVS 6.3.3", second_factors),
    Check("admin users", "ASVS 6.3.2", admin_users),
)
