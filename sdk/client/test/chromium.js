/** A headless Chromium, driven through its debugging pipe. */

import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const NAMES = ["chromium", "chromium-browser", "google-chrome"];

function isThere(name) {
  try {
    execFileSync(name, ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

const PROGRAM = NAMES.find(isThere);

/** Why the tests in a browser are left out. False: they run. */
export const missing = PROGRAM === undefined ? "there is no Chromium here" : false;

export async function startChromium() {
  const profile = mkdtempSync(join(tmpdir(), "authsvc-chromium-"));
  const flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"];
  const options = { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] };
  const program = spawn(PROGRAM, [...flags, "--remote-debugging-pipe", `--user-data-dir=${profile}`], options);
  const ended = new Promise((resolve) => program.once("exit", resolve));
  const pipe = new Pipe(program.stdio[3], program.stdio[4]);
  return {
    /** Open a tab and wait until `ready` (an expression) is true in it. */
    async tab(url, ready) {
      const { targetId } = await pipe.send("Target.createTarget", { url });
      const { sessionId } = await pipe.send("Target.attachToTarget", { targetId, flatten: true });
      const tab = new Tab(pipe, sessionId);
      await tab.until(ready);
      return tab;
    },
    async close() {
      await pipe.send("Browser.close").catch(() => undefined);
      await ended;
      rmSync(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
    },
  };
}

class Tab {
  constructor(pipe, sessionId) {
    this.pipe = pipe;
    this.sessionId = sessionId;
  }

  send(method, parameters) {
    return this.pipe.send(method, parameters, this.sessionId);
  }

  /** The value of an expression; a promise is awaited. */
  async run(expression) {
    const options = { expression, awaitPromise: true, returnByValue: true };
    const { result, exceptionDetails } = await this.send("Runtime.evaluate", options);
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  async until(expression) {
    for (let again = 0; again < 200; again++) {
      if (await this.run(expression).catch(() => false)) return;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    throw new Error(`never true: ${expression}`);
  }
}

/** Messages of the DevTools protocol, each with a zero byte at its end. */
class Pipe {
  waiting = new Map();
  last = 0;

  constructor(input, output) {
    this.input = input;
    let received = "";
    output.setEncoding("utf8");
    output.on("data", (chunk) => {
      const messages = (received + chunk).split("\0");
      received = messages.pop();
      for (const message of messages) this.receive(JSON.parse(message));
    });
    output.on("close", () => {
      for (const { reject } of this.waiting.values()) reject(new Error("the browser has ended"));
    });
    input.on("error", () => undefined);
  }

  receive({ id, result, error }) {
    const waiting = this.waiting.get(id);
    this.waiting.delete(id);
    if (error) waiting?.reject(new Error(error.message));
    else waiting?.resolve(result);
  }

  send(method, params = {}, sessionId = undefined) {
    const id = ++this.last;
    this.input.write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    return new Promise((resolve, reject) => this.waiting.set(id, { resolve, reject }));
  }
}
