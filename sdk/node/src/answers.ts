/** The service's answer about a token: Active, with the user and the session, or Inactive. */

import { Unavailable } from "./errors.js";
import { handleOf } from "./token.js";

/**
 * The user and the session of a token, right now. Times are epoch seconds by the service's clock. Answers are frozen,
 * because requests share them.
 */
export class Active {
  readonly active = true;
  readonly sub!: string;
  /** The client through which the user logged in. */
  readonly clientId!: string;
  readonly sessionId!: string;
  readonly exp!: number;
  readonly iat!: number;
  /** When the user was authenticated. Undefined: nobody told the service. */
  readonly authTime: number | undefined = undefined;
  /** What the token allows (RFC 6749 section 3.3). `scopes` is the same as a list. */
  readonly scope: string = "";
  readonly scopes: readonly string[];
  readonly username: string | undefined = undefined;
  readonly roles: readonly string[] = [];
  readonly amr: readonly string[] = [];
  /** The level of assurance, such as `aal2`. Undefined: unknown. */
  readonly acr: string | undefined = undefined;
  /** The client by whose word the user was authenticated elsewhere. Undefined: the user logged in at the service. */
  readonly vouchedBy: string | undefined = undefined;
  /** `key` for a key, `client` if the token speaks for no user, `exchanged` if `act` tells who got it. Undefined: a session. */
  readonly tokenUse: string | undefined = undefined;
  /** The client that acts for the user with an exchanged token, as `{ sub, act? }` (RFC 8693 section 4.1). */
  readonly act: Readonly<Record<string, unknown>> | undefined = undefined;
  /** The clients on which the token depends besides `clientId`. */
  readonly clients: readonly string[] = [];
  /** The resource servers that the token is for. Empty: for all of them. */
  readonly aud: readonly string[] = [];
  /** Rises with every change to the user. */
  readonly version: number = 0;
  readonly claims: Readonly<Record<string, unknown>> = {};

  constructor(fields: ActiveFields) {
    Object.assign(this, fields);
    this.scopes = words(this.scope);
    frozen(this);
  }

  /** Whether the token allows all of these scopes. */
  hasScope(...wanted: string[]): boolean {
    return wanted.every((scope) => this.scopes.includes(scope));
  }

  /** Whether the user has all of these roles. */
  hasRole(...wanted: string[]): boolean {
    return wanted.every((role) => this.roles.includes(role));
  }
}

type Required = "sub" | "clientId" | "sessionId" | "exp" | "iat";
type Derived = "active" | "scopes" | "hasScope" | "hasRole";
export type ActiveFields = Pick<Active, Required> & Partial<Omit<Active, Required | Derived>>;

/** An unknown, expired or revoked token, or one for another resource server. The service does not say which. */
export interface Inactive {
  readonly active: false;
}

export const INACTIVE: Inactive = Object.freeze({ active: false });

export type Answer = Active | Inactive;

/**
 * An answer, and how long it may be cached.
 * recheckAt: when to ask again, by the service's clock. Undefined: an active answer must not be cached.
 */
export interface TimedAnswer {
  answer: Answer;
  recheckAt: number | undefined;
}

/**
 * Read the service's answer about `token`. Throws Unavailable for a malformed answer, because a malformed answer must
 * become neither a yes nor a logout.
 */
export function read(body: unknown, token: string, audience?: string): TimedAnswer {
  if (!isObject(body) || typeof body["active"] !== "boolean") {
    throw new Unavailable("the service's answer is not an introspection");
  }
  if (!body["active"]) return { answer: INACTIVE, recheckAt: undefined };
  let active: Active;
  try {
    active = activeOf(body);
  } catch (error) {
    throw new Unavailable("the service's answer is incomplete", undefined, { cause: error });
  }
  if (active.sessionId !== handleOf(token)) throw new Unavailable("the service's answer is about another token");
  if (body["token_type"] !== "Bearer" || (audience !== undefined && !active.aud.includes(audience))) {
    return { answer: INACTIVE, recheckAt: undefined };
  }
  const { recheck_at: recheckAt } = "cache" in body ? object(body["cache"]) : body;
  return { answer: active, recheckAt: Number.isInteger(recheckAt) ? (recheckAt as number) : undefined };
}

/** The space-separated words of a scope. */
export function words(scope: string): string[] {
  return scope.split(" ").filter((word) => word !== "");
}

function activeOf(body: Record<string, unknown>): Active {
  // A default replaces a member that is absent, but not one that is null.
  const { scope = "", roles = [], amr = [], aud = [], version = 0, claims = {} } = body;
  return new Active({
    sub: text(body["sub"]),
    clientId: text(body["client_id"]),
    sessionId: text(body["session_id"]),
    exp: number(body["exp"]),
    iat: number(body["iat"]),
    authTime: "auth_time" in body ? number(body["auth_time"]) : undefined,
    scope: text(scope),
    username: optionalText(body["username"]),
    roles: texts(roles),
    amr: texts(amr),
    acr: optionalText(body["acr"]),
    vouchedBy: optionalText(body["vouched_by"]),
    tokenUse: optionalText(body["token_use"]),
    act: "act" in body ? object(body["act"]) : undefined,
    clients: "cache" in body ? texts(object(body["cache"])["clients"]) : [],
    aud: typeof aud === "string" ? [aud] : texts(aud), // RFC 7519 section 4.1.3: one audience may be a string
    version: number(version),
    claims: object(claims),
  });
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function object(value: unknown): Record<string, unknown> {
  if (!isObject(value)) throw new TypeError("not an object");
  return value;
}

function text(value: unknown): string {
  if (typeof value !== "string") throw new TypeError("not text");
  return value;
}

function optionalText(value: unknown): string | undefined {
  return value === undefined || value === null ? undefined : text(value);
}

function texts(value: unknown): string[] {
  if (!Array.isArray(value)) throw new TypeError("not a list");
  return value.map(text);
}

function number(value: unknown): number {
  if (!Number.isInteger(value)) throw new TypeError("not a number");
  return value as number;
}

function frozen(value: unknown): void {
  if (typeof value !== "object" || value === null) return;
  Object.values(value).forEach(frozen);
  Object.freeze(value);
}
