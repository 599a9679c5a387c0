/** The SDK for resource servers: whom does this token speak for, right now? */

export { Active, type ActiveFields, type Answer, INACTIVE, type Inactive } from "./answers.js";
export { cookieIn, demand, type Demands, tokenIn } from "./bearer.js";
export { accepted, Refused } from "./refused.js";
export type { Logger, Settings } from "./config.js";
export { Misconfigured, Unavailable } from "./errors.js";
export type { GuardOptions, Requirements } from "./guard.js";
export { Introspector } from "./introspector.js";
export type { Watch } from "./watching.js";
