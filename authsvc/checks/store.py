"""Checks of the store: whether it is fit, what it keeps, who gets in."""

from collections.abc import Callable

from authsvc.checks import Check, Verdict, failed, not_applicable, passed, refused, unknown, warned
from authsvc.checks.facts import Facts
from authsvc.ops.fitness import OLDEST
from authsvc.ops.inspection import MAX_CLOCK_DIFFERENCE_S, Inspection

# The first release of each series that has what was fixed by July 2026, CVE-2025-49844 (Lua) and CVE-2026-56684 (TLS)
# among it. Distributions put fixes into older releases, so less is a warning.
PATCHED = {
    "valkey": {(7, 2): 14, (8, 0): 10, (8, 1): 9, (9, 0): 5, (9, 1): 1},
    "redis": {(7, 2): 15, (7, 4): 10, (8, 2): 8, (8, 4): 5, (8, 6): 5, (8, 8): 1},
}
_SURVIVES = {
    "local": "a change survives what the store's own settings survive; a failover may lose the last ones",
    "replica": "a revocation answered with 200 is on a replica too, and survives the loss of the primary",
    "disk": "a revocation answered with 200 is on the primary's disk, and survives a loss of power",
}
# The share of its limit from which a store counts as nearly full.
NEARLY_FULL = 0.9
_MORE_MEMORY = "raise maxmemory there, and make sure that its machine has as much"


def of_each(judge: Callable[[Facts, Inspection], Verdict]) -> Callable[[Facts], Verdict]:
    """The worst verdict over all primaries; unknown where the store could not be asked."""
    order = ("fail", "warn", "unknown", "pass", "n/a")

    def worst(facts: Facts) -> Verdict:
        verdicts = [judge(facts, found) for found in facts.servers]
        return min(verdicts, key=lambda verdict: order.index(verdict.result)) if verdicts else _UNASKED

    return worst


_UNASKED = unknown("the store could not be asked")
_SILENT = "the store does not say"


def reachable(facts: Facts) -> Verdict:
    if facts.problem is not None:
        ours = f"look at valkey.log in {facts.settings.data_dir}"
        default = ours if facts.address is None else "start the store, or correct AUTHSVC_REDIS_URL"
        return failed(facts.problem, facts.todo or default)
    answering = f"{len(facts.servers)} primaries answer" if len(facts.servers) > 1 else "it answers"
    return passed(f"{answering}: {facts.where}")


def used(facts: Facts) -> Verdict:
    if facts.records is None:
        return _UNASKED
    if not facts.records.used:
        return failed(
            f"no service record in {facts.where}: nothing can be known",
            "look whether this is the right store; `authsvc serve` makes a record; or restore the backup",
        )
    if facts.records.newer_format is not None:
        return refused(facts.records.newer_format)
    return passed("there is one")


@of_each
def role(facts: Facts, found: Inspection) -> Verdict:
    if found.server.loading:
        return failed("it is still loading its data", "wait")
    if found.server.role is None:
        return unknown(_SILENT)
    if found.server.role != "master":
        return failed("it is a replica: no writes, and old answers", "point AUTHSVC_REDIS_URL at the primary")
    return passed("primary")


@of_each
def version(facts: Facts, found: Inspection) -> Verdict:
    server = found.server
    if server.version is None:
        return unknown(_SILENT)
    what = f"{server.product.capitalize()} {'.'.join(map(str, server.version))}"
    if server.version[:2] < OLDEST[server.product]:
        return failed(f"{what} is older than is supported", "Redis 7.0, Valkey 7.2 or newer")
    patched = PATCHED[server.product]
    series = (server.version[0], server.version[1])
    if series > max(patched) or server.version[2] >= patched.get(series, 10**6):
        return passed(what)
    newest = ", ".join(f"{major}.{minor}.{fix}" for (major, minor), fix in sorted(patched.items()))
    return warned(f"{what} lacks security fixes, unless its distributor added them", f"{newest} have them")


@of_each
def eviction(facts: Facts, found: Inspection) -> Verdict:
    policy = found.server.eviction
    if policy is None:
        return unknown(_SILENT, "make sure that maxmemory-policy is noeviction")
    if policy != "noeviction":
        return failed(f"{policy}: it drops users and cut-offs when memory is short", "set maxmemory-policy noeviction")
    return passed(policy)


@of_each
def memory(facts: Facts, found: Inspection) -> Verdict:
    server, limit = found.server, found.server.memory_limit
    if limit is None:
        return unknown(_SILENT)
    if limit == 0 and facts.address is None:
        return not_applicable("no limit; the embedded store shares this machine's memory")
    if limit == 0:
        return warned("no limit: when memory runs out the system kills it", "set maxmemory below what it has")
    if server.is_full:
        return failed(f"full: {server.memory}; nothing is issued, and revoking still works", _MORE_MEMORY)
    then = "when full, nothing is issued and revoking still works"
    if server.memory_share >= NEARLY_FULL:
        return warned(f"nearly full: {server.memory}; {then}", _MORE_MEMORY)
    return passed(f"{server.memory}; {then}")


@of_each
def persistence(facts: Facts, found: Inspection) -> Verdict:
    server = found.server
    if server.appends is None:
        return unknown(_SILENT)
    if server.snapshot_fails:
        return failed("its last snapshot failed, and so it takes no writes", "look at its disk and its log")
    if server.append_fails:
        return failed("it can't write its append-only file, and so takes no writes", "look at its disk and its log")
    if server.appends:
        return passed("append-only file")
    if facts.settings.durability == "disk":
        return failed("no append-only file, so AUTHSVC_DURABILITY=disk can't be kept", "set appendonly yes")
    if server.config.get("save") == "":
        return failed("none: a restart loses every user, client and cut-off", "set appendonly yes")
    return warned("snapshots at best: a restart brings revoked tokens back", "set appendonly yes, or cut off after it")


@of_each
def syncing(facts: Facts, found: Inspection) -> Verdict:
    server = found.server
    if server.appends is False:
        return not_applicable("no append-only file")
    if server.syncs is None:
        return unknown(_SILENT, "make sure of appendfsync always")
    if server.syncs == "always":
        return passed("always: every acknowledged write is on the disk")
    lost = "the last second" if server.syncs == "everysec" else "half a minute"
    judge = failed if facts.settings.durability == "disk" else warned
    return judge(f"{server.syncs}: a loss of power takes back {lost}, revocations too", "set appendfsync always")


@of_each
def truncation(facts: Facts, found: Inspection) -> Verdict:
    truncated = found.server.config.get("aof-load-truncated")
    if found.server.appends is False:
        return not_applicable("no append-only file")
    if truncated is None:
        return unknown(_SILENT)
    if truncated == "no":
        return passed("it refuses a file that was cut short")
    if found.server.syncs == "always":
        return passed("a file cut short loads, and lacks only what nobody was told of")
    return warned("a file cut short loads silently", "set aof-load-truncated no, or cut off after a crash")


@of_each
def loading(facts: Facts, found: Inspection) -> Verdict:
    if found.server.appends is False:
        return not_applicable("no append-only file")
    if found.skips_transactions is None:
        return unknown(_SILENT, "give the user `default` all rights, and leave it off")
    if not found.skips_transactions:
        return passed("a restart loads the whole file")
    return failed(
        "a restart loses users and revocations: this version skips transactions that `default` has no right to",
        "before any restart: ACL SETUSER default off resetpass ~* &* +@all, then ACL SAVE",
    )


@of_each
def replicas(facts: Facts, found: Inspection) -> Verdict:
    good = found.server.good_replicas
    if facts.settings.durability != "replica":
        return not_applicable(f"AUTHSVC_DURABILITY={facts.settings.durability} asks for none")
    if good is None:
        return unknown(_SILENT)
    needed = facts.settings.durability_replicas
    if good < needed:
        return failed(f"{good} of {needed} keep up: revocations would be answered with 503", "connect replicas")
    if good > needed:
        return warned(
            f"{good} keep up and {needed} must have a change: one of the others may take over without it",
            f"set AUTHSVC_DURABILITY_REPLICAS={good} if any of them may be promoted",
        )
    return passed(f"{good} keep up, and must have every change")


@of_each
def split_brain(facts: Facts, found: Inspection) -> Verdict:
    if facts.settings.durability != "replica":
        return not_applicable("one primary, by itself")
    least = found.server.config.get("min-replicas-to-write")
    if least is None:
        return unknown(_SILENT)
    if least == "0":
        return warned("a primary that lost its replicas goes on taking writes", "set min-replicas-to-write 1")
    lag = found.server.config.get("min-replicas-max-lag")
    return passed(f"writes take {least} replicas that lag {lag} s at most")


@of_each
def durability(facts: Facts, found: Inspection) -> Verdict:
    level = facts.settings.durability
    if level == "disk" and not found.server.has_waitaof:
        todo = "use Redis 7.2, Valkey 7.2 or newer, or another level"
        return failed("disk needs WAITAOF, which this version lacks: every revocation is a 503", todo)
    if facts.address is None and level == "local":
        return passed("local: the embedded store syncs each write, so a loss of power takes nothing back")
    return passed(f"{level}: {_SURVIVES[level]}")


def transport(facts: Facts) -> Verdict:
    where = facts.address
    if where is None or where.socket:
        return not_applicable("a socket on this machine")
    if where.tls and where.unverified:
        return failed("TLS with whoever answers: the URL turns verifying off", "take ssl_cert_reqs and such out of it")
    if where.open_sentinels and not where.local:
        return warned(
            "TLS to the store, and none to its sentinels: their password crosses the network", "sentinel_tls=yes"
        )
    if where.tls:
        return passed("TLS, with the server's certificate verified")
    if where.local:
        return not_applicable("the loopback interface")
    return failed("passwords' hashes and session records cross the network in the clear", "use a rediss:// URL")


@of_each
def door(facts: Facts, found: Inspection) -> Verdict:
    where = facts.address
    if where is None or where.socket:
        return not_applicable("a socket, which file permissions guard")
    # If the store may not be asked, a connection without a password proves that there is none.
    is_open = found.door_open if found.door_open is not None else (None if where.password else True)
    if is_open is None:
        return unknown(_SILENT)
    if not is_open:
        return passed("it needs a password, or is off")
    judge = warned if where.local else failed
    return judge(
        "anybody who reaches it gets in without a password", "set a password for `default`, or ACL SETUSER default off"
    )


@of_each
def rights(facts: Facts, found: Inspection) -> Verdict:
    if facts.address is None:
        return not_applicable("the embedded store is ours alone")
    if found.allowed is None:
        return unknown("it does not say what we may do")
    if found.allowed:
        todo = "give the service a user of its own: deploy/valkey/users.acl"
        return warned(f"we could {', '.join(found.allowed)}, and so can who steals our password", todo)
    return passed("nothing that the service does not need")


def denied(facts: Facts) -> Verdict:
    if facts.denied is None:
        return _UNASKED
    todo = "grant them, as deploy/valkey/users.acl does"
    if facts.denied.needed:
        return failed(f"its ACL forbids {', '.join(facts.denied.needed)}: calls are answered with 503", todo)
    if facts.denied.useful:
        return warned(f"its ACL forbids {', '.join(facts.denied.useful)}: checks know less", todo)
    return passed("all that the service needs")


@of_each
def clock(facts: Facts, found: Inspection) -> Verdict:
    if found.ahead_s is None:
        return unknown(_SILENT)
    apart = abs(found.ahead_s)
    which = "ahead" if found.ahead_s > 0 else "behind"
    if apart > MAX_CLOCK_DIFFERENCE_S:
        judge = failed if apart > 60 else warned
        return judge(f"the store's is {apart:.0f} s {which}: records vanish early or late", "run NTP on both")
    return passed(f"the same within {MAX_CLOCK_DIFFERENCE_S} s")


CHECKS = (
    Check("store", "RFC 7009 §2.2.1", reachable),
    Check("service record", "RFC 7662 §4", used),
    Check("store role", "ASVS 15.4.2", role),
    Check("store version", "ASVS 15.2.1", version),
    Check("eviction", "ASVS 7.4.1", eviction),
    Check("memory", "ASVS 13.1.2", memory),
    Check("persistence", "ASVS 7.4.1", persistence),
    Check("sync to disk", "RFC 7009 §2.2.1", syncing),
    Check("file cut short", "ASVS 7.4.1", truncation),
    Check("file loaded whole", "ASVS 7.4.1", loading),
    Check("replicas", "RFC 7009 §2.2.1", replicas),
    Check("split brain", "RFC 7009 §2.2.1", split_brain),
    Check("durability", "RFC 7009 §2.2.1", durability),
    Check("TLS to the store", "ASVS 12.3.1", transport),
    Check("user `default`", "ASVS 13.2.3", door),
    Check("rights in the store", "ASVS 13.2.2", rights),
    Check("rights denied", "RFC 7009 §2.2.1", denied),
    Check("clocks", "ASVS 16.2.2", clock),
)
