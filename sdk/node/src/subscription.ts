/** Following the feed of changes for as long as the introspector lives. */

import { setTimeout as sleep } from "node:timers/promises";

import type { Cache } from "./cache.js";
import type { Config } from "./config.js";
import { Misconfigured } from "./errors.js";
import { Feed } from "./feed.js";
import type { Wire } from "./wire.js";

const FIRST_PAUSE_S = 0.05;
const LONGEST_PAUSE_S = 2;

/** Read one stream of changes after the other, until aborted. */
export async function follow(wire: Wire, cache: Cache, config: Config, signal: AbortSignal): Promise<void> {
  let pauseS = FIRST_PAUSE_S;
  let refused = false;
  while (!signal.aborted) {
    const feed = new Feed(cache, config.feedSilenceS);
    try {
      await wire.events(signal, feed);
    } catch (error) {
      // Whatever the cause, the next stream starts with an empty cache.
      if (error instanceof Misconfigured && !refused) {
        refused = true; // once is enough
        config.logger.warn(`the feed of changes is refused, so nothing is cached: ${error.message}`);
      }
    } finally {
      cache.disconnect();
    }
    if (feed.begun) refused = false;
    pauseS = feed.begun ? FIRST_PAUSE_S : Math.min(pauseS * 2, LONGEST_PAUSE_S);
    const spread = 0.5 + Math.random() / 2; // so that the clients of a restarted service come one after another
    await sleep(pauseS * spread * 1000, undefined, { ref: false });
  }
}
