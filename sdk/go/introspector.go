// Package authsvc is the SDK for resource servers: whom does this token speak for, right now?
//
// New makes an Introspector. Its Middleware protects an application that uses net/http. There are three answers: the
// token is active, it is not, or the service can't tell. The third answer is neither a yes nor a logout.
package authsvc

import (
	"context"
	"fmt"
	"io"
	"math"
	"sync"
)

// Introspector tells whom a token speaks for. Make one per process and share it. Any goroutine may use it.
type Introspector struct {
	settings Settings
	wire     *wire
	cache    *cache
	lookups  *lookups
	clock    serverClock
	outages  outages
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	ended    chan struct{} // closed when the feed has ended
}

// New makes an introspector. url, clientID and secret: the service and our client there, which needs the permission
// `introspect`. With WithCache, the feed of changes opens now. The error names a setting that is wrong.
func New(url, clientID, secret string, options ...Option) (*Introspector, error) {
	settings, err := settingsOf(url, clientID, secret, options)
	if err != nil {
		return nil, err
	}
	i := &Introspector{
		settings: settings,
		wire:     newWire(settings),
		cache:    newCache(clientID, settings),
		outages:  outages{logger: settings.Logger},
		ended:    make(chan struct{}),
	}
	i.ctx, i.cancel = context.WithCancel(context.Background())
	i.lookups = &lookups{fetch: i.fetch, patience: settings.Timeout, waiting: map[string]*question{}, idle: sync.NewCond(&sync.Mutex{})}
	go i.follow()
	return i, nil
}

// Close ends the feed of changes and all requests to the service, and returns when they have ended. Later checks get an
// Unavailable.
func (i *Introspector) Close() {
	i.cancel()
	<-i.ended
	i.lookups.wait()
	i.wire.http.CloseIdleConnections()
}

// Format prints the address and nothing else. Without it, some verbs of fmt print tokens that wait for an answer.
func (i *Introspector) Format(state fmt.State, _ rune) {
	_, _ = io.WriteString(state, "authsvc.Introspector("+i.settings.address+")")
}

// Cached returns the answer if it is cached and known to hold at this moment: a user, or nil for an inactive token.
func (i *Introspector) Cached(token string) (user *Active, known bool) {
	return i.cache.get(token)
}

// Introspect tells for whom an access token is active right now. The error is ErrInactive if it is not, and an
// *Unavailable if the service can't tell, which is neither a yes nor a no. Refuse turns both into answers.
func (i *Introspector) Introspect(ctx context.Context, token string) (*Active, error) {
	user, known := i.cache.get(token)
	if !known && isToken(token, i.settings.ForeignKeyPrefixes) {
		asked := i.ask(ctx, token)
		if asked.failure != nil {
			return nil, asked.failure
		}
		user = asked.user
	}
	if user == nil {
		return nil, ErrInactive
	}
	return user, nil
}

func (i *Introspector) ask(ctx context.Context, token string) answer {
	late := fmt.Errorf("no answer within %v", i.settings.Timeout)
	limited, cancel := context.WithTimeoutCause(ctx, i.settings.Timeout, late)
	defer cancel()
	asked := i.lookups.ask(limited, token)
	if asked.failure == nil || ctx.Err() != nil { // a caller that gave up says nothing about the service
		return asked
	}
	if i.ctx.Err() == nil {
		i.outages.log(asked.failure)
	}
	// If the service refused us, this is no outage, and a stale answer would be wrong.
	if user, found := i.cache.getStale(token); found && !asked.failure.Misconfigured {
		return answer{user: user}
	}
	return asked
}

// fetch asks the service about the tokens of a batch, and keeps what may be cached.
func (i *Introspector) fetch(batch []*question) {
	mark, tokens := i.cache.changes.Load(), make([]string, len(batch))
	for at, asked := range batch {
		tokens[at] = asked.token
	}
	answered, failure := i.wire.introspect(i.ctx, tokens)
	if failure == nil && !answered.date.IsZero() {
		i.clock.observe(float64(answered.date.Unix()), answered.receivedAt)
	}
	for at, asked := range batch {
		asked.answer.failure = failure
		if failure == nil {
			var recheckAt int64
			asked.answer, recheckAt = read(answered.answers[at], asked.token, i.settings.Audience)
			i.keep(asked, recheckAt, mark, answered)
		}
	}
}

// keep puts an answer into the cache, if it may be cached.
func (i *Introspector) keep(asked *question, recheckAt int64, mark uint64, answered *introspection) {
	user := asked.answer.user
	// Without the service's clock, its deadlines say nothing.
	if asked.answer.failure != nil || answered.date.IsZero() || user != nil && recheckAt == 0 {
		return
	}
	until, exp := math.Inf(1), math.Inf(1)
	if user != nil {
		took := answered.receivedAt - answered.sentAt
		exp = i.clock.ours(user.Exp.Unix(), took)
		until = min(exp, i.clock.ours(recheckAt, took))
	}
	i.cache.keep(asked.token, user, mark, until, exp)
}
