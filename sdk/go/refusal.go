package authsvc

import (
	"cmp"
	"errors"
	"net/http"
	"strconv"
	"time"
)

const realm = `Bearer realm="api"`

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

func seconds(duration time.Duration) string {
	return strconv.Itoa(int(duration.Seconds()))
}

const noService = "this is not the address of authsvc: check the url"

// remedies say what a refusal of our own client means, by its status. The commands say ID, because what stands in the
// place of the id by mistake may be the secret.
var remedies = map[int]string{
	401: "the client_id or the secret is wrong: `authsvc client rotate-secret ID` makes a new secret",
	403: "our client lacks the permission introspect: `authsvc client update ID --permission introspect` gives it; " +
		"name the client's other permissions too",
	404: noService,
	405: noService,
}

func remedyFor(status int) string {
	return cmp.Or(remedies[status], "check the address of the service, our client_id, secret and permission")
}
