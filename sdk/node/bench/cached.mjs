/**
 * Cached checks per second on one core: `node bench/cached.mjs [tokens]`.
 *
 * The cache is confirmed by hand instead of by a feed. Everything else is as in an application.
 */

import { Introspector } from "@authsvc/sdk";
import { Active } from "@authsvc/sdk";

import { Cache } from "../dist/cache.js";
import { clock } from "../dist/clock.js";
import { configOf } from "../dist/config.js";
import { expressAuth } from "../dist/express.js";

const COUNT = Number(process.argv[2] ?? 10_000);
const SECONDS = 2;

const settings = { url: "http://127.0.0.1:1", clientId: "backend", clientSecret: "secret", cacheMaxAgeS: 1e6, feedSilenceS: 1e6 };
const cache = new Cache(configOf(settings));
cache.forgetAll();
cache.confirm(clock.now());
const tokens = Array.from({ length: COUNT }, (_, at) => `tok_${String(at).padStart(12, "0")}${"7".repeat(33)}`);
for (const token of tokens) {
  const fields = { sub: `user ${token.slice(4, 16)}`, clientId: "app", sessionId: token.slice(4, 16), exp: 1, iat: 0 };
  cache.keep(token, new Active({ ...fields, roles: ["editor"], scope: "notes:read" }), cache.changes, Infinity, Infinity);
}

function measure(name, check) {
  let best = 0;
  for (let round = 0; round < 5; round++) {
    // Each token is a new string, as from the header of a request.
    const presented = tokens.map((token) => Buffer.from(token).toString("latin1"));
    let done = 0;
    const cpu = process.cpuUsage();
    const end = performance.now() + (SECONDS * 1000) / 5;
    while (performance.now() < end) {
      for (let at = 0; at < 1000; at++) check(presented[(done + at) % COUNT]);
      done += 1000;
    }
    const { user, system } = process.cpuUsage(cpu);
    best = Math.max(best, done / ((user + system) / 1e6));
  }
  console.log(`${name}: ${Math.round(best / 1000)}k checks per second of processor time, ${(1e6 / best).toFixed(2)} µs each`);
}

const introspector = new Introspector(settings);
introspector.cached = (token) => cache.get(token);
const middleware = expressAuth(introspector)({ scope: "notes:read" });
const next = () => undefined;

measure("introspector.cached(token)", (token) => {
  if (!cache.get(token)?.active) throw new Error("not cached");
});
measure("requireAuth of Express", (token) => {
  const headers = { authorization: `Bearer ${token}` };
  const request = { method: "GET", headers, rawHeaders: ["Host", "localhost", "Authorization", `Bearer ${token}`] };
  middleware(request, undefined, next);
  if (!request.auth) throw new Error("not authenticated");
});
