/** What all frameworks share: who makes this request, and may they? */

import type { IncomingMessage } from "node:http";

import type { Active } from "./answers.js";
import { cookieIn, demand, type Demands, tokenIn } from "./bearer.js";
import { accepted, Refused } from "./refused.js";
import type { Introspector } from "./introspector.js";
import { userOf } from "./watching.js";

export interface GuardOptions {
  /**
   * The name of a cookie that may carry the token, for pages of the same site, such as `__Host-session`. The application
   * must then protect itself from cross-site requests.
   */
  cookie?: string;
}

export interface Requirements extends Demands {
  /** Requests without a token pass, without `auth`. Requests with an inactive token are refused. */
  optional?: boolean;
}

/** The parts of a request that matter here. preflight: a CORS preflight (WHATWG Fetch, section 3.3.2). */
export interface Presented {
  authorization: string[];
  cookies: string[];
  preflight: boolean;
}

const DEMANDS = ["scope", "role", "acr", "maxAgeS"];
const SCOPE = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/; // RFC 6749 section 3.3; it also keeps quotes out of the challenge

type Authenticated = Record<symbol, Active | undefined>;

/** Authenticates requests. One guard serves an application. */
export class Guard {
  // Where a request keeps its user. A WeakMap would cost as much as the rest of the check.
  private readonly user = Symbol("authsvc user");
  private readonly cookie: string | undefined;

  constructor(
    private readonly introspector: Introspector,
    options: GuardOptions = {},
  ) {
    this.cookie = options.cookie;
    introspector.start();
  }

  /** Check what a route requires, when the route is made. Throws a TypeError. */
  requirements(given: Requirements): Requirements {
    const { optional, ...demands } = given;
    const checked = checkedDemands(demands);
    if (optional && Object.keys(demands).length > 0) throw new TypeError("optional: not together with a demand");
    return { ...checked, optional: optional ?? false };
  }

  /**
   * The user of a request. Undefined: the request needs no token and has none. Throws or rejects with Refused.
   *
   * A cached answer comes without a promise. A request that passed this guard before is not looked up again.
   */
  check(message: object, presented: () => Presented, required: Requirements): Active | undefined | Promise<Active> {
    const request = message as Authenticated;
    const known = request[this.user];
    if (known !== undefined) return demand(known, required);
    const found = presented();
    const cookie = this.cookie === undefined ? undefined : cookieIn(found.cookies, this.cookie);
    const token = tokenIn(found.authorization, cookie);
    if (token === undefined) {
      // A preflight never carries a token, and the application answers it.
      if (required.optional || found.preflight) return undefined;
      throw Refused.withoutToken();
    }
    const answer = this.introspector.cached(token);
    if (answer !== undefined) return this.admit(request, accepted(answer), required);
    return userOf(this.introspector, token).then((user) => this.admit(request, user, required));
  }

  private admit(request: Authenticated, user: Active, required: Requirements): Active {
    request[this.user] = user;
    return demand(user, required);
  }
}

/** What a request of `node:http` presents. `request.headers` would drop a second `Authorization`. */
export function presentedBy(request: IncomingMessage): Presented {
  const raw = request.rawHeaders;
  const found: Presented = { authorization: [], cookies: [], preflight: isPreflight(request.method, request.headers) };
  for (let at = 0; at < raw.length; at += 2) {
    const name = raw[at]!;
    if (name.length === 13 && name.toLowerCase() === "authorization") found.authorization.push(raw[at + 1]!);
    else if (name.length === 6 && name.toLowerCase() === "cookie") found.cookies.push(raw[at + 1]!);
  }
  return found;
}

function isPreflight(method: string | undefined, headers: IncomingMessage["headers"]): boolean {
  return method === "OPTIONS" && Boolean(headers.origin && headers["access-control-request-method"]);
}

/** Return the demands. Throws a TypeError for a misspelt or malformed demand, which would never be met or always. */
function checkedDemands<D extends Demands>(demands: D): D {
  for (const [name, value] of Object.entries(demands)) {
    if (!DEMANDS.includes(name)) throw new TypeError(`${name}: there is no such demand`);
    const wanted = name === "maxAgeS" ? "number" : "string";
    if (value !== undefined && typeof value !== wanted) throw new TypeError(`${name}: has to be a ${wanted}`);
  }
  if (!SCOPE.test(`${demands.scope ?? ""}${demands.acr ?? ""}`)) throw new TypeError("scope, acr: malformed");
  return demands;
}
