/** HTTP with the service. */

import { Refused, Unavailable } from "./errors.js";

// A refresh token may be repeated for ten seconds, if its answer was lost. Three attempts of three seconds fit into them.
const ATTEMPTS = 3;
const PAUSE_MS = 200;

export type Json = Record<string, unknown>;

/** The service's answer: its status and its JSON. */
export interface Answer {
  status: number;
  body: Json;
  retryAfterS: number | undefined;
}

export class Wire {
  constructor(
    readonly url: string,
    private readonly timeoutS: number,
  ) {}

  /** Send JSON, or a form. Throws Unavailable without an answer and for 408, 425 and 5xx. */
  async post(path: string, body: Json, options: { form?: boolean; bearer?: string } = {}): Promise<Answer> {
    const type = options.form ? "application/x-www-form-urlencoded" : "application/json";
    const headers: Record<string, string> = { Accept: "application/json", "Content-Type": type };
    if (options.bearer !== undefined) headers["Authorization"] = `Bearer ${options.bearer}`;
    const text = options.form ? formOf(body) : JSON.stringify(body);
    // `AbortSignal.timeout` is missing in React Native.
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), this.timeoutS * 1000);
    try {
      const sent = { method: "POST", headers, body: text, redirect: "error", signal: abort.signal } as const;
      return await read(await fetch(this.url + path, { ...sent, credentials: "omit", cache: "no-store" }));
    } catch (error) {
      throw error instanceof Unavailable ? error : new Unavailable("no answer of the service", undefined, { cause: error });
    } finally {
      clearTimeout(timer);
    }
  }

  /** The same, repeated if the answer was lost. Only for calls that may be repeated. */
  async postRepeated(path: string, body: Json, options: { form?: boolean; bearer?: string } = {}): Promise<Answer> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.post(path, body, options);
      } catch (error) {
        if (attempt === ATTEMPTS) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS * attempt));
    }
  }
}

/** An answer that is no success, as an error. */
export function refusal({ status, body, retryAfterS }: Answer): Refused {
  const description = typeof body["error_description"] === "string" ? body["error_description"] : `status ${status}`;
  return new Refused(status, typeof body["error"] === "string" ? body["error"] : "", description, retryAfterS);
}

async function read(response: Response): Promise<Answer> {
  const { status } = response;
  const after = response.headers.get("Retry-After") ?? "";
  const retryAfterS = /^[0-9]+$/.test(after) ? Number(after) : undefined;
  if (status >= 500 || status === 408 || status === 425) {
    throw new Unavailable(`the service answered ${status}`, retryAfterS);
  }
  const text = await response.text();
  return { status, body: text === "" ? {} : jsonOf(text, status), retryAfterS };
}

/** A page of a proxy must not look like an answer of the service. */
function jsonOf(text: string, status: number): Json {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    throw new Unavailable(`an answer (${status}) that is no JSON`);
  }
  if (typeof body !== "object" || body === null || Array.isArray(body)) throw new Unavailable("an unexpected answer");
  return body as Json;
}

// React Native's `URLSearchParams` is incomplete.
function formOf(body: Json): string {
  const pairs = Object.entries(body).filter(([, value]) => value !== undefined);
  return pairs.map(([name, value]) => `${name}=${encodeURIComponent(String(value))}`).join("&");
}
