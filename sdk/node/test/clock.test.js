/** The clock of the SDK counts the time in which the machine sleeps, and does not follow the wall clock. */

import assert from "node:assert/strict";
import { syncBuiltinESMExports } from "node:module";
import os from "node:os";
import { test } from "node:test";

import { clock } from "../dist/clock.js";

const now = () => clock.now();

test("a wall clock that is moved changes nothing", (context) => {
  const before = now();
  const real = Date.now;
  for (const moved of [86_400_000, -86_400_000, 0]) {
    context.mock.method(Date, "now", () => real() + moved);
    assert(now() - before < 5 && now() >= before);
    context.mock.restoreAll();
  }
});

test("the time of a suspension counts", { skip: process.platform !== "linux" }, (context) => {
  const before = now();
  const [realNow, realUptime] = [Date.now, os.uptime];
  // After a suspension, the system has moved both forward, and the monotonic clock of Node has stood still.
  context.mock.method(Date, "now", () => realNow() + 100_000);
  context.mock.method(os, "uptime", () => realUptime() + 100);
  syncBuiltinESMExports();
  const after = now();
  context.mock.restoreAll();
  syncBuiltinESMExports();
  assert(after - before > 99 && after - before < 105, `${after - before} s`);
  assert(now() >= after - 1); // it only runs forward
});
