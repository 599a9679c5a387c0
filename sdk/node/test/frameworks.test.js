/** The real frameworks in front of a real service: each refuses and passes the same requests. */

import "reflect-metadata";

import assert from "node:assert/strict";
import net from "node:net";
import { after, before, describe, test } from "node:test";

import { Controller, Get, Module, Req, UseGuards } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { FastifyAdapter } from "@nestjs/platform-fastify";
import { serve } from "@hono/node-server";
import express from "express";
import fastify from "fastify";
import { Hono } from "hono";

import { demand, Introspector, Unavailable } from "@authsvc/sdk";
import { expressAuth, expressErrors } from "@authsvc/sdk/express";
import { fastifyAuth, fastifyErrors } from "@authsvc/sdk/fastify";
import { fetchAuth } from "@authsvc/sdk/fetch";
import { honoAuth } from "@authsvc/sdk/hono";
import { nestAuth, nestErrors } from "@authsvc/sdk/nest";

import { missing, startService, until } from "./service.js";

const COOKIE = "__Host-session";
const DEMANDS = { scope: "notes:write", role: "editor", maxAgeS: 3600 };
const told = (auth) => ({ owner: auth?.username ?? null });

/** A handler that fails, as the query says. */
function failing(auth, wanted) {
  if (wanted === "demand") demand(auth, DEMANDS);
  if (wanted === "unavailable") throw new Unavailable("gone", 7);
  throw new Error("a fault of the application");
}

/** Each starts an application with the same routes, and returns its port and how to stop it. */
const FRAMEWORKS = {
  async express(ask) {
    const requireAuth = expressAuth(ask, { cookie: COOKIE });
    const app = express();
    app.get("/open", requireAuth({ optional: true }), (request, response) => response.json(told(request.auth)));
    app.use(requireAuth());
    app.get("/notes", (request, response) => response.json(told(request.auth)));
    app.get("/write", requireAuth(DEMANDS), (request, response) => response.json(told(request.auth)));
    app.get("/fails", (request) => failing(request.auth, request.query.by));
    app.options("/notes", (_, response) => response.status(204).end());
    app.use(expressErrors);
    app.use((error, _, response, next) => (response.headersSent ? next(error) : response.status(500).end()));
    return listening(app.listen(0, "127.0.0.1"));
  },

  async fastify(ask) {
    const requireAuth = fastifyAuth(ask, { cookie: COOKIE });
    const app = fastify();
    app.setErrorHandler(fastifyErrors);
    app.get("/open", { onRequest: requireAuth({ optional: true }) }, (request) => told(request.auth));
    app.register(async (closed) => {
      closed.addHook("onRequest", requireAuth());
      closed.get("/notes", (request) => told(request.auth));
      closed.get("/write", { onRequest: requireAuth(DEMANDS) }, (request) => told(request.auth));
      closed.get("/fails", (request) => failing(request.auth, request.query.by));
      closed.options("/notes", (_, reply) => reply.code(204).send());
    });
    await app.listen({ port: 0, host: "127.0.0.1" });
    return { port: app.server.address().port, stop: () => app.close() };
  },

  async hono(ask) {
    const requireAuth = honoAuth(ask, { cookie: COOKIE });
    const app = new Hono();
    app.get("/open", requireAuth({ optional: true }), (c) => c.json(told(c.var.auth)));
    app.use(requireAuth());
    app.get("/notes", (c) => c.json(told(c.var.auth)));
    app.get("/write", requireAuth(DEMANDS), (c) => c.json(told(c.var.auth)));
    app.get("/fails", (c) => failing(c.var.auth, c.req.query("by")));
    app.options("/notes", (c) => c.body(null, 204));
    return listening(serve({ fetch: app.fetch, port: 0, hostname: "127.0.0.1" }));
  },

  nest: (ask) => nestApplication(ask),
  "nest on fastify": (ask) => nestApplication(ask, new FastifyAdapter()),
};

async function nestApplication(ask, ...adapter) {
  const requireAuth = nestAuth(ask, { cookie: COOKIE });
  class Notes {
    open(request) {
      return told(request.auth);
    }
    notes(request) {
      return told(request.auth);
    }
    write(request) {
      return told(request.auth);
    }
    fails(request) {
      failing(request.auth, request.query.by);
    }
  }
  // What the decorators of TypeScript do.
  const route = (name, path, ...guards) => {
    const property = Object.getOwnPropertyDescriptor(Notes.prototype, name);
    Get(path)(Notes.prototype, name, property);
    UseGuards(...guards)(Notes.prototype, name, property);
    Req()(Notes.prototype, name, 0);
  };
  route("open", "/open", requireAuth({ optional: true }));
  route("notes", "/notes", requireAuth());
  route("write", "/write", requireAuth(), requireAuth(DEMANDS));
  route("fails", "/fails", requireAuth());
  Controller()(Notes);
  class Application {}
  Module({ controllers: [Notes] })(Application);
  const app = await NestFactory.create(Application, ...adapter, { logger: false });
  app.enableCors();
  app.useGlobalFilters(nestErrors);
  await app.listen(0, "127.0.0.1");
  return { port: app.getHttpServer().address().port, stop: () => app.close() };
}

async function listening(server) {
  if (!server.listening) await new Promise((resolve) => server.once("listening", resolve));
  const stop = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  return { port: server.address().port, stop };
}

/** Send header lines as they are. `fetch` would join or refuse some of them. */
function get(port, path, lines = [], method = "GET") {
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, "127.0.0.1");
    let text = "";
    socket.on("data", (chunk) => (text += chunk));
    socket.on("error", reject);
    socket.on("end", () => {
      const [head, body] = [text.slice(0, text.indexOf("\r\n\r\n")), text.slice(text.indexOf("\r\n\r\n") + 4)];
      const fields = head.split("\r\n").slice(1).map((line) => line.split(": "));
      const headers = Object.fromEntries(fields.map(([name, value]) => [name.toLowerCase(), value]));
      resolve({ status: Number(head.split(" ")[1]), headers, body });
    });
    socket.write([`${method} ${path} HTTP/1.1`, "Host: localhost", "Connection: close", ...lines, "", ""].join("\r\n"));
  });
}

describe("frameworks", { skip: missing }, () => {
  let service, ask, settings, tokens;

  before(async () => {
    service = await startService({ AUTHSVC_APP_SCOPE: "notes:read notes:write" });
    const [clientId, clientSecret] = await service.client(["introspect"]);
    settings = { url: service.url, clientId, clientSecret, cache: true };
    ask = new Introspector(settings);
    await service.user("ada", { roles: ["editor"] });
    await service.user("bob");
    tokens = {
      ada: await service.token("ada", { scope: "notes:write" }),
      reader: await service.token("ada", { scope: "notes:read" }),
      bob: await service.token("bob", { scope: "notes:write" }),
    };
  });
  after(() => {
    ask.close();
    return service.cleanUp();
  });

  for (const [name, start] of Object.entries(FRAMEWORKS)) {
    describe(name, () => {
      let app;
      before(async () => (app = await start(ask)));
      after(() => app.stop());

      const bearer = (token) => `Authorization: Bearer ${token}`;

      test("an active token passes, also from the cache, and the handler knows the user", async () => {
        for (let time = 0; time < 3; time++) {
          const { status, body } = await get(app.port, "/notes", [bearer(tokens.ada)]);
          assert.deepEqual([status, JSON.parse(body)], [200, { owner: "ada" }]);
        }
        await until(async () => (await ask.introspect(tokens.ada)) && ask.cached(tokens.ada)?.active, "it is cached");
        assert.equal((await get(app.port, "/write", [bearer(tokens.ada)])).status, 200);
      });

      test("a request without a token gets a challenge without an error", async () => {
        const { status, headers, body } = await get(app.port, "/notes");
        assert.equal(status, 401);
        assert.equal(headers["www-authenticate"], 'Bearer realm="api"');
        assert.equal(headers["cache-control"], "no-store");
        assert.match(headers["content-type"], /^application\/json/);
        assert.equal(JSON.parse(body).error, "invalid_token");
      });

      test("an inactive token gets a challenge", async () => {
        const { status, headers } = await get(app.port, "/notes", [bearer("tok_nonsense")]);
        assert.equal(status, 401);
        assert.match(headers["www-authenticate"], /^Bearer realm="api", error="invalid_token"/);
      });

      test("the demands of a route", async () => {
        const reader = await get(app.port, "/write", [bearer(tokens.reader)]);
        assert.equal(reader.status, 403);
        assert.match(reader.headers["www-authenticate"], /error="insufficient_scope".*scope="notes:write"/);
        assert.equal(JSON.parse(reader.body).error, "insufficient_scope");
        assert.equal((await get(app.port, "/write", [bearer(tokens.bob)])).status, 403);
      });

      test("an error inside of a handler gets the answer of the middleware", async () => {
        const headers = { Authorization: `Bearer ${tokens.reader}` };
        const call = (path) => fetch(`http://127.0.0.1:${app.port}${path}`, { headers });
        const [there, here] = [await call("/write"), await call("/fails?by=demand")];
        assert.deepEqual([here.status, await here.json()], [403, await there.json()]);
        for (const name of ["www-authenticate", "cache-control", "content-type"]) {
          assert.equal(here.headers.get(name), there.headers.get(name));
        }
        const lost = await call("/fails?by=unavailable");
        assert.deepEqual([lost.status, lost.headers.get("retry-after")], [503, "7"]);
        assert.equal((await lost.json()).error, "temporarily_unavailable");
      });

      test("other errors of a handler stay those of the framework", async () => {
        const { status, body } = await get(app.port, "/fails", [bearer(tokens.reader)]);
        assert.equal(status, 500);
        assert(!body.includes("temporarily_unavailable"));
      });

      test("an optional route", async () => {
        assert.deepEqual(JSON.parse((await get(app.port, "/open")).body), { owner: null });
        assert.deepEqual(JSON.parse((await get(app.port, "/open", [bearer(tokens.ada)])).body), { owner: "ada" });
        assert.equal((await get(app.port, "/open", [bearer("tok_nonsense")])).status, 401);
      });

      test("the cookie, and never two credentials", async () => {
        const cookie = `Cookie: ${COOKIE}=${tokens.ada}`;
        assert.equal((await get(app.port, "/notes", [cookie])).status, 200);
        assert.equal((await get(app.port, "/notes", [cookie, bearer(tokens.ada)])).status, 400);
        assert.equal((await get(app.port, "/notes", [cookie, cookie])).status, 400);
        assert.equal((await get(app.port, "/notes", [bearer(tokens.ada), bearer(tokens.ada)])).status, 400);
      });

      test("a CORS preflight passes", async () => {
        const asked = ["Origin: https://app.example.org", "Access-Control-Request-Method: GET"];
        assert.equal((await get(app.port, "/notes", asked, "OPTIONS")).status, 204);
        const { status } = await get(app.port, "/notes", asked.slice(0, 1), "OPTIONS");
        if (!name.startsWith("nest")) assert.equal(status, 401); // Nest answers these itself
      });

      test("an outage is a 503", async () => {
        const lost = new Introspector({ ...settings, url: "http://127.0.0.1:1", logger: { warn() {}, error() {} } });
        const broken = await start(lost);
        const { status, headers, body } = await get(broken.port, "/notes", [bearer(tokens.ada)]);
        await broken.stop();
        lost.close();
        assert.deepEqual([status, headers["retry-after"]], [503, "1"]);
        assert.equal(JSON.parse(body).error, "temporarily_unavailable");
      });
    });
  }

  test("errors inside of a handler that returns a Response have one", async () => {
    const authenticate = fetchAuth(ask);
    const headers = { Authorization: `Bearer ${tokens.reader}` };
    const there = await authenticate(new Request("http://notes.test/", { headers }), DEMANDS);
    const caught = (by) => {
      try {
        return failing(ask.cached(tokens.reader), by);
      } catch (error) {
        return error.getResponse();
      }
    };
    const here = caught("demand");
    assert.deepEqual([here.status, [...here.headers]], [there.status, [...there.headers]]);
    assert.equal(await here.text(), await there.text());
    assert.equal(caught("unavailable").headers.get("retry-after"), "7");
  });

  test("an answer that has begun gets no refusal, and the error goes on", async () => {
    const passed = [];
    const app = express();
    app.use((_, response) => {
      response.write("half");
      throw new Unavailable("gone");
    });
    app.use(expressErrors);
    app.use((error, _request, response, _next) => {
      passed.push(error.reason);
      response.destroy();
    });
    const { port, stop } = await listening(app.listen(0, "127.0.0.1"));
    await assert.rejects(fetch(`http://127.0.0.1:${port}/`).then((response) => response.text()), TypeError);
    assert.deepEqual(passed, ["gone"]);
    await stop();
  });

  test("a misspelt demand is found when the route is made", () => {
    for (const wrong of [{ scopes: "a" }, { maxAgeS: "300" }, { scope: 'a"b' }, { optional: true, role: "a" }]) {
      assert.throws(() => expressAuth(ask)(wrong), TypeError);
    }
  });
});
