/** The client against a real service, through a gateway that loses answers. */

import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { inspect } from "node:util";

import { AuthClient, LoggedOut, memoryStorage, Refused, Unavailable } from "@authsvc/client";

import { missing, PASSWORD, patiently, startService, until } from "../../node/test/service.js";
import { startGateway } from "./gateway.js";

describe("with a service", { skip: missing }, () => {
  let service, gateway, storage, auth, logOuts;

  before(async () => {
    service = await startService();
    gateway = await startGateway(service);
    await service.user("ada");
  });
  after(async () => {
    await gateway.close();
    await service.cleanUp();
  });
  beforeEach(async () => {
    gateway.reset();
    storage = memoryStorage();
    auth = client();
    logOuts = 0;
    auth.onLogOut(() => logOuts++);
    const login = await patiently(() => auth.logIn({ username: "ada", password: PASSWORD, device: "a test" }));
    assert.equal(login.done, true);
    gateway.reset();
  });

  function client(given = {}) {
    return new AuthClient({ url: gateway.url, storage, ...given });
  }

  function change(changed) {
    const state = JSON.parse(storage.get());
    storage.set(JSON.stringify({ ...state, tokens: { ...state.tokens, ...changed } }));
  }

  const tokens = () => JSON.parse(storage.get()).tokens;
  const me = (one = auth) => one.fetch(`${gateway.url}/me`);

  test("calls carry the token", async () => {
    const answer = await me();
    assert.equal((await answer.json()).username, "ada");
    assert(await auth.isLoggedIn());
  });

  test("twenty calls with an expired token cause one refresh", async () => {
    change({ refreshAt: 0, expiresAt: 0 });
    const old = tokens().refresh;
    const answers = await Promise.all(Array.from({ length: 20 }, () => me()));
    assert(answers.every(({ status }) => status === 200));
    assert.equal(gateway.count("/token"), 1);
    assert.notEqual(tokens().refresh, old);
  });

  const once = (path, answer) => {
    let left = 1;
    gateway.fault = (asked) => (asked === path && left-- > 0 ? answer : undefined);
  };
  const refused = (error) => ({ status: 401, headers: { "WWW-Authenticate": `Bearer error="${error}"` } });

  test("a 401 causes one refresh and one more attempt, with the same body", async () => {
    once("/password", refused("invalid_token"));
    const body = JSON.stringify({ current_password: "wrong", new_password: "a swim across the lake" });
    const options = { method: "POST", body, headers: { "Content-Type": "application/json" } };
    const answer = await auth.fetch(`${gateway.url}/password`, options);
    assert.deepEqual(gateway.paths, ["/password", "/token", "/password"]);
    assert.equal((await answer.json()).error, "invalid_grant"); // the body arrived
  });

  test("a second 401 is the answer: the token is not the problem", async () => {
    gateway.fault = (path) => (path === "/me" ? refused("invalid_token") : undefined);
    assert.equal((await me()).status, 401);
    assert.deepEqual(gateway.paths, ["/me", "/token", "/me"]);
  });

  test("a 401 that wants a recent login causes no refresh", async () => {
    gateway.fault = (path) => (path === "/me" ? refused("insufficient_user_authentication") : undefined);
    assert.equal((await me()).status, 401);
    assert.deepEqual(gateway.paths, ["/me"]);
  });

  test("a lost answer to a refresh is asked for again", async () => {
    change({ refreshAt: 0, expiresAt: 0 });
    once("/token", "lose");
    assert.equal((await me()).status, 200);
    assert.equal(gateway.count("/token"), 2);
    change({ refreshAt: 0, expiresAt: 0 });
    assert.equal((await me()).status, 200); // the session is alive
  });

  for (const [name, fault] of [
    ["a 503", { status: 503, headers: { "Retry-After": "7" }, body: "{}" }],
    ["a 500", { status: 500, body: "<html>oops</html>" }],
    ["a 429", { status: 429, headers: { "Retry-After": "7" }, body: '{"error": "too_many_attempts"}' }],
    ["another 400", { status: 400, body: '{"error": "invalid_scope"}' }],
    ["a 400 of a proxy", { status: 400, body: "<html>Bad Request: invalid_grant</html>" }],
    ["a redirect", { status: 302, headers: { Location: "https://portal.example/login" } }],
    ["a 200 of a portal", { status: 200, body: "<html>Welcome to the hotel</html>" }],
    ["a 200 without tokens", { status: 200, body: "{}" }],
  ]) {
    test(`${name} at a refresh keeps the tokens`, async () => {
      const kept = { refreshAt: 0, expiresAt: 0 };
      change(kept);
      const before = tokens();
      gateway.fault = (path) => (path === "/token" ? fault : undefined);
      await assert.rejects(me(), Unavailable);
      assert.deepEqual(tokens(), before);
      assert.equal(logOuts, 0);
      gateway.reset();
      assert.equal((await me()).status, 200);
    });
  }

  test("an outage does not matter as long as the token is good", async () => {
    change({ refreshAt: 0 });
    gateway.fault = (path) => (path === "/token" ? { status: 503 } : undefined);
    assert.equal((await me()).status, 200);
  });

  test("a black hole ends within the time limits, and keeps the tokens", async () => {
    const impatient = client({ timeoutS: 0.2 });
    change({ refreshAt: 0, expiresAt: 0 });
    service.process.kill("SIGSTOP");
    try {
      await assert.rejects(me(impatient), Unavailable);
    } finally {
      service.process.kill("SIGCONT");
    }
    assert.equal((await me()).status, 200);
  });

  test("a session that has ended is a logout, which is told once", async () => {
    await service.revoke({ token: tokens().refresh });
    await assert.rejects(Promise.all([me(), me(), me()]), LoggedOut);
    await assert.rejects(me(), LoggedOut);
    assert.equal(logOuts, 1);
    assert.equal(await auth.isLoggedIn(), false);
  });

  test("two tabs without Web Locks refresh at once, and both go on", async () => {
    const other = client();
    change({ refreshAt: 0, expiresAt: 0 });
    const answers = await Promise.all([me(), me(other), me(), me(other)]);
    assert(answers.every(({ status }) => status === 200));
    change({ refreshAt: 0, expiresAt: 0 });
    assert.equal((await me(other)).status, 200);
    assert.equal((await me()).status, 200);
    assert.equal(logOuts, 0);
  });

  test("a wrong password says so, and keeps the session", async () => {
    await assert.rejects(auth.logIn({ username: "ada", password: "wrong" }), (error) => {
      assert(error instanceof Refused);
      assert.deepEqual([error.status, error.error], [401, "invalid_grant"]);
      return true;
    });
    assert(await auth.isLoggedIn());
  });

  test("the token goes to listed origins only, and follows no redirect", async () => {
    await assert.rejects(auth.fetch("https://elsewhere.example/"), /name its origin/);
    gateway.fault = (path) => (path === "/me" ? { status: 302, headers: { Location: "/sessions" } } : undefined);
    await assert.rejects(me(), TypeError);
    assert.deepEqual(gateway.paths, ["/me"]);
  });

  test("a logout ends the session at the service", async () => {
    const { access, refresh } = tokens();
    assert.equal(await auth.logOut(), true);
    assert.equal(logOuts, 1);
    await assert.rejects(me(), LoggedOut);
    const headers = { Authorization: `Bearer ${access}` };
    assert.equal((await fetch(`${service.url}/me`, { headers })).status, 401);
    assert(!storage.get().includes(refresh));
  });

  test("a logout during an outage is made up for at the next use", async () => {
    const { access } = tokens();
    const headers = { Authorization: `Bearer ${access}` };
    gateway.fault = () => ({ status: 503 });
    assert.equal(await auth.logOut(), false);
    assert.equal(await auth.isLoggedIn(), false);
    gateway.reset();
    assert.equal(await client().isLoggedIn(), false);
    const ended = async () => (await fetch(`${service.url}/me`, { headers })).status === 401;
    await until(ended, "the session has ended");
    await until(() => !storage.get().includes("ref_"), "it is forgotten");
  });

  test("calls during an outage share the attempts to refresh", async () => {
    change({ refreshAt: 0, expiresAt: 0 });
    gateway.fault = (path) => (path === "/token" ? { status: 503 } : undefined);
    const results = await Promise.allSettled(Array.from({ length: 5 }, () => me()));
    assert(results.every(({ reason }) => reason instanceof Unavailable));
    assert.equal(gateway.count("/token"), 3);
  });

  test("a new login during a refresh is not overwritten", async () => {
    change({ refreshAt: 0, expiresAt: 0 });
    const old = tokens().sessionId;
    gateway.fault = async (path) => {
      if (path === "/token") {
        await until(() => gateway.count("/login"), "the login");
        await sleep(500); // the answer to the login comes first
      }
    };
    await Promise.all([me(), auth.logIn({ username: "ada", password: PASSWORD })]);
    assert.notEqual(tokens().sessionId, old);
    assert.equal((await me()).status, 200);
  });

  test("tokens that another tab has stored meanwhile are no logout", async () => {
    const good = tokens();
    change({ access: "tok_old", refresh: "ref_old", refreshAt: 0, expiresAt: 0 });
    gateway.fault = (path) => {
      if (path === "/token") change(good);
    };
    assert.equal((await me()).status, 200);
    assert.deepEqual(gateway.paths, ["/token", "/me"]);
    assert.equal(logOuts, 0);
  });

  test("what is no session in the storage is nobody", async () => {
    storage.set("{broken");
    assert.equal(await auth.isLoggedIn(), false);
    await assert.rejects(me(), LoggedOut);
  });
});

test("the error of a URL names the setting and what is expected, and repeats nothing", () => {
  for (const wrong of [
    undefined, null, 7, "", "http://", "https:auth", "127.0.0.1:18300", "ftp://auth", "http://auth:99999", "http://a b",
    "http://auth?x=1", "http://auth/?", "http://auth#", "http://auth ", "http://me:pa55w0rd@auth", "https:\\\\auth",
  ]) {
    for (const [name, given] of [["url", { url: wrong }], ["origins", { url: "http://auth", origins: [wrong] }]]) {
      assert.throws(() => new AuthClient(given), (error) => {
        assert(error instanceof TypeError);
        assert(error.message.startsWith(`${name}: has to begin with http:// or https://`), error.message);
        assert(!inspect(error).includes("pa55w0rd"));
        return true;
      });
    }
  }
  for (const url of ["http://auth", "HTTPS://auth.example/base/", "http://[::1]:8000"]) new AuthClient({ url });
});
