/**
 * The cache of answers in this process, keyed by digests of tokens.
 *
 * The cache answers only while the feed of changes is confirmed. Every lookup compares that confirmation with the clock:
 * a busy event loop, a stopped process or a half-open connection can delay an announcement, but never the clock.
 */

import * as crypto from "node:crypto";

import type { Active, Answer } from "./answers.js";
import { BoundedMap } from "./bounded.js";
import { now as systemNow, type Clock } from "./clock.js";
import { handleOf } from "./token.js";
import { Waking } from "./watching.js";

// How many changed keys the cache remembers, to recognise answers that are older than a change.
const MAX_CHANGED_KEYS = 10_000;
// Dropping more than 1,000 answers one by one blocks the event loop. Dropping all answers takes a third of the time.
const MAX_DROPPED_ONE_BY_ONE = 1000;
// Inactive answers have a small part of their own, so that made-up tokens do not push out real ones.
const INACTIVE_SHARE = 8;
const INACTIVE_MAX_AGE_S = 30;
const NONE: ReadonlySet<string> = new Set();

/** The name of a key in the feed: 16 bytes of its SHA-256. Only a reader who knows the key recognises it. */
export function keyDigest(key: string): string {
  return crypto.createHash("sha256").update(key).digest().subarray(0, 16).toString("base64url");
}

/** The keys (digests) on which the answer about the token depends, besides those of all answers. */
export function keysOf(token: string, answer: Answer): string[] {
  const keys = [`session:${handleOf(token)}`];
  if (answer.active) keys.push(`user:{${answer.sub}}`, `client:${answer.clientId}`);
  return keys.map(keyDigest);
}

// `crypto.hash` is three times as fast. The first releases of Node 20 lack it.
const tokenDigest: (token: string) => string =
  "hash" in crypto
    ? (token) => crypto.hash("sha256", token, "base64")
    : (token) => crypto.createHash("sha256").update(token).digest("base64");

/** A cached answer. Times are by our clock. until: when the SDK has to ask again. exp: when the token expires. */
interface Entry {
  readonly answer: Answer;
  readonly keys: readonly string[];
  readonly until: number;
  readonly exp: number;
  used: boolean;
}

export interface CacheSettings {
  clientId: string;
  size: number;
  maxAgeS: number;
  silenceS: number;
  staleS?: number;
  now?: Clock;
}

/** Answers that are known to hold. */
export class Cache {
  private readonly keysOfAll: ReadonlySet<string>;
  private readonly maxAgeS: number;
  private readonly silenceS: number;
  private readonly staleS: number;
  private readonly now: Clock;
  private readonly active: BoundedMap<Entry>;
  private readonly inactive: BoundedMap<Entry>;
  private readonly digestsByKey = new Map<string, Set<string>>();
  private freshUntil = 0;
  // Changes are numbered. A request from before `completeSince` may have missed a change.
  private changes = 0;
  private completeSince = 1;
  private readonly changedKeys = new Map<string, number>();
  private connected = false;
  private readonly waking = new Waking();

  constructor(settings: CacheSettings) {
    this.keysOfAll = new Set([keyDigest("service"), keyDigest(`client:${settings.clientId}`)]);
    this.maxAgeS = settings.maxAgeS;
    this.silenceS = settings.silenceS;
    this.staleS = settings.staleS ?? 0;
    this.now = settings.now ?? systemNow;
    const unindex = (digest: string, entry: Entry): void => this.unindex(digest, entry);
    this.active = new BoundedMap(settings.size, unindex);
    this.inactive = new BoundedMap(Math.max(Math.floor(settings.size / INACTIVE_SHARE), 1), unindex);
  }

  /** The answer if it is known to hold at this moment. Undefined: the caller has to ask the service. */
  get(token: string): Answer | undefined {
    const now = this.now();
    if (now >= this.freshUntil) return undefined;
    const entry = this.find(token);
    if (entry === undefined || now >= entry.until) return undefined;
    entry.used = true;
    return entry.answer;
  }

  /** The answer if it held less than `staleS` ago and no announcement has removed it since. */
  getStale(token: string): Answer | undefined {
    const entry = this.staleS > 0 ? this.find(token) : undefined;
    if (entry === undefined) return undefined;
    const now = this.now();
    const heldUntil = Math.min(now, entry.until, this.freshUntil - this.silenceS);
    return now < Math.min(heldUntil + this.staleS, entry.exp) ? entry.answer : undefined;
  }

  /** Resolves when the answer may hold no more: after a change, or without one at its end. False: none is cached. */
  async held(token: string, user: Active, stopped: AbortSignal): Promise<boolean> {
    const entry = this.find(token);
    const leftS = entry === undefined ? 0 : Math.min(entry.until, this.freshUntil) - this.now();
    if (leftS <= 0) return false;
    await this.waking.wait(keysOf(token, user), leftS, stopped);
    return true;
  }

  private find(token: string): Entry | undefined {
    const digest = tokenDigest(token);
    return this.active.get(digest) ?? this.inactive.get(digest);
  }

  // The feed calls the following methods.

  /** Start empty. From now on the feed announces every change. */
  forgetAll(): void {
    this.loseTrack();
    this.connected = true;
    this.active.clear();
    this.inactive.clear();
    this.digestsByKey.clear();
    this.waking.wake();
  }

  /** Drop all answers that depend on these keys (digests), also the answers that are still on their way. */
  forget(changed: readonly string[]): void {
    this.changes++;
    for (const key of changed) {
      if (this.keysOfAll.has(key)) return this.forgetAll();
      this.changedKeys.delete(key); // so that the key moves to the end
      this.changedKeys.set(key, this.changes);
      const dependent = this.digestsByKey.get(key) ?? NONE;
      if (dependent.size > MAX_DROPPED_ONE_BY_ONE) return this.forgetAll();
      for (const digest of dependent) this.dropDigest(digest); // a Set may shrink while it is read
      this.waking.wake([key]);
    }
    for (const [key, change] of this.changedKeys) {
      if (this.changedKeys.size <= MAX_CHANGED_KEYS) break;
      this.changedKeys.delete(key);
      this.completeSince = Math.max(this.completeSince, change);
    }
  }

  /** The feed has announced every change up to this moment of our clock. */
  confirm(moment: number): void {
    this.freshUntil = moment + this.silenceS;
  }

  /** The feed has ended. The cache neither answers nor keeps answers until the next feed begins. */
  disconnect(): void {
    this.connected = false;
    this.freshUntil = Math.min(this.freshUntil, this.now());
    this.loseTrack();
  }

  private loseTrack(): void {
    this.changes++;
    this.completeSince = this.changes;
    this.changedKeys.clear();
  }

  // The code that asks the service calls the following methods.

  /** The number of the latest change. Take it before sending a request and pass it to `keep` with the answer. */
  mark(): number {
    return this.changes;
  }

  /** Keep an answer, unless one of its keys may have changed since the request was sent. */
  keep(token: string, answer: Answer, mark: number, until: number, exp: number): void {
    const keys = keysOf(token, answer);
    if (!this.connected || mark < this.completeSince) return;
    if (keys.some((key) => (this.changedKeys.get(key) ?? 0) > mark)) return;
    const [entries, maxAgeS] = answer.active
      ? [this.active, this.maxAgeS]
      : [this.inactive, INACTIVE_MAX_AGE_S];
    const digest = tokenDigest(token);
    this.dropDigest(digest);
    for (const key of keys) this.index(key, digest);
    entries.put(digest, { answer, keys, until: Math.min(until, this.now() + maxAgeS), exp, used: false });
  }

  private dropDigest(digest: string): void {
    this.active.drop(digest);
    this.inactive.drop(digest);
  }

  private index(key: string, digest: string): void {
    const digests = this.digestsByKey.get(key);
    if (digests === undefined) this.digestsByKey.set(key, new Set([digest]));
    else digests.add(digest);
  }

  private unindex(digest: string, entry: Entry): void {
    for (const key of entry.keys) {
      const digests = this.digestsByKey.get(key);
      digests?.delete(digest);
      if (digests?.size === 0) this.digestsByKey.delete(key);
    }
  }
}
