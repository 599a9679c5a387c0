/** Servers whose handlers get a `Request` and return a `Response`. */

import type { Active } from "./answers.js";
import { Refused } from "./refused.js";
import { Guard, type GuardOptions, type Presented, type Requirements } from "./guard.js";
import type { Introspector } from "./introspector.js";

/** Return the user of a request, or the response that refuses it. Undefined: it needs no token and has none. */
export type Authenticate = (request: Request, requirements?: Requirements) => Promise<Active | undefined | Response>;

export function fetchAuth(introspector: Introspector, options?: GuardOptions): Authenticate {
  const guard = new Guard(introspector, options);
  return (request, requirements = {}) => userOrRefusal(guard, request, guard.requirements(requirements));
}

export async function userOrRefusal(
  guard: Guard,
  request: Request,
  required: Requirements,
): Promise<Active | undefined | Response> {
  try {
    return await guard.check(request, () => presentedBy(request), required);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return error.getResponse();
  }
}

/** `Headers` joins two `Authorization` headers by a comma, which is not in the grammar of a bearer token. */
function presentedBy(request: Request): Presented {
  const values = (name: string): string[] => {
    const value = request.headers.get(name);
    return value === null ? [] : [value];
  };
  const asked = request.headers.has("origin") && request.headers.has("access-control-request-method");
  return {
    authorization: values("authorization"),
    cookies: values("cookie"),
    preflight: request.method === "OPTIONS" && asked,
  };
}
