/** The settings of an introspector. */

import type { ConnectionOptions } from "node:tls";

/** Where the SDK writes. `console` is one; so are the loggers of pino and winston. */
export interface Logger {
  warn(message: string): void;
  error(message: string): void;
}

export interface Settings {
  /** The service, such as `https://auth.example.org`. */
  url: string;
  /** Our client at the service. It needs the permission `introspect`. */
  clientId: string;
  clientSecret: string;
  /** The longest time that one check takes, retry included. */
  timeoutS?: number;
  /** Refuse tokens whose `aud` does not name it. */
  audience?: string;
  /** For a CA of your own or a client certificate: `ca`, `cert`, `key`. Certificates are always verified. */
  tls?: Pick<ConnectionOptions, "ca" | "cert" | "key" | "passphrase" | "pfx" | "servername">;
  /** How keys begin that another system issued: the service's AUTHSVC_FOREIGN_KEY_PREFIXES. */
  foreignKeyPrefixes?: readonly string[];
  /** Keep answers in this process and drop them when the service announces a change. */
  cache?: boolean;
  /** How many answers the cache keeps, and how long it keeps each of them. */
  cacheSize?: number;
  cacheMaxAgeS?: number;
  /** How long after its last confirmation the cache may answer. A revocation stays unnoticed no longer. */
  feedSilenceS?: number;
  /** How long old answers bridge an outage of the service. A revocation during the outage stays unnoticed as long. */
  serveStaleForS?: number;
  /** Gets the reason and the remedy of each kind of outage, at most once a minute. Default: `console`. */
  logger?: Logger;
}

const DEFAULTS = {
  audience: undefined as string | undefined,
  tls: undefined as Settings["tls"],
  timeoutS: 3,
  foreignKeyPrefixes: [] as readonly string[],
  cache: false,
  cacheSize: 100_000,
  cacheMaxAgeS: 300,
  feedSilenceS: 2,
  serveStaleForS: 0,
  logger: console as Logger,
};

const NUMBER = [(value: unknown) => typeof value === "number", "a number"] as const;

// All others are numbers. JavaScript takes any value, and the text of an environment variable is the usual mistake.
const KINDS: Record<string, readonly [fits: (value: unknown) => boolean, expected: string]> = {
  audience: [isText, "text that is not empty"],
  tls: [(value) => typeof value === "object" && value !== null, "an object"],
  foreignKeyPrefixes: [(value) => Array.isArray(value) && value.every(isText), "a list of texts, each not empty"],
  cache: [(value) => typeof value === "boolean", "true or false"],
  logger: [isLogger, "an object with the functions `warn` and `error`"],
};

/** All settings. `url` has no user name, no password and no slash at the end. */
export type Config = Pick<Settings, "url" | "clientId" | "clientSecret"> & typeof DEFAULTS;

/** The settings with their defaults. Throws a TypeError that names a wrong setting. */
export function configOf(settings: Settings): Config {
  const { url, clientId, clientSecret, ...others } = settings;
  const given = Object.entries(others).filter(([, value]) => value !== undefined);
  for (const [name] of given) demand(name in DEFAULTS, `${name}: there is no such setting`);
  const address = addressOf(url);
  demand(isText(clientId) && isText(clientSecret), "clientId and clientSecret: required, as text");
  for (const [name, value] of given) {
    const [fits, expected] = KINDS[name] ?? NUMBER;
    demand(fits(value), `${name}: has to be ${expected}`);
  }
  const config: Config = { ...DEFAULTS, ...Object.fromEntries(given), url: address, clientId, clientSecret };
  demand(
    config.timeoutS > 0 && config.cacheSize >= 1 && config.cacheMaxAgeS > 0,
    "timeoutS, cacheSize, cacheMaxAgeS: have to be above 0",
  );
  demand(config.feedSilenceS > 1, "feedSilenceS: has to be above 1, because the service sends one heartbeat a second");
  demand(
    config.serveStaleForS === 0 || (config.serveStaleForS > 0 && config.cache),
    "serveStaleForS: has to be 0 or more, and needs `cache: true`",
  );
  return config;
}

// The error repeats no part of the URL, which may have a password.
function addressOf(url: unknown): string {
  demand(
    typeof url === "string" && /^https?:\/\/[^\s?#]+$/i.test(url) && URL.canParse(url),
    "url: has to begin with http:// or https:// and to name a host, without white space, `?` and `#`",
  );
  const { origin, pathname } = new URL(url as string);
  return origin + pathname.replace(/\/$/, "");
}

function isText(value: unknown): boolean {
  return typeof value === "string" && value !== "";
}

function isLogger(value: unknown): boolean {
  return ["warn", "error"].every((name) => typeof (value as Record<string, unknown> | null)?.[name] === "function");
}

function demand(holds: boolean, otherwise: string): void {
  if (!holds) throw new TypeError(otherwise);
}
