/** Refusing a request for its token: the answer to send, for any framework. RFC 6750 defines the challenges. */

import type { Active, Answer } from "./answers.js";
import { Unavailable } from "./errors.js";

const REALM = 'Bearer realm="api"';
const RETRY_AFTER_S = 1;

/** The request is refused. `status`, `headers` and `body` are the answer to send. */
export class Refused extends Error {
  override name = "Refused";
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;

  constructor(
    readonly status: number,
    readonly error: string,
    description: string,
    headers: Record<string, string>,
  ) {
    super(description);
    this.headers = { "Content-Type": "application/json", "Cache-Control": "no-store", ...headers };
    this.body = JSON.stringify({ error, error_description: description });
  }

  /** The refusal that answers an error of this package. Undefined for any other error. */
  static of(error: unknown): Refused | undefined {
    if (error instanceof Unavailable) return Refused.unavailable(error);
    return error instanceof Refused ? error : undefined;
  }

  static withoutToken(): Refused {
    // A request without a token gets a challenge without an error code (RFC 6750 section 3.1).
    return new Refused(401, "invalid_token", "an access token is required", { "WWW-Authenticate": REALM });
  }

  /** With a challenge that names the error. */
  static challenged(status: number, error: string, description: string, parameters = {}): Refused {
    const fields = Object.entries({ error, error_description: description, ...parameters });
    const challenge = [REALM, ...fields.map(([name, value]) => `${name}="${value}"`)].join(", ");
    return new Refused(status, error, description, { "WWW-Authenticate": challenge });
  }

  /** The answer is 503. A program that gets a 401 logs its user out. */
  static unavailable(error: Unavailable): Refused {
    const after = error.retryAfterS || RETRY_AFTER_S;
    const headers = { "Retry-After": String(after) };
    return new Refused(503, "temporarily_unavailable", "tokens can't be checked right now", headers);
  }

  /** The answer for handlers that return a `Response`. Hono calls it for errors of handlers. */
  getResponse(): Response {
    return new Response(this.body, { status: this.status, headers: this.headers });
  }
}

/** Return the answer if it is active, else throw Refused (401). */
export function accepted(answer: Answer): Active {
  if (!answer.active) throw Refused.challenged(401, "invalid_token", "the access token is not active");
  return answer;
}
