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

func (o *outages) log(failure *Unavailable) {
	kind, level, remedy := &o.unreachable, slog.LevelWarn, "check that the service runs (GET /readyz), that its address is right and that this machine reaches it"
	if failure.Misconfigured {
		kind, level, remedy = &o.refused, slog.LevelError, remedyFor(failure.status)
	}
	at, until := int64(now()), kind.Load()
	if at >= until && kind.CompareAndSwap(until, at+outagePauseS) {
		o.logger.Log(context.Background(), level, "authsvc can't check tokens: requests with a token get a 503",
			"reason", failure.Reason, "remedy", remedy)
	}
}
