/**
 * HTTP/1.1 with the service: introspection with a time limit and one retry, and the stream of changes. `node:http`
 * follows no redirect and reads no proxy variables.
 */

import * as http from "node:http";
import * as https from "node:https";

import { clock } from "./clock.js";
import type { Config } from "./config.js";
import { Misconfigured, Unavailable } from "./errors.js";
import type { Feed } from "./feed.js";
import { MAX_IN_FLIGHT } from "./lookups.js";

const CONNECT_TIMEOUT_S = 1;
// Bytes of one response. An answer about one token has at most 18 KiB, and one request asks about at most 50 tokens.
const MAX_RESPONSE = 1 << 20;

const CHECK = "check its URL, our clientId, secret and permission";
const NO_SERVICE = "this is not the address of authsvc, so check `url`";
// What a refusal means. The commands say ID, because what stands in `clientId` by mistake may be the secret.
const REMEDIES: Record<number, string> = {
  401: `${CHECK}. A wrong clientId or clientSecret gets a 401. \`authsvc client rotate-secret ID\` makes a new secret`,
  403:
    "our client lacks the permission `introspect`. `authsvc client update ID --permission introspect` gives it; " +
    "name the client's other permissions too",
  404: NO_SERVICE,
  405: NO_SERVICE,
};

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
class Lost extends Unavailable {}

/** The HTTP connections to one service. */
export class Wire {
  private readonly secure: boolean;
  private readonly agent: http.Agent;

  constructor(private readonly config: Config) {
    this.secure = config.url.startsWith("https:");
    this.agent = new (this.secure ? https : http).Agent({ keepAlive: true, maxSockets: MAX_IN_FLIGHT });
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
    const until = clock.now() + this.config.timeoutS;
    try {
      // A dead connection leaves time for the retry.
      return await this.introspectOnce(tokens, this.config.timeoutS / 2, this.agent);
    } catch (error) {
      if (!(error instanceof Lost)) throw error;
      return this.introspectOnce(tokens, until - clock.now(), false);
    }
  }

  private async introspectOnce(
    tokens: readonly string[],
    withinS: number,
    agent: http.Agent | false,
  ): Promise<IntrospectionResponse> {
    const one = tokens.length === 1;
    const body = one ? `token=${encodeURIComponent(tokens[0]!)}` : JSON.stringify({ tokens });
    const type = one ? "application/x-www-form-urlencoded" : "application/json";
    const headers = { Accept: "application/json", "Content-Type": type, "Content-Length": Buffer.byteLength(body) };
    const sentAt = clock.now();
    const request = this.request(one ? "/introspect" : "/introspect/batch", { method: "POST", agent, headers });
    const late = new Error(`no answer within ${this.config.timeoutS} s`);
    const timer = setTimeout(() => request.destroy(late), withinS * 1000);
    try {
      const response = await answered(request, body);
      const text = await read(response);
      const receivedAt = clock.now();
      const answers = one ? [jsonOf(text)] : jsonOf(text);
      if (!Array.isArray(answers) || answers.length !== tokens.length) {
        throw new Unavailable("the service's response has not one answer for each token");
      }
      const date = Date.parse(response.headers.date ?? "") / 1000;
      return { answers, date: Number.isNaN(date) ? undefined : date, sentAt, receivedAt };
    } catch (error) {
      request.destroy();
      if (error instanceof Unavailable) throw error;
      const { code, name, message } = error as NodeJS.ErrnoException;
      throw new Lost(`the service can't be reached: ${code ?? name} ${message}`, undefined, { cause: error });
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Open the stream of changes and pass its chunks on, until it ends. The time to connect does not count.
   *
   * Throws Misconfigured and Unavailable, and any error of the connection. Throws after `feedSilenceS` without a chunk.
   */
  async events(signal: AbortSignal, feed: Feed): Promise<void> {
    const request = this.request("/events", { agent: false, signal, headers: { Accept: "text/event-stream" } });
    request.on("socket", (socket) => {
      socket.unref(); // a program may end while the stream is open
      socket.setTimeout(CONNECT_TIMEOUT_S * 1000, () => request.destroy(new Error("silence")));
      socket.once(this.secure ? "secureConnect" : "connect", () => {
        feed.requestedAt = clock.now();
        socket.setTimeout(this.config.feedSilenceS * 1000);
      });
    });
    try {
      for await (const chunk of await answered(request)) feed.receive(chunk as Uint8Array);
    } finally {
      request.destroy();
    }
  }

  private request(path: string, options: http.RequestOptions): http.ClientRequest {
    const { url, clientId, clientSecret, tls } = this.config;
    const Authorization = `Basic ${Buffer.from(`${clientId}:${clientSecret}`).toString("base64")}`;
    const headers = { Authorization, "Accept-Encoding": "identity", ...options.headers };
    return (this.secure ? https : http).request(url + path, { ...tls, rejectUnauthorized: true, ...options, headers });
  }
}

/**
 * Send a request. Resolves when the head of its response has arrived. Throws for an answer that is none. Lost: a gateway
 * did not reach the service, which is worth a retry.
 */
async function answered(request: http.ClientRequest, body = ""): Promise<http.IncomingMessage> {
  const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
    request.on("error", reject); // after the head too, when the reader of the response hears of the error
    request.on("response", resolve);
    request.end(body);
  });
  const status = response.statusCode ?? 0;
  if (status === 200) return response;
  if (status === 502 || status === 504) throw new Lost(`a gateway answered ${status}`);
  if ([408, 425, 429].includes(status) || status >= 500) {
    const after = response.headers["retry-after"] ?? "";
    throw new Unavailable(`the service answered ${status}`, /^[0-9]+$/.test(after) ? Number(after) : undefined);
  }
  throw new Misconfigured(`the service refused us with ${status}: ${REMEDIES[status] ?? CHECK}`);
}

/** The body, of limited size. A small compressed body can become a very large one, so the SDK asks for none. */
async function read(response: http.IncomingMessage): Promise<Uint8Array> {
  if ((response.headers["content-encoding"] ?? "identity") !== "identity") {
    throw new Unavailable("the service's answer is compressed, though the SDK asked for plain JSON");
  }
  let body = Buffer.alloc(0);
  for await (const chunk of response as AsyncIterable<Uint8Array>) {
    body = Buffer.concat([body, chunk]);
    if (body.length > MAX_RESPONSE) throw new Unavailable(`the service's answer is over ${MAX_RESPONSE} bytes`);
  }
  return body;
}

function jsonOf(body: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
  } catch {
    throw new Unavailable("the service's answer is not JSON"); // the cause would quote the answer
  }
}
