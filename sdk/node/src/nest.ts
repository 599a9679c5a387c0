/** NestJS, on Express or Fastify: `@UseGuards(requireAuth({ scope: "orders:write" }))`. */

import type { IncomingMessage } from "node:http";

import { type CanActivate, type ExecutionContext, HttpException } from "@nestjs/common";

import type { Active } from "./answers.js";
import { Refused } from "./refused.js";
import { Guard, type GuardOptions, presentedBy, type Requirements } from "./guard.js";
import type { Introspector } from "./introspector.js";

type Request = (IncomingMessage | { raw: IncomingMessage }) & { auth?: Active };

interface Response {
  header(name: string, value: string): unknown;
}

/** Make `requireAuth`, whose guards set `auth` of the request or refuse it. Only HTTP requests can pass. */
export function nestAuth(
  introspector: Introspector,
  options?: GuardOptions,
): (requirements?: Requirements) => CanActivate {
  const guard = new Guard(introspector, options);
  return (requirements = {}) => {
    const required = guard.requirements(requirements);
    return { canActivate: (context) => canActivate(guard, context, required) };
  };
}

async function canActivate(guard: Guard, context: ExecutionContext, required: Requirements): Promise<boolean> {
  if (context.getType() !== "http") throw new Error("the guards of nestAuth are for HTTP");
  const request = context.switchToHttp().getRequest<Request>();
  const raw = "raw" in request ? request.raw : request;
  try {
    const user = await guard.check(raw, () => presentedBy(raw), required);
    if (user !== undefined) request.auth = user;
    return true;
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    const response = context.switchToHttp().getResponse<Response>();
    for (const [name, value] of Object.entries(error.headers)) response.header(name, value);
    throw new HttpException(JSON.parse(error.body) as Record<string, unknown>, error.status, { cause: error });
  }
}
