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

import { isObject } from "./answers.js";
import type { Cache } from "./cache.js";
import { clock } from "./clock.js";
import { EventParser } from "./sse.js";

const MAX_LATE_S = 5;

/** One stream of changes, from its request to its end. Updates the cache. */
export class Feed {
  /** When the client requested the stream, by our clock. */
  requestedAt = clock.now();
  /** Whether the stream has begun as one of the service does. */
  begun = false;
  private readonly events = new EventParser();
  private offset: number | undefined; // our clock minus the sender's; never too large
  private lateSince: number | undefined;

  constructor(
    private readonly cache: Cache,
    private readonly silenceS: number,
  ) {}

  /** Apply the events that this chunk completes. Throws for what is no event of the service: take a new stream then. */
  receive(chunk: Uint8Array): void {
    for (const [name, data] of this.events.feed(chunk)) this.apply(name, data);
  }

  private apply(name: string, data: string): void {
    if (name === "everything") {
      this.begun = true;
      this.cache.forgetAll();
      this.sentAt(data);
    } else if (!this.begun) {
      throw new Error("the stream does not begin with `everything`");
    } else if (name === "forget") {
      this.cache.forget(keysIn(data));
    } else if (name === "heartbeat") {
      this.heartbeat(this.sentAt(data));
    }
    // Other names are events of a later version of the service.
  }

  /** When the sender sent an event, in seconds of the sender's clock. Undefined: the event does not say. */
  private sentAt(data: string): number | undefined {
    const event: unknown = JSON.parse(data);
    if (!isObject(event)) throw new Error("not an event of the service");
    const { at } = event;
    if (at === undefined || at === null) return undefined;
    if (typeof at !== "number" || at < 0 || at > Number.MAX_SAFE_INTEGER) throw new Error("no time of the service");
    this.offset ??= this.requestedAt - at / 1000;
    return at / 1000;
  }

  private heartbeat(at: number | undefined): void {
    if (at === undefined || this.offset === undefined) return; // a heartbeat without a time proves nothing
    const now = clock.now();
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
    else if (now - this.lateSince >= MAX_LATE_S) throw new Error("heartbeats arrive late");
  }
}

function keysIn(data: string): string[] {
  const keys: unknown = JSON.parse(data);
  if (!Array.isArray(keys) || !keys.every((key) => typeof key === "string")) {
    throw new Error("`forget` without a list of digests");
  }
  return keys;
}
