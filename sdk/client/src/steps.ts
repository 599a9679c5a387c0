/** The steps of a login: a password, then perhaps a code or a passkey. */

import type { Authenticator, PasskeyOptions } from "./passkeys.js";
import { type Answer, type Json, refusal, type Wire } from "./wire.js";

/** What steps need of the client. keep: stores the tokens of a completed login. */
export interface Steps {
  wire: Wire;
  authenticator: Authenticator;
  keep(tokens: Json): Promise<void>;
}

/** trustDevice: the next logins at this device need no second factor for 30 days. */
export interface StepOptions {
  trustDevice?: boolean;
}

/** A login that the user's first factor has completed. recoveryCodes: show them, they come this once. */
export interface Enrolled {
  readonly done: true;
  readonly recoveryCodes: readonly string[];
}

/** An authenticator app that waits for its first code. secret: to type into the app. uri: for a QR code. */
export interface NewApp {
  readonly secret: string;
  readonly uri: string;
  /** Throws Refused (`invalid_grant`) for a wrong code: let the user try again. */
  confirm(code: string): Promise<Enrolled>;
}

export const DONE = { done: true } as const;
export type Login = typeof DONE | LoginStep;

/** A login that needs one more step. Call the method of the step that the user has chosen. */
export class LoginStep {
  readonly done = false;
  /**
   * The steps that are possible: `totp`, `recovery`, `passkey`, `password`; or `enrol` alone, for a user who has to add a
   * first factor: see `enrolApp` and `enrolPasskey`.
   */
  readonly methods: readonly string[];
  /** When the login ends without a step, by the clock of this device, in milliseconds. */
  readonly expiresAt: number;
  /** The token of this login, for calls that this class does not make. */
  readonly authSession: string;

  constructor(
    private readonly steps: Steps,
    body: Json,
  ) {
    this.authSession = String(body["auth_session"]);
    this.methods = Array.isArray(body["methods"]) ? body["methods"].map(String) : [];
    this.expiresAt = Date.now() + Number(body["expires_in"] ?? 0) * 1000;
  }

  /** A code of the user's authenticator app. Throws Refused (`invalid_grant`) for a wrong code: let the user try again. */
  totp(code: string, options?: StepOptions): Promise<Login> {
    return this.step("/login/totp", { code }, options);
  }

  /** One of the user's recovery codes, which works once. */
  recovery(code: string, options?: StepOptions): Promise<Login> {
    return this.step("/login/recovery", { code }, options);
  }

  /** The password again, if a step-up offers it. */
  password(password: string): Promise<Login> {
    return this.step("/login/password", { password });
  }

  async passkey(options: StepOptions & PasskeyOptions = {}): Promise<Login> {
    const { trustDevice, ...passkey } = options;
    const found = await assertion(this.steps, { auth_session: this.authSession }, passkey);
    return this.step("/login/passkey", found, trustDevice === undefined ? {} : { trustDevice });
  }

  /** Begin to set up an authenticator app as the user's first factor. name: by which the user recognises it. */
  async enrolApp(name?: string): Promise<NewApp> {
    const auth_session = this.authSession;
    const begun = await this.steps.wire.post("/factors/totp", { auth_session, name });
    if (begun.status !== 201) throw refusal(begun);
    const { id, secret, uri } = begun.body;
    const path = `/factors/totp/${String(id)}/confirm`;
    const confirm = (code: string): Promise<Enrolled> => this.enrolled(path, { auth_session, code });
    return { secret: String(secret), uri: String(uri), confirm };
  }

  /** Create a passkey as the user's first factor. */
  async enrolPasskey(name?: string): Promise<Enrolled> {
    const auth_session = this.authSession;
    const asked = await this.steps.wire.post("/factors/passkeys/options", { auth_session });
    if (asked.status !== 200) throw refusal(asked);
    const credential = await this.steps.authenticator.create(asked.body["publicKey"] as Json);
    return this.enrolled("/factors/passkeys", { auth_session, credential, name });
  }

  private async enrolled(path: string, body: Json): Promise<Enrolled> {
    const answer = await this.steps.wire.post(path, body);
    if (answer.status !== 200) throw refusal(answer);
    await this.steps.keep(answer.body);
    const codes = answer.body["recovery_codes"];
    return { done: true, recoveryCodes: Array.isArray(codes) ? codes.map(String) : [] };
  }

  private async step(path: string, body: Json, options: StepOptions = {}): Promise<Login> {
    const trust = options.trustDevice ? { trust_device: true } : {};
    return completed(this.steps, await this.steps.wire.post(path, { auth_session: this.authSession, ...body, ...trust }));
  }
}

/** Ask for a challenge, and have the authenticator sign it: the body of `POST /login/passkey`. */
export async function assertion(steps: Steps, body: Json, options: PasskeyOptions): Promise<Json> {
  const asked = await steps.wire.post("/login/passkey/options", body);
  if (asked.status !== 200) throw refusal(asked);
  const credential = await steps.authenticator.get(asked.body["publicKey"] as Json, options);
  return { auth_session: asked.body["auth_session"], credential };
}

/** Keep the tokens of a login, or return its next step. Throws Refused. */
export async function completed(steps: Steps, answer: Answer): Promise<Login> {
  if (answer.status === 200) {
    await steps.keep(answer.body);
    return DONE;
  }
  if (needsStep(answer)) return new LoginStep(steps, answer.body);
  throw refusal(answer);
}

/** Whether the service wants another step (draft-ietf-oauth-first-party-apps). */
export function needsStep({ status, body }: Answer): boolean {
  return status === 403 && body["error"] === "insufficient_authorization" && typeof body["auth_session"] === "string";
}
