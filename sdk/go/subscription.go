package authsvc

import (
	"context"
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
			i.settings.Logger.Warn("authsvc: the feed of changes is refused, so nothing is cached", "reason", failure.Reason)
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
