/**
 * Recognising access tokens and keys offline, so that mistyped, truncated and invented strings cost no request.
 *
 * A token is `tok_` + handle (12) + secret (27) + check (6), in base62. The check is the CRC-32 of everything before it.
 * A key begins with `key_`, perhaps with a word in front, as in `acme_key_…`. Another system issued a foreign key. It
 * begins with a prefix that the settings name, and its handle is derived from its digest.
 */

import { createHash } from "node:crypto";

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const SHAPE = /^(?:tok|(?:[a-z][a-z0-9]{0,15}_)?key)_[0-9A-Za-z]{45}$/;
const FOREIGN = /^[A-Za-z0-9._~+/=-]{20,200}$/;

/**
 * Whether the text has the form of an access token or a key. Refresh tokens, client secrets and codes have another.
 * foreign: the prefixes of foreign keys.
 */
export function isToken(text: unknown, foreign: readonly string[] = []): text is string {
  if (typeof text !== "string") return false;
  if (SHAPE.test(text)) return text.slice(-6) === base62(BigInt(crc32(text.slice(0, -6))), 6);
  return foreign.some((prefix) => text.startsWith(prefix)) && FOREIGN.test(text);
}

/** The public part of an access token or a key: the id of its session. */
export function handleOf(token: string): string {
  if (SHAPE.test(token)) return token.slice(-45, -33);
  return base62(BigInt(`0x${createHash("sha256").update(token).digest("hex")}`), 12);
}

/** The last digits of the number. */
function base62(number: bigint, length: number): string {
  let [rest, digits] = [number, ""];
  for (let place = 0; place < length; place++) {
    digits = ALPHABET[Number(rest % 62n)] + digits;
    rest /= 62n;
  }
  return digits;
}

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

/** CRC-32 of ASCII text. `zlib.crc32` is missing in the first releases of Node 20. */
function crc32(text: string): number {
  let value = 0xffffffff;
  for (let at = 0; at < text.length; at++) value = TABLE[(value ^ text.charCodeAt(at)) & 0xff]! ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}
