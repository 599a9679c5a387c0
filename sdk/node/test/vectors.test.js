/** The vectors of all SDKs (sdk/vectors). They are read as files, so this SDK does what the others do. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import {
  accepted,
  Active,
  cookieIn,
  demand,
  INACTIVE,
  Introspector,
  Misconfigured,
  Refused,
  tokenIn,
  Unavailable,
} from "@authsvc/sdk";

import { read } from "../dist/answers.js";
import { Cache, keyDigest, keysOf } from "../dist/cache.js";
import { clock } from "../dist/clock.js";
import { configOf } from "../dist/config.js";
import { Feed } from "../dist/feed.js";
import { ServerClock } from "../dist/server-clock.js";
import { EventParser } from "../dist/sse.js";
import { handleOf, isToken } from "../dist/token.js";
import { responder } from "./responder.js";

// The suite of the repository gives a folder with changed vectors, to see that a change is noticed.
const VECTORS = process.env.SDK_VECTORS ?? fileURLToPath(new URL("../../vectors", import.meta.url));

function vectors(name) {
  return JSON.parse(readFileSync(`${VECTORS}/${name}.json`, "utf8"));
}

function each(name, check) {
  for (const one of vectors(name).cases) test(`${name}: ${one.name}`, (context) => check(one, context));
}

each("tokens", ({ text, handle }) => {
  assert.equal(isToken(text, vectors("tokens").foreign_key_prefixes) ? handleOf(text) : null, handle);
});

test("digests: keys", () => {
  for (const { key, digest } of vectors("digests").keys) assert.equal(keyDigest(key), digest, key);
});

test("digests: answers", () => {
  const { own_client_id: own, answers } = vectors("digests");
  for (const { token, active, sub, client_id: clientId, clients, digests } of answers) {
    const answer = active ? user({ sub, clientId, clients, sessionId: handleOf(token) }) : INACTIVE;
    const all = [...keysOf(token, answer), keyDigest(`client:${own}`), keyDigest("service")];
    assert.deepEqual(all.sort(), digests);
  }
});

each("events", ({ base64, events }) => {
  const bytes = Buffer.from(base64, "base64");
  for (const size of [1, 2, 3, bytes.length]) {
    const parser = new EventParser();
    const found = [];
    for (let at = 0; at < bytes.length; at += size) found.push(...parser.feed(bytes.subarray(at, at + size)));
    assert.deepEqual(found, events, `in pieces of ${size}`);
  }
});

each("feed", ({ settings, steps }, context) => {
  const config = configOf({
    url: "http://auth",
    clientId: settings.client_id,
    clientSecret: "secret",
    cache: true,
    cacheSize: settings.cache_size,
    cacheMaxAgeS: settings.cache_max_age_s,
    feedSilenceS: settings.feed_silence_s,
    serveStaleForS: settings.serve_stale_for_s,
  });
  let now = 0;
  context.mock.method(clock, "now", () => now);
  const cache = new Cache(config);
  const marks = new Map();
  let feed;
  for (const [number, step] of steps.entries()) {
    now = step.at;
    const where = `step ${number}: ${JSON.stringify(step)}`;
    if (step.do === "open") {
      feed = new Feed(cache, config.feedSilenceS);
    } else if (step.do === "receive") {
      assert.equal(breaks(feed, step), step.broken, where);
      if (step.broken) cache.disconnect();
    } else if (step.do === "end") {
      cache.disconnect();
    } else if (step.do === "ask") {
      marks.set(step.token, [...(marks.get(step.token) ?? []), cache.changes]);
    } else if (step.do === "answer") {
      const mark = marks.get(step.token).shift();
      const { sub, client_id: clientId } = step;
      const answer = step.active ? user({ sub, clientId, sessionId: handleOf(step.token) }) : INACTIVE;
      cache.keep(step.token, answer, mark, step.until ?? Infinity, step.exp ?? Infinity);
    } else {
      assert.equal(step.do, "check");
      assert.equal(named(cache.get(step.token)), step.cached, where);
      assert.equal(named(cache.getStale(step.token)), step.stale, where);
    }
  }
});

function breaks(feed, { text, base64, times }) {
  const once = Buffer.from(text ?? base64, text === undefined ? "base64" : "utf8");
  try {
    feed.receive(Buffer.alloc(once.length * times, once));
    return false;
  } catch {
    return true;
  }
}

function named(answer) {
  if (answer === undefined) return null;
  return answer.active ? "active" : "inactive";
}

each("deadlines", ({ steps }) => {
  const clock = new ServerClock();
  for (const step of steps) {
    if ("date" in step) clock.observe(step.date, step.received_at);
    else assert.equal(clock.ours(step.convert, step.took_s), step.ours);
  }
});

const introspection = vectors("introspection");
for (const one of introspection.cases) {
  test(`introspection: ${one.name}`, async () => {
    const server = await responder(one.responses);
    const { outcome } = one;
    const ask = new Introspector({
      url: server.url,
      clientId: "backend",
      clientSecret: "secret",
      // A busy machine takes its time. Only the cases that wait for the limit need it to be short.
      timeoutS: introspection.timeout_s * (one.responses.some((response) => response.do === "hang") ? 1 : 10),
      ...(one.audience === null ? {} : { audience: one.audience }),
      logger: { warn() {}, error() {} },
    });
    try {
      assert.deepEqual(said(await asked(ask, introspection.token)), said(expected(outcome)));
      assert.equal(server.requests, one.requests);
    } finally {
      ask.close();
      await server.close();
    }
  });
}

async function asked(ask, token) {
  try {
    return await ask.introspect(token);
  } catch (error) {
    return error;
  }
}

/** An answer or failure as the vectors name it. */
function said(answer) {
  if (answer instanceof Misconfigured) return { answer: "refused" };
  if (answer instanceof Unavailable) return { answer: "unavailable", retry_after_s: answer.retryAfterS ?? null };
  if (answer instanceof Active) return { answer: "active", user: plain(answer) };
  if (answer === INACTIVE) return { answer: "inactive" };
  return answer;
}

function expected({ answer, user: fields, retry_after_s: after = null }) {
  return {
    answer,
    ...(fields === undefined ? {} : { user: fields }),
    ...(answer === "unavailable" ? { retry_after_s: after } : {}),
  };
}

function plain(active) {
  const snake = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  const { active: _, ...fields } = active;
  const renamed = Object.entries(fields).map(([name, value]) => [snake(name), value ?? null]);
  return { ...Object.fromEntries(renamed), scopes: active.scopes.toSorted(), roles: active.roles.toSorted() };
}

test("introspection: what a cache may keep", () => {
  for (const { name, responses, audience, outcome } of introspection.cases) {
    const { body, status, headers } = responses.at(-1);
    if (outcome.cacheable === undefined || status !== 200 || body === undefined) continue;
    const timed = read(JSON.parse(body), introspection.token, audience ?? undefined);
    const dated = headers.Date !== "" && !Number.isNaN(Date.parse(headers.Date ?? "Fri, 15 Jan 2027 08:00:00 GMT"));
    assert.equal(dated && (!timed.answer.active || timed.recheckAt !== undefined), outcome.cacheable, name);
  }
});

const challenges = vectors("challenges");
for (const one of challenges.demands) {
  test(`challenges: ${one.name}`, (context) => {
    context.mock.method(Date, "now", () => challenges.now * 1000);
    const { max_age_s: maxAgeS, ...others } = one.demand;
    const demands = maxAgeS === undefined ? others : { ...others, maxAgeS };
    const made = one.user === null ? undefined : userWith(one.user);
    assert.deepEqual(described(refusal(() => demand(made, demands))), lowered(one.refused));
  });
}

test("challenges: an inactive token, and no answer", () => {
  assert.deepEqual(described(refusal(() => accepted(INACTIVE))), lowered(challenges.inactive));
  for (const { retry_after_s: after, refused } of challenges.unavailable) {
    assert.deepEqual(described(Refused.unavailable(new Unavailable("", after ?? undefined))), lowered(refused));
  }
  assert.deepEqual(described(Refused.unavailable(new Misconfigured(""))), lowered(challenges.refused_client));
});

each("credentials", ({ headers, cookie, token, refused }) => {
  const values = (wanted) => headers.filter(([name]) => name.toLowerCase() === wanted).map(([, value]) => value);
  let found;
  const thrown = refusal(() => {
    found = tokenIn(values("authorization"), cookie === null ? undefined : cookieIn(values("cookie"), cookie));
  });
  assert.equal(found ?? null, token);
  assert.deepEqual(described(thrown), lowered(refused));
});

function refusal(call) {
  try {
    call();
    return null;
  } catch (error) {
    assert(error instanceof Refused, error);
    return error;
  }
}

function described(refused) {
  return refused === null
    ? null
    : lowered({ status: refused.status, headers: refused.headers, body: JSON.parse(refused.body) });
}

function lowered(refused) {
  if (refused === null) return null;
  const headers = Object.entries(refused.headers).map(([name, value]) => [name.toLowerCase(), value]);
  return { ...refused, headers: Object.fromEntries(headers) };
}

function user(fields) {
  return new Active({ exp: 0, iat: 0, ...fields });
}

function userWith({ auth_time: authTime, acr, ...fields }) {
  return user({
    clientId: "app",
    sessionId: "7Hk2pQ9xV3bN",
    ...fields,
    authTime: authTime ?? undefined,
    acr: acr ?? undefined,
  });
}
