/** A login with more than one step, against a real service. */

import assert from "node:assert/strict";
import { createHmac, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";

import { AuthClient, memoryStorage, Refused, StepNeeded } from "@authsvc/client";

import { missing, PASSWORD, patiently, startService } from "../../node/test/service.js";
import { startGateway } from "./gateway.js";

const PERIOD_S = 30;

/** An authenticator app (RFC 6238). Each code is of a time step of its own, because each counts once. */
class App {
  last = 0;

  constructor(secret) {
    const bits = [...secret].map((character) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(character));
    const text = bits.map((value) => value.toString(2).padStart(5, "0")).join("");
    this.seed = Buffer.from(text.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  }

  code() {
    this.last = Math.max(this.last + 1, Math.floor(Date.now() / 1000 / PERIOD_S) - 1);
    const moment = Buffer.alloc(8);
    moment.writeBigUInt64BE(BigInt(this.last));
    const mac = createHmac("sha1", this.seed).update(moment).digest();
    const value = mac.readUInt32BE(mac.at(-1) & 15) & 0x7fffffff;
    return String(value % 1_000_000).padStart(6, "0");
  }
}

describe("steps", { skip: missing }, () => {
  let service, gateway, folder, clientId, storage, auth;
  let number = 0;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "authsvc-key-"));
    const file = join(folder, "factor.key");
    writeFileSync(file, randomBytes(32).toString("base64"), { mode: 0o600 });
    service = await startService({ AUTHSVC_FACTOR_KEY_FILE: file, AUTHSVC_REQUIRE_FACTOR_FOR: "editor" });
    gateway = await startGateway(service);
  });
  after(async () => {
    await gateway.close();
    await service.cleanUp();
    rmSync(folder, { recursive: true });
  });
  beforeEach(async () => {
    [clientId] = await service.client([], { public: true });
    gateway.reset();
    storage = memoryStorage();
    auth = new AuthClient({ url: gateway.url, clientId, storage });
  });

  const tokens = () => JSON.parse(storage.get()).tokens;
  const me = () => auth.fetch(`${gateway.url}/me`);

  async function post(path, body = {}) {
    const headers = { "Content-Type": "application/json" };
    const answer = await auth.fetch(gateway.url + path, { method: "POST", headers, body: JSON.stringify(body) });
    assert(answer.ok, `${path}: ${answer.status} ${await answer.clone().text()}`);
    return answer.json();
  }

  /** A user who has just logged in, and has an authenticator app and recovery codes. */
  async function enrolled() {
    const credentials = { username: `user${++number}`, password: PASSWORD };
    await service.user(credentials.username);
    assert.equal((await patiently(() => auth.logIn(credentials))).done, true);
    const { id, secret } = await post("/factors/totp");
    const app = new App(secret);
    const { recovery_codes: codes } = await post(`/factors/totp/${id}/confirm`, { code: app.code() });
    return { credentials, app, codes };
  }

  test("a code completes the login, and a wrong one may be typed again", async () => {
    const { credentials, app } = await enrolled();
    const step = await patiently(() => auth.logIn(credentials));
    assert.equal(step.done, false);
    assert(step.methods.includes("totp") && step.methods.includes("recovery"));
    assert(step.expiresAt > Date.now());
    await assert.rejects(step.totp("000000"), (error) => error instanceof Refused && error.error === "invalid_grant");
    assert.equal((await step.totp(app.code())).done, true);
    assert.equal((await me()).status, 200);
  });

  test("a login that has ended has to begin again", async () => {
    const { credentials } = await enrolled();
    const step = await patiently(() => auth.logIn(credentials));
    for (let wrong = 0; wrong < 5; wrong++) await assert.rejects(step.totp("000000"), Refused);
    await assert.rejects(step.totp("000000"), (error) => error.error === "invalid_session" && error.status === 400);
  });

  test("a trusted device needs no second step", async () => {
    const { credentials, codes } = await enrolled();
    const step = await patiently(() => auth.logIn(credentials));
    assert.equal((await step.recovery(codes[0], { trustDevice: true })).done, true);
    await auth.logOut();
    assert.equal((await auth.logIn(credentials)).done, true);
    const elsewhere = new AuthClient({ url: service.url, clientId });
    assert.equal((await elsewhere.logIn(credentials)).done, false);
  });

  test("a step-up gives the same session new tokens", async () => {
    const { codes } = await enrolled();
    const old = tokens();
    const step = await auth.stepUp();
    assert.equal((await step.recovery(codes[0])).done, true);
    assert.equal(tokens().sessionId, old.sessionId);
    assert.notEqual(tokens().access, old.access);
    assert.equal((await me()).status, 200);
  });

  test("a step-up with the password, for an account without a factor", async () => {
    const credentials = { username: `user${++number}`, password: PASSWORD };
    await service.user(credentials.username);
    await patiently(() => auth.logIn(credentials));
    const step = await auth.stepUp();
    assert.deepEqual(step.methods, ["password"]);
    await assert.rejects(step.password("wrong"), Refused);
    assert.equal((await step.password(PASSWORD)).done, true);
    assert.equal((await me()).status, 200);
  });

  test("a user who has to have a factor sets up an app, and is logged in", async () => {
    const credentials = { username: `user${++number}`, password: PASSWORD };
    await service.user(credentials.username, { roles: ["editor"] });
    const step = await patiently(() => auth.logIn(credentials));
    assert.deepEqual(step.methods, ["enrol"]);
    const added = await step.enrolApp("my phone");
    assert(added.uri.startsWith("otpauth://totp/"));
    await assert.rejects(added.confirm("000000"), (error) => error instanceof Refused && error.error === "invalid_grant");
    assert.equal(await auth.isLoggedIn(), false);
    const app = new App(added.secret);
    const { done, recoveryCodes } = await added.confirm(app.code());
    assert.equal(done, true);
    assert.equal(recoveryCodes.length, 10);
    assert.equal((await me()).status, 200);
    await auth.logOut();
    const next = await patiently(() => auth.logIn(credentials));
    assert.equal((await next.totp(app.code())).done, true);
  });

  test("enrolling ends with its login", async () => {
    const credentials = { username: `user${++number}`, password: PASSWORD };
    await service.user(credentials.username, { roles: ["editor"] });
    const [step, other] = [await patiently(() => auth.logIn(credentials)), await patiently(() => auth.logIn(credentials))];
    const added = await step.enrolApp();
    await added.confirm(new App(added.secret).code());
    const dead = (error) => error instanceof Refused && error.error === "invalid_session";
    await assert.rejects(step.enrolApp(), dead);
    await assert.rejects(other.enrolApp(), dead);
  });

  test("a refresh that needs a step says so, and keeps the session", async () => {
    const { codes } = await enrolled();
    const { authSession: auth_session, methods } = await auth.stepUp();
    const body = JSON.stringify({ error: "insufficient_authorization", auth_session, methods, expires_in: 600 });
    gateway.fault = (path) => (path === "/token" ? { status: 403, body } : undefined);
    const before = JSON.parse(storage.get());
    const expired = { ...before, tokens: { ...before.tokens, refreshAt: 0, expiresAt: 0 } };
    storage.set(JSON.stringify(expired));
    let step;
    await assert.rejects(me(), (error) => {
      assert(error instanceof StepNeeded);
      step = error.step;
      return true;
    });
    assert.deepEqual(JSON.parse(storage.get()), expired);
    assert.equal((await step.recovery(codes[0])).done, true);
    assert.equal(tokens().sessionId, before.tokens.sessionId);
    assert.equal((await me()).status, 200);
  });
});
