/**
 * The backend of bench/backend.py with the SDK for Node:
 *
 *     node backend.mjs SDK speed|refusals URL CLIENT_ID CLIENT_SECRET TOKENS [NUMBER]
 *
 * SDK is the built module. A check is `introspector.cached(token)`, which the middleware calls first.
 */

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";

const [sdk, what, url, clientId, clientSecret, file, count] = process.argv.slice(2);
const { Introspector, Unavailable } = await import(pathToFileURL(sdk));
const tokens = readFileSync(file, "utf8").split("\n").filter(Boolean);
const WARM_WITHIN_S = 120;

const tell = (told) => console.log(JSON.stringify(told));
const made = () => new Introspector({ url, clientId, clientSecret, cache: true, logger: { warn() {}, error() {} } });
const right = (token, answer) => answer?.active === true && answer.sessionId === token.slice(4, 16);

/** Introspect all tokens until the cache has all answers. */
async function warm(introspector) {
  const deadline = performance.now() + WARM_WITHIN_S * 1000;
  introspector.start();
  for (;;) {
    const missing = tokens.filter((token) => introspector.cached(token) === undefined);
    if (missing.length === 0) return;
    if (performance.now() > deadline) throw new Error(`${missing.length} answers were not cached`);
    await Promise.all(missing.slice(0, 1000).map((token) => introspector.introspect(token).catch(orThrow)));
    await sleep(50);
  }
}

/** A question that gets no answer now is asked again in the next turn. */
function orThrow(error) {
  if (!(error instanceof Unavailable)) throw error;
}

async function speed(orders) {
  const introspector = made();
  await warm(introspector);
  tell("warm");
  for await (const seconds of orders) {
    await warm(introspector);
    tell(await measured(introspector, Number(seconds)));
  }
  introspector.close();
}

async function measured(introspector, seconds) {
  let [checked, wrong, spent] = [0, 0, 0];
  const end = performance.now() + seconds * 1000;
  while (performance.now() < end) {
    // Each token is a new string, as from the header of a request.
    const presented = tokens.map((token) => Buffer.from(token).toString("latin1"));
    const begun = process.cpuUsage();
    for (const token of presented) if (introspector.cached(token)?.active !== true) wrong++;
    checked += presented.length;
    await turn(); // lets the feed be read
    const { user, system } = process.cpuUsage(begun);
    spent += (user + system) / 1e6;
  }
  const times = [];
  for (const token of tokens) {
    const before = process.hrtime.bigint();
    const answer = introspector.cached(token);
    times.push(Number(process.hrtime.bigint() - before) / 1000);
    if (!right(token, answer)) wrong++;
  }
  times.sort((a, b) => a - b);
  const at = (share) => times[Math.floor(share * times.length)];
  return { rate: checked / spent, wrong, p50_us: at(0.5), p99_us: at(0.99) };
}

/** Print for each of many subscribers the moment at which it stops accepting a token, by the clock of all processes. */
async function refusals(orders) {
  const introspectors = Array.from({ length: Number(count) }, made);
  await Promise.all(introspectors.map(warm));
  tell("warm");
  for await (const token of orders) {
    const answers = await Promise.all(introspectors.map((introspector) => introspector.introspect(token)));
    if (!answers.every((answer) => right(token, answer))) throw new Error("a subscriber does not know the token");
    tell("looking");
    const refused = introspectors.map(() => 0);
    while (refused.includes(0)) {
      introspectors.forEach((introspector, place) => {
        if (refused[place] === 0 && introspector.cached(token) === undefined) {
          refused[place] = Number(process.hrtime.bigint()) / 1e9;
        }
      });
      await sleep(1); // the shortest that Node can
    }
    const later = await Promise.all(introspectors.map((introspector) => introspector.introspect(token)));
    if (later.some((answer) => answer.active)) throw new Error("a revoked token is active");
    tell(refused);
  }
  for (const introspector of introspectors) introspector.close();
}

const orders = createInterface({ input: process.stdin });
await (what === "speed" ? speed(orders) : refusals(orders));
