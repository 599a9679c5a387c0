/** An estimate of the service's clock, which converts its deadlines to our clock. Times are in seconds. */

// `Date` has whole seconds, and servers renew it once a second.
const SLACK_S = 2;
const MAX_AGE_S = 600;

/**
 * Estimates from the `Date` of answers how far the service's clock is ahead of ours, and never estimates too much.
 *
 * A `Date` is older than its answer if the server was stopped in between. So the largest estimate of the last ten
 * minutes counts. Older estimates do not count, because an operator may set the service's clock back.
 */
export class ServerClock {
  private ahead = -Infinity;
  private since = -Infinity;

  /** Take note of an answer with this `Date`, received at this moment of our clock. */
  observe(date: number, receivedAt: number): void {
    const ahead = date - receivedAt;
    if (ahead < this.ahead && receivedAt <= this.since + MAX_AGE_S) return;
    this.ahead = ahead;
    this.since = receivedAt;
  }

  /**
   * Convert a moment that an answer names to our clock. The result may be too early, never too late.
   * tookS: the time between request and response. The service answered at some moment in between.
   */
  ours(at: number, tookS: number): number {
    return at - this.ahead - tookS - SLACK_S;
  }
}
