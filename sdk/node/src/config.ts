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
  timeoutS: 3,
  cache: false,
  cacheSize: 100_000,
  cacheMaxAgeS: 300,
  feedSilenceS: 2,
  serveStaleForS: 0,
  logger: console as Logger,
};
const OTHERS = ["url", "clientId", "clientSecret", "audience", "tls"];

export type Config = Settings & typeof DEFAULTS;

/** The settings with their defaults. Throws a TypeError for settings that contradict each other. */
export function configOf(settings: Settings): Config {
  const given = Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
  const config = { ...DEFAULTS, ...given } as Config;
  const unknown = Object.keys(given).filter((name) => !(name in DEFAULTS) && !OTHERS.includes(name));
  demand(unknown.length === 0, `${unknown.join(", ")}: there is no such setting`);
  demand(/^https?:\/\//.test(config.url ?? ""), "url: has to begin with http:// or https://");
  demand(Boolean(config.clientId && config.clientSecret), "clientId and clientSecret: required");
  demand(
    config.timeoutS > 0 && config.cacheSize >= 1 && config.cacheMaxAgeS > 0,
    "timeoutS, cacheSize, cacheMaxAgeS: have to be above 0",
  );
  demand(
    config.feedSilenceS > 1,
    "feedSilenceS: has to be above 1, because the service sends one heartbeat a second",
  );
  demand(
    config.serveStaleForS === 0 || (config.serveStaleForS > 0 && config.cache),
    "serveStaleForS: has to be 0 or more, and needs `cache: true`",
  );
  return config;
}

function demand(holds: boolean, otherwise: string): void {
  if (!holds) throw new TypeError(otherwise);
}
