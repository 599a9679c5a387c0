// Package authsvc is the SDK for resource servers: whom does this token speak for, right now?
//
// New makes an Introspector. Its Middleware protects an application that uses net/http. There are three answers: the
// token is active, it is not, or the service can't tell. The third answer is neither a yes nor a logout.
package authsvc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
)

// Introspector tells whom a token speaks for. Make one per process and share it. Any goroutine may use it.
type Introspector struct {
	settings settings
	address  string
	wire     *wire
	cache    *cache // nil: nothing is cached
	lookups  *lookups
	clock    *serverClock
	outages  *outages
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	feeds    sync.WaitGroup
}

// New makes an introspector. url, clientID and secret: the service and our client there, which needs the permission
// `introspect`. With WithCache, the feed of changes opens now. The error names a setting that is wrong.
func New(url, clientID, secret string, options ...Option) (*Introspector, error) {
	settings, err := settingsOf(options)
	if err != nil {
		return nil, err
	}
	address, err := addressOf(url)
	if err != nil {
		return nil, err
	}
	if clientID == "" || secret == "" {
		return nil, errors.New("authsvc: client id and secret are required")
	}
	ctx, cancel := context.WithCancel(context.Background())
	introspector := &Introspector{
		settings: settings,
		address:  address,
		wire:     newWire(address, clientID, secret, settings.timeout, settings.tls),
		clock:    newServerClock(),
		outages:  newOutages(address, settings.logger),
		ctx:      ctx,
		cancel:   cancel,
	}
	introspector.lookups = newLookups(introspector.fetch)
	if settings.cache {
		introspector.cache = newCache(clientID, settings)
		introspector.feeds.Add(1)
		go introspector.follow()
	}
	return introspector, nil
}

// Close ends the feed of changes and all requests to the service. Later checks get an Unavailable.
func (i *Introspector) Close() {
	i.cancel()
	i.feeds.Wait()
	i.lookups.close()
	i.wire.transport.CloseIdleConnections()
}

// Format prints the address and nothing else. Without it, some verbs of fmt print tokens that wait for an answer.
func (i *Introspector) Format(state fmt.State, _ rune) {
	_, _ = io.WriteString(state, "authsvc.Introspector("+i.address+")")
}

// Cached returns the answer if it is cached and known to hold at this moment: a user, or nil for an inactive token.
func (i *Introspector) Cached(token string) (user *Active, known bool) {
	return i.cache.get(token)
}

// Introspect tells for whom an access token is active right now. The error is ErrInactive if it is not, and an
// *Unavailable if the service can't tell, which is neither a yes nor a no. Refuse turns both into answers.
func (i *Introspector) Introspect(ctx context.Context, token string) (*Active, error) {
	user, known := i.cache.get(token)
	if !known && isAccessToken(token) {
		var err error
		user, err = i.ask(ctx, token)
		if err != nil {
			return nil, err
		}
	}
	if user == nil {
		return nil, ErrInactive
	}
	return user, nil
}

// ask asks the service. user nil: the token is inactive.
func (i *Introspector) ask(ctx context.Context, token string) (*Active, error) {
	limited, cancel := context.WithTimeout(ctx, i.settings.timeout)
	defer cancel()
	answered, ok := i.lookups.ask(limited, token)
	if ok && answered.failure == nil {
		return answered.user, nil
	}
	failure := answered.failure
	if !ok {
		if err := ctx.Err(); err != nil { // the caller gave up, which says nothing about the service
			return nil, &Unavailable{Reason: "the caller gave up: " + err.Error(), cause: err}
		}
		failure = unavailable(fmt.Sprintf("no answer within %v", i.settings.timeout))
		i.logUnlessClosed(failure)
	}
	if !failure.Misconfigured { // if the service refused us, this is no outage, and a stale answer would be wrong
		if user, found := i.cache.getStale(token); found {
			return user, nil
		}
	}
	return nil, failure
}

// fetch asks the service about these tokens, and keeps what may be cached.
func (i *Introspector) fetch(tokens []string) []result {
	mark, results := i.cache.mark(), make([]result, len(tokens))
	answered, failure := i.wire.introspect(i.ctx, tokens)
	if failure != nil {
		i.logUnlessClosed(failure)
		for at := range results {
			results[at].failure = failure
		}
		return results
	}
	if answered.dated {
		i.clock.observe(answered.date, answered.received)
	}
	for at, token := range tokens {
		read, failure := read(answered.answers[at], token, i.settings.audience)
		results[at] = result{read.user, failure}
		if failure != nil {
			i.logUnlessClosed(failure)
		} else if i.cache != nil {
			i.keep(token, read, mark, answered)
		}
	}
	return results
}

// keep puts an answer into the cache, if it may be cached.
func (i *Introspector) keep(token string, read reading, mark uint64, answered *introspection) {
	if !answered.dated { // without the service's clock, its deadlines say nothing
		return
	}
	until, exp := math.Inf(1), math.Inf(1)
	if read.user != nil {
		if read.recheckAt == 0 {
			return
		}
		exp = i.clock.ours(read.user.Exp.Unix(), answered.took())
		until = min(exp, i.clock.ours(read.recheckAt, answered.took()))
	}
	i.cache.keep(token, read.user, mark, until, exp)
}

func (i *Introspector) logUnlessClosed(failure *Unavailable) {
	if i.ctx.Err() == nil {
		i.outages.log(failure)
	}
}
