package authsvc

import (
	"log/slog"
	"math"
	"sync"
)

const outagePauseS = 60

// outages logs why checks fail, and what to do, at most once a minute for each of the two kinds of failure.
type outages struct {
	address string // the URL of the service without a user name and a password
	logger  *slog.Logger

	mu       sync.Mutex
	loggedAt map[bool]float64 // by Misconfigured
}

func newOutages(address string, logger *slog.Logger) *outages {
	before := math.Inf(-1)
	return &outages{address: address, logger: logger, loggedAt: map[bool]float64{true: before, false: before}}
}

func (o *outages) log(failure *Unavailable) {
	if !o.due(failure.Misconfigured) {
		return
	}
	const what = "authsvc can't check tokens: requests with a token get a 503"
	if failure.Misconfigured { // the reason says what to do
		o.logger.Error(what, "service", o.address, "reason", failure.Reason)
		return
	}
	o.logger.Warn(what, "service", o.address, "reason", failure.Reason, "remedy", "check that the service runs "+
		"(GET /readyz), that its address is right and that this machine reaches it")
}

func (o *outages) due(misconfigured bool) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	at := now()
	if at-o.loggedAt[misconfigured] < outagePauseS {
		return false
	}
	o.loggedAt[misconfigured] = at
	return true
}
