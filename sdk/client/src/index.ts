/** The client of authsvc for browsers and React Native. */

export { AuthClient, type LoginOptions, type Settings } from "./client.js";
export { LoggedOut, Refused, StepNeeded, Unavailable } from "./errors.js";
export type { Authenticator, PasskeyOptions } from "./passkeys.js";
export { type Enrolled, type Login, LoginStep, type NewApp, type StepOptions } from "./steps.js";
export { browserStorage, memoryStorage, type Storage } from "./storage.js";
