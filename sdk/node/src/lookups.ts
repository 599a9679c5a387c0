/**
 * Batching: concurrent questions about tokens share few requests.
 *
 * A question joins only a batch that is still waiting. The answer of a batch that was sent before could be older than a
 * revocation which the caller has already seen acknowledged.
 */

import type { Answer } from "./answers.js";
import { Unavailable } from "./errors.js";

export const MAX_IN_FLIGHT = 8;
const MAX_BATCH = 50; // the largest answers about so many tokens fit into one response

/** An answer, or the failure of this one token. */
export type LookupResult = Answer | Unavailable;

interface Question {
  promise: Promise<Answer>;
  settle: (result: LookupResult) => void;
}

/** Collects tokens into batches. */
export class Lookups {
  private readonly waiting = new Map<string, Question>();
  private inFlight = 0;
  private closed = false;

  /** fetch: asks about up to 50 tokens; one result each, in order. It may throw Unavailable for the whole batch. */
  constructor(private readonly fetch: (tokens: string[]) => Promise<LookupResult[]>) {}

  ask(token: string): Promise<Answer> {
    const waiting = this.waiting.get(token);
    if (waiting !== undefined) return waiting.promise;
    const question = asked();
    this.waiting.set(token, question);
    setImmediate(() => this.sendBatch()); // after all callers of this turn of the event loop
    return question.promise;
  }

  close(): void {
    this.closed = true;
    for (const question of this.waiting.values()) question.settle(new Unavailable("closed"));
    this.waiting.clear();
  }

  private sendBatch(): void {
    if (this.waiting.size === 0 || this.inFlight >= MAX_IN_FLIGHT || this.closed) return;
    const batch = [...this.waiting].slice(0, MAX_BATCH);
    for (const [token] of batch) this.waiting.delete(token);
    this.inFlight++;
    void this.fetchBatch(batch).finally(() => {
      this.inFlight--;
      this.sendBatch();
    });
  }

  private async fetchBatch(batch: [string, Question][]): Promise<void> {
    let results: LookupResult[] = [];
    let failure = new Unavailable("the lookup failed");
    try {
      results = await this.fetch(batch.map(([token]) => token));
    } catch (error) {
      // After a bug too, every caller gets an answer, and the answer lets nobody in.
      failure = error instanceof Unavailable ? error : new Unavailable("the lookup failed", undefined, { cause: error });
    }
    batch.forEach(([, question], at) => question.settle(results[at] ?? failure));
  }
}

function asked(): Question {
  let settle: Question["settle"] = () => undefined;
  const promise = new Promise<Answer>((resolve, reject) => {
    settle = (result) => (result instanceof Unavailable ? reject(result) : resolve(result));
  });
  return { promise, settle };
}
