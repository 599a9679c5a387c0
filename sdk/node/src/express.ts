/** Express, and every framework whose middleware is `(request, response, next)`. */

import type { IncomingMessage, ServerResponse } from "node:http";

import type { Active } from "./answers.js";
import { Refused } from "./refused.js";
import { Guard, type GuardOptions, presentedBy, type Requirements } from "./guard.js";
import type { Introspector } from "./introspector.js";

declare global {
  namespace Express {
    interface Request {
      /** The user, after `requireAuth`. */
      auth?: Active;
    }
  }
}

type Next = (error?: unknown) => void;

export type Middleware = (
  request: IncomingMessage & { auth?: Active },
  response: ServerResponse,
  next: Next,
) => void;

/** Make `requireAuth`, whose middleware sets `req.auth` or refuses the request. */
export function expressAuth(
  introspector: Introspector,
  options?: GuardOptions,
): (requirements?: Requirements) => Middleware {
  const guard = new Guard(introspector, options);
  return (requirements = {}) => {
    const required = guard.requirements(requirements);
    return (request, response, next) => {
      const pass = (user: Active | undefined): void => {
        if (user !== undefined) request.auth = user;
        next();
      };
      const fail = (error: unknown): void => (error instanceof Refused ? send(response, error) : next(error));
      let found: ReturnType<Guard["check"]>;
      try {
        found = guard.check(request, () => presentedBy(request), required);
      } catch (error) {
        fail(error);
        return;
      }
      if (found instanceof Promise) void found.then(pass, fail);
      else pass(found);
    };
  };
}

/**
 * Answer `Refused` and `Unavailable` that a handler throws as the middleware would, and pass on all other errors:
 * `app.use(expressErrors)` after the routes.
 */
export function expressErrors(error: unknown, _: IncomingMessage, response: ServerResponse, next: Next): void {
  const refused = Refused.of(error);
  // Half of another answer is already sent. Express then closes the connection.
  if (refused === undefined || response.headersSent) next(error);
  else send(response, refused);
}

/** Answer a request of `node:http` with a refusal. */
function send(response: ServerResponse, refused: Refused): void {
  response.writeHead(refused.status, { ...refused.headers, "Content-Length": Buffer.byteLength(refused.body) });
  response.end(refused.body);
}
