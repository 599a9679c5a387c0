/** The third answer: the service can't tell. It is neither a yes nor a logout. */

import { Refused } from "./refused.js";

/** The service gave no answer, so the token may or may not be active. Answer 503, never 401. */
export class Unavailable extends Error {
  override name = "Unavailable";

  /** retryAfterS: when to ask again. Undefined: the service did not say. */
  constructor(
    readonly reason: string,
    readonly retryAfterS?: number,
    options?: ErrorOptions,
  ) {
    super(reason, options);
  }

  /** The 503 for handlers that return a `Response`. Hono calls it for errors of handlers. */
  getResponse(): Response {
    return Refused.unavailable(this).getResponse();
  }
}

/**
 * The service refused our client, not the token: wrong URL or secret, or no permission to introspect.
 * A retry does not help. For the holder of a token this is an outage like any other.
 */
export class Misconfigured extends Unavailable {
  override name = "Misconfigured";
}
