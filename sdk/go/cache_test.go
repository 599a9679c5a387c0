package authsvc

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

func confirmedCache(size int) *cache {
	s, _ := settingsOf("http://auth", "backend", "secret", nil)
	s.CacheSize = size
	c := newCache("backend", s)
	c.forgetAll()
	c.confirm(math.Inf(1))
	return c
}

func aToken(number int) string { return fmt.Sprintf("tok_%012d%033d", number, 0) }

func keepFor(c *cache, token string, user *Active) {
	c.keep(token, user, c.changes.Load(), math.Inf(1), math.Inf(1))
}

// A full cache drops unused answers together with their index entries.
func TestTheCacheIsBounded(t *testing.T) {
	c := confirmedCache(8)
	keepFor(c, token, &Active{Sub: "used", ClientID: "app"})
	for number := range 1000 {
		if _, found := c.get(token); !found {
			t.Fatal("an answer in use was dropped")
		}
		keepFor(c, aToken(number), &Active{Sub: fmt.Sprint(number), ClientID: fmt.Sprint(number)})
	}
	if len(c.parts[true].entries) != 8 || len(c.dependents) != 8*3 {
		t.Errorf("%d answers, %d keys", len(c.parts[true].entries), len(c.dependents))
	}
}

// Inactive answers have a small part of the cache of their own, so made-up tokens push nothing out.
func TestMadeUpTokensPushNothingOut(t *testing.T) {
	c := confirmedCache(8)
	keepFor(c, token, &Active{Sub: "ada", ClientID: "app"})
	for number := range 1000 {
		keepFor(c, aToken(number), nil)
	}
	if user, _ := c.get(token); user == nil || len(c.parts[false].entries) != 1 {
		t.Errorf("%v, %d inactive answers", user, len(c.parts[false].entries))
	}
}

// A stale answer bridges an outage, but not a refusal of our client, which is none.
func TestStaleAnswers(t *testing.T) {
	clock := moveClock(t, 1000)
	s := newService(t, "")
	s.says(503, "")
	auth := open(t, s.URL)
	auth.settings.ServeStaleFor = time.Minute
	auth.cache = newCache("backend", auth.settings)
	auth.cache.forgetAll()
	auth.cache.confirm(1000)
	keepFor(auth.cache, token, &Active{Sub: "ada", ClientID: "app"})
	clock.forward(30)
	if user, err := auth.Introspect(context.Background(), token); err != nil || user.Sub != "ada" {
		t.Error(err)
	}
	s.says(401, "")
	var failure *Unavailable
	if _, err := auth.Introspect(context.Background(), token); !errors.As(err, &failure) || !failure.Misconfigured {
		t.Error(err)
	}
	s.says(503, "")
	clock.forward(31)
	if _, err := auth.Introspect(context.Background(), token); !errors.As(err, &failure) {
		t.Error(err)
	}
}

// A stream hears of a change at once, and does not wait until its answer ends.
func TestAStreamHearsOfAChange(t *testing.T) {
	for _, everything := range []bool{false, true} {
		s := newService(t, `{"active": false}`)
		auth := open(t, s.URL)
		auth.cache = confirmedCache(8)
		keepFor(auth.cache, token, &Active{Sub: "ada", ClientID: "app"})
		admitted, err := auth.Authorize(context.Background(), []string{"Bearer " + token}, Require{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := WhileActive(admitted)
		defer stop()
		until(t, func() bool {
			auth.cache.mu.Lock()
			defer auth.cache.mu.Unlock()
			return len(auth.cache.dependents[digestOfKey("client:app")]) == 2 // the answer and the stream
		})
		if everything {
			auth.cache.forgetAll()
		} else {
			auth.cache.forget([]string{digestOfKey("user:{ada}")})
		}
		until(t, func() bool { return ctx.Err() != nil })
		until(t, func() bool {
			auth.cache.mu.Lock()
			defer auth.cache.mu.Unlock()
			return len(auth.cache.dependents[digestOfKey("client:app")]) == 0
		})
	}
}

// The SDK leaves a stream that is silent, and opens another one.
func TestASilentFeedIsLeft(t *testing.T) {
	var streams atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		streams.Add(1)
		w.WriteHeader(200)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	defer s.Close()
	auth := open(t, s.URL, WithCache(), func(s *Settings) { s.FeedSilence = 1001 * time.Millisecond })
	until(t, func() bool { return streams.Load() >= 2 })
	auth.Close() // before the server, which waits for its streams
}
