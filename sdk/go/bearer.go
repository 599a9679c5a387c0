package authsvc

import (
	"net/http"
	"strings"
	"time"
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

// Require is what a request needs besides an active token. The zero value needs nothing else.
type Require struct {
	Scope  string        // space-separated; the token needs all of them
	Role   string        // the user needs it
	ACR    string        // how strong the login has to be; a login at aal2 satisfies aal1 too
	MaxAge time.Duration // the longest time since the login, in whole seconds, by the wall clock of this machine
}

// wallNow is the clock on the wall of this machine. Only the age of a login is measured with it.
var wallNow = time.Now

// Check returns nil if the user has everything that is required, else a *Refusal. A token that was issued without a
// login satisfies no MaxAge.
func (r Require) Check(user *Active) error {
	switch {
	case user == nil:
		return withoutToken()
	case !user.HasScope(strings.Fields(r.Scope)...):
		return challenged(http.StatusForbidden, "insufficient_scope", "the token does not allow this", "scope", r.Scope)
	case r.Role != "" && !user.HasRole(r.Role):
		return challenged(http.StatusForbidden, "insufficient_scope", "the user may not do this")
	case r.ACR != "" && !isStrong(user.ACR, r.ACR):
		return r.loginAgain("this needs a stronger login")
	// A user without a login has the AuthTime zero, which is longer ago than any duration.
	case r.MaxAge > 0 && wallNow().Sub(user.AuthTime) > r.MaxAge:
		return r.loginAgain("log in again for this")
	}
	return nil
}

// loginAgain names both demands in its challenge, so that one new login can satisfy both (RFC 9470 section 3).
func (r Require) loginAgain(description string) *Refusal {
	var demands []string
	if r.ACR != "" {
		demands = append(demands, "acr_values", r.ACR)
	}
	if r.MaxAge > 0 {
		demands = append(demands, "max_age", seconds(r.MaxAge))
	}
	return challenged(http.StatusUnauthorized, "insufficient_user_authentication", description, demands...)
}

func isStrong(acr, wanted string) bool {
	levels := map[string]int{"aal1": 1, "aal2": 2}
	return acr == wanted || levels[wanted] > 0 && levels[acr] >= levels[wanted]
}
