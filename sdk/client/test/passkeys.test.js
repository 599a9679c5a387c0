/** Passkeys in a real browser, with the virtual authenticator of its DevTools. */

import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";

import { missing as missingService, PASSWORD, patiently, startService } from "../../node/test/service.js";
import { missing as missingBrowser, startChromium } from "./chromium.js";
import { startGateway } from "./gateway.js";
import { page } from "./page.js";

const PLATFORM = {
  protocol: "ctap2",
  transport: "internal",
  hasResidentKey: true,
  hasUserVerification: true,
  isUserVerified: true,
  automaticPresenceSimulation: true,
};

describe("passkeys in Chromium", { skip: missingService || missingBrowser }, () => {
  const target = {};
  let service, gateway, chromium, tab;

  before(async () => {
    gateway = await startGateway(target);
    const origin = gateway.url.replace("127.0.0.1", "localhost"); // an address has no passkeys
    service = await startService({ AUTHSVC_PASSKEY_ORIGINS: origin, AUTHSVC_REQUIRE_FACTOR_FOR: "editor" });
    target.url = service.url;
    gateway.fault = page;
    chromium = await startChromium();
    tab = await chromium.tab(`${origin}/app`, "window.me !== undefined");
    await tab.send("WebAuthn.enable");
    await tab.send("WebAuthn.addVirtualAuthenticator", { options: PLATFORM });
    await service.user("ada");
    const credentials = JSON.stringify({ username: "ada", password: PASSWORD });
    const logIn = `auth.logIn(${credentials}).then((login) => login.done)`;
    assert.equal(await patiently(() => tab.run(logIn)), true);
    assert.equal(await tab.run(`auth.addPasskey("my laptop").then((factor) => factor.name)`), "my laptop");
  });
  after(async () => {
    await chromium?.close();
    await gateway.close();
    await service.cleanUp();
  });
  beforeEach(() => tab.run("auth.logOut()"));

  const strength = () => tab.run("auth.accessToken()").then((token) => introspected(token));

  async function introspected(token) {
    const [clientId, clientSecret] = await service.client(["introspect"]);
    return service.call("POST", "/introspect", new URLSearchParams({ token }), [clientId, clientSecret]);
  }

  test("a login by passkey alone", async () => {
    assert.equal(await tab.run(`auth.logInWithPasskey({ device: "a test" }).then((login) => login.done)`), true);
    assert.equal(await tab.run("me()"), 200);
    const { username, acr } = await strength();
    assert.deepEqual([username, acr], ["ada", "aal2"]);
  });

  test("a passkey as the second step", async () => {
    const credentials = JSON.stringify({ username: "ada", password: PASSWORD });
    const methods = await tab.run(`auth.logIn(${credentials}).then((login) => (window.step = login).methods)`);
    assert(methods.includes("passkey"));
    assert.equal(await tab.run("step.passkey().then((login) => login.done)"), true);
    assert.equal(await tab.run("me()"), 200);
    assert.equal((await strength()).acr, "aal2");
  });

  test("a passkey as the first factor, in a login that demands one", async () => {
    await service.user("grace", { roles: ["editor"] });
    const credentials = JSON.stringify({ username: "grace", password: PASSWORD });
    const begin = `auth.logIn(${credentials}).then((login) => (window.step = login).methods)`;
    assert.deepEqual(await patiently(() => tab.run(begin)), ["enrol"]);
    const enrol = `step.enrolPasskey("my laptop").then(({ done, recoveryCodes }) => [done, recoveryCodes.length])`;
    assert.deepEqual(await tab.run(enrol), [true, 10]);
    assert.equal(await tab.run("me()"), 200);
    const { username, acr } = await strength();
    assert.deepEqual([username, acr], ["grace", "aal2"]);
  });
});
