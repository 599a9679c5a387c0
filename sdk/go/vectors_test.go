package authsvc

import (
	"encoding/json"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"sort"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// vectors reads a file that every SDK runs. ../vectors/README.md explains it.
func vectors[T any](t *testing.T, name string) (read T) {
	t.Helper()
	folder := os.Getenv("SDK_VECTORS") // the suite of the repository gives a folder with changed vectors
	if folder == "" {
		folder = filepath.Join("..", "vectors")
	}
	text, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	return read
}

// testClock is a clock that a test moves. Any goroutine may read it.
type testClock struct{ bits atomic.Uint64 }

func (c *testClock) at() float64        { return math.Float64frombits(c.bits.Load()) }
func (c *testClock) move(at float64)    { c.bits.Store(math.Float64bits(at)) }
func (c *testClock) forward(by float64) { c.move(c.at() + by) }

// moved is the clock of the test that runs, or nil for the clock of the machine.
var moved atomic.Pointer[testClock]

// The SDK gets its clock once, because a goroutine of an earlier test may still read it.
func init() {
	machine := now
	now = func() float64 {
		if clock := moved.Load(); clock != nil {
			return clock.at()
		}
		return machine()
	}
}

// moveClock lets the test say what time it is. No introspector with a cache may be open.
func moveClock(t *testing.T, start float64) *testClock {
	t.Helper()
	clock := &testClock{}
	clock.move(start)
	moved.Store(clock)
	t.Cleanup(func() { moved.Store(nil) })
	return clock
}

type expectedRefusal struct {
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers"`
	Body    map[string]string `json:"body"`
}

// expectRefusal compares a refusal byte by byte. want nil: there is none.
func expectRefusal(t *testing.T, err error, want *expectedRefusal) {
	t.Helper()
	if (err != nil) != (want != nil) {
		t.Fatalf("refused: %v, want %v", err, want)
	}
	if want == nil {
		return
	}
	refusal := Refuse(err)
	headers := map[string]string{}
	for name, values := range refusal.Header() {
		headers[strings.ToLower(name)] = strings.Join(values, " | ")
	}
	wanted := map[string]string{}
	for name, value := range want.Headers {
		wanted[strings.ToLower(name)] = value
	}
	var body map[string]string
	if err := json.Unmarshal(refusal.Body(), &body); err != nil {
		t.Fatal(err)
	}
	if refusal.Status != want.Status || !reflect.DeepEqual(headers, wanted) || !reflect.DeepEqual(body, want.Body) {
		t.Errorf("got %d %v %v\nwant %d %v %v", refusal.Status, headers, body, want.Status, wanted, want.Body)
	}
}

func TestVectorsOfTokens(t *testing.T) {
	type file struct {
		Prefixes []string `json:"foreign_key_prefixes"`
		Cases    []struct {
			Name, Text string
			Handle     *string
		}
	}
	read := vectors[file](t, "tokens.json")
	for _, one := range read.Cases {
		if isToken(one.Text, read.Prefixes) != (one.Handle != nil) {
			t.Errorf("%s: %q", one.Name, one.Text)
		} else if one.Handle != nil && handleOf(one.Text) != *one.Handle {
			t.Errorf("%s: handle %s", one.Name, handleOf(one.Text))
		}
	}
}

func TestVectorsOfDigests(t *testing.T) {
	type file struct {
		Keys        []struct{ Key, Digest string }
		OwnClientID string `json:"own_client_id"`
		Answers     []struct {
			Token    string
			Active   bool
			Sub      string
			ClientID string `json:"client_id"`
			Clients  []string
			Digests  []string
		}
	}
	read := vectors[file](t, "digests.json")
	for _, one := range read.Keys {
		if one.Digest != digestOfKey(one.Key) {
			t.Errorf("%s: not %s", one.Key, one.Digest)
		}
	}
	s, _ := settingsOf("http://auth", "backend", "secret", nil)
	all := newCache(read.OwnClientID, s).keysOfAll
	for _, one := range read.Answers {
		var user *Active
		if one.Active {
			user = &Active{Sub: one.Sub, ClientID: one.ClientID, Clients: one.Clients}
		}
		digests := append(keysOf(one.Token, user), all...)
		sort.Strings(digests)
		if !reflect.DeepEqual(digests, one.Digests) {
			t.Errorf("%s: %v, want %v", one.Token, digests, one.Digests)
		}
	}
}

func TestVectorsOfEvents(t *testing.T) {
	type file struct {
		Cases []struct {
			Name   string
			Base64 []byte
			Events [][2]string
		}
	}
	for _, one := range vectors[file](t, "events.json").Cases {
		for size := 1; size <= len(one.Base64); size++ {
			got, rest, events := [][2]string{}, one.Base64, parser{}
			for len(rest) > 0 {
				chunk := rest[:min(size, len(rest))]
				rest = rest[len(chunk):]
				err := events.feed(chunk, func(name, data string) error {
					got = append(got, [2]string{name, data})
					return nil
				})
				if err != nil {
					t.Errorf("%s: %v", one.Name, err)
				}
			}
			if !reflect.DeepEqual(got, one.Events) {
				t.Fatalf("%s in chunks of %d: %q, want %q", one.Name, size, got, one.Events)
			}
		}
	}
}

type feedStep struct {
	At       float64
	Do       string
	Text     *string
	Base64   []byte
	Times    int
	Broken   bool
	Token    string
	Active   bool
	Sub      string
	ClientID string `json:"client_id"`
	Until    *float64
	Exp      *float64
	Cached   *string
	Stale    *string
}

func TestVectorsOfTheFeed(t *testing.T) {
	type file struct {
		Cases []struct {
			Name     string
			Settings struct {
				ClientID      string  `json:"client_id"`
				CacheSize     int     `json:"cache_size"`
				CacheMaxAge   float64 `json:"cache_max_age_s"`
				FeedSilence   float64 `json:"feed_silence_s"`
				ServeStaleFor float64 `json:"serve_stale_for_s"`
			}
			Steps []feedStep
		}
	}
	for _, one := range vectors[file](t, "feed.json").Cases {
		t.Run(one.Name, func(t *testing.T) {
			set := one.Settings
			cached := newCache(set.ClientID, Settings{
				CacheSize:     set.CacheSize,
				CacheMaxAge:   time.Duration(set.CacheMaxAge * float64(time.Second)),
				FeedSilence:   time.Duration(set.FeedSilence * float64(time.Second)),
				ServeStaleFor: time.Duration(set.ServeStaleFor * float64(time.Second)),
			})
			play := transcript{t: t, clock: moveClock(t, 0), cache: cached, marks: map[string][]uint64{}}
			for at, step := range one.Steps {
				play.step(at, step)
			}
		})
	}
}

type transcript struct {
	t     *testing.T
	clock *testClock
	cache *cache
	feed  *feed
	marks map[string][]uint64
}

func (p *transcript) step(at int, step feedStep) {
	p.clock.move(step.At)
	switch step.Do {
	case "open":
		p.feed = &feed{cache: p.cache, requestedAt: step.At}
	case "receive":
		chunk := step.Base64
		if step.Text != nil {
			chunk = []byte(*step.Text)
		}
		var err error
		for range step.Times {
			if err = p.feed.receive(chunk); err != nil {
				p.cache.disconnect()
				break
			}
		}
		if (err != nil) != step.Broken {
			p.t.Errorf("step %d: broken: %v, want %v", at, err, step.Broken)
		}
	case "end":
		p.cache.disconnect()
	case "ask":
		p.marks[step.Token] = append(p.marks[step.Token], p.cache.changes.Load())
	case "answer":
		var user *Active
		if step.Active {
			user = &Active{Sub: step.Sub, ClientID: step.ClientID, SessionID: handleOf(step.Token)}
		}
		mark := p.marks[step.Token][0]
		p.marks[step.Token] = p.marks[step.Token][1:]
		p.cache.keep(step.Token, user, mark, orInf(step.Until), orInf(step.Exp))
	case "check":
		user, found := p.cache.get(step.Token)
		p.expect(at, "cached", user, found, step.Cached)
		user, found = p.cache.getStale(step.Token)
		p.expect(at, "stale", user, found, step.Stale)
	default:
		p.t.Fatalf("step %d: %q is unknown", at, step.Do)
	}
}

func (p *transcript) expect(at int, what string, user *Active, found bool, want *string) {
	said := "null"
	if found {
		said = "inactive"
		if user != nil {
			said = "active"
		}
	}
	wanted := "null"
	if want != nil {
		wanted = *want
	}
	if said != wanted {
		p.t.Errorf("step %d: %s is %s, want %s", at, what, said, wanted)
	}
}

func orInf(at *float64) float64 {
	if at == nil {
		return math.Inf(1)
	}
	return *at
}

func TestVectorsOfDeadlines(t *testing.T) {
	type file struct {
		Cases []struct {
			Name  string
			Steps []struct {
				Date       *float64
				ReceivedAt float64 `json:"received_at"`
				Convert    int64
				TookS      float64 `json:"took_s"`
				Ours       float64
			}
		}
	}
	for _, one := range vectors[file](t, "deadlines.json").Cases {
		clock := serverClock{}
		for _, step := range one.Steps {
			if step.Date != nil {
				clock.observe(*step.Date, step.ReceivedAt)
			} else if ours := clock.ours(step.Convert, step.TookS); math.Abs(ours-step.Ours) > 1e-6 {
				t.Errorf("%s: %f, want %f", one.Name, ours, step.Ours)
			}
		}
	}
}

func TestVectorsOfCredentials(t *testing.T) {
	type file struct {
		Cases []struct {
			Name    string
			Headers [][2]string
			Cookie  *string
			Token   *string
			Refused *expectedRefusal
		}
	}
	for _, one := range vectors[file](t, "credentials.json").Cases {
		t.Run(one.Name, func(t *testing.T) {
			request := &http.Request{Header: http.Header{}}
			for _, pair := range one.Headers {
				request.Header.Add(pair[0], latin1(pair[1]))
			}
			from := &Introspector{}
			if one.Cookie != nil {
				from.settings.Cookie = *one.Cookie
			}
			token, refusal := from.tokenOf(request)
			if one.Token == nil && one.Refused == nil { // no token, and so no error code
				one.Refused = &expectedRefusal{401, missing, map[string]string{
					"error": "invalid_token", "error_description": "an access token is required"}}
			}
			expectRefusal(t, refusal, one.Refused)
			if one.Token != nil && token != latin1(*one.Token) {
				t.Errorf("%q, want %q", token, *one.Token)
			}
		})
	}
}

var missing = map[string]string{
	"Content-Type": "application/json", "Cache-Control": "no-store", "WWW-Authenticate": `Bearer realm="api"`,
}

// latin1 returns the bytes that the characters stand for.
func latin1(text string) string {
	var raw []byte
	for _, char := range text {
		raw = append(raw, byte(char))
	}
	return string(raw)
}

func TestVectorsOfChallenges(t *testing.T) {
	type file struct {
		Now     int64
		Demands []struct {
			Name string
			User *struct {
				Sub, Scope string
				Roles      []string
				AuthTime   *int64 `json:"auth_time"`
				ACR        string
			}
			Demand struct {
				Scope, Role, ACR string
				MaxAgeS          *int64 `json:"max_age_s"`
			}
			Refused *expectedRefusal
		}
		Inactive    expectedRefusal
		Unavailable []struct {
			RetryAfterS int64 `json:"retry_after_s"`
			Refused     expectedRefusal
		}
		RefusedClient expectedRefusal `json:"refused_client"`
	}
	read := vectors[file](t, "challenges.json")
	before := wallNow
	wallNow = func() time.Time { return time.Unix(read.Now, 0) }
	defer func() { wallNow = before }()
	for _, one := range read.Demands {
		t.Run(one.Name, func(t *testing.T) {
			need := Require{Scope: one.Demand.Scope, Role: one.Demand.Role, ACR: one.Demand.ACR}
			if one.Demand.MaxAgeS != nil {
				if *one.Demand.MaxAgeS > math.MaxInt64/int64(time.Second) {
					t.Skip("a time.Duration has at most 292 years")
				}
				// The zero value demands nothing, so zero seconds are any time below one.
				need.MaxAge = max(time.Duration(*one.Demand.MaxAgeS)*time.Second, 1)
			}
			var user *Active
			if one.User != nil {
				user = &Active{Sub: one.User.Sub, Scope: one.User.Scope, Roles: one.User.Roles, ACR: one.User.ACR}
				if one.User.AuthTime != nil {
					user.AuthTime = time.Unix(*one.User.AuthTime, 0)
				}
			}
			expectRefusal(t, need.Check(user), one.Refused)
		})
	}
	expectRefusal(t, Refuse(ErrInactive), &read.Inactive)
	for _, one := range read.Unavailable {
		failure := &Unavailable{}
		failure.RetryAfter = time.Duration(one.RetryAfterS) * time.Second
		expectRefusal(t, Refuse(failure), &one.Refused)
	}
	expectRefusal(t, Refuse(&Unavailable{Misconfigured: true}), &read.RefusedClient)
}
