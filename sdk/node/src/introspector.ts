/** The introspector: tells whom a token speaks for. */

import { setMaxListeners } from "node:events";

import { type Answer, INACTIVE, read, type TimedAnswer } from "./answers.js";
import { Cache } from "./cache.js";
import { type Config, configOf, type Settings } from "./config.js";
import { Misconfigured, Unavailable } from "./errors.js";
import { type LookupResult, Lookups } from "./lookups.js";
import { Outages } from "./outages.js";
import { Refused } from "./refused.js";
import { ServerClock } from "./server-clock.js";
import { follow } from "./subscription.js";
import { isToken } from "./token.js";
import { type Watch, watch } from "./watching.js";
import { type IntrospectionResponse, Wire } from "./wire.js";

/** The connections of an introspector, from its first use to `close`. */
interface Connections {
  wire: Wire;
  lookups: Lookups;
  cache: Cache | undefined;
  stop: AbortController;
}

/** Tells whom a token speaks for. Make one per process and share it. The first use opens the connections. */
export class Introspector {
  private readonly config: Config;
  private readonly outages: Outages;
  private readonly serverClock = new ServerClock();
  private connections: Connections | undefined;

  constructor(settings: Settings) {
    this.config = configOf(settings);
    this.outages = new Outages(this.config);
  }

  /** Open the feed of changes, so that the cache works from the first requests on. */
  start(): void {
    this.opened();
  }

  private opened(): Connections {
    if (this.connections !== undefined) return this.connections;
    const wire = new Wire(this.config);
    const stop = new AbortController();
    setMaxListeners(0, stop.signal); // each watch is one
    const cache = this.config.cache ? new Cache(this.config) : undefined;
    const lookups = new Lookups((tokens) => this.fetch(wire, cache, tokens), this.config.timeoutS);
    if (cache !== undefined) void follow(wire, cache, this.config, stop.signal);
    this.connections = { wire, lookups, cache, stop };
    return this.connections;
  }

  /** Close all connections, and end all watches with a 503. The next use opens new connections. */
  close(): void {
    this.connections?.stop.abort();
    this.connections?.wire.close();
    this.connections = undefined;
  }

  /** The answer if it is known at this moment without asking the service. Undefined: call `introspect`. */
  cached(token: string): Answer | undefined {
    const answer = this.connections?.cache?.get(token);
    return answer === undefined && !isToken(token, this.config.foreignKeyPrefixes) ? INACTIVE : answer;
  }

  /**
   * Tell whether an access token or a key is active right now, and for whom.
   *
   * Throws Unavailable if the service can't tell, which is neither a yes nor a no.
   */
  async introspect(token: string): Promise<Answer> {
    const answer = typeof token === "string" ? this.cached(token) : INACTIVE;
    if (answer !== undefined) return answer;
    const { lookups, cache } = this.opened();
    try {
      return await within(this.config.timeoutS, lookups.ask(token));
    } catch (error) {
      if (!(error instanceof Unavailable)) throw error;
      this.outages.log(error);
      // A service that refuses us has no outage, so a stale answer would be wrong.
      const stale = error instanceof Misconfigured ? undefined : cache?.getStale(token);
      if (stale === undefined) throw error;
      return stale;
    }
  }

  /**
   * Watch a token for as long as a stream lives. The promise of the cache holds here too. Without the cache, the service
   * is asked every `feedSilenceS`. Each question counts as use of the session.
   *
   * Rejects with Refused (401) if there is no token or it is not active, and with Refused (503) if the service can't tell.
   */
  async whileActive(token: string | undefined): Promise<Watch> {
    if (token === undefined) throw Refused.withoutToken();
    const { cache, stop } = this.opened();
    const introspect = (asked: string): Promise<Answer> => this.introspect(asked);
    return watch({ introspect, cache, closed: stop.signal, longestPauseS: this.config.feedSilenceS }, token);
  }

  private async fetch(wire: Wire, cache: Cache | undefined, tokens: string[]): Promise<LookupResult[]> {
    const mark = cache?.changes ?? 0;
    const response = await wire.introspect(tokens);
    if (response.date !== undefined) this.serverClock.observe(response.date, response.receivedAt);
    return tokens.map((token, at) => {
      try {
        const timed = read(response.answers[at], token, this.config.audience);
        if (cache !== undefined) this.keep(cache, token, timed, mark, response);
        return timed.answer;
      } catch (error) {
        if (error instanceof Unavailable) return error;
        throw error;
      }
    });
  }

  private keep(cache: Cache, token: string, timed: TimedAnswer, mark: number, response: IntrospectionResponse): void {
    if (response.date === undefined) return; // without the service's clock, its deadlines say nothing
    let [until, exp] = [Infinity, Infinity];
    if (timed.answer.active) {
      if (timed.recheckAt === undefined) return;
      const tookS = response.receivedAt - response.sentAt;
      exp = this.serverClock.ours(timed.answer.exp, tookS);
      until = Math.min(exp, this.serverClock.ours(timed.recheckAt, tookS));
    }
    cache.keep(token, timed.answer, mark, until, exp);
  }
}

async function within(seconds: number, answer: Promise<Answer>): Promise<Answer> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const failure = (): void => reject(new Unavailable(`no answer within ${seconds} s`));
    timer = setTimeout(failure, seconds * 1000);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}
