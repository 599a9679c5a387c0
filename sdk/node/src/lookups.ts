/**
 * Batching: concurrent questions about tokens share few requests.
 *
 * A question joins only a batch that is still waiting. The answer of a batch that was sent before could be older than a
 * revocation which the caller has already seen acknowledged.
 */

import type { Answer } from "./answers.js";
import { clock } from "./clock.js";
import { Unavailable } from "./errors.js";

export const MAX_IN_FLIGHT = 8;
const MAX_BATCH = 50; // the largest answers about so many tokens fit into one response

/** An answer, or the failure of this one token. */
export type LookupResult = Answer | Unavailable;

class Question {
  until = 0; // nobody waits any longer
  settle: (result: LookupResult) => void = () => undefined;
  readonly promise = new Promise<Answer>((resolve, reject) => {
    this.settle = (result) => (result instanceof Unavailable ? reject(result) : resolve(result));
  });

  constructor(readonly token: string) {}
}

/** Collects tokens into batches. */
export class Lookups {
  private readonly waiting = new Map<string, Question>();
  private inFlight = 0;

  /**
   * fetch: asks about up to 50 tokens; one result each, in order. It may throw Unavailable for the whole batch.
   * patienceS: how long each caller waits.
   */
  constructor(
    private readonly fetch: (tokens: string[]) => Promise<LookupResult[]>,
    private readonly patienceS: number,
  ) {}

  ask(token: string): Promise<Answer> {
    const question = this.waiting.get(token) ?? new Question(token);
    question.until = clock.now() + this.patienceS;
    this.waiting.set(token, question);
    setImmediate(() => this.sendBatch()); // after all callers of this turn of the event loop
    return question.promise;
  }

  private sendBatch(): void {
    if (this.inFlight >= MAX_IN_FLIGHT) return;
    const batch = this.next();
    if (batch.length === 0) return;
    this.inFlight++;
    void this.fetchBatch(batch).finally(() => {
      this.inFlight--;
      this.sendBatch();
    });
  }

  /**
   * Take the next batch. A question that nobody waits for is not asked: in an outage such questions would pile up, and
   * hold up the others after it.
   */
  private next(): Question[] {
    const batch: Question[] = [];
    for (const question of this.waiting.values()) {
      if (batch.length === MAX_BATCH) break;
      this.waiting.delete(question.token);
      if (clock.now() < question.until) batch.push(question);
    }
    return batch;
  }

  private async fetchBatch(batch: Question[]): Promise<void> {
    let results: LookupResult[] = [];
    let failure = new Unavailable("the lookup failed");
    try {
      results = await this.fetch(batch.map(({ token }) => token));
    } catch (error) {
      // After a bug too, every caller gets an answer, and the answer lets nobody in.
      failure = error instanceof Unavailable ? error : new Unavailable("the lookup failed", undefined, { cause: error });
    }
    batch.forEach((question, at) => question.settle(results[at] ?? failure));
  }
}
