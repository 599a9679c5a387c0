/** NestJS, on Express or Fastify: `@UseGuards(requireAuth({ scope: "orders:write" }))`. */

import type { IncomingMessage } from "node:http";

import {
  type ArgumentsHost,
  type CanActivate,
  Catch,
  type ExceptionFilter,
  type ExecutionContext,
  HttpException,
} from "@nestjs/common";

import type { Active } from "./answers.js";
import { Unavailable } from "./errors.js";
import { Refused } from "./refused.js";
import { Guard, type GuardOptions, presentedBy, type Requirements } from "./guard.js";
import type { Introspector } from "./introspector.js";

type Request = (IncomingMessage | { raw: IncomingMessage }) & { auth?: Active };

interface Response {
  header(name: string, value: string): unknown;
  status(code: number): { send(body: unknown): unknown };
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
    withHeaders(context, error);
    throw new HttpException(JSON.parse(error.body) as Record<string, unknown>, error.status, { cause: error });
  }
}

class RefusalFilter implements ExceptionFilter<Refused | Unavailable> {
  catch(error: Refused | Unavailable, host: ArgumentsHost): void {
    if (host.getType() !== "http") throw error;
    const refused = Refused.of(error)!;
    withHeaders(host, refused).status(refused.status).send(JSON.parse(refused.body));
  }
}
Catch(Refused, Unavailable)(RefusalFilter);

/**
 * Answers `Refused` and `Unavailable` that a handler throws as the guards would: `app.useGlobalFilters(nestErrors)`.
 * Other exceptions stay Nest's.
 */
export const nestErrors: ExceptionFilter = new RefusalFilter();

function withHeaders(host: ArgumentsHost, refused: Refused): Response {
  const response = host.switchToHttp().getResponse<Response>();
  for (const [name, value] of Object.entries(refused.headers)) response.header(name, value);
  return response;
}
