"""Writes docs/performance.md and its charts: the figures, the goals, and how each row was measured."""

from statistics import median

from bench.backend import AT_ONCE
from bench.backends import COUNTED_S, PROCESSES, SUBSCRIBERS, SUBSCRIBING
from bench.charts import Bar, bars
from bench.goals import goals
from bench.loads import USER_AGENT
from bench.logins import BROWSERS_PER_THREAD, STORM_BROWSERS
from bench.report import LABELS, REVOKED, Results, lines
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
            if not results.has(key):  # measured before there was this row
                continue
            values = results.all(key, name)
            ours = label.startswith("authsvc") or key in REVOKED
            made.append(Bar(label, median(values), min(values), max(values), ours))
        return made

    peers = {key: LABELS[key] for key in ("authsvc", "obvious", "oidc_provider", "django", "go")}
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

`make bench` writes this page from its last run. Compare ratios: they hold on other machines, too. The rates are those
of one core of one machine. The bench computes a ratio for each round and shows the median.

{table_of_rows}

![Introspections per second](performance/throughput.svg)

![Latency](performance/latency.svg)

![Revoking](performance/revoking.svg)

## Goals

{verdict}

{table_of_goals}

## What each row measures

Each server is one process on the same core; the other servers idle meanwhile. The load generator and the store share
the other core. Rows that are compared take turns: {options["rounds"]:.0f} rounds of {options["seconds"]:.0f} seconds
each. `wrk` uses 32 connections and sends each request as soon as it has the answer to the last one, so the latencies
are those of a server at its limit. Each request authenticates its client by HTTP Basic and asks about a random one of
10,000 live tokens. Before the first round the bench checks the answers to a sample of the requests (status 200,
`active` true). In each round it checks every status and the mean size of the answers.

- **Row 1** reads the body and answers a constant with the size of a real answer. It runs under the same uvicorn, with
  the same event loop, parser and settings of the garbage collector.
- **Row 2** is the whole product as `authsvc serve` runs it, with one worker. For each answer it authenticates the
  calling client, reads session, user, client and the service's cut-off from the store, checks audience, epochs and
  deadlines, and returns live roles. Each session has its own user, so no two tokens share a user's record.
- **Row 3** is the first version that most people write: `request.form()`, one GET for the session, one for the user,
  `JSONResponse`. It compares the client's credentials with a constant.
- **Row 4** is node oidc-provider with a short adapter on the same store. The library's own models store one grant for
  each token. The requests send `token_type_hint=access_token`, which saves a lookup, and ioredis pipelines
  automatically.
- **Row 5** is django-oauth-toolkit under gunicorn with one worker of the class `gthread`, which keeps connections open
  and was faster than `sync`. Its database is SQLite on a memory file system, with one connection. Its client's secret
  is stored unhashed: by default each request would also compute a PBKDF2 of it.
- **Row 6** posts 500 tokens at a time to `/introspect/batch` over 8 connections. Its rate counts tokens. The first line
  asks for the same 10,000 tokens again and again. The second line asks for each token once.
- **Row 7** logs in with the right password of one of 1,000 users, from {BROWSERS_PER_THREAD} browsers for each hashing
  thread. Each browser has its own address. Bare argon2id verifies one hash with the same parameters in as many threads
  on the same cores, without a server. The goal is about one thread on one core. On both cores, the browsers and the
  store take a part of the server's time.
- **Row 8** asks like row 2 while {STORM_BROWSERS} browsers log in at once. These are more than the queue takes, so some
  logins get 503. At half load the connections pause between requests. The goal is about full load.
- **Row 9** asks about all of {many} tokens at random, on a store with as many sessions, and about 10,000 on another
  store. The bytes are the growth of `used_memory` divided by the number of sessions. They include the key, the record,
  the index of the user's sessions and the expiry. Each user has one session (several would share an index) with an
  address and a `User-Agent` of {len(USER_AGENT)} characters, as from a browser.
{_memory_notes(results)}
- **Row 10** is the time from sending `POST /revoke` to its answer, over one open connection, with {many} live sessions.
  After each revocation the bench introspects a token that must have ended, and it is inactive.
- **Row 11** asks about malformed tokens (half of them have the right form and wrong check digits), and about
  well-formed tokens without a record. The service authenticates the calling client all the same, against its live
  record.
- **Row 12** checks 10,000 tokens of live sessions, in random order, in one process. The SDK's cache answers: as
  `await introspector.introspect(token)` of an `AsyncIntrospector`, as `introspector.introspect(token)` of an
  `Introspector`, as `introspector.cached(token)` in Node (the middleware calls that first), and as
  `auth.Introspect(ctx, token)` in Go. A rate is per second of the process's own CPU time, which includes listening. The
  times of single checks include reading the clock. Then {PROCESSES} processes in Python make {AT_ONCE} checks each
  every few milliseconds, for {COUNTED_S} seconds. The log of the service shows the streams since their start and the
  requests during these seconds. The system counts the connections.
- **Row 13** revokes sessions one by one. {SUBSCRIBERS} subscribers, each with its own cache and stream, run in
  {SUBSCRIBING} processes on both cores. Every half millisecond (in Node every millisecond) the bench looks whether they
  still accept the token. The
  time begins when the answer of `/revoke` has arrived at another process, and ends when the last subscriber refuses
  the token. Each subscriber then asks the service and gets `inactive`. The last two lines do the same with keys and
  with exchanged tokens.
- **Row 14** goes through nginx, with one worker on the core of the load generator and the files of `deploy/nginx`.
  nginx asks `/verify` about each request, and then an application (a constant of nginx itself). The ceiling is the same
  nginx with a bare ASGI application in place of the service. It allows each request, with headers of the same size.
- **Row 15** is a Go server on the same store and the same records, with fasthttp, rueidis and sonic. It makes the same
  decision from the same two round trips, and its answer has the same bytes. rueidis pipelines the reads of concurrent
  requests over one connection. The server notes no use of a session, counts nothing and logs nothing. Before the first
  round the bench checks that both servers answer alike about sessions in about 30 states.
- **Row 16** asks like row 2. Each request has another `x-request-id` and another `traceparent`.
- **Row 17** asks like row 2, over one connection. Its latency is that of a server that is not at its limit.
- **Row 18** asks for each token once. A round ends with its last token, so it is shorter than the rounds of other rows.
- **Row 19** asks about the sessions of row 9 with a Zipf-like choice: session n is chosen in proportion to 1/n.
  The server is asked for 20 seconds before the first round, so that it remembers what is asked for often.
- **Row 20** asks like row 2: by itself, and while a client revokes and refreshes 50 other sessions a second.
- **Row 21** asks `/verify` about a random one of the 10,000 tokens, without nginx.
- **Row 22** asks like row 2, in turns about 10,000 tokens of sessions, keys, tokens of a client that speaks for itself,
  and tokens that were exchanged once.

The store runs without persistence, so the bench measures no disk. `authsvc serve` with nothing configured syncs each
write to the disk. That makes logins and revocations slower. Introspection only reads, except for a write now and then
that notes the use of a session.

## Measured on

{machine}

## Run it yourself

`make bench` takes more than twenty minutes. It needs `wrk`, `node` with `npm`, `go`, `nginx` and two idle cores. The
first run also needs network access, for the packages of the peers. `python -m bench --rows 2,4` measures only these
rows and writes nothing. With `--rounds 3 --seconds 2` most rows take less than a minute. `--quick` shows in a few
minutes that everything runs. `--report` writes this page again from the last figures.

`--rows 2,14 --against PATH` compares these rows with those of another checkout. Its figure `cpu_us` is the server's
processor time for each request or token. It is the figure to compare on a machine that is not idle.
"""


def _memory_notes(results: Results) -> str:
    return "\n".join(
        f"  On {memory['server']} ({memory['allocator']}) the JSON of a session has {memory['record']:.0f} bytes. It\n"
        f"  takes {memory['record_key']:.0f} with its key; the index takes {memory['index_key']:.0f}. A user's record "
        f"takes another {memory['per_user']:.0f},\n  with or without a session. Resident memory grew by "
        f"{memory['per_session_rss']:.0f} bytes for each session."
        for memory in results.memory
    )


def _markdown(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    made = ["| " + " | ".join(row) + " |" for row in [head, tuple("---" for _ in head), *rows]]
    return "\n".join(made)
