/** Tells the application's log why the service can't be asked. */

import { now as systemNow, type Clock } from "./clock.js";
import type { Logger } from "./config.js";
import { Misconfigured, type Unavailable } from "./errors.js";

const PAUSE_S = 60;

/** Logs why checks fail, and what to do, at most once a minute for each of the two kinds of failure. */
export class Outages {
  private readonly address: string;
  private readonly loggedAt = new Map<boolean, number>();

  constructor(
    url: string,
    private readonly logger: Logger,
    private readonly now: Clock = systemNow,
  ) {
    const { protocol, host, pathname } = new URL(url); // without a user name and a password
    this.address = `${protocol}//${host}${pathname.replace(/\/$/, "")}`;
  }

  log(error: Unavailable): void {
    const refused = error instanceof Misconfigured;
    const now = this.now();
    if (now - (this.loggedAt.get(refused) ?? -Infinity) < PAUSE_S) return;
    this.loggedAt.set(refused, now);
    const said = `authsvc at ${this.address}: ${error.reason}`;
    if (refused) {
      // The reason of the error says what to do.
      this.logger.error(`${said}; until then requests with a token get a 503`);
    } else {
      this.logger.warn(
        `${said}; requests with a token get a 503. Check that the service runs (GET /readyz), that its address is ` +
          "right and that this machine reaches it",
      );
    }
  }
}
