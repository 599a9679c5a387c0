package authsvc

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"time"
)

const (
	firstPause   = 50 * time.Millisecond
	longestPause = 2 * time.Second
	maxLateS     = 5
	maxAtMs      = 1 << 53 // later numbers are not exact
)

// feed is one stream of changes, from its request to its end: what each event of `GET /events` does to the cache.
//
// A heartbeat says that all earlier changes have been announced. It may arrive late, so it counts from the moment when
// it was sent. That moment needs no synchronised clocks: each event carries the sender's `at`, in milliseconds of a
// clock that only runs forward. The sender sent the first event after we had requested the stream, so on our own clock
//
//	moment of sending >= moment of the request + (at - first at)
//
// holds, however slow the network is. The estimate is too early by the time that the request took to arrive and the
// service took to answer. The time to connect does not count, because on a busy machine it could use up the whole bound.
type feed struct {
	cache       *cache
	requestedAt float64 // by our clock
	events      parser
	begun       bool
	calibrated  bool
	offset      float64 // our clock minus the sender's; never too large
	late        bool
	lateSince   float64
}

// receive applies the events that this chunk completes. After an error the client needs a new stream: this one is no
// stream of the service, or so late that it is useless.
func (f *feed) receive(chunk []byte) error {
	return f.events.feed(chunk, f.apply)
}

func (f *feed) apply(name, data string) error {
	switch {
	case name == "everything":
		f.begun = true
		f.cache.forgetAll()
		return f.hear(data, false)
	case !f.begun:
		return errors.New("it does not begin with `everything`")
	case name == "forget":
		var changed []string
		if json.Unmarshal([]byte(data), &changed) != nil || changed == nil {
			return errors.New("`forget` without a list of digests")
		}
		f.cache.forget(changed)
	case name == "heartbeat":
		return f.hear(data, true)
	} // other names are events of a later version of the service
	return nil
}

// hear reads when the sender sent an event. The time of a heartbeat confirms the cache. An event without a time proves
// nothing.
func (f *feed) hear(data string, heartbeat bool) error {
	var said *struct{ At *float64 }
	switch {
	case json.Unmarshal([]byte(data), &said) != nil || said == nil:
		return errors.New("not an event of the service")
	case said.At == nil:
		return nil
	case *said.At < 0 || *said.At > maxAtMs:
		return errors.New("not a time of the service")
	}
	at := *said.At / 1000
	if !f.calibrated {
		f.calibrated, f.offset = true, f.requestedAt-at
	}
	if !heartbeat {
		return nil
	}
	arrived := now()
	// An event cannot arrive before it was sent, so this corrects the offset where the sender's clock is faster.
	f.offset = min(f.offset, arrived-at)
	f.cache.confirm(at + f.offset)
	return f.checkDelay(arrived, arrived-at-f.offset)
}

// checkDelay ends a stream that stays late. The delay grows if the sender's clock runs slower than ours, or if a queue
// builds up on the way. Only a new stream cures both.
func (f *feed) checkDelay(arrived, delay float64) error {
	switch {
	case delay <= f.cache.silence/4:
		f.late = false
	case !f.late:
		f.late, f.lateSince = true, arrived
	case arrived-f.lateSince >= maxLateS:
		return errors.New("heartbeats arrive late")
	}
	return nil
}

// follow reads one stream of changes after the other, until the introspector is closed.
func (i *Introspector) follow() {
	defer close(i.ended)
	pause, refused := firstPause, false
	for i.settings.Cache && i.ctx.Err() == nil {
		stream := feed{cache: i.cache}
		err := i.wire.events(i.ctx, i.settings.FeedSilence, func(sentAt float64, chunk []byte) error {
			stream.requestedAt = sentAt
			return stream.receive(chunk)
		})
		i.cache.disconnect()
		pause = min(2*pause, longestPause)
		if stream.begun {
			pause, refused = firstPause, false
		}
		var failure *Unavailable
		if errors.As(err, &failure) && failure.Misconfigured && !refused {
			refused = true // once is enough
			i.settings.Logger.Warn("authsvc: the feed of changes is refused, so nothing is cached", "reason", failure.Reason, "remedy", remedyFor(failure.status))
		}
		sleep(i.ctx, pause/2+rand.N(pause/2)) // spreads the clients that connect again
	}
}

func sleep(ctx context.Context, pause time.Duration) {
	select {
	case <-time.After(pause):
	case <-ctx.Done():
	}
}
