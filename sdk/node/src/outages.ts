/** Tells the application's log why the service can't be asked. */

import { clock } from "./clock.js";
import type { Config } from "./config.js";
import { Misconfigured, type Unavailable } from "./errors.js";

const PAUSE_S = 60;
const REMEDY = "Check that the service runs (GET /readyz), that its address is right and that this machine reaches it";

/** Logs why checks fail, and what to do, at most once a minute for each of the two kinds of failure. */
export class Outages {
  private readonly loggedAt = new Map<boolean, number>();

  constructor(private readonly config: Config) {}

  log(error: Unavailable): void {
    const refused = error instanceof Misconfigured;
    const now = clock.now();
    if (now - (this.loggedAt.get(refused) ?? -Infinity) < PAUSE_S) return;
    this.loggedAt.set(refused, now);
    const said = `authsvc at ${this.config.url}: ${error.reason}`;
    // The reason of a refusal says what to do.
    if (refused) this.config.logger.error(`${said}; until then requests with a token get a 503`);
    else this.config.logger.warn(`${said}; requests with a token get a 503. ${REMEDY}`);
  }
}
