package authsvc

import "sync"

const (
	// `Date` has whole seconds, and servers renew it once a second.
	dateSlackS  = 2
	dateMaxAgeS = 600
)

// serverClock estimates from the `Date` of answers how far the service's clock is ahead of ours, and never estimates too
// much. A `Date` is older than its answer if the server was stopped in between. So the largest estimate of the last ten
// minutes counts. Older estimates do not count, because an operator may set the service's clock back.
type serverClock struct {
	mu           sync.Mutex
	known        bool
	ahead, since float64
}

// observe takes note of an answer with this `Date`, received at this moment of our clock.
func (s *serverClock) observe(date, receivedAt float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ahead := date - receivedAt
	if !s.known || ahead >= s.ahead || receivedAt > s.since+dateMaxAgeS {
		s.known, s.ahead, s.since = true, ahead, receivedAt
	}
}

// ours converts a moment that an answer names to our clock. The result may be too early, never too late. took: the time
// between request and response, because the service answered at some moment in between.
func (s *serverClock) ours(at int64, took float64) float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return float64(at) - s.ahead - took - dateSlackS
}
