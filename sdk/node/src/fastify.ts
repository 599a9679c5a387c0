/** Fastify: hooks for `onRequest` or `preHandler`. */

import type { FastifyReply, FastifyRequest } from "fastify";

import type { Active } from "./answers.js";
import { Refused } from "./refused.js";
import { Guard, type GuardOptions, presentedBy, type Requirements } from "./guard.js";
import type { Introspector } from "./introspector.js";

declare module "fastify" {
  interface FastifyRequest {
    /** The user, after `requireAuth`. */
    auth?: Active;
  }
}

export type Hook = (request: FastifyRequest, reply: FastifyReply) => Promise<unknown>;

/** Make `requireAuth`, whose hooks set `request.auth` or refuse the request. */
export function fastifyAuth(
  introspector: Introspector,
  options?: GuardOptions,
): (requirements?: Requirements) => Hook {
  const guard = new Guard(introspector, options);
  return (requirements = {}) => {
    const required = guard.requirements(requirements);
    return async (request, reply) => {
      try {
        const user = await guard.check(request.raw, () => presentedBy(request.raw), required);
        if (user !== undefined) request.auth = user;
        return undefined;
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        return send(reply, error);
      }
    };
  };
}

/**
 * Answer `Refused` and `Unavailable` that a handler throws as the hooks would, and leave all other errors to Fastify:
 * `app.setErrorHandler(fastifyErrors)`.
 */
export function fastifyErrors(error: unknown, _: FastifyRequest, reply: FastifyReply): FastifyReply {
  const refused = Refused.of(error);
  if (refused === undefined) throw error;
  return send(reply, refused);
}

function send(reply: FastifyReply, refused: Refused): FastifyReply {
  return reply.code(refused.status).headers(refused.headers).send(refused.body);
}
