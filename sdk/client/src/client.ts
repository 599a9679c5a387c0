/** One login of an app: it logs in, calls APIs, refreshes its tokens, survives lost answers and logs out. */

import { LoggedOut, StepNeeded, Unavailable } from "./errors.js";
import { Lock } from "./locks.js";
import { type Authenticator, browserAuthenticator, type PasskeyOptions } from "./passkeys.js";
import { assertion, completed, type Login, LoginStep, needsStep, type Steps } from "./steps.js";
import { load, memoryStorage, type State, type Storage, type Tokens } from "./storage.js";
import { type Json, refusal, Wire } from "./wire.js";

// Refresh half a minute before the token expires, so that it does not expire on its way.
const REFRESH_EARLIER_MS = 30_000;

export interface Settings {
  /** The service, such as `https://auth.example.org`. */
  url: string;
  /** A public client. Default: the built-in client `app`. */
  clientId?: string;
  /** The origins of the APIs that get the token. The service itself is always one. */
  origins?: readonly string[];
  /** Default: memory. Use the keychain in an app, and `browserStorage()` for a session that all tabs share. */
  storage?: Storage;
  /** The longest time to wait for one answer of the service. Default: 3. */
  timeoutS?: number;
  /** For React Native, where `navigator.credentials` is missing. */
  authenticator?: Authenticator;
}

/** scope: what the tokens may do. device: the name that the user sees in the list of sessions. */
export interface LoginOptions {
  scope?: string;
  device?: string;
}

export class AuthClient {
  private readonly clientId: string;
  private readonly origins: ReadonlySet<string>;
  private readonly storage: Storage;
  private readonly lock: Lock;
  private readonly steps: Steps;
  private readonly listeners = new Set<() => void>();
  private refreshing: Promise<Tokens> | undefined;
  private revoking: Promise<boolean> | undefined;

  constructor(settings: Settings) {
    const own = originOf(settings.url, "url");
    const url = settings.url.replace(/\/$/, "");
    this.clientId = settings.clientId ?? "app";
    this.origins = new Set([own, ...(settings.origins ?? []).map((origin) => originOf(origin, "origins"))]);
    this.storage = settings.storage ?? memoryStorage();
    this.lock = new Lock(`authsvc ${url} ${this.clientId}`);
    this.steps = {
      wire: new Wire(url, settings.timeoutS ?? 3),
      authenticator: settings.authenticator ?? browserAuthenticator,
      keep: (body) => this.lock.run(() => this.keep(body).then(() => undefined)),
    };
  }

  /** Log in. If the answer is not `done`, call one of its steps. Throws Refused (401 `invalid_grant`) and Unavailable. */
  async logIn(credentials: { username: string; password: string } & LoginOptions): Promise<Login> {
    const { device } = await this.state();
    const body = { ...credentials, client_id: this.clientId, ...(device ? { device_token: device } : {}) };
    return completed(this.steps, await this.steps.wire.post("/login", body));
  }

  /** Log in with a passkey alone. */
  async logInWithPasskey({ scope, device, ...options }: LoginOptions & PasskeyOptions = {}): Promise<Login> {
    const found = await assertion(this.steps, {}, options);
    const body = { ...found, client_id: this.clientId, scope, device };
    return completed(this.steps, await this.steps.wire.post("/login/passkey", body));
  }

  /** Make the login of this session recent or stronger, after a 401 `insufficient_user_authentication`. */
  async stepUp(): Promise<LoginStep> {
    const answer = await this.steps.wire.post("/step-up", {}, { bearer: await this.accessToken() });
    if (answer.status !== 200) throw refusal(answer);
    return new LoginStep(this.steps, answer.body);
  }

  /**
   * Create a passkey for the user and return the factor; the first factor brings `recovery_codes`. The service may want a
   * recent login: see `stepUp`.
   */
  async addPasskey(name?: string): Promise<Json> {
    const bearer = await this.accessToken();
    const asked = await this.steps.wire.post("/factors/passkeys/options", {}, { bearer });
    if (asked.status !== 200) throw refusal(asked);
    const credential = await this.steps.authenticator.create(asked.body["publicKey"] as Json);
    const made = await this.steps.wire.post("/factors/passkeys", { credential, name }, { bearer });
    if (made.status !== 201) throw refusal(made);
    return made.body;
  }

  /** Whether there are tokens. Only a request tells whether the session is still alive. */
  async isLoggedIn(): Promise<boolean> {
    return (await this.state()).tokens !== undefined;
  }

  /** Call `listener` when the session ends: by `logOut`, or because the service says that it is over. */
  onLogOut(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  /**
   * `fetch` with the access token. It refreshes a token that is about to expire, and once after a 401.
   *
   * Throws LoggedOut, StepNeeded and Unavailable if there is no token to send, and a TypeError for an origin that is not
   * listed. It follows no redirect, because that would take the token along.
   */
  async fetch(input: string | URL | Request, init: RequestInit = {}): Promise<Response> {
    const redirect = init.redirect === "manual" ? "manual" : "error";
    const request = new Request(input, { ...init, redirect });
    if (!this.origins.has(new URL(request.url).origin)) {
      throw new TypeError(`${request.url}: name its origin in \`origins\` to send the token there`);
    }
    const token = await this.accessToken();
    const answer = await sent(request.clone(), token);
    if (answer.status !== 401 || wantsStepUp(answer)) return answer;
    return sent(request, (await this.refreshed(token)).access);
  }

  /** An access token that lives for another moment. Throws LoggedOut, StepNeeded and Unavailable. */
  async accessToken(): Promise<string> {
    const { tokens } = await this.state();
    if (tokens === undefined) throw new LoggedOut("nobody is logged in");
    if (Date.now() < tokens.refreshAt) return tokens.access;
    try {
      return (await this.refreshed(tokens.access)).access;
    } catch (error) {
      // The token is still good for a while, so an outage does not matter yet.
      if (error instanceof Unavailable && Date.now() < tokens.expiresAt) return tokens.access;
      throw error;
    }
  }

  /**
   * Log out here and at the service. Returns false if the service could not be reached: then this client tells it later,
   * at its next use.
   */
  async logOut(): Promise<boolean> {
    const ended = await this.lock.run(async () => {
      const { tokens, revoke = [], ...state } = await load(this.storage);
      if (tokens === undefined) return false;
      await this.save({ ...state, revoke: [...revoke, tokens.refresh ?? tokens.access] });
      return true;
    });
    if (ended) this.tell();
    return this.revokeEnded();
  }

  private async state(): Promise<State> {
    const state = await load(this.storage);
    if (state.revoke?.length) void this.revokeEnded().catch(() => undefined);
    return state;
  }

  /** Tell the service of sessions that the user has ended. The refresh token lives as long as its session. */
  private revokeEnded(): Promise<boolean> {
    this.revoking ??= this.revokeEach().finally(() => {
      this.revoking = undefined;
    });
    return this.revoking;
  }

  private async revokeEach(): Promise<boolean> {
    const { revoke = [] } = await load(this.storage);
    try {
      for (const token of revoke) {
        const form = { token, client_id: this.clientId };
        const answer = await this.steps.wire.postRepeated("/revoke", form, { form: true });
        if (answer.status === 429) return false;
        await this.lock.run(async () => {
          const state = await load(this.storage);
          await this.save({ ...state, revoke: (state.revoke ?? []).filter((one) => one !== token) });
        });
      }
      return true;
    } catch (error) {
      if (error instanceof Unavailable) return false;
      throw error;
    }
  }

  /** Newer tokens than these. All callers of this tab share one refresh, and so do all tabs with shared storage. */
  private refreshed(old: string): Promise<Tokens> {
    this.refreshing ??= this.lock
      .run(() => this.refresh(old))
      .finally(() => {
        this.refreshing = undefined;
      });
    return this.refreshing;
  }

  private async refresh(old: string): Promise<Tokens> {
    const { tokens } = await load(this.storage);
    if (tokens === undefined) throw new LoggedOut("nobody is logged in");
    if (tokens.access !== old) return tokens; // another tab was faster
    if (tokens.refresh === undefined) return this.over(tokens);
    const form = { grant_type: "refresh_token", client_id: this.clientId, refresh_token: tokens.refresh };
    const answer = await this.steps.wire.postRepeated("/token", form, { form: true });
    if (answer.status === 200) return this.keep(answer.body);
    if (answer.status === 400 && answer.body["error"] === "invalid_grant") return this.over(tokens);
    if (needsStep(answer)) throw new StepNeeded(new LoginStep(this.steps, answer.body));
    throw new Unavailable(`refresh: ${refusal(answer).message}`, answer.retryAfterS, { cause: refusal(answer) });
  }

  /** The session of these tokens is over. Where there are no Web Locks, another tab may have newer tokens. */
  private async over(tokens: Tokens): Promise<Tokens> {
    const { tokens: newer, ...state } = await load(this.storage);
    if (newer !== undefined && newer.access !== tokens.access) return newer;
    await this.save(state);
    this.tell();
    throw new LoggedOut("the session is over");
  }

  /** Store tokens before their first use: a pair that is lost after its first use ends the session. */
  private async keep(body: Json): Promise<Tokens> {
    const { access_token: access, session_id: sessionId, expires_in: expiresIn } = body;
    if (typeof access !== "string" || typeof sessionId !== "string" || typeof expiresIn !== "number") {
      throw new Unavailable("an answer without tokens");
    }
    const now = Date.now();
    const lifetimeMs = expiresIn * 1000;
    const tokens: Tokens = {
      access,
      sessionId,
      expiresAt: now + lifetimeMs,
      refreshAt: now + Math.max(lifetimeMs - REFRESH_EARLIER_MS, lifetimeMs / 2),
    };
    if (typeof body["refresh_token"] === "string") tokens.refresh = body["refresh_token"];
    if (typeof body["scope"] === "string") tokens.scope = body["scope"];
    const device = typeof body["device_token"] === "string" ? { device: body["device_token"] } : {};
    await this.save({ ...(await load(this.storage)), ...device, tokens });
    return tokens;
  }

  private async save(state: State): Promise<void> {
    await this.storage.set(JSON.stringify(state));
  }

  private tell(): void {
    for (const listener of [...this.listeners]) listener();
  }
}

const ADDRESS = /^https?:\/\/[^\s/?#@\\]+(\/[^\s?#]*)?$/i;

// The error repeats no part of the URL, which may have a password.
function originOf(url: unknown, setting: string): string {
  try {
    if (typeof url === "string" && ADDRESS.test(url)) return new URL(url).origin;
  } catch {
    // Such as a port that is no number.
  }
  throw new TypeError(
    `${setting}: has to begin with http:// or https:// and to name a host, as in https://auth.example.org, ` +
      "without white space, user name, `?` and `#`",
  );
}

function sent(request: Request, token: string): Promise<Response> {
  request.headers.set("Authorization", `Bearer ${token}`);
  return fetch(request);
}

/** A newer token would not help: the API wants a recent or a stronger login (RFC 9470). */
function wantsStepUp(answer: Response): boolean {
  return (answer.headers.get("WWW-Authenticate") ?? "").includes("insufficient_user_authentication");
}
