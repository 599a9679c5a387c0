package authsvc

import (
	"crypto/sha256"
	"hash/crc32"
	"math/big"
	"regexp"
	"slices"
	"strings"
)

const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// An access token is `tok_` + handle (12) + secret (27) + check (6), in base62. The check is the CRC-32 of everything
// before it. So mistyped, truncated and invented strings cost no request. A key begins with `key_`, perhaps with a word
// in front, as in `acme_key_…`. Another system issued a foreign key. It begins with a prefix that the settings name, and
// its handle is derived from its digest.
var (
	ownShape     = regexp.MustCompile(`^(?:tok|(?:[a-z][a-z0-9]{0,15}_)?key)_[0-9A-Za-z]{45}$`)
	foreignShape = regexp.MustCompile(`^[A-Za-z0-9._~+/=-]{20,200}$`)
)

// isToken says whether the text has the form of an access token or a key. Other kinds of token have other prefixes.
// foreign: the prefixes of foreign keys.
func isToken(text string, foreign []string) bool {
	if ownShape.MatchString(text) {
		body, check := text[:len(text)-6], text[len(text)-6:]
		return check == base62(big.NewInt(int64(crc32.ChecksumIEEE([]byte(body)))), 6)
	}
	begins := func(prefix string) bool { return strings.HasPrefix(text, prefix) }
	return slices.ContainsFunc(foreign, begins) && foreignShape.MatchString(text)
}

// handleOf returns the public part of an access token or a key: the id of its session.
func handleOf(token string) string {
	if ownShape.MatchString(token) {
		return token[len(token)-45 : len(token)-33]
	}
	sum := sha256.Sum256([]byte(token))
	return base62(new(big.Int).SetBytes(sum[:]), 12)
}

// base62 returns the last digits of the number.
func base62(number *big.Int, length int) string {
	digits, base, digit := make([]byte, length), big.NewInt(62), new(big.Int)
	for at := length - 1; at >= 0; at-- {
		number.DivMod(number, base, digit)
		digits[at] = alphabet[digit.Int64()]
	}
	return string(digits)
}
