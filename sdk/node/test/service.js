/** A real `authsvc serve` in a folder of its own. AUTHSVC_PROGRAM, or the virtual environment of this repository. */

import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const PROGRAM = process.env.AUTHSVC_PROGRAM ?? fileURLToPath(new URL("../../../.venv/bin/authsvc", import.meta.url));
export const PASSWORD = "a walk by the river";

/** Why the tests against a real service are left out. False: they run. */
export const missing = existsSync(PROGRAM) ? false : `${PROGRAM} is missing: make .venv/installed`;

export async function startService(settings = {}) {
  const folder = mkdtempSync(join(tmpdir(), "authsvc-node-"));
  const service = new Service(folder, await freePort(), settings);
  await service.start();
  return service;
}

export async function until(holds, what, seconds = 30) {
  const end = performance.now() + seconds * 1000;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`not within ${seconds} s: ${what}`);
    await sleep(20);
  }
}

/** Call again while the service of a busy machine is unavailable. */
export async function patiently(call) {
  for (let again = 0; ; again++) {
    try {
      return await call();
    } catch (error) {
      if (again === 20 || !String(error).includes("Unavailable")) throw error;
    }
    await sleep(200);
  }
}

class Service {
  constructor(folder, port, settings) {
    this.folder = folder;
    this.port = port;
    this.url = `http://127.0.0.1:${port}`;
    const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith("AUTHSVC_"));
    this.environment = {
      ...Object.fromEntries(inherited),
      AUTHSVC_PORT: String(port),
      AUTHSVC_DATA_DIR: join(folder, "data"),
      AUTHSVC_ARGON2_MEMORY_KIB: "8",
      AUTHSVC_ARGON2_TIME_COST: "1",
      ...settings,
    };
  }

  async start() {
    const [out, err] = ["stdout", "stderr"].map((name) => join(this.folder, name));
    this.process = spawn(PROGRAM, ["serve"], {
      cwd: this.folder,
      env: this.environment,
      stdio: ["ignore", openSync(out, "w"), openSync(err, "w")],
    });
    this.ended = new Promise((resolve) => this.process.once("exit", resolve));
    await until(() => this.isReady(err), "the service is ready");
    const printed = /client_id +(\S+)\n +client_secret +(\S+)/.exec(readFileSync(out, "utf8"));
    if (printed !== null) this.admin = [printed[1], printed[2]];
  }

  async isReady(log) {
    if (this.process.exitCode !== null) throw new Error(`the service ended: ${readFileSync(log, "utf8")}`);
    try {
      return (await fetch(`${this.url}/readyz`)).ok;
    } catch {
      return false;
    }
  }

  async stop() {
    this.process.kill("SIGTERM");
    await this.ended;
  }

  async cleanUp() {
    await this.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }

  command(...words) {
    return execFileSync(PROGRAM, words, { cwd: this.folder, env: this.environment, encoding: "utf8" });
  }

  async call(method, path, body, auth) {
    const json = !(body instanceof URLSearchParams);
    const headers = json && body !== undefined ? { "Content-Type": "application/json" } : {};
    if (auth !== undefined) headers.Authorization = `Basic ${Buffer.from(auth.join(":")).toString("base64")}`;
    const options = { method, headers, body: json ? JSON.stringify(body) : body };
    let response = await fetch(this.url + path, options);
    for (let again = 0; response.status === 503 && again < 20; again++) {
      await sleep(200); // the store of a busy machine is late
      response = await fetch(this.url + path, options);
    }
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text === "" ? undefined : JSON.parse(text);
  }

  /** A new client; returns its id and secret. */
  async client(permissions, fields = {}) {
    const made = await this.call("POST", "/admin/clients", { name: "a test's", permissions, ...fields }, this.admin);
    return [made.client_id, made.client_secret];
  }

  async user(username, fields = {}) {
    return this.call("POST", "/admin/users", { username, password: PASSWORD, ...fields }, this.admin);
  }

  async token(username, fields = {}) {
    const made = await this.call("POST", "/login", { username, password: PASSWORD, ...fields });
    return made.access_token;
  }

  async revoke(form) {
    await this.call("POST", "/revoke", new URLSearchParams(form), this.admin);
  }
}

async function freePort() {
  const probe = net.createServer();
  await new Promise((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const { port } = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  return port;
}
