package authsvc

import "hash/crc32"

// An access token is `tok_` + handle (12) + secret (27) + check (6), in base62. The check is the CRC-32 of everything
// before it. So mistyped, truncated and invented strings cost no request.
const (
	tokenPrefix = "tok_"
	tokenLength = 49
	bodyEnd     = 43
	alphabet    = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// isAccessToken says whether the text has the form of an access token. Other kinds of token have another prefix.
func isAccessToken(text string) bool {
	if len(text) != tokenLength || text[:len(tokenPrefix)] != tokenPrefix {
		return false
	}
	for _, char := range []byte(text[len(tokenPrefix):]) {
		if !isAlphanumeric(char) {
			return false
		}
	}
	rest := crc32.ChecksumIEEE([]byte(text[:bodyEnd]))
	for at := tokenLength - 1; at >= bodyEnd; at-- {
		if text[at] != alphabet[rest%62] {
			return false
		}
		rest /= 62
	}
	return true
}

// handleOf returns the public part of an access token: the id of its session.
func handleOf(token string) string {
	return token[4:16]
}

func isAlphanumeric(char byte) bool {
	return '0' <= char && char <= '9' || 'A' <= char && char <= 'Z' || 'a' <= char && char <= 'z'
}
