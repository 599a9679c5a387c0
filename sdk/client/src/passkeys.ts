/** Passkeys (WebAuthn) with the JSON of the service. Older browsers convert no JSON, so this module does. */

import type { Json } from "./wire.js";

/** Asks the authenticator for an assertion, or for a new credential; both in the JSON form of WebAuthn. */
export interface Authenticator {
  get(publicKey: Json, options?: PasskeyOptions): Promise<Json>;
  create(publicKey: Json): Promise<Json>;
}

/** mediation: `conditional` offers passkeys in the autofill of a field. */
export interface PasskeyOptions {
  mediation?: CredentialMediationRequirement;
  signal?: AbortSignal;
}

export const browserAuthenticator: Authenticator = {
  async get(publicKey, options = {}) {
    const wanted = publicKey as { challenge: string; allowCredentials?: { id: string }[] };
    const binary = {
      ...wanted,
      challenge: bytes(wanted.challenge),
      allowCredentials: wanted.allowCredentials?.map((one) => ({ ...one, id: bytes(one.id) })),
    } as unknown as PublicKeyCredentialRequestOptions;
    return jsonOf(await navigator.credentials.get({ publicKey: defined(binary), ...options }));
  },

  async create(publicKey) {
    type Creation = { challenge: string; user: { id: string }; excludeCredentials?: { id: string }[] };
    const wanted = publicKey as unknown as Creation;
    const binary = {
      ...wanted,
      challenge: bytes(wanted.challenge),
      user: { ...wanted.user, id: bytes(wanted.user.id) },
      excludeCredentials: wanted.excludeCredentials?.map((one) => ({ ...one, id: bytes(one.id) })),
    } as unknown as PublicKeyCredentialCreationOptions;
    return jsonOf(await navigator.credentials.create({ publicKey: defined(binary) }));
  },
};

function jsonOf(found: Credential | null): Json {
  if (found === null) throw new Error("no passkey was chosen");
  const credential = found as PublicKeyCredential;
  const response: Json = {};
  // The members are those of an assertion or of a new credential. Getters are in no list of own properties.
  for (const name of ["clientDataJSON", "authenticatorData", "signature", "userHandle", "attestationObject"]) {
    const value = (credential.response as unknown as Record<string, ArrayBuffer | null | undefined>)[name];
    if (value) response[name] = text(value);
  }
  const attestation = credential.response as AuthenticatorAttestationResponse;
  if (typeof attestation.getTransports === "function") response["transports"] = attestation.getTransports();
  return {
    id: credential.id,
    rawId: text(credential.rawId),
    type: credential.type,
    authenticatorAttachment: credential.authenticatorAttachment ?? undefined,
    clientExtensionResults: credential.getClientExtensionResults(),
    response,
  };
}

/** Members without a value are left out, because WebAuthn refuses them. */
function defined<Options extends object>(options: Options): Options {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Options;
}

function bytes(base64url: string): Uint8Array {
  const binary = atob(base64url.replace(/-/g, "+").replace(/_/g, "/"));
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

function text(buffer: ArrayBuffer): string {
  const binary = Array.from(new Uint8Array(buffer), (byte) => String.fromCharCode(byte)).join("");
  return btoa(binary).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}
