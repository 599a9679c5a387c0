/** HTTP with the service: introspection with a time limit and one retry, and the stream of changes. */

import type { Agent, IncomingMessage } from "node:http";
import type { Socket } from "node:net";

import type { Config } from "./config.js";
import { now } from "./clock.js";
import { Origin } from "./connection.js";
import { Misconfigured, Unavailable } from "./errors.js";
import { MAX_IN_FLIGHT } from "./lookups.js";

const CONNECT_TIMEOUT_S = 1;
// Bytes of one response. An answer about one token has at most 18 KiB, and one request asks about at most 50 tokens.
const MAX_RESPONSE = 1 << 20;

/** The service's answers, in the order of the tokens. */
export interface IntrospectionResponse {
  answers: unknown[];
  /** The service's clock when it answered, in epoch seconds. Undefined: the response had no `Date`. */
  date: number | undefined;
  /** Our clock before the request and after the response. */
  sentAt: number;
  receivedAt: number;
}

/** An error on the way, after which another attempt may succeed. */
class Lost extends Error {}

/** The HTTP connections to one service. */
export class Wire {
  private readonly origin: Origin;
  private readonly timeoutS: number;
  private readonly agent: Agent;

  constructor(config: Config) {
    this.origin = new Origin(config);
    this.timeoutS = config.timeoutS;
    this.agent = this.origin.agent(MAX_IN_FLIGHT);
  }

  close(): void {
    this.agent.destroy();
  }

  /**
   * Ask the service about these tokens. Throws Unavailable within the time limit.
   *
   * Introspection is safe to repeat, so any error on the way leads to one retry on a new connection. A 503 with
   * `Retry-After` is passed on at once: the service has already retried.
   */
  async introspect(tokens: readonly string[]): Promise<IntrospectionResponse> {
    const until = now() + this.timeoutS;
    try {
      // A dead connection leaves time for the retry.
      return await this.introspectOnce(tokens, this.timeoutS / 2, this.agent);
    } catch (error) {
      if (!(error instanceof Lost)) throw error;
    }
    try {
      return await this.introspectOnce(tokens, until - now(), false);
    } catch (error) {
      if (!(error instanceof Lost)) throw error;
      throw new Unavailable(error.message, undefined, { cause: error.cause });
    }
  }

  private async introspectOnce(
    tokens: readonly string[],
    withinS: number,
    agent: Agent | false,
  ): Promise<IntrospectionResponse> {
    const one = tokens.length === 1;
    const body = one ? `token=${encodeURIComponent(tokens[0]!)}` : JSON.stringify({ tokens });
    const sentAt = now();
    const { response, text } = await this.post(one ? "/introspect" : "/introspect/batch", {
      type: one ? "application/x-www-form-urlencoded" : "application/json",
      body,
      withinS,
      agent,
    });
    const receivedAt = now();
    const parsed = jsonOf(text);
    const answers = one ? [parsed] : parsed;
    if (!Array.isArray(answers) || answers.length !== tokens.length) {
      throw new Unavailable("the service's response has not one answer for each token");
    }
    const date = Date.parse(response.headers.date ?? "") / 1000;
    return { answers, date: Number.isNaN(date) ? undefined : date, sentAt, receivedAt };
  }

  private post(
    path: string,
    { type, body, withinS, agent }: { type: string; body: string; withinS: number; agent: Agent | false },
  ): Promise<{ response: IncomingMessage; text: Uint8Array }> {
    return new Promise((resolve, reject) => {
      const headers = {
        Accept: "application/json",
        "Content-Type": type,
        "Content-Length": Buffer.byteLength(body),
      };
      const request = this.origin.request(path, { method: "POST", agent, headers });
      const timer = setTimeout(() => {
        request.destroy(new Lost(`no answer within ${this.timeoutS} s`));
      }, withinS * 1000);
      const end = (error: unknown): void => {
        clearTimeout(timer);
        request.destroy();
        reject(lost(error));
      };
      request.on("error", end);
      request.on("response", (response) => {
        read(response).then((text) => {
          clearTimeout(timer);
          resolve({ response, text });
        }, end);
      });
      request.end(body);
    });
  }

  /**
   * Open the stream of changes and pass its chunks on, until it ends. `begin` gets the moment of the request, by our
   * clock. The time to connect does not count.
   *
   * Throws Misconfigured and Unavailable, and any error of the connection. Throws after `silenceS` without a chunk.
   */
  async events(
    silenceS: number,
    signal: AbortSignal,
    begin: (requestedAt: number) => (chunk: Uint8Array) => void,
  ): Promise<void> {
    const socket = this.origin.connect();
    const abort = (): void => void socket.destroy(new Error("closed"));
    signal.addEventListener("abort", abort);
    socket.unref(); // a program may end while the stream is open
    try {
      await connected(socket, this.origin.connectedEvent);
      const requestedAt = now();
      const response = await this.open(socket, silenceS);
      checked(response);
      const receive = begin(requestedAt);
      for await (const chunk of response) receive(chunk as Uint8Array);
    } finally {
      signal.removeEventListener("abort", abort);
      socket.destroy();
    }
  }

  private open(socket: Socket, silenceS: number): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      socket.setTimeout(silenceS * 1000, () => socket.destroy(new Error("silence")));
      const headers = { Accept: "text/event-stream" };
      const request = this.origin.request("/events", { createConnection: () => socket, headers });
      request.on("error", reject);
      request.on("response", resolve);
      request.end();
    });
  }
}

function connected(socket: Socket, event: string): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.setTimeout(CONNECT_TIMEOUT_S * 1000, () => socket.destroy(new Error("no connection")));
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("closed")));
    socket.once(event, () => {
      socket.removeListener("error", reject);
      socket.on("error", () => undefined); // the reader of the response hears of it
      socket.setTimeout(0);
      resolve();
    });
  });
}

/** Throws for an answer that is none. Lost: a gateway did not reach the service, which is worth a retry. */
function checked(response: IncomingMessage): void {
  const status = response.statusCode ?? 0;
  if (status === 200) return;
  if (status === 502 || status === 504) throw new Lost(`a gateway answered ${status}`);
  if ([408, 425, 429].includes(status) || status >= 500) {
    const after = response.headers["retry-after"] ?? "";
    throw new Unavailable(`the service answered ${status}`, /^[0-9]+$/.test(after) ? Number(after) : undefined);
  }
  throw new Misconfigured(
    `the service refused us with ${status}: check its URL, our clientId, secret and permission`,
  );
}

/** The body, of limited size. A small compressed body can become a very large one, so the SDK asks for none. */
async function read(response: IncomingMessage): Promise<Uint8Array> {
  checked(response);
  if ((response.headers["content-encoding"] ?? "identity") !== "identity") {
    throw new Unavailable("the service's answer is compressed, though the SDK asked for plain JSON");
  }
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Uint8Array>) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > MAX_RESPONSE) throw new Unavailable(`the service's answer is over ${MAX_RESPONSE} bytes`);
  }
  return Buffer.concat(chunks);
}

function jsonOf(body: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
  } catch {
    throw new Unavailable("the service's answer is not JSON"); // the cause would quote the answer
  }
}

function lost(error: unknown): unknown {
  if (error instanceof Lost || error instanceof Unavailable) return error;
  const { code, name, message } = error as NodeJS.ErrnoException;
  return new Lost(`the service can't be reached: ${code ?? name} ${message}`, { cause: error });
}
