"""docs/performance.md: the page that tells what was measured, how, and what came out, with its charts."""

from statistics import median

from bench.backend import AT_ONCE
from bench.backends import COUNTED_S, PROCESSES, SUBSCRIBERS, SUBSCRIBING
from bench.charts import Bar, bars
from bench.loads import USER_AGENT
from bench.logins import BROWSERS_PER_THREAD, STORM_BROWSERS
from bench.report import LABELS, REVOKED, Results, goals, lines
from bench.servers import ROOT

DOCS = ROOT / "docs"
CHARTS = DOCS / "performance"


def write(results: Results) -> None:
    """Write docs/performance.md and its charts. Only for a run of all rows."""
    CHARTS.mkdir(parents=True, exist_ok=True)
    for name, chart in _charts(results).items():
        (CHARTS / f"{name}.svg").write_text(chart)
    (DOCS / "performance.md").write_text(_page(results))


def _charts(results: Results) -> dict[str, str]:
    def drawn(labels: dict[str, str], name: str) -> list[Bar]:
        made = []
        for key, label in labels.items():
            values = results.all(key, name)
            ours = label.startswith("authsvc") or key in REVOKED
            made.append(Bar(label, median(values), min(values), max(values), ours))
        return made

    peers = {key: LABELS[key] for key in ("authsvc", "obvious", "oidc_provider", "django")}
    note = "One core, one worker, 32 connections. Median; the line is the spread over the rounds."
    return {
        "throughput": bars("Introspections per second", note, drawn(LABELS, "rate")),
        "latency": bars("99th percentile of an introspection, milliseconds", note, drawn(peers, "p99_ms"), "{:.1f}"),
        "revoking": bars(
            "Revoking, milliseconds",
            f"With {results.options['many']:,.0f} live sessions. Median; the line is the spread.",
            drawn(REVOKED, "ms"),
            "{:.2f}",
        ),
    }


def _page(results: Results) -> str:
    options, judged = results.options, goals(results)
    table_of_rows = _markdown(
        ("row", "what", "ratio", "median (least-most)", "p50 / p99"),
        [(line.row, line.what, line.ratio, line.figure, line.latency) for line in lines(results)],
    )
    table_of_goals = _markdown(
        ("goal", "asked", "found", ""),
        [(goal.text, goal.asked, goal.found, "met" if goal.met else "**not met**") for goal in judged],
    )
    missed = [goal for goal in judged if not goal.met]
    verdict = f"{len(judged) - len(missed)} of {len(judged)} goals are met."
    if missed:
        verdict += " Not met: " + "; ".join(f"{goal.text} ({goal.found}, asked {goal.asked})" for goal in missed) + "."
    machine = _markdown(("", ""), list(results.machine.items()))
    many = f"{options['many']:,.0f}"
    return f"""# Performance

This page is written by `make bench` from what it has just measured. Ratios come first: they hold elsewhere too, while
the rates are those of one core of one machine. A ratio is computed for each round, and their median is shown.

{table_of_rows}

![Introspections per second](performance/throughput.svg)

![Latency](performance/latency.svg)

![Revoking](performance/revoking.svg)

## Goals

{verdict}

{table_of_goals}

## What was measured

Every server is one process on one core, the same for all, where the others idle while it is asked; load generator and
store share another core. Rows that are compared take turns, {options["rounds"]:.0f} rounds of
{options["seconds"]:.0f} seconds each. `wrk` asks over 32 connections, as fast as it gets answers, so the latencies are
those of a server at its limit. Each request authenticates its client by HTTP Basic and asks about a random one of
10,000 live tokens. Before the first round a sample of the
answers is looked at (status 200, `active` true); during each, every status and the mean size of the answers are
checked.

- **Row 1** reads the body and answers a constant of the size of a real answer, under the same uvicorn, with the same
  event loop, parser and garbage collector settings.
- **Row 2** is the whole product as `authsvc serve` runs it, one worker: it authenticates the calling client, reads
  session, user, client and the service's cut-off from the store for each answer, checks audience, epochs and deadlines,
  and tells live roles. Each session belongs to a user of its own, so no two tokens share a user's record.
- **Row 3** is what one writes first: `request.form()`, one GET for the session, one for the user, `JSONResponse`; it
  compares the client's credentials with a constant.
- **Row 4** is node oidc-provider with an adapter of a few lines on the same store, one grant for each token, stored by
  the library's own models. It is given `token_type_hint=access_token`, which saves it a lookup, and ioredis's automatic
  pipelining.
- **Row 5** is django-oauth-toolkit under gunicorn with one worker of the class `gthread`, which keeps connections open
  and was faster than `sync`; its database is SQLite on a memory file system, connected to once. Its client's secret is
  stored unhashed: by default each request would also pay for a PBKDF2 of it.
- **Row 6** posts 500 tokens at a time to `/introspect/batch` over 8 connections; a rate is of tokens.
- **Row 7** logs in with the right password of one of 1,000 users, from {BROWSERS_PER_THREAD} browsers for each hashing
  thread, each with an address of its own. Bare argon2id verifies one hash with the same parameters in as many threads
  on the same cores, without a server. The goal is about one thread on one core; on both cores, the browsers and the
  store take their share of what the server would have.
- **Row 8** asks like row 2 while {STORM_BROWSERS} browsers log in at once: more than the service lets wait, so some are
  told 503. At half load the connections pause between requests; the goal is about full load.
- **Row 9** asks about all of {many} tokens at random, on a store with as many sessions, and about 10,000 on another.
  Bytes are the growth of `used_memory` divided by the number of sessions: key, record, the index of the user's sessions
  and expiry, all in; with one session for each user (several would share an index), and with what a browser leaves:
  its address and a `User-Agent` of {len(USER_AGENT)} characters.
{_memory_notes(results)}
- **Row 10** is the time from sending `POST /revoke` to its answer, over one kept connection, with {many} live sessions.
  After each, a token that it must have ended is introspected, and is inactive.
- **Row 11** asks about strings that are no tokens (half of them of the form of one, with wrong check digits), and about
  well-formed tokens that have no record. The calling client is authenticated all the same, against its live record.
- **Row 12** checks 10,000 tokens of live sessions, in random order, in one process that the SDK's cache answers: as
  `await introspector.introspect(token)` of an `AsyncIntrospector`, and as `introspector.introspect(token)` of an
  `Introspector`. Rates are for a second of the process's own time, what listening costs included; times are of single
  checks with the clock's own cost in them. Then {PROCESSES} processes make {AT_ONCE} checks each every few
  milliseconds, for {COUNTED_S} seconds; the service, which logs every request, says what it got from them: streams
  since they began, requests during these seconds. The system says how many connections it has.
- **Row 13** revokes sessions one by one. {SUBSCRIBERS} subscribers with a cache and a stream of their own, in
  {SUBSCRIBING} processes on both cores, are looked at every half millisecond: do they still accept the token? It is the
  time from when the answer of `/revoke` has arrived at another process to when the last of them refuses; each then
  asks, and is told that it is inactive.
- **Row 14** goes through nginx, one worker on the core of the load generator, with the files of `deploy/nginx`: it
  asks `/verify` about each request, and then an application (a constant of nginx itself). The ceiling is the same nginx
  with a bare ASGI application in place of the service that says yes to everything, with headers of the same size.

The store runs without persistence, so that no disk is measured. `authsvc serve` with nothing configured syncs each
write to disk: that slows logins and revocations down; introspection only reads, but for noting a use now and then.

## On what

{machine}

## Again

`make bench` takes some twenty minutes. It needs `wrk`, `node` with `npm`, `nginx`, two cores with nothing else to do,
and network access the first time, for the peers' packages. `python -m bench --rows 2,4` measures only these rows and
writes nothing; `--quick` shows in a few minutes that everything runs; `--report` writes this page again from the last
figures.
"""


def _memory_notes(results: Results) -> str:
    return "\n".join(
        f"  On {memory['server']} ({memory['allocator']}) the record's JSON has {memory['record']:.0f} bytes and\n"
        f"  takes {memory['record_key']:.0f} with its key, the index {memory['index_key']:.0f}; a user's record is "
        f"another {memory['per_user']:.0f},\n  logged in or not. Resident memory grew by "
        f"{memory['per_session_rss']:.0f} bytes for each session."
        for memory in results.memory
    )


def _markdown(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    made = ["| " + " | ".join(row) + " |" for row in [head, tuple("---" for _ in head), *rows]]
    return "\n".join(made)
