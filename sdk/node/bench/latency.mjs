/**
 * From the acknowledgement of a revocation until every subscriber refuses the token, in milliseconds:
 * `node bench/latency.mjs [subscribers] [rounds]`. Starts an `authsvc serve` of its own, as the tests do.
 */

import { Introspector } from "@authsvc/sdk";

import { startService, until } from "../test/service.js";

const [SUBSCRIBERS, ROUNDS] = [Number(process.argv[2] ?? 100), Number(process.argv[3] ?? 50)];

const service = await startService();
const [clientId, clientSecret] = await service.client(["introspect"]);
const settings = { url: service.url, clientId, clientSecret, cache: true, timeoutS: 30 };
const subscribers = Array.from({ length: SUBSCRIBERS }, () => new Introspector(settings));
await service.user("ada");
const tookMs = [];
try {
  for (let round = 0; round < ROUNDS; round++) {
    const token = await service.token("ada");
    const cached = async (ask) => (await ask.introspect(token)).active && ask.cached(token)?.active;
    for (const ask of subscribers) await until(() => cached(ask), "the answer is cached");
    await service.revoke({ token });
    const acknowledged = performance.now();
    let left = subscribers;
    while (left.length > 0) {
      left = left.filter((ask) => ask.cached(token)?.active);
      const now = performance.now();
      while (tookMs.length < (round + 1) * SUBSCRIBERS - left.length) tookMs.push(now - acknowledged);
      if (left.length > 0) await new Promise(setImmediate);
    }
  }
} finally {
  for (const ask of subscribers) ask.close();
  await service.cleanUp();
}
tookMs.sort((a, b) => a - b);
const at = (share) => tookMs[Math.min(Math.floor(share * tookMs.length), tookMs.length - 1)].toFixed(1);
console.log(`${SUBSCRIBERS} subscribers, ${ROUNDS} revocations: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, most ${at(1)} ms`);
