package authsvc

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// How many changed keys the cache remembers, to recognise answers that are older than a change.
	maxChangedKeys = 10_000
	// Dropping more answers one by one would hold up the readers of the cache.
	maxDroppedOneByOne = 1000
	inactiveShare      = 8
	inactiveMaxAgeS    = 30
)

// digestOfKey returns the name of a key of the store in the feed: 16 bytes of its SHA-256.
func digestOfKey(key string) string {
	sum := sha256.Sum256([]byte(key))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// keysOf returns the keys (digests) on which the answer depends, besides those of all answers. user nil: an inactive
// answer.
func keysOf(token string, user *Active) []string {
	keys := []string{digestOfKey("session:" + handleOf(token))}
	if user != nil {
		keys = append(keys, digestOfKey("user:{"+user.Sub+"}"))
		for _, client := range slices.Concat([]string{user.ClientID}, user.Clients) {
			keys = append(keys, digestOfKey("client:"+client))
		}
	}
	return keys
}

// entry is a cached answer. until: when the SDK has to ask again. exp: when the token expires. used: whether a look-up
// found the entry recently. A stream that waits for a change of its answer has an entry of its own, with keys and wake.
type entry struct {
	user       *Active           // nil: the token is inactive
	digest     [sha256.Size]byte // of the token, so that the cache holds no token
	keys       []string
	until, exp float64
	used       atomic.Bool
	wake       context.CancelFunc
}

// part is the active answers, or the inactive ones. Inactive answers have a small part of their own, so that made-up
// tokens do not push out real ones.
type part struct {
	entries map[[sha256.Size]byte]*entry
	size    int
	maxAge  float64
}

// cache holds the answers of this process. It answers only while the feed of changes is confirmed. Every look-up
// compares that confirmation with the clock: a stopped process or a half-open connection can delay an announcement, but
// never the clock. Without a feed, a cache stays empty.
type cache struct {
	keysOfAll      []string
	silence, stale float64

	// The number of the latest change. Take it before sending a request, and pass it to keep.
	changes atomic.Uint64

	mu            sync.RWMutex
	freshUntil    float64
	parts         map[bool]part                  // by whether the answers are active
	dependents    map[string]map[*entry]struct{} // by key
	connected     bool
	completeSince uint64 // a request from before this change may have missed one
	changedKeys   map[string]uint64
}

func newCache(clientID string, s Settings) *cache {
	return &cache{
		keysOfAll: []string{digestOfKey("service"), digestOfKey("client:" + clientID)},
		silence:   s.FeedSilence.Seconds(),
		stale:     s.ServeStaleFor.Seconds(),
		parts: map[bool]part{
			true:  {map[[sha256.Size]byte]*entry{}, s.CacheSize, s.CacheMaxAge.Seconds()},
			false: {map[[sha256.Size]byte]*entry{}, max(s.CacheSize/inactiveShare, 1), inactiveMaxAgeS},
		},
		dependents:    map[string]map[*entry]struct{}{},
		completeSince: 1,
		changedKeys:   map[string]uint64{},
	}
}

// get returns the answer if it is known to hold at this moment: a user, or nil for an inactive token.
func (c *cache) get(token string) (user *Active, found bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	one := c.find(token)
	// The lock is held while the clock is read. Else a change could be applied, and confirmed, in between.
	if one == nil || now() >= min(one.until, c.freshUntil) {
		return nil, false
	}
	if !one.used.Load() { // most look-ups then write nothing, and processors share the entry
		one.used.Store(true)
	}
	return one.user, true
}

// getStale returns the answer if it held less than `stale` ago and no announcement has removed it since.
func (c *cache) getStale(token string) (user *Active, found bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	one, at := c.find(token), now()
	if one == nil {
		return nil, false
	}
	heldUntil := min(at, one.until, c.freshUntil-c.silence)
	return one.user, at < min(heldUntil+c.stale, one.exp)
}

// held returns true when the answer may hold no more: after a change, or without one at its end. It returns false at
// once if no answer is cached.
func (c *cache) held(ctx context.Context, token string, user *Active) bool {
	c.mu.Lock()
	left := 0.0
	if one := c.find(token); one != nil {
		left = min(one.until, c.freshUntil) - now()
	}
	waiting, wake := context.WithTimeout(ctx, time.Duration(left*float64(time.Second)))
	watch := &entry{keys: keysOf(token, user), wake: wake}
	c.index(watch)
	c.mu.Unlock()
	<-waiting.Done()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(watch)
	return left > 0
}

// find and the following methods are for callers that hold the lock.

func (c *cache) find(token string) *entry {
	digest := sha256.Sum256([]byte(token))
	if one := c.parts[true].entries[digest]; one != nil {
		return one
	}
	return c.parts[false].entries[digest]
}

func (c *cache) index(one *entry) {
	for _, key := range one.keys {
		if c.dependents[key] == nil {
			c.dependents[key] = map[*entry]struct{}{}
		}
		c.dependents[key][one] = struct{}{}
	}
}

func (c *cache) drop(one *entry) {
	delete(c.parts[one.user != nil].entries, one.digest)
	for _, key := range one.keys {
		delete(c.dependents[key], one)
		if len(c.dependents[key]) == 0 {
			delete(c.dependents, key)
		}
	}
	one.wake()
}

func (c *cache) empty() {
	c.loseTrack()
	c.connected = true
	clear(c.parts[true].entries)
	clear(c.parts[false].entries)
	for _, dependents := range c.dependents {
		for one := range dependents {
			one.wake()
		}
	}
	clear(c.dependents)
}

func (c *cache) loseTrack() {
	c.completeSince = c.changes.Add(1)
	clear(c.changedKeys)
}

// makeRoom drops an answer that no look-up has found since the last search for one. Go visits a map in random order. An
// LRU would move an entry at each use, which costs more than the rest of the look-up.
func (c *cache) makeRoom(full part) {
	for _, one := range full.entries {
		if !one.used.Swap(false) {
			c.drop(one)
			return
		}
	}
}

// The feed calls the following methods.

// forgetAll starts with an empty cache. From now on the feed announces every change.
func (c *cache) forgetAll() {
	c.forget(c.keysOfAll)
}

// forget drops all answers that depend on these keys (digests), also the answers that are still on their way.
func (c *cache) forget(changed []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change := c.changes.Add(1)
	for _, key := range changed {
		if slices.Contains(c.keysOfAll, key) || len(c.dependents[key]) > maxDroppedOneByOne {
			c.empty()
			return
		}
		c.changedKeys[key] = change
		for one := range c.dependents[key] {
			c.drop(one)
		}
	}
	if len(c.changedKeys) > maxChangedKeys {
		c.loseTrack()
	}
}

// confirm says that the feed has announced every change up to this moment.
func (c *cache) confirm(moment float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.freshUntil = moment + c.silence
}

// disconnect says that the feed has ended. The cache neither answers nor keeps answers until the next feed begins.
func (c *cache) disconnect() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.connected = false
	c.freshUntil = min(c.freshUntil, now())
	c.loseTrack()
}

// keep keeps an answer, unless one of its keys may have changed since the request was sent.
func (c *cache) keep(token string, user *Active, mark uint64, until, exp float64) {
	keys := keysOf(token, user)
	c.mu.Lock()
	defer c.mu.Unlock()
	changed := func(key string) bool { return c.changedKeys[key] > mark }
	if !c.connected || mark < c.completeSince || slices.ContainsFunc(keys, changed) {
		return
	}
	if former := c.find(token); former != nil {
		c.drop(former)
	}
	part := c.parts[user != nil]
	for len(part.entries) >= part.size {
		c.makeRoom(part)
	}
	until = min(until, now()+part.maxAge)
	one := &entry{user: user, digest: sha256.Sum256([]byte(token)), keys: keys, until: until, exp: exp, wake: func() {}}
	part.entries[one.digest] = one
	c.index(one)
}
