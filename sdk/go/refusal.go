package authsvc

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const realm = `Bearer realm="api"`

// ErrInactive says that a token is unknown, expired, revoked or meant for another resource server. The service does not
// say which.
var ErrInactive = errors.New("authsvc: the token is not active")

// Unavailable is the third answer: the service can't tell, so the token may or may not be active. It is neither a yes
// nor a logout. Answer 503, never 401.
type Unavailable struct {
	Reason        string
	RetryAfter    time.Duration // when to ask again; 0 if the service did not say
	Misconfigured bool          // the service refused our client, not the token; a retry does not help
	lost          bool          // on the way; a second attempt may succeed
	cause         error
}

func (u *Unavailable) Error() string { return "authsvc: " + u.Reason }
func (u *Unavailable) Unwrap() error { return u.cause }

func unavailable(reason string) *Unavailable {
	return &Unavailable{Reason: reason}
}

// Refusal says why a request is refused, and is the answer to send: it is an http.Handler.
type Refusal struct {
	Status      int
	Code        string // the member `error` of the answer
	Description string
	field       string // the header that belongs to the status
	value       string
	cause       error
}

func (r *Refusal) Error() string { return "authsvc: " + r.Description }
func (r *Refusal) Unwrap() error { return r.cause }

// Header returns the headers of the answer.
func (r *Refusal) Header() http.Header {
	header := http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}}
	header.Set(r.field, r.value)
	return header
}

// Body returns the body of the answer.
func (r *Refusal) Body() []byte {
	return []byte(`{"error": "` + r.Code + `", "error_description": "` + r.Description + `"}`)
}

// Refuse turns an error of this package into the answer to the request: 401 if the token is inactive, 503 if nobody can
// tell. A program that gets a 401 logs its user out.
func Refuse(err error) *Refusal {
	var refusal *Refusal
	var unknown *Unavailable
	after := time.Second
	switch {
	case errors.As(err, &refusal):
		return refusal
	case errors.Is(err, ErrInactive):
		return challenged(http.StatusUnauthorized, "invalid_token", "the access token is not active")
	case errors.As(err, &unknown) && unknown.RetryAfter > 0:
		after = unknown.RetryAfter
	}
	const description = "tokens can't be checked right now"
	return &Refusal{503, "temporarily_unavailable", description, "Retry-After", seconds(after), err}
}

// withoutToken refuses a request that carries no token. Its challenge has no error code (RFC 6750 section 3.1).
func withoutToken() *Refusal {
	return &Refusal{401, "invalid_token", "an access token is required", "WWW-Authenticate", realm, nil}
}

// challenged refuses a request with a challenge that names the error. parameters: more names and values.
func challenged(status int, code, description string, parameters ...string) *Refusal {
	challenge := realm
	parameters = append([]string{"error", code, "error_description", description}, parameters...)
	for at := 0; at < len(parameters); at += 2 {
		challenge += ", " + parameters[at] + `="` + parameters[at+1] + `"`
	}
	return &Refusal{status, code, description, "WWW-Authenticate", challenge, nil}
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

func seconds(duration time.Duration) string {
	return strconv.Itoa(int(duration.Seconds()))
}
