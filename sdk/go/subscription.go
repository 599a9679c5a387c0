package authsvc

import (
	"errors"
	"math/rand/v2"
	"time"
)

const (
	firstPause   = 50 * time.Millisecond
	longestPause = 2 * time.Second
)

// follow reads one stream of changes after the other, until the introspector is closed.
func (i *Introspector) follow() {
	defer i.feeds.Done()
	pause, refused := firstPause, false
	for i.ctx.Err() == nil {
		received, err := i.readFeed()
		i.cache.disconnect()
		var failure *Unavailable
		switch {
		case i.ctx.Err() != nil:
			return
		case received:
			pause, refused = firstPause, false
		default:
			pause = min(2*pause, longestPause)
		}
		if errors.As(err, &failure) && failure.Misconfigured {
			if !refused { // once is enough
				i.settings.logger.Warn("authsvc: the feed of changes is refused, so nothing is cached",
					"service", i.address, "reason", failure.Reason)
			}
			refused = true
		} else {
			i.settings.logger.Debug("authsvc: the feed of changes ended", "reason", err.Error())
		}
		i.sleep(pause/2 + rand.N(pause/2)) // spreads the clients that connect again
	}
}

// readFeed reads one stream. received: whether the stream had begun.
func (i *Introspector) readFeed() (received bool, err error) {
	var stream *feed
	err = i.wire.events(i.ctx, i.settings.feedSilence, func(sentAt float64, chunk []byte) error {
		if stream == nil {
			stream = &feed{cache: i.cache, requestedAt: sentAt}
		}
		received = true
		return stream.receive(chunk)
	})
	return received, err
}

func (i *Introspector) sleep(pause time.Duration) {
	select {
	case <-time.After(pause):
	case <-i.ctx.Done():
	}
}
