package authsvc

import (
	"net/http"
	"net/url"
	"strings"
)

// Optional white space in a header field (RFC 9110 section 5.6.3).
const ows = " \t"

// tokenIn finds the token of a request with these Authorization headers (RFC 6750 section 2.1). Other schemes than
// Bearer carry no token. hasCookie: the request has a session cookie with this value. The function refuses a request
// without a token, with more than one, or with a malformed header.
func tokenIn(authorization []string, cookie string, hasCookie bool) (string, *Refusal) {
	if len(authorization) > 1 {
		return "", malformed("more than one Authorization header")
	}
	header := ""
	if len(authorization) == 1 {
		header = strings.Trim(authorization[0], ows)
	}
	scheme, rest := header, ""
	if end := strings.IndexAny(header, ows); end >= 0 {
		scheme, rest = header[:end], header[end:]
	}
	switch {
	case !strings.EqualFold(scheme, "bearer"):
		if !hasCookie {
			return "", withoutToken()
		}
		return cookie, nil
	case hasCookie:
		return "", malformed("both a bearer token and a session cookie")
	}
	token := strings.TrimLeft(rest, " ")
	if !isToken68(token) {
		return "", malformed("Authorization: not a bearer token")
	}
	return token, nil
}

// cookieIn returns the value of the cookie of this name. The function refuses two cookies of the name: one of them was
// planted, and their order does not tell which.
func cookieIn(headers []string, name string) (value string, found bool, refusal *Refusal) {
	for _, header := range headers {
		for _, pair := range strings.Split(header, ";") {
			key, content, _ := strings.Cut(pair, "=")
			if strings.Trim(key, ows) != name {
				continue
			}
			if found {
				return "", false, malformed("more than one session cookie")
			}
			value, found = strings.Trim(content, ows), true
		}
	}
	return value, found, nil
}

func malformed(description string) *Refusal {
	return challenged(http.StatusBadRequest, "invalid_request", description)
}

// isToken68 says whether the text is one or more of the characters of a token, and then padding.
func isToken68(text string) bool {
	text = strings.TrimRight(text, "=")
	for _, char := range []byte(text) {
		if !isAlphanumeric(char) && !strings.ContainsRune("._~+/-", rune(char)) {
			return false
		}
	}
	return text != ""
}

// sameOrigin says whether a page of this host sent the request. Pages of any site can open a WebSocket to us with the
// cookies of their visitor.
func sameOrigin(r *http.Request) bool {
	origins := r.Header.Values("Origin")
	if len(origins) != 1 {
		return false
	}
	origin, err := url.Parse(origins[0])
	return err == nil && origin.Host != "" && strings.EqualFold(origin.Host, r.Host)
}
