/** Hono. */

import type { MiddlewareHandler } from "hono";

import type { Active } from "./answers.js";
import { fetchAuth } from "./fetch.js";
import type { GuardOptions, Requirements } from "./guard.js";
import type { Introspector } from "./introspector.js";

declare module "hono" {
  interface ContextVariableMap {
    /** The user, after `requireAuth`. */
    auth: Active;
  }
}

/** Make `requireAuth`, whose middleware sets `c.var.auth` or refuses the request. */
export function honoAuth(
  introspector: Introspector,
  options?: GuardOptions,
): (requirements?: Requirements) => MiddlewareHandler {
  const authenticate = fetchAuth(introspector, options);
  return (requirements = {}) => {
    return async (context, next) => {
      const found = await authenticate(context.req.raw, requirements);
      if (found instanceof Response) return found;
      if (found !== undefined) context.set("auth", found);
      await next();
      return undefined;
    };
  };
}
