/** Connections to the service over HTTP/1.1. `node:http` follows no redirect and reads no proxy variables. */

import * as http from "node:http";
import * as https from "node:https";
import * as net from "node:net";
import * as tls from "node:tls";

import type { Config } from "./config.js";

/** The address of the service, and how to authenticate there. */
export class Origin {
  readonly secure: boolean;
  private readonly url: URL;
  private readonly headers: Record<string, string>;
  private readonly tls: tls.ConnectionOptions;

  constructor(config: Config) {
    this.url = new URL(config.url);
    this.secure = this.url.protocol === "https:";
    const basic = Buffer.from(`${config.clientId}:${config.clientSecret}`).toString("base64");
    this.headers = { Authorization: `Basic ${basic}`, "Accept-Encoding": "identity" };
    this.tls = { ...config.tls, rejectUnauthorized: true };
  }

  /** A pool of connections for requests. */
  agent(maxSockets: number): http.Agent {
    return this.secure
      ? new https.Agent({ keepAlive: true, maxSockets, ...this.tls })
      : new http.Agent({ keepAlive: true, maxSockets });
  }

  /** Open a connection outside of the pool. The caller waits for `connectedEvent`. */
  connect(): net.Socket {
    const host = this.url.hostname.replace(/^\[|\]$/g, "");
    const port = Number(this.url.port || (this.secure ? 443 : 80));
    if (!this.secure) return net.connect({ host, port });
    const name = net.isIP(host) ? {} : { servername: host };
    return tls.connect({ host, port, ALPNProtocols: ["http/1.1"], ...name, ...this.tls });
  }

  get connectedEvent(): "connect" | "secureConnect" {
    return this.secure ? "secureConnect" : "connect";
  }

  request(path: string, options: http.RequestOptions): http.ClientRequest {
    const url = new URL(this.url);
    url.pathname = this.url.pathname.replace(/\/$/, "") + path;
    url.username = url.password = "";
    const send = this.secure ? https.request : http.request;
    return send(url, { ...this.tls, ...options, headers: { ...this.headers, ...options.headers } });
  }
}
