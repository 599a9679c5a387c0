/**
 * Bearer tokens in HTTP, for any framework: find the token, check its user, refuse the request.
 *
 * RFC 6750 defines the header and the challenges, RFC 9470 the challenge for a login that is too weak or too old.
 */

import { Active, words } from "./answers.js";
import { Refused } from "./refused.js";

// RFC 6750 section 2.1. Servers have removed white space around a header's value; a direct caller may not have.
const BEARER = /^[ \t]*bearer +([A-Za-z0-9._~+/-]+=*)[ \t]*$/i;
const SCHEME = /^[ \t]*bearer(?:[ \t]|$)/i;
// How strong a login was, the weakest first.
const LEVELS = ["aal1", "aal2"];

/** What a request needs besides an active token. */
export interface Demands {
  /** Space-separated; all of them are needed. */
  scope?: string;
  role?: string;
  /** How strong the login has to be. A login at `aal2` satisfies `aal1` too. */
  acr?: string;
  /** The longest time since the login, by this machine's clock. A token without a login never satisfies it. */
  maxAgeS?: number;
}

/**
 * The token of a request with these `Authorization` headers and this session cookie. Undefined: there is no token.
 *
 * An undefined header is absent. Headers of other schemes than Bearer carry no token. Throws Refused (400) for more than
 * one token and for a malformed Bearer header (RFC 6750 section 3.1).
 */
export function tokenIn(authorization: readonly (string | undefined)[], cookie?: string): string | undefined {
  const [header = "", ...others] = authorization.filter((value) => value !== undefined);
  if (others.length > 0) throw invalid("more than one Authorization header");
  if (!SCHEME.test(header)) return cookie;
  if (cookie !== undefined) throw invalid("both a bearer token and a session cookie");
  const match = BEARER.exec(header);
  if (match === null) throw invalid("Authorization: not a bearer token");
  return match[1];
}

/**
 * The value of the cookie `name` in these `Cookie` headers. Undefined: there is no such cookie.
 *
 * Throws Refused (400) for two cookies of this name. One of them was planted, and their order does not tell which.
 */
export function cookieIn(headers: readonly string[], name: string): string | undefined {
  const pairs = headers.flatMap((header) => header.split(";")).map((pair) => pair.split("="));
  const [found, ...others] = pairs.filter(([key = ""]) => trimmed(key) === name);
  if (others.length > 0) throw invalid("more than one session cookie");
  return found === undefined ? undefined : trimmed(found.slice(1).join("="));
}

/** Return the user, or throw Refused for what the user lacks. Without a user it throws Refused (401). */
export function demand(user: Active | undefined, demands: Demands = {}): Active {
  const { scope = "", role, acr, maxAgeS } = demands;
  if (!(user instanceof Active)) throw Refused.withoutToken();
  if (!user.hasScope(...words(scope))) {
    throw Refused.challenged(403, "insufficient_scope", "the token does not allow this", { scope });
  }
  if (role !== undefined && !user.hasRole(role)) {
    throw Refused.challenged(403, "insufficient_scope", "the user may not do this");
  }
  const strong = acr === undefined || isStrong(user.acr, acr);
  const recent = maxAgeS === undefined || isRecent(user.authTime, maxAgeS);
  if (!strong || !recent) throw loginAgain(demands, strong ? "log in again for this" : "this needs a stronger login");
  return user;
}

function isStrong(acr: string | undefined, wanted: string): boolean {
  const [has, needed] = [LEVELS.indexOf(acr ?? ""), LEVELS.indexOf(wanted)];
  return has >= 0 && needed >= 0 ? has >= needed : acr === wanted;
}

function isRecent(authTime: number | undefined, maxAgeS: number): boolean {
  return authTime !== undefined && Date.now() / 1000 - authTime <= maxAgeS;
}

function loginAgain({ acr, maxAgeS }: Demands, description: string): Refused {
  // The challenge names both demands, so that one new login can satisfy both (RFC 9470 section 3).
  return Refused.challenged(401, "insufficient_user_authentication", description, {
    ...(acr === undefined ? {} : { acr_values: acr }),
    ...(maxAgeS === undefined ? {} : { max_age: String(maxAgeS) }),
  });
}

function invalid(description: string): Refused {
  return Refused.challenged(400, "invalid_request", description);
}

// Without white space around it (RFC 9110 section 5.6.3). JavaScript's `trim()` removes other characters too, and a
// regular expression for the end takes quadratic time.
function trimmed(value: string): string {
  return value.split(/[ \t]+/).filter((part) => part !== "").join(" ");
}
