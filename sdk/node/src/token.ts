/**
 * Recognising access tokens offline, so that mistyped, truncated and invented strings cost no request.
 *
 * A token is `tok_` + handle (12) + secret (27) + check (6), in base62. The check is the CRC-32 of everything before it.
 */

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const SHAPE = /^tok_[0-9A-Za-z]{45}$/;
const BODY_END = 43;

/** Whether the text has the form of an access token. Refresh tokens, client secrets and reset codes have another. */
export function isAccessToken(text: unknown): text is string {
  return (
    typeof text === "string" &&
    SHAPE.test(text) &&
    text.slice(BODY_END) === checkOf(text.slice(0, BODY_END))
  );
}

/** The public part of an access token: the id of its session. */
export function handleOf(token: string): string {
  return token.slice(4, 16);
}

function checkOf(body: string): string {
  let rest = crc32(body);
  let digits = "";
  for (let place = 0; place < 6; place++) {
    digits = ALPHABET[rest % 62] + digits;
    rest = Math.floor(rest / 62);
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
