/**
 * Ending a stream or a WebSocket with its token.
 *
 * A watch asks about its token whenever the cached answer stops to hold: after an announced change at once, and without
 * confirmations of the feed after their bound.
 */

import { setTimeout as sleep } from "node:timers/promises";

import type { Active, Answer } from "./answers.js";
import { accepted, Refused } from "./bearer.js";
import { Unavailable } from "./errors.js";

const FIRST_PAUSE_S = 0.05;

/** A token that is being watched. */
export interface Watch {
  readonly user: Active;
  /** Aborts when the token ends, or when nobody can tell any more. Its `reason` is the Refused of a request. */
  readonly signal: AbortSignal;
  /** End the watch, when the stream ends first. */
  stop(): void;
}

/**
 * What a watch needs. held: waits while the cached answer holds; returns at once false if there is none.
 * closed: aborts when the introspector is closed.
 */
export interface Watched {
  introspect(token: string): Promise<Answer>;
  held(token: string, user: Active, stopped: AbortSignal): Promise<boolean>;
  closed(): AbortSignal;
  longestPauseS: number;
}

/** Begin a watch. Rejects with Refused if the token is not active. */
export async function watch(watched: Watched, token: string): Promise<Watch> {
  const [ended, stopped] = [new AbortController(), new AbortController()];
  const user = await userOf(watched, token);
  const end = (refused: unknown): void => {
    if (stopped.signal.aborted) return;
    stopped.abort();
    ended.abort(refused);
  };
  const close = (): void => end(Refused.unavailable(new Unavailable("closed")));
  watched.closed().addEventListener("abort", close, { signal: stopped.signal });
  void refusal(watched, token, user, stopped.signal).then(end);
  return { user, signal: ended.signal, stop: () => stopped.abort() };
}

async function userOf(watched: Watched, token: string): Promise<Active> {
  try {
    return accepted(await watched.introspect(token));
  } catch (error) {
    throw error instanceof Unavailable ? Refused.unavailable(error) : error;
  }
}

/** Return why a request would be refused now. Returns nothing of use after `stopped`. */
async function refusal(watched: Watched, token: string, first: Active, stopped: AbortSignal): Promise<unknown> {
  let [user, pauseS] = [first, FIRST_PAUSE_S];
  while (!stopped.aborted) {
    if (await watched.held(token, user, stopped)) {
      pauseS = FIRST_PAUSE_S;
    } else {
      // There is no feed, or a change came while the answer was on its way.
      await sleep(pauseS * 1000, undefined, { ref: false });
      pauseS = Math.min(2 * pauseS, watched.longestPauseS);
    }
    if (stopped.aborted) break;
    try {
      user = await userOf(watched, token);
    } catch (error) {
      return error;
    }
  }
  return undefined;
}

/** The watches that wait for a change of some keys (digests). */
export class Waking {
  private readonly waiting = new Map<string, Set<() => void>>();

  /** These keys have changed. Undefined: any key may have changed. */
  wake(keys: Iterable<string> = [...this.waiting.keys()]): void {
    for (const key of keys) for (const changed of [...(this.waiting.get(key) ?? [])]) changed();
  }

  /** Resolves when one of the keys changes, after this time at the latest, and when `stopped` aborts. */
  wait(keys: readonly string[], seconds: number, stopped: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const changed = (): void => {
        clearTimeout(timer);
        stopped.removeEventListener("abort", changed);
        for (const key of keys) this.remove(key, changed);
        resolve();
      };
      const timer = setTimeout(changed, Math.min(seconds * 1000, MAX_TIMER_MS));
      timer.unref();
      stopped.addEventListener("abort", changed);
      for (const key of keys) this.waiting.set(key, (this.waiting.get(key) ?? new Set()).add(changed));
    });
  }

  private remove(key: string, changed: () => void): void {
    const waiting = this.waiting.get(key);
    waiting?.delete(changed);
    if (waiting?.size === 0) this.waiting.delete(key);
  }
}

const MAX_TIMER_MS = 60_000; // Node fires a timer of more than 25 days at once
