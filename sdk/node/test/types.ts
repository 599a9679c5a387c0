/** Programs of users, for the compiler only: the types of the package fit the types of the frameworks. */

import { Controller, Get, type INestApplication, Req, UseGuards } from "@nestjs/common";
import express, { type Request as ExpressRequest } from "express";
import fastify from "fastify";
import { Hono } from "hono";

import { Active, INACTIVE, Introspector, type Settings, Unavailable } from "@authsvc/sdk";
import { expressAuth, expressErrors } from "@authsvc/sdk/express";
import { fastifyAuth, fastifyErrors } from "@authsvc/sdk/fastify";
import { fetchAuth } from "@authsvc/sdk/fetch";
import { honoAuth } from "@authsvc/sdk/hono";
import { nestAuth, nestErrors } from "@authsvc/sdk/nest";

const settings: Settings = { url: "https://auth.example.org", clientId: "a", clientSecret: "b", cache: true };
const introspector = new Introspector({ ...settings, tls: { ca: "…" }, logger: console });

export async function plain(token: string): Promise<string> {
  try {
    const answer = await introspector.introspect(token);
    if (!answer.active) return "inactive";
    return answer.hasScope("orders:read") ? answer.sub : (answer.username ?? "nobody");
  } catch (error) {
    if (error instanceof Unavailable) return `again in ${error.retryAfterS ?? 1} s`;
    throw error;
  }
}

{
  const requireAuth = expressAuth(introspector, { cookie: "__Host-session" });
  const app = express();
  app.use(requireAuth());
  app.get("/orders", requireAuth({ scope: "orders:read", acr: "aal2", maxAgeS: 300 }), (request, response) => {
    response.json({ owner: request.auth?.sub });
  });
  app.use(expressErrors);
}
{
  const requireAuth = fastifyAuth(introspector);
  const app = fastify();
  app.addHook("onRequest", requireAuth());
  app.setErrorHandler(fastifyErrors);
  app.get("/orders", { preHandler: requireAuth({ role: "editor" }) }, (request) => ({ owner: request.auth?.sub }));
}
{
  const requireAuth = honoAuth(introspector);
  const app = new Hono();
  app.get("/orders", requireAuth({ role: "editor" }), (context) => context.json({ owner: context.var.auth.sub }));
}
{
  const requireAuth = nestAuth(introspector);
  const filtered = (app: INestApplication): unknown => app.useGlobalFilters(nestErrors);
  @Controller()
  @UseGuards(requireAuth())
  class Orders {
    @Get("/orders")
    @UseGuards(requireAuth({ scope: "orders:read" }))
    orders(@Req() request: ExpressRequest): string | undefined {
      return request.auth?.sub;
    }
  }
}
{
  const authenticate = fetchAuth(introspector);
  const handler = async (request: Request): Promise<Response> => {
    const auth = await authenticate(request, { scope: "orders:read" });
    if (auth instanceof Response) return auth;
    return Response.json({ owner: auth?.sub });
  };
}

// @ts-expect-error An answer is read-only.
new Active({ sub: "a", clientId: "b", sessionId: "c", exp: 1, iat: 0 }).sub = "eve";
// @ts-expect-error There is no such demand.
expressAuth(introspector)({ scopes: "orders:read" });
// @ts-expect-error An inactive answer has no user.
INACTIVE.sub;
