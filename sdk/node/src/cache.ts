/**
 * The cache of answers in this process, keyed by digests of tokens.
 *
 * The cache answers only while the feed of changes is confirmed. Every lookup compares that confirmation with the clock:
 * a busy event loop, a stopped process or a half-open connection can delay an announcement, but never the clock.
 */

import * as crypto from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import type { Active, Answer } from "./answers.js";
import { clock } from "./clock.js";
import type { Config } from "./config.js";
import { handleOf } from "./token.js";

// How many changed keys the cache remembers, to recognise answers that are older than a change.
const MAX_CHANGED_KEYS = 10_000;
// Dropping more than 1,000 answers one by one blocks the event loop. Dropping all answers takes a third of the time.
const MAX_DROPPED_ONE_BY_ONE = 1000;
// Inactive answers have a small part of their own, so that made-up tokens do not push out real ones.
const INACTIVE_SHARE = 8;
const INACTIVE_MAX_AGE_S = 30;
const MAX_TIMER_S = 60; // Node fires a timer of more than 25 days at once

/** The name of a key in the feed: 16 bytes of its SHA-256. Only a reader who knows the key recognises it. */
export function keyDigest(key: string): string {
  return crypto.createHash("sha256").update(key).digest().subarray(0, 16).toString("base64url");
}

/** The keys (digests) on which the answer about the token depends, besides those of all answers. */
export function keysOf(token: string, answer: Answer): string[] {
  const keys = [`session:${handleOf(token)}`];
  if (answer.active) {
    keys.push(`user:{${answer.sub}}`, ...[answer.clientId, ...answer.clients].map((client) => `client:${client}`));
  }
  return keys.map(keyDigest);
}

// `crypto.hash` is three times as fast. The first releases of Node 20 lack it.
const tokenDigest: (token: string) => string =
  "hash" in crypto
    ? (token) => crypto.hash("sha256", token, "base64")
    : (token) => crypto.createHash("sha256").update(token).digest("base64");

/** What depends on some keys (digests): the answer about the token of this digest, or a stream that waits. */
interface Dependent {
  readonly digest: string;
  readonly keys: readonly string[];
  readonly wake?: () => void;
}

/** A cached answer. Times are by our clock. until: when the SDK has to ask again. exp: when the token expires. */
interface Entry extends Dependent {
  readonly answer: Answer;
  readonly until: number;
  readonly exp: number;
  /** Whether a lookup has found the entry since the last search for one to drop. */
  used: boolean;
}

/** At most `size` answers. */
class Part {
  readonly entries = new Map<string, Entry>();
  // The hand goes round. A search that began at the front each time would pass all holes that deletions leave there.
  private hand = this.entries.values();

  constructor(
    private readonly size: number,
    readonly maxAgeS: number,
  ) {}

  /** The answers to drop for a new one. LRU would move an entry at each use, which costs more than a lookup. */
  *surplus(): Generator<Entry> {
    while (this.entries.size >= this.size) {
      const { value, done } = this.hand.next();
      if (done) this.hand = this.entries.values();
      else if (value.used) value.used = false;
      else yield value;
    }
  }
}

/** Answers that are known to hold. */
export class Cache {
  private readonly keysOfAll: ReadonlySet<string>;
  private readonly active: Part;
  private readonly inactive: Part;
  private readonly dependents = new Map<string, Set<Dependent>>();
  private freshUntil = 0;
  /** The number of the latest change. Take it before sending a request and pass it to `keep` with the answer. */
  changes = 0;
  // A request from before this change may have missed one.
  private completeSince = 1;
  private readonly changedKeys = new Map<string, number>();
  private connected = false;

  constructor(private readonly config: Config) {
    this.keysOfAll = new Set([keyDigest("service"), keyDigest(`client:${config.clientId}`)]);
    this.active = new Part(config.cacheSize, config.cacheMaxAgeS);
    this.inactive = new Part(Math.max(Math.floor(config.cacheSize / INACTIVE_SHARE), 1), INACTIVE_MAX_AGE_S);
  }

  /** The answer if it is known to hold at this moment. Undefined: the caller has to ask the service. */
  get(token: string): Answer | undefined {
    const now = clock.now();
    if (now >= this.freshUntil) return undefined;
    const entry = this.find(token);
    if (entry === undefined || now >= entry.until) return undefined;
    entry.used = true;
    return entry.answer;
  }

  /** The answer if it held less than `serveStaleForS` ago and no announcement has removed it since. */
  getStale(token: string): Answer | undefined {
    const { serveStaleForS, feedSilenceS } = this.config;
    const entry = serveStaleForS > 0 ? this.find(token) : undefined;
    if (entry === undefined) return undefined;
    const now = clock.now();
    const heldUntil = Math.min(now, entry.until, this.freshUntil - feedSilenceS);
    return now < Math.min(heldUntil + serveStaleForS, entry.exp) ? entry.answer : undefined;
  }

  /** Resolves when the answer may hold no more: after a change, or without one at its end. False: none is cached. */
  async held(token: string, user: Active, stopped: AbortSignal): Promise<boolean> {
    const entry = this.find(token);
    const leftS = entry === undefined ? 0 : Math.min(entry.until, this.freshUntil) - clock.now();
    if (leftS <= 0) return false;
    const ended = new AbortController();
    const stream = { digest: "", keys: keysOf(token, user), wake: () => ended.abort() };
    this.index(stream);
    stopped.addEventListener("abort", stream.wake);
    const options = { ref: false, signal: ended.signal };
    await sleep(Math.min(leftS, MAX_TIMER_S) * 1000, undefined, options).catch(() => undefined); // until it is aborted
    stopped.removeEventListener("abort", stream.wake);
    this.drop(stream);
    return true;
  }

  private find(token: string): Entry | undefined {
    const digest = tokenDigest(token);
    return this.active.entries.get(digest) ?? this.inactive.entries.get(digest);
  }

  private index(one: Dependent): void {
    for (const key of one.keys) {
      const dependents = this.dependents.get(key);
      if (dependents === undefined) this.dependents.set(key, new Set([one]));
      else dependents.add(one);
    }
  }

  private drop(one: Dependent): void {
    this.active.entries.delete(one.digest);
    this.inactive.entries.delete(one.digest);
    for (const key of one.keys) {
      const dependents = this.dependents.get(key);
      dependents?.delete(one);
      if (dependents?.size === 0) this.dependents.delete(key);
    }
    one.wake?.();
  }

  // The feed calls the following methods.

  /** Start empty. From now on the feed announces every change. */
  forgetAll(): void {
    this.loseTrack();
    this.connected = true;
    this.active.entries.clear();
    this.inactive.entries.clear();
    for (const dependents of this.dependents.values()) for (const one of dependents) one.wake?.();
    this.dependents.clear();
  }

  /** Drop all answers that depend on these keys (digests), also the answers that are still on their way. */
  forget(changed: readonly string[]): void {
    this.changes++;
    for (const key of changed) {
      const dependents = this.dependents.get(key) ?? new Set();
      if (this.keysOfAll.has(key) || dependents.size > MAX_DROPPED_ONE_BY_ONE) return this.forgetAll();
      this.changedKeys.set(key, this.changes);
      for (const one of dependents) this.drop(one); // a Set may shrink while it is read
    }
    if (this.changedKeys.size > MAX_CHANGED_KEYS) this.loseTrack();
  }

  /** The feed has announced every change up to this moment of our clock. */
  confirm(moment: number): void {
    this.freshUntil = moment + this.config.feedSilenceS;
  }

  /** The feed has ended. The cache neither answers nor keeps answers until the next feed begins. */
  disconnect(): void {
    this.connected = false;
    this.freshUntil = Math.min(this.freshUntil, clock.now());
    this.loseTrack();
  }

  private loseTrack(): void {
    this.changes++;
    this.completeSince = this.changes;
    this.changedKeys.clear();
  }

  // The code that asks the service calls the following methods.

  /** Keep an answer, unless one of its keys may have changed since the request was sent. */
  keep(token: string, answer: Answer, mark: number, until: number, exp: number): void {
    const keys = keysOf(token, answer);
    if (!this.connected || mark < this.completeSince) return;
    if (keys.some((key) => (this.changedKeys.get(key) ?? 0) > mark)) return;
    const former = this.find(token);
    if (former !== undefined) this.drop(former);
    const part = answer.active ? this.active : this.inactive;
    for (const other of part.surplus()) this.drop(other);
    const digest = tokenDigest(token);
    const entry = { digest, answer, keys, until: Math.min(until, clock.now() + part.maxAgeS), exp, used: false };
    part.entries.set(digest, entry);
    this.index(entry);
  }
}
