"""The rows about introspection alone. The function of a row starts its server and returns its turns."""

import json
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from authsvc.core import token as tokens
from authsvc.core.token import Kind
from bench import install, loads, same_answers, servers, wrk
from bench.context import LIVE, Bench, Turn, bodies_of
from bench.wrk import Target

BATCH = 500
PEER_CREDENTIALS = "resource:" + "s" * 32


def row_1(bench: Bench) -> list[Turn]:
    """The ceiling: a bare ASGI application."""
    ours = wrk.prepared(bench.introspection(bench.parties, bodies_of(bench.live)), bench.directory)
    size = {"BENCH_ANSWER_BYTES": str(round(ours.content_bytes))}
    port = bench.start(servers.asgi(bench.directory, "ceiling", size, checkout=bench.checkout))
    target = Target("ceiling", port, "/introspect", ":".join(bench.parties.resource), bodies_of(bench.live), wrk.active)
    return [bench.turn("ceiling", target)]


def row_2(bench: Bench) -> list[Turn]:
    """authsvc, one token a request."""
    return [bench.turn("authsvc", bench.introspection(bench.parties, bodies_of(bench.live)))]


def row_3(bench: Bench) -> list[Turn]:
    """The obvious handler."""
    presented = loads.fill_obvious(bench.store, LIVE)
    environment = {"BENCH_STORE": bench.store.url, "PYTHONPATH": str(install.obvious())}
    port = bench.start(servers.asgi(bench.directory, "obvious", environment))
    target = Target("obvious", port, "/introspect", PEER_CREDENTIALS, bodies_of(presented), wrk.active)
    return [bench.turn("obvious", target)]


def row_4(bench: Bench) -> list[Turn]:
    """node oidc-provider on the same store."""
    installed = install.oidc_provider()
    port, presented = bench.start(servers.oidc_provider(bench.directory, installed, bench.store, LIVE))
    # With the hint the provider needs one lookup less.
    bodies = [f"{body}&token_type_hint=access_token" for body in bodies_of(presented)]
    target = Target("oidc_provider", port, "/token/introspection", PEER_CREDENTIALS, bodies, wrk.active)
    return [bench.turn("oidc_provider", target)]


def row_5(bench: Bench) -> list[Turn]:
    """django-oauth-toolkit under gunicorn."""
    installed = install.django_oauth_toolkit()
    port, presented = bench.start(servers.django_oauth_toolkit(bench.directory, installed, LIVE))
    target = Target("django", port, "/o/introspect/", PEER_CREDENTIALS, bodies_of(presented), wrk.active)
    return [bench.turn("django", target)]


def row_6(bench: Bench) -> list[Turn]:
    """authsvc, 500 tokens a request: of the same 10,000 again and again, and of tokens that are asked for once."""
    again = bench.prepared(_batches(bench, "batch", [random.sample(bench.live, BATCH) for _ in range(40)]))
    tokens = bench.once_in_batches
    once = _batches(bench, "batch_once", [tokens[at : at + BATCH] for at in range(0, len(tokens), BATCH)])
    turn = Turn("batch", partial(wrk.measure, again, bench.options.seconds))
    return [turn, bench.turn_once("batch_once", once, again.answer_bytes)]


def _batches(bench: Bench, name: str, batches: Sequence[Sequence[str]]) -> Target:
    return bench.introspection(
        bench.parties,
        [json.dumps({"tokens": tokens}, separators=(",", ":")) for tokens in batches],
        name,
        path="/introspect/batch",
        right=_batch_is_right,
        content_type=wrk.JSON,
        connections=8,
        tokens_each=BATCH,
    )


def _batch_is_right(answer: object, body: str) -> bool:
    asked = [token[4:16] for token in json.loads(body)["tokens"]]  # the handles
    return isinstance(answer, list) and [each.get("session_id") for each in answer if each.get("active")] == asked


def row_11(bench: Bench) -> list[Turn]:
    """Inactive tokens only: malformed ones, and well-formed ones without a record."""
    alphabet = tokens.ALPHABET
    garbage = ["tok_" + "".join(random.choices(alphabet, k=45)) for _ in range(LIVE // 2)]
    garbage += ["".join(random.choices(alphabet, k=random.randint(1, 80))) for _ in range(LIVE // 2)]
    missing = [tokens.new(Kind.ACCESS).text for _ in range(LIVE)]
    return [
        bench.turn(name, bench.introspection(bench.parties, bodies_of(presented), name, right=wrk.inactive))
        for name, presented in (("garbage", garbage), ("missing", missing))
    ]


def row_15(bench: Bench) -> list[Turn]:
    """A hand-tuned Go server on the same records. The bench checks that its answers are those of authsvc."""
    ours = bench.introspection(bench.parties, bodies_of(bench.live))
    program = install.go_introspect()
    port = bench.start(servers.go_introspect(bench.directory, program, bench.store, bench.parties.service.url))

    def same(answer: object, body: str) -> bool:
        return bool(answer == wrk.answer(ours, body))

    target = replace(ours, name="go", port=port, right=same)
    wrk.check(replace(target, bodies=bodies_of(["tok_" + "x" * 45, tokens.new(Kind.ACCESS).text])))
    same_answers.check(bench, ours, target)
    return [bench.turn("go", target)]


def row_16(bench: Bench) -> list[Turn]:
    """authsvc, with another request id and trace in the head of each request."""
    target = bench.introspection(bench.parties, bodies_of(bench.live), "own_ids", own_ids=True)
    return [bench.turn("own_ids", target)]


def row_17(bench: Bench) -> list[Turn]:
    """authsvc, on one connection."""
    return [bench.turn("alone", bench.introspection(bench.parties, bodies_of(bench.live), "alone", connections=1))]


def row_18(bench: Bench) -> list[Turn]:
    """authsvc, with tokens that are asked for once."""
    others = bench.prepared(bench.introspection(bench.parties, bodies_of(bench.live), "before_once"))
    target = bench.introspection(bench.parties, bodies_of(bench.once), "once")
    return [bench.turn_once("once", target, others.answer_bytes)]


def row_22(bench: Bench) -> list[Turn]:
    """authsvc, with each kind of token for programs, beside the tokens of sessions."""
    parties = bench.parties
    app, resource = loads.under(bench.store, parties.app[0]), loads.under(bench.store, parties.resource[0])
    stores, now = [bench.store], time.time()
    presented = {
        "sessions": bench.live,
        "keys": loads.fill_keys(stores, LIVE, app, now),
        "service_tokens": loads.fill_service_tokens(stores, LIVE, app, now),
        "exchanged": loads.fill_exchanged(stores, LIVE, app, resource, now),
    }
    return [
        bench.turn(f"of_{kind}", bench.introspection(parties, bodies_of(tokens), f"of_{kind}"))
        for kind, tokens in presented.items()
    ]


def row_21(bench: Bench) -> list[Turn]:
    """/verify, without a gateway."""

    def right(fields: dict[str, str], token: str) -> bool:
        return fields["x-auth-session"] == token[4:16]

    target = Target("verify", bench.parties.service.port, "/verify", "", bench.live, right, wrk.BEARER)
    return [bench.turn("verify", target)]
