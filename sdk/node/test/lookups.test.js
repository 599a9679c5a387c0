/** Batches of questions during a long outage. The test moves the clock. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";

import { INACTIVE } from "@authsvc/sdk";

import { clock } from "../dist/clock.js";
import { Lookups, MAX_IN_FLIGHT } from "../dist/lookups.js";

test("after an outage new callers wait behind no question of callers that have given up", async (context) => {
  let [now, over] = [0, () => undefined];
  context.mock.method(clock, "now", () => now);
  const outage = new Promise((resolve) => (over = resolve));
  const asked = [];
  const lookups = new Lookups(async (tokens) => {
    asked.push(...tokens);
    await outage;
    return tokens.map(() => INACTIVE);
  }, 3);
  for (let number = 0; number < MAX_IN_FLIGHT; number++) {
    void lookups.ask(`blocking ${number}`);
    await turn();
  }
  for (let number = 0; number < 500; number++) void lookups.ask(`late ${number}`);
  now = 2;
  const joined = lookups.ask("late 7"); // its question lives as long as its last caller waits
  now = 4;
  const fresh = lookups.ask("new");
  over();
  assert.deepEqual(await Promise.all([joined, fresh]), [INACTIVE, INACTIVE]);
  assert.deepEqual(asked.slice(MAX_IN_FLIGHT), ["late 7", "new"]);
});
