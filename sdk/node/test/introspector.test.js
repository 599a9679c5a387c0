/** The introspector against a real service: its answers, its cache, its errors. */

import assert from "node:assert/strict";
import http from "node:http";
import https from "node:https";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { inspect } from "node:util";

import { Active, INACTIVE, Introspector, Misconfigured, Refused, tokenIn, Unavailable } from "@authsvc/sdk";

import { configOf } from "../dist/config.js";
import { missing, startService, until } from "./service.js";

const NOWHERE = { url: "http://127.0.0.1:1", clientId: "backend", clientSecret: "secret" };
const SHAPED = "tok_7Hk2pQ9xV3bN10000000000000000000014q60P2ZR2bw";

class Log {
  lines = [];
  warn = (line) => this.lines.push(["warn", line]);
  error = (line) => this.lines.push(["error", line]);
}

describe("with a service", { skip: missing }, () => {
  let service, settings, sub;

  before(async () => {
    service = await startService();
    const [clientId, clientSecret] = await service.client(["introspect"]);
    settings = { url: service.url, clientId, clientSecret };
    ({ sub } = await service.user("ada", { roles: ["editor"], claims: { desk: { rooms: [1, 2] } } }));
  });
  after(() => service.cleanUp());

  async function using(given, body) {
    const ask = new Introspector({ ...settings, ...given });
    try {
      await body(ask);
    } finally {
      ask.close();
    }
  }

  test("an active answer has all that the service knows, and cannot be changed", () =>
    using({}, async (ask) => {
      const token = await service.token("ada");
      const answer = await ask.introspect(token);
      assert(answer instanceof Active);
      assert.deepEqual([answer.sub, answer.username, answer.clientId], [sub, "ada", "app"]);
      assert.equal(answer.sessionId, token.slice(4, 16));
      assert(answer.hasRole("editor") && !answer.hasRole("editor", "admin"));
      assert(answer.authTime <= answer.iat && answer.iat < answer.exp);
      assert.throws(() => answer.claims.desk.rooms.push(3), TypeError);
      assert.throws(() => (answer.roles[0] = "admin"), TypeError);
    }));

  test("a revoked token is inactive, and so is one for another audience", async () => {
    const token = await service.token("ada");
    await using({ audience: "orders" }, async (ask) => assert.equal(await ask.introspect(token), INACTIVE));
    await using({}, async (ask) => {
      assert((await ask.introspect(token)).active);
      await service.revoke({ token });
      assert.equal(await ask.introspect(token), INACTIVE);
    });
  });

  test("a hundred concurrent questions each get their own answer", () =>
    using({}, async (ask) => {
      const tokens = await Promise.all(Array.from({ length: 20 }, () => service.token("ada")));
      const asked = Array.from({ length: 100 }, (_, at) => tokens[at % 20]);
      const answers = await Promise.all([...asked, SHAPED].map((token) => ask.introspect(token)));
      assert.equal(answers.pop(), INACTIVE);
      assert.deepEqual(
        answers.map((answer) => answer.sessionId),
        asked.map((token) => token.slice(4, 16)),
      );
    }));

  test("the cache answers without a request, and forgets a revoked token within milliseconds", () =>
    using({ cache: true }, async (ask) => {
      const token = await service.token("ada");
      await until(async () => (await ask.introspect(token)) && ask.cached(token)?.active, "it is cached");
      await service.revoke({ token });
      await until(() => ask.cached(token) === undefined, "it is forgotten", 2);
      assert.equal(await ask.introspect(token), INACTIVE);
    }));

  test("a change of roles is seen with the next check", () =>
    using({ cache: true }, async (ask) => {
      const made = await service.user("grace");
      const token = await service.token("grace");
      await until(async () => (await ask.introspect(token)) && ask.cached(token)?.active, "it is cached");
      await service.call("PATCH", `/admin/users/${made.sub}`, { roles: ["admin"] }, service.admin);
      await until(async () => (await ask.introspect(token)).hasRole("admin"), "the new role", 2);
    }));

  test("a wrong secret is our fault, and the log says what to check, without the secret", async () => {
    const log = new Log();
    const wrong = "sec_000000000001000000000000000000000000000000000";
    await using({ clientSecret: wrong, cache: true, logger: log }, async (ask) => {
      await assert.rejects(ask.introspect(SHAPED), Misconfigured);
      await assert.rejects(ask.introspect(SHAPED), Misconfigured);
      await until(() => log.lines.length === 2, "two lines");
      await sleep(300);
      assert.equal(log.lines.length, 2); // one about the checks, one about the feed
      const text = JSON.stringify(log.lines);
      assert.match(text, /check its URL, our clientId, secret and permission/);
      assert.match(text, /authsvc client rotate-secret ID/);
      assert.match(text, /the feed of changes is refused/);
      assert(!text.includes(wrong));
    });
  });

  test("a client without the permission is told how to get it", async () => {
    const [clientId, clientSecret] = await service.client(["revoke"]);
    await using({ clientId, clientSecret, logger: new Log() }, (ask) =>
      assert.rejects(ask.introspect(SHAPED), /with 403: .*authsvc client update ID --permission introspect/),
    );
  });

  test("the address of something else is named as such", () =>
    using({ url: `${service.url}/elsewhere`, logger: new Log() }, (ask) =>
      assert.rejects(ask.introspect(SHAPED), /with 404: this is not the address of authsvc/),
    ));

  for (const cache of [true, false]) {
    test(`a watch ends with its token${cache ? "" : ", also without the cache"}`, () =>
      // With a long bound, only the announcement can end the watch in time.
      using({ cache, feedSilenceS: cache ? 30 : 2 }, async (ask) => {
        const [token, other] = [await service.token("ada"), await service.token("ada")];
        const [watch, another, third] = await Promise.all([token, other, token].map((one) => ask.whileActive(one)));
        assert.equal(watch.user.username, "ada");
        if (cache) await until(() => ask.cached(token)?.active, "it is cached");
        third.stop();
        await sleep(300);
        assert(!watch.signal.aborted);
        await service.revoke({ token });
        await until(() => watch.signal.aborted, "the watch ends", 10);
        assert(watch.signal.reason instanceof Refused);
        assert.equal(watch.signal.reason.status, 401);
        assert(!another.signal.aborted && !third.signal.aborted);
        another.stop();
        await assert.rejects(ask.whileActive(token), (error) => error instanceof Refused && error.status === 401);
      }));
  }

  test("a watch ends with a 503 when the service can't tell any more", () =>
    using({ cache: true, timeoutS: 0.5, logger: new Log() }, async (ask) => {
      const watch = await ask.whileActive(await service.token("ada"));
      service.process.kill("SIGSTOP");
      try {
        await until(() => watch.signal.aborted, "the watch ends", 10);
      } finally {
        service.process.kill("SIGCONT");
      }
      assert.equal(watch.signal.reason.status, 503);
    }));

  test("closing ends all watches, and they ask no more", () =>
    using({ cache: true }, async (ask) => {
      const warnings = [];
      process.on("warning", (warning) => warnings.push(warning));
      const token = await service.token("ada");
      const watches = await Promise.all(Array.from({ length: 30 }, () => ask.whileActive(token)));
      ask.close();
      assert(watches.every(({ signal }) => signal.reason.status === 503));
      await sleep(300);
      assert.equal(ask.cached(token), undefined); // nothing has opened the connections again
      assert.deepEqual(warnings, []);
    }));

  test("it works again after close", () =>
    using({ cache: true }, async (ask) => {
      const token = await service.token("ada");
      assert((await ask.introspect(token)).active);
      ask.close();
      assert.equal(ask.cached(token), undefined);
      assert((await ask.introspect(token)).active);
    }));
});

test("without a service the answer is Unavailable, and the log has the reason and the remedy once a minute", async () => {
  const log = new Log();
  const ask = new Introspector({ ...NOWHERE, url: "http://me:pa55w0rd@127.0.0.1:1", logger: log });
  for (let time = 0; time < 3; time++) {
    await assert.rejects(ask.introspect(SHAPED), (error) => {
      assert(error instanceof Unavailable && !(error instanceof Misconfigured));
      return true;
    });
  }
  assert.equal(log.lines.length, 1);
  const [[level, line]] = log.lines;
  assert.equal(level, "warn");
  assert.match(line, /^authsvc at http:\/\/127\.0\.0\.1:1: the service can't be reached: ECONNREFUSED/);
  assert.match(line, /Check that the service runs/);
  assert(!line.includes("pa55w0rd") && !line.includes("secret"));
});

test("only access tokens are asked about", async () => {
  const ask = new Introspector(NOWHERE);
  for (const text of ["", "tok_", "\ud800", "x".repeat(100_000), `ref${SHAPED.slice(3)}`, undefined, null, 7, {}]) {
    assert.equal(await ask.introspect(text), INACTIVE);
  }
});

test("a request without a token has no watch, and gets the challenge of one without a token", async () => {
  for (const headers of [[], [undefined], ["Basic YTpi"]]) {
    await assert.rejects(new Introspector(NOWHERE).whileActive(tokenIn(headers)), (error) => {
      assert(error instanceof Refused);
      assert.deepEqual([error.status, error.headers["WWW-Authenticate"]], [401, 'Bearer realm="api"']);
      return true;
    });
  }
  assert.equal(tokenIn([undefined, `Bearer ${SHAPED}`]), SHAPED);
});

test("a check ends within its time limit", async () => {
  const silent = http.createServer(() => undefined);
  await new Promise((resolve) => silent.listen(0, "127.0.0.1", resolve));
  const ask = new Introspector({ ...NOWHERE, url: `http://127.0.0.1:${silent.address().port}`, timeoutS: 0.4 });
  const began = performance.now();
  await assert.rejects(ask.introspect(SHAPED), /no answer within 0.4 s/);
  const tookMs = performance.now() - began;
  assert(tookMs > 350 && tookMs < 1500, `${tookMs} ms`);
  silent.closeAllConnections();
  silent.close();
});

test("a question never joins a request that is on its way", async () => {
  const held = [];
  const server = http.createServer((_, response) => held.push(response));
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const ask = new Introspector({ ...NOWHERE, url: `http://127.0.0.1:${server.address().port}`, timeoutS: 20 });
  const older = ask.introspect(SHAPED);
  await until(() => held.length === 1, "the first request");
  const newer = [ask.introspect(SHAPED), ask.introspect(SHAPED)];
  await until(() => held.length === 2, "the second request");
  held[1].end('{"active": false}');
  assert.deepEqual(await Promise.all(newer), [INACTIVE, INACTIVE]);
  held[0].end('{"active": false}');
  assert.equal(await older, INACTIVE);
  assert.equal(held.length, 2);
  server.closeAllConnections();
  server.close();
});

test("a certificate that nobody vouches for is refused", async (context) => {
  const { key, cert } = await import("./certificate.js").then((module) => module.certificate(context));
  const server = https.createServer({ key, cert }, (_, response) => response.end('{"active": false}'));
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const given = { ...NOWHERE, url: `https://localhost:${server.address().port}`, logger: new Log() };
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0"; // a developer's habit that must not open the service's connection
  try {
    await assert.rejects(new Introspector(given).introspect(SHAPED), Unavailable);
    assert.equal(await new Introspector({ ...given, tls: { ca: cert } }).introspect(SHAPED), INACTIVE);
  } finally {
    delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
    server.closeAllConnections();
    server.close();
  }
});

test("a program may end while the feed is open", { skip: missing }, async () => {
  const { spawnSync } = await import("node:child_process");
  const program = `import { Introspector } from "@authsvc/sdk";
    new Introspector(${JSON.stringify({ ...NOWHERE, cache: true })}).start();`;
  const cwd = new URL("..", import.meta.url);
  const ran = spawnSync(process.execPath, ["--input-type=module", "-e", program], { cwd, timeout: 20_000 });
  assert.equal(ran.status, 0, String(ran.stderr));
});

for (const wrong of [
  { timeoutS: 0 },
  { cacheSize: 0 },
  { feedSilenceS: 1 },
  { serveStaleForS: 60 },
  { serveStaleForS: -1, cache: true },
  { url: "auth.example" },
  { clientSecret: "" },
  { clientId: 7 },
  { timeout: 3 },
  { audience: "" },
  { audience: null },
  { foreignKeyPrefixes: "sk_" },
  { foreignKeyPrefixes: [""] },
  { timeoutS: "3" },
  { timeoutS: NaN },
  { cacheSize: "9" },
  { cacheMaxAgeS: "9" },
  { feedSilenceS: "9" },
  { serveStaleForS: "9", cache: true },
  { cache: "false" },
  { tls: "ca" },
  { logger: null },
]) {
  test(`settings that make no sense: ${JSON.stringify(wrong)}`, () => {
    const [name] = Object.keys(wrong);
    assert.throws(() => new Introspector({ ...NOWHERE, ...wrong }), { name: "TypeError", message: RegExp(name) });
  });
}

test("the error of a URL names the setting and what is expected, and repeats nothing", () => {
  for (const url of [
    undefined, null, 7, "", "http://", "https:auth", "127.0.0.1:18300", "ftp://auth", "http://auth:99999", "http://a b",
    "http://auth?x=1", "http://auth/?", "http://auth#", "http://auth ", "\nhttp://auth", "http://me:pa55w0rd@auth:99999",
  ]) {
    assert.throws(() => new Introspector({ ...NOWHERE, url }), (error) => {
      assert(error instanceof TypeError);
      assert.match(error.message, /^url: has to begin with http:\/\/ or https:\/\//);
      assert(!inspect(error).includes("pa55w0rd"));
      return true;
    });
  }
});

test("a scheme has no case", () => {
  assert.equal(configOf({ ...NOWHERE, url: "HTTP://Auth.example/base/" }).url, "http://auth.example/base");
});
