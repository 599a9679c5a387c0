/** The resource server of the promise suite. sdk/vectors/README.md has its contract, and tests/sdk/test_promise.py runs it. */

import http from "node:http";

import { Introspector } from "@authsvc/sdk";
import { expressAuth } from "@authsvc/sdk/express";

const { AUTH_URL, AUTH_CLIENT_ID, AUTH_CLIENT_SECRET, AUTH_TIMEOUT_S = 3, AUTH_SERVE_STALE_FOR_S = 0 } = process.env;

const introspector = new Introspector({
  url: AUTH_URL,
  clientId: AUTH_CLIENT_ID,
  clientSecret: AUTH_CLIENT_SECRET,
  cache: true,
  timeoutS: Number(AUTH_TIMEOUT_S),
  serveStaleForS: Number(AUTH_SERVE_STALE_FOR_S),
});
const authenticate = expressAuth(introspector)();

const server = http.createServer((request, response) => {
  const token = request.headers.authorization?.slice("Bearer ".length) ?? "";
  const cached = introspector.cached(token) !== undefined;
  authenticate(request, response, (error) => {
    if (error) {
      console.error(error);
      response.writeHead(500).end();
      return;
    }
    response.writeHead(200, { "Content-Type": "application/json" });
    response.end(JSON.stringify({ sub: request.auth.sub, cached }));
  });
});

server.listen(0, "127.0.0.1", () => {
  console.log(JSON.stringify({ port: server.address().port, moves_clock: true }));
});

// The suite moves the wall clock of this process. Without a listener, Node would open its debugger.
process.on("SIGUSR1", () => {
  const real = Date.now;
  Date.now = () => real() + 86_400_000;
});

process.on("SIGTERM", () => {
  introspector.close();
  server.close();
  server.closeAllConnections();
});
