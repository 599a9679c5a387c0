/** Hono. */

import type { MiddlewareHandler } from "hono";

import type { Active } from "./answers.js";
import { userOrRefusal } from "./fetch.js";
import { Guard, type GuardOptions, type Requirements } from "./guard.js";
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
  const guard = new Guard(introspector, options);
  return (requirements = {}) => {
    const required = guard.requirements(requirements);
    return async (context, next) => {
      const found = await userOrRefusal(guard, context.req.raw, required);
      if (found instanceof Response) return found;
      if (found !== undefined) context.set("auth", found);
      await next();
      return undefined;
    };
  };
}
