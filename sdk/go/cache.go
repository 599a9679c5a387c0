package authsvc

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// How many changed keys the cache remembers, to recognise answers that are older than a change.
	maxChangedKeys = 10_000
	// Dropping more answers one by one would hold up the readers of the cache.
	maxDroppedOneByOne = 1000
	// Inactive answers have a small part of their own, so that made-up tokens do not push out real ones.
	inactiveShare   = 8
	inactiveMaxAgeS = 30
)

// tokenDigest stands for a token, so that the cache holds no token.
type tokenDigest [sha256.Size]byte

// keyDigest is the name of a key of the store in the feed: 16 bytes of its SHA-256.
type keyDigest [16]byte

func digestOfKey(key string) keyDigest {
	sum := sha256.Sum256([]byte(key))
	return keyDigest(sum[:16])
}

// parseKeyDigest reads a digest of the feed. A text that is no digest becomes the digest of no key.
func parseKeyDigest(text string) (digest keyDigest) {
	decoded, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil && len(decoded) == len(digest) {
		digest = keyDigest(decoded)
	}
	return digest
}

// keysOf returns the keys on which the answer depends, besides those of all answers. user nil: an inactive answer.
func keysOf(token string, user *Active) []keyDigest {
	keys := []keyDigest{digestOfKey("session:" + handleOf(token))}
	if user != nil {
		keys = append(keys, digestOfKey("user:{"+user.Sub+"}"), digestOfKey("client:"+user.ClientID))
	}
	return keys
}

// entry is a cached answer. until: when the SDK has to ask again. exp: when the token expires. used: whether a look-up
// found the entry recently.
type entry struct {
	user       *Active // nil: the token is inactive
	digest     tokenDigest
	keys       []keyDigest
	until, exp float64
	used       atomic.Bool
}

// cache holds the answers of this process. It answers only while the feed of changes is confirmed. Every look-up
// compares that confirmation with the clock: a stopped process or a half-open connection can delay an announcement, but
// never the clock. A nil cache is empty.
type cache struct {
	keysOfAll              [2]keyDigest
	maxAge, silence, stale float64

	mu               sync.RWMutex
	freshUntil       float64
	active, inactive bounded
	dependents       map[keyDigest]map[*entry]struct{}
	waiting          map[keyDigest]map[chan struct{}]struct{}
	connected        bool
	// Changes are numbered. A request from before completeSince may have missed a change.
	changes, completeSince uint64
	changedKeys            ordered[keyDigest, uint64]
}

func newCache(clientID string, s settings) *cache {
	return &cache{
		keysOfAll:     [2]keyDigest{digestOfKey("service"), digestOfKey("client:" + clientID)},
		maxAge:        s.cacheMaxAge.Seconds(),
		silence:       s.feedSilence.Seconds(),
		stale:         s.serveStaleFor.Seconds(),
		active:        bounded{newOrdered[tokenDigest, *entry](), s.cacheSize},
		inactive:      bounded{newOrdered[tokenDigest, *entry](), max(s.cacheSize/inactiveShare, 1)},
		dependents:    map[keyDigest]map[*entry]struct{}{},
		waiting:       map[keyDigest]map[chan struct{}]struct{}{},
		completeSince: 1,
		changedKeys:   newOrdered[keyDigest, uint64](),
	}
}

// get returns the answer if it is known to hold at this moment: a user, or nil for an inactive token.
func (c *cache) get(token string) (user *Active, found bool) {
	if c == nil {
		return nil, false
	}
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
	if c == nil {
		return nil, false
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	one := c.find(token)
	if one == nil {
		return nil, false
	}
	at := now()
	heldUntil := min(at, one.until, c.freshUntil-c.silence)
	return one.user, at < min(heldUntil+c.stale, one.exp)
}

// held returns true when the answer may hold no more: after a change, or without one at its end. It returns false at
// once if no answer is cached, and if ctx ends.
func (c *cache) held(ctx context.Context, token string, user *Active) bool {
	if c == nil {
		return false
	}
	keys := keysOf(token, user)
	changed, left := c.startWaiting(token, keys)
	defer c.stopWaiting(keys, changed)
	if left <= 0 {
		return false
	}
	end := time.NewTimer(time.Duration(left * float64(time.Second)))
	defer end.Stop()
	select {
	case <-changed:
	case <-end.C:
	case <-ctx.Done():
		return false
	}
	return true
}

// startWaiting returns a channel that hears of a change of these keys, and for how long the cached answer holds without.
func (c *cache) startWaiting(token string, keys []keyDigest) (changed chan struct{}, left float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	changed = make(chan struct{}, 1)
	for _, key := range keys {
		add(c.waiting, key, changed)
	}
	if one := c.find(token); one != nil {
		left = min(one.until, c.freshUntil) - now()
	}
	return changed, left
}

func (c *cache) stopWaiting(keys []keyDigest, changed chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, key := range keys {
		discard(c.waiting, key, changed)
	}
}

// find is for callers that hold the lock.
func (c *cache) find(token string) *entry {
	digest, ok := digestOfToken(token)
	if !ok {
		return nil
	}
	if one, found := c.active.get(digest); found {
		return one
	}
	one, _ := c.inactive.get(digest)
	return one
}

func digestOfToken(token string) (digest tokenDigest, ok bool) {
	if len(token) != tokenLength {
		return digest, false
	}
	var text [tokenLength]byte // on the stack; a conversion would allocate
	copy(text[:], token)
	return sha256.Sum256(text[:]), true
}

// The feed calls the following methods.

// forgetAll starts with an empty cache. From now on the feed announces every change.
func (c *cache) forgetAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.empty()
}

func (c *cache) empty() {
	c.loseTrack()
	c.connected = true
	c.active.ordered = newOrdered[tokenDigest, *entry]()
	c.inactive.ordered = newOrdered[tokenDigest, *entry]()
	clear(c.dependents)
	for _, channels := range c.waiting {
		wake(channels)
	}
}

// forget drops all answers that depend on these keys, also the answers that are still on their way.
func (c *cache) forget(changed []keyDigest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes++
	for _, key := range changed {
		if key == c.keysOfAll[0] || key == c.keysOfAll[1] || len(c.dependents[key]) > maxDroppedOneByOne {
			c.empty()
			return
		}
		c.changedKeys.put(key, c.changes)
		for one := range c.dependents[key] {
			c.drop(one.digest)
		}
		wake(c.waiting[key])
	}
	for c.changedKeys.len() > maxChangedKeys {
		key, change := c.changedKeys.first()
		c.changedKeys.remove(key)
		c.completeSince = max(c.completeSince, change)
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

func (c *cache) loseTrack() {
	c.changes++
	c.completeSince = c.changes
	c.changedKeys = newOrdered[keyDigest, uint64]()
}

// The code that asks the service calls the following methods.

// mark returns the number of the latest change. Take it before sending a request, and pass it to keep.
func (c *cache) mark() uint64 {
	if c == nil {
		return 0
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.changes
}

// keep keeps an answer, unless one of its keys may have changed since the request was sent.
func (c *cache) keep(token string, user *Active, mark uint64, until, exp float64) {
	keys := keysOf(token, user)
	digest, ok := digestOfToken(token)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !ok || !c.connected || mark < c.completeSince {
		return
	}
	for _, key := range keys {
		if change, _ := c.changedKeys.get(key); change > mark {
			return
		}
	}
	maxAge, part := c.maxAge, c.active
	if user == nil {
		maxAge, part = inactiveMaxAgeS, c.inactive
	}
	c.drop(digest)
	for part.len() >= part.size {
		c.makeRoom(part)
	}
	one := &entry{user: user, digest: digest, keys: keys, until: min(until, now()+maxAge), exp: exp}
	part.put(digest, one)
	for _, key := range keys {
		add(c.dependents, key, one)
	}
}

// makeRoom drops the oldest entry, or moves it to the end if it was used (the second-chance algorithm). An LRU would
// move an entry at each use, which costs more than the rest of the look-up.
func (c *cache) makeRoom(part bounded) {
	digest, oldest := part.first()
	if !oldest.used.Swap(false) {
		c.drop(digest)
		return
	}
	part.put(digest, oldest)
}

func (c *cache) drop(digest tokenDigest) {
	for _, part := range []bounded{c.active, c.inactive} {
		if one, found := part.remove(digest); found {
			for _, key := range one.keys {
				discard(c.dependents, key, one)
			}
		}
	}
}

// bounded is a part of the cache, with room for so many entries.
type bounded struct {
	ordered[tokenDigest, *entry]
	size int
}

func add[T comparable](sets map[keyDigest]map[T]struct{}, key keyDigest, item T) {
	if sets[key] == nil {
		sets[key] = map[T]struct{}{}
	}
	sets[key][item] = struct{}{}
}

func discard[T comparable](sets map[keyDigest]map[T]struct{}, key keyDigest, item T) {
	delete(sets[key], item)
	if len(sets[key]) == 0 {
		delete(sets, key)
	}
}

func wake(channels map[chan struct{}]struct{}) {
	for changed := range channels {
		select {
		case changed <- struct{}{}:
		default: // it is awake
		}
	}
}
