/**
 * Ending a stream or a WebSocket with its token.
 *
 * A watch asks about its token whenever the cached answer stops to hold: after an announced change at once, and without
 * confirmations of the feed after their bound.
 */

import { setTimeout as sleep } from "node:timers/promises";

import type { Active, Answer } from "./answers.js";
import { accepted, Refused } from "./refused.js";
import type { Cache } from "./cache.js";
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
 * What a watch needs. cache: undefined if nothing is cached. closed: aborts when the introspector is closed.
 */
export interface Watched {
  introspect(token: string): Promise<Answer>;
  cache: Cache | undefined;
  closed: AbortSignal;
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
  watched.closed.addEventListener("abort", close, { signal: stopped.signal });
  void refusal(watched, token, user, stopped.signal).then(end);
  return { user, signal: ended.signal, stop: () => stopped.abort() };
}

/** The user of an active token. Rejects with Refused. */
export async function userOf(asked: Pick<Watched, "introspect">, token: string): Promise<Active> {
  try {
    return accepted(await asked.introspect(token));
  } catch (error) {
    throw error instanceof Unavailable ? Refused.unavailable(error) : error;
  }
}

/** Return why a request would be refused now. Returns nothing of use after `stopped`. */
async function refusal(watched: Watched, token: string, first: Active, stopped: AbortSignal): Promise<unknown> {
  let [user, pauseS] = [first, FIRST_PAUSE_S];
  while (!stopped.aborted) {
    if (await watched.cache?.held(token, user, stopped)) {
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
