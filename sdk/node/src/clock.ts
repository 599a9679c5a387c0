/** The SDK's clock, in seconds. It only runs forward, and on Linux too it runs while the machine sleeps. */

import { uptime } from "node:os";
import { performance } from "node:perf_hooks";

// The system updates the uptime in steps of 10 ms, so smaller differences mean nothing.
const NOTICED_S = 0.25;

/**
 * Node's monotonic clock stops on Linux while the machine is suspended. After that, an old answer would look young.
 * Reading the uptime, which goes on, takes too long for each check. A suspension moves the wall clock against the
 * monotonic one, so the uptime is read when these two have moved apart. A wall clock that was only set changes nothing.
 */
class Clock {
  private apartS = this.wallApartS();
  private readonly uptimeApartS = this.uptimeAheadS();
  private sleptS = 0;

  /** Seconds since some point in the past. */
  now(): number {
    const apartS = this.wallApartS();
    if (Math.abs(apartS - this.apartS) > NOTICED_S) {
      this.apartS = apartS;
      // On other systems, the monotonic clock and the uptime run alike.
      this.sleptS = Math.max(this.sleptS, this.uptimeAheadS() - this.uptimeApartS);
    }
    return performance.now() / 1000 + this.sleptS;
  }

  private wallApartS(): number {
    return (Date.now() - performance.now()) / 1000;
  }

  private uptimeAheadS(): number {
    return uptime() - performance.now() / 1000;
  }
}

export const clock = new Clock();
