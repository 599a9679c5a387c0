/**
 * The feed of changes: what each event of `GET /events` does to the cache.
 *
 * A heartbeat says that all earlier changes have been announced. It may arrive late, so it counts from the moment when it
 * was sent. That moment needs no synchronised clocks: each event carries the sender's `at`, in milliseconds of a clock
 * that only runs forward. The sender sent the first event after we had requested the stream, so on our own clock
 *
 *     moment of sending  >=  moment of the request + (at - first at)
 *
 * holds, however slow the network is. The estimate is too early by the time that the request took to arrive and the
 * service took to answer. The time to connect does not count, because on a busy machine it could use up the whole bound.
 */

import type { Cache } from "./cache.js";
import { now as systemNow, type Clock } from "./clock.js";
import { EventParser } from "./sse.js";

const MAX_EVENT_LENGTH = 1 << 20;
const MAX_LATE_S = 5;

/** The stream is malformed, or so late that it is useless. The client needs a new stream. */
export class BrokenFeed extends Error {
  override name = "BrokenFeed";
}

/** One stream of changes, from its request to its end. Updates the cache. */
export class Feed {
  private readonly events = new EventParser(MAX_EVENT_LENGTH);
  private begun = false;
  private offset: number | undefined; // our clock minus the sender's; never too large
  private lateSince: number | undefined;

  /** requestedAt: when the client requested the stream, by our clock. */
  constructor(
    private readonly cache: Cache,
    private readonly requestedAt: number,
    private readonly silenceS: number,
    private readonly now: Clock = systemNow,
  ) {}

  /** Apply the events that this chunk completes. Throws BrokenFeed. */
  receive(chunk: Uint8Array): void {
    try {
      for (const event of this.events.feed(chunk)) this.apply(event.name, event.data);
    } catch (error) {
      if (error instanceof BrokenFeed) throw error;
      throw new BrokenFeed("not an event of the service", { cause: error });
    }
  }

  private apply(name: string, data: string): void {
    if (name === "everything") {
      this.begun = true;
      this.calibrate(sentAt(data));
      this.cache.forgetAll();
    } else if (!this.begun) {
      throw new BrokenFeed("the stream does not begin with `everything`");
    } else if (name === "forget") {
      this.cache.forget(keysIn(data));
    } else if (name === "heartbeat") {
      this.heartbeat(sentAt(data));
    }
    // Other names are events of a later version of the service.
  }

  private calibrate(at: number | undefined): void {
    if (this.offset === undefined && at !== undefined) this.offset = this.requestedAt - at;
  }

  private heartbeat(at: number | undefined): void {
    this.calibrate(at);
    if (at === undefined || this.offset === undefined) return; // a heartbeat without a time proves nothing
    const now = this.now();
    // An event cannot arrive before it was sent, so this corrects the offset where the sender's clock is faster.
    this.offset = Math.min(this.offset, now - at);
    const sent = at + this.offset;
    this.cache.confirm(sent);
    this.checkDelay(now, now - sent);
  }

  private checkDelay(now: number, delayS: number): void {
    // The delay grows if the sender's clock runs slower than ours, or if a queue builds up on the way. Only a new stream
    // cures both.
    if (delayS <= this.silenceS / 4) this.lateSince = undefined;
    else if (this.lateSince === undefined) this.lateSince = now;
    else if (now - this.lateSince >= MAX_LATE_S) throw new BrokenFeed("heartbeats arrive late");
  }
}

/** When the sender sent an event, in seconds of the sender's clock. */
function sentAt(data: string): number | undefined {
  const parsed: unknown = JSON.parse(data);
  const at = typeof parsed === "object" && parsed !== null && "at" in parsed ? parsed.at : undefined;
  return typeof at === "number" ? at / 1000 : undefined;
}

function keysIn(data: string): string[] {
  const keys: unknown = JSON.parse(data);
  if (!Array.isArray(keys) || !keys.every((key) => typeof key === "string")) {
    throw new BrokenFeed("`forget` without a list of digests");
  }
  return keys;
}
