package authsvc

import (
	"errors"
	"time"
)

// ErrInactive says that a token is unknown, expired, revoked or meant for another resource server. The service does not
// say which.
var ErrInactive = errors.New("authsvc: the token is not active")

// Unavailable is the third answer: the service can't tell, so the token may or may not be active. It is neither a yes
// nor a logout. Answer 503, never 401.
type Unavailable struct {
	Reason        string
	RetryAfter    time.Duration // when to ask again; 0 if the service did not say
	Misconfigured bool          // the service refused our client, not the token; a retry does not help
	status        int           // of the answer; 0 if there was none
	lost          bool          // on the way; a second attempt may succeed
	cause         error
}

func (u *Unavailable) Error() string { return "authsvc: " + u.Reason }
func (u *Unavailable) Unwrap() error { return u.cause }
