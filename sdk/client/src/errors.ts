/** Why a call failed. Each kind asks for another reaction of the app. */

import type { LoginStep } from "./steps.js";

/** Nobody is logged in, or the session is over: show the login. */
export class LoggedOut extends Error {
  override name = "LoggedOut";
}

/** The service could not be asked. The tokens are kept: try again later, and never show the login for this. */
export class Unavailable extends Error {
  override name = "Unavailable";

  /** retryAfterS: when to ask again. Undefined: the service did not say. */
  constructor(
    message: string,
    readonly retryAfterS?: number,
    options?: { cause?: unknown },
  ) {
    super(message);
    if (options?.cause !== undefined) this.cause = options.cause;
  }
}

/** The service said no: `invalid_grant` for a wrong name, password or code, and the other codes of docs/errors.md. */
export class Refused extends Error {
  override name = "Refused";

  constructor(
    readonly status: number,
    readonly error: string,
    description: string,
    readonly retryAfterS?: number,
  ) {
    super(description);
  }
}

/** The session goes on only after another step, such as a code. The tokens are kept. */
export class StepNeeded extends Error {
  override name = "StepNeeded";

  constructor(readonly step: LoginStep) {
    super("the service wants another step of the login");
  }
}
