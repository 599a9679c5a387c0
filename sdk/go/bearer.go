package authsvc

import (
	"net/http"
	"strings"
)

const (
	// Optional white space in a header field (RFC 9110 section 5.6.3).
	ows = " \t"
	// The characters of a bearer token, besides padding (RFC 6750 section 2.1).
	token68 = alphabet + "._~+/-"
)

// tokenIn finds the token of a request with these Authorization headers and these values of the session cookie. Other
// schemes than Bearer carry no token. The error is a *Refusal: of a request without a token, with more than one, or with
// a malformed header.
func tokenIn(authorization, cookies []string) (string, error) {
	if len(cookies) > 1 { // one of them was planted, and their order does not tell which
		return "", malformed("more than one session cookie")
	}
	if len(authorization) > 1 {
		return "", malformed("more than one Authorization header")
	}
	header := strings.Trim(strings.Join(authorization, ""), ows)
	end := strings.IndexAny(header+" ", ows)
	bearer := strings.EqualFold(header[:end], "bearer")
	switch {
	case bearer && len(cookies) > 0:
		return "", malformed("both a bearer token and a session cookie")
	case bearer:
		token := strings.TrimLeft(header[end:], " ")
		if unpadded := strings.TrimRight(token, "="); unpadded == "" || strings.Trim(unpadded, token68) != "" {
			return "", malformed("Authorization: not a bearer token")
		}
		return token, nil
	case len(cookies) > 0:
		return cookies[0], nil
	}
	return "", withoutToken()
}

// cookiesIn returns the values of the cookies of this name.
func cookiesIn(headers []string, name string) (values []string) {
	for _, pair := range strings.Split(strings.Join(headers, ";"), ";") {
		key, value, _ := strings.Cut(pair, "=")
		if strings.Trim(key, ows) == name {
			values = append(values, strings.Trim(value, ows))
		}
	}
	return values
}

func malformed(description string) *Refusal {
	return challenged(http.StatusBadRequest, "invalid_request", description)
}
