/** The client in a real browser: two tabs share one session. */

import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";

import { missing as missingService, PASSWORD, patiently, startService } from "../../node/test/service.js";
import { missing as missingBrowser, startChromium } from "./chromium.js";
import { startGateway } from "./gateway.js";
import { page } from "./page.js";

const EXPIRE = `storage.get().then((text) => {
  const state = JSON.parse(text);
  Object.assign(state.tokens, { refreshAt: 0, expiresAt: 0 });
  return storage.set(JSON.stringify(state));
})`;

describe("in Chromium", { skip: missingService || missingBrowser }, () => {
  let service, gateway, chromium, tabs;

  before(async () => {
    service = await startService();
    gateway = await startGateway(service);
    await service.user("ada");
    chromium = await startChromium();
    gateway.fault = page;
    tabs = await Promise.all([1, 2].map(() => chromium.tab(`${gateway.url}/app`, "window.me !== undefined")));
  });
  after(async () => {
    await chromium?.close();
    await gateway.close();
    await service.cleanUp();
  });
  beforeEach(async () => {
    gateway.reset();
    gateway.fault = page;
    const credentials = JSON.stringify({ username: "ada", password: PASSWORD });
    const logIn = `auth.logIn(${credentials}).then((login) => login.done)`;
    assert.equal(await patiently(() => tabs[0].run(logIn)), true);
  });

  test("the other tab is logged in too", async () => {
    assert.equal(await tabs[1].run("me()"), 200);
  });

  test("two tabs cause one refresh", async () => {
    for (let round = 1; round <= 3; round++) {
      await tabs[0].run(EXPIRE);
      const calls = tabs.map((tab) => tab.run("Promise.all(Array.from({ length: 10 }, me)).then(String)"));
      assert.deepEqual(await Promise.all(calls), Array(2).fill(Array(10).fill(200).join()));
      assert.equal(gateway.count("/token"), round);
    }
  });

  test("a slow refresh of one tab is waited for by the other", async () => {
    await tabs[0].run(EXPIRE);
    gateway.fault = (path) => (path === "/token" && gateway.count("/token") === 1 ? "lose" : page(path));
    assert.deepEqual(await Promise.all(tabs.map((tab) => tab.run("me()"))), [200, 200]);
    assert.equal(gateway.count("/token"), 2); // the lost one, and its repetition
  });

  test("a logout in one tab is one in the other", async () => {
    assert.equal(await tabs[0].run("auth.logOut()"), true);
    assert.equal(await tabs[1].run("me().catch((error) => error.name)"), "LoggedOut");
  });
});
