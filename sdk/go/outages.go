package authsvc

import (
	"context"
	"log/slog"
	"sync/atomic"
)

const outagePauseS = 60

// outages logs why checks fail, and what to do, at most once a minute for each of the two kinds of failure.
type outages struct {
	logger               *slog.Logger // names the service
	unreachable, refused atomic.Int64 // the second until which this kind is not logged again
}

// remedyFor says what a refusal of our client means. The commands say ID, because what stands in the place of the id by
// mistake may be the secret.
func remedyFor(status int) string {
	switch status {
	case 401:
		return "the client_id or the secret is wrong: `authsvc client rotate-secret ID` makes a new secret"
	case 403:
		return "our client lacks the permission introspect: `authsvc client update ID --permission introspect` gives it; " +
			"name the client's other permissions too"
	case 404, 405:
		return "this is not the address of authsvc: check the url"
	}
	return "check the address of the service, our client_id, secret and permission"
}

func (o *outages) log(failure *Unavailable) {
	kind, level := &o.unreachable, slog.LevelWarn
	remedy := "check that the service runs (GET /readyz), that its address is right and that this machine reaches it"
	if failure.Misconfigured {
		kind, level = &o.refused, slog.LevelError
		remedy = remedyFor(failure.status)
	}
	at, until := int64(now()), kind.Load()
	if at >= until && kind.CompareAndSwap(until, at+outagePauseS) {
		o.logger.Log(context.Background(), level, "authsvc can't check tokens: requests with a token get a 503",
			"reason", failure.Reason, "remedy", remedy)
	}
}
