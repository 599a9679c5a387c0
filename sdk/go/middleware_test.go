package authsvc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const token = "tok_7Hk2pQ9xV3bN10000000000000000000014q60P2ZR2bw"

var activeAnswer = `{"active": true, "token_type": "Bearer", "sub": "ada", "client_id": "app",
	"session_id": "7Hk2pQ9xV3bN", "exp": 1800000900, "iat": 1800000000, "scope": "notes:read", "roles": ["editor"]}`

// service is a stand-in that says what the test wants about every token. Real services are in service_test.go.
type service struct {
	*httptest.Server
	mu     sync.Mutex
	answer string
	status int
	asked  []string // paths
	hold   chan struct{}
}

func newService(t *testing.T, answer string) *service {
	s := &service{answer: answer, status: 200}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		answer, status, hold := s.answer, s.status, s.hold
		s.asked = append(s.asked, r.URL.Path)
		s.mu.Unlock()
		if hold != nil {
			<-hold
		}
		w.WriteHeader(status)
		fmt.Fprint(w, answer)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *service) says(status int, answer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status, s.answer = status, answer
}

// holdAnswers holds all answers back until the function is called, or the test ends.
func (s *service) holdAnswers(t *testing.T) (release func()) {
	hold := make(chan struct{})
	s.mu.Lock()
	s.hold = hold
	s.mu.Unlock()
	release = sync.OnceFunc(func() { close(hold) })
	t.Cleanup(release)
	return release
}

func (s *service) requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

func open(t *testing.T, url string, options ...Option) *Introspector {
	t.Helper()
	auth, err := New(url, "backend", "sec_hidden", append([]Option{quiet}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(auth.Close)
	return auth
}

func call(handler http.Handler, method string, header ...string) *httptest.ResponseRecorder {
	request := httptest.NewRequest(method, "/", nil)
	for at := 0; at < len(header); at += 2 {
		request.Header.Add(header[at], header[at+1])
	}
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	return recorder
}

var whoami = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	fmt.Fprint(w, FromContext(r.Context()).Sub)
})

// The middleware passes a user who has what is required, and tells the handler who it is.
func TestMiddleware(t *testing.T) {
	s := newService(t, activeAnswer)
	auth := open(t, s.URL)
	for _, one := range []struct {
		need   Require
		header []string
		status int
	}{
		{Require{}, []string{"Authorization", "Bearer " + token}, 200},
		{Require{Scope: "notes:read", Role: "editor"}, []string{"Authorization", "Bearer " + token}, 200},
		{Require{Scope: "notes:write"}, []string{"Authorization", "Bearer " + token}, 403},
		{Require{Role: "admin"}, []string{"Authorization", "Bearer " + token}, 403},
		{Require{ACR: "aal1"}, []string{"Authorization", "Bearer " + token}, 401},
		{Require{MaxAge: time.Hour}, []string{"Authorization", "Bearer " + token}, 401},
		{Require{}, nil, 401},
		{Require{}, []string{"Authorization", "Basic YTpi"}, 401},
		{Require{}, []string{"Authorization", "Bearer tok_x"}, 401},
		{Require{}, []string{"Authorization", "Bearer a b"}, 400},
		{Require{}, []string{"Cookie", "__Host-session=" + token}, 401}, // no cookie was asked for
	} {
		answer := call(auth.Middleware(one.need)(whoami), "GET", one.header...)
		if answer.Code != one.status || (one.status == 200 && answer.Body.String() != "ada") {
			t.Errorf("%+v %v: %d %s", one.need, one.header, answer.Code, answer.Body)
		}
	}
}

// A 503 of the service becomes a 503, never a 401, and an inactive token a 401.
func TestThreeAnswers(t *testing.T) {
	s := newService(t, `{"active": false}`)
	protected := open(t, s.URL).Middleware(Require{})(whoami)
	for _, one := range []struct{ says, status int }{{200, 401}, {503, 503}, {401, 503}, {404, 503}} {
		s.says(one.says, `{"active": false}`)
		if answer := call(protected, "GET", "Authorization", "Bearer "+token); answer.Code != one.status {
			t.Errorf("%d became %d", one.says, answer.Code)
		}
	}
}

// A CORS preflight does not open a protected handler, because handlers of net/http often look at no method.
func TestPreflightsAreRefused(t *testing.T) {
	protected := open(t, newService(t, activeAnswer).URL).Middleware(Require{})(whoami)
	answer := call(protected, "OPTIONS", "Origin", "https://a.example", "Access-Control-Request-Method", "GET")
	if answer.Code != 401 {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
}

// A middleware inside of another one only demands more. It does not ask again.
func TestNestedMiddleware(t *testing.T) {
	s := newService(t, activeAnswer)
	auth := open(t, s.URL)
	inner := auth.Middleware(Require{Role: "admin"})(whoami)
	answer := call(auth.Middleware(Require{})(inner), "GET", "Authorization", "Bearer "+token)
	if answer.Code != 403 || s.requests() != 1 {
		t.Errorf("%d after %d requests", answer.Code, s.requests())
	}
	other := open(t, newService(t, `{"active": false}`).URL)
	answer = call(auth.Middleware(Require{})(other.Middleware(Require{})(whoami)), "GET", "Authorization", "Bearer "+token)
	if answer.Code != 401 {
		t.Errorf("the answer for another resource server counted: %d", answer.Code)
	}
}

// The cookie counts only if it was asked for, and a WebSocket's only from a page of the same host.
func TestCookies(t *testing.T) {
	protected := open(t, newService(t, activeAnswer).URL, func(s *Settings) { s.Cookie = "__Host-session" }).Middleware(Require{})(whoami)
	cookie := []string{"Cookie", "__Host-session=" + token}
	for _, one := range []struct {
		header []string
		status int
	}{
		{cookie, 200},
		{append(cookie, "Authorization", "Bearer "+token), 400},
		{append(cookie, "Upgrade", "websocket"), 401},
		{append(cookie, "Upgrade", "websocket", "Origin", "https://evil.example"), 401},
		{append(cookie, "Upgrade", "websocket", "Origin", "https://example.com"), 200}, // the host of httptest
		{append(cookie, "Upgrade", "websocket", "Origin", "null"), 401},
	} {
		if answer := call(protected, "GET", one.header...); answer.Code != one.status {
			t.Errorf("%v: %d", one.header, answer.Code)
		}
	}
}

// Authorize returns a context for servers that do not use net/http, or a *Refusal.
func TestAuthorize(t *testing.T) {
	s := newService(t, activeAnswer)
	auth := open(t, s.URL)
	ctx, err := auth.Authorize(context.Background(), []string{"Bearer " + token}, Require{})
	if err != nil || FromContext(ctx).Sub != "ada" {
		t.Fatal(err)
	}
	var refusal *Refusal
	if _, err := auth.Authorize(ctx, nil, Require{}); !errors.As(err, &refusal) || refusal.Status != 401 {
		t.Error(err)
	}
	if FromContext(context.Background()) != nil || FromContext(NewContext(ctx, &Active{Sub: "grace"})).Sub != "grace" {
		t.Error("another user")
	}
}

// The context of a stream ends with its token, and its cause says how to refuse the client.
func TestWhileActive(t *testing.T) {
	for _, one := range []struct{ says, status int }{{200, 401}, {503, 503}} {
		s := newService(t, activeAnswer)
		auth := open(t, s.URL)
		admitted, err := auth.Authorize(context.Background(), []string{"Bearer " + token}, Require{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := WhileActive(admitted)
		select {
		case <-ctx.Done():
			t.Fatal("it ended")
		case <-time.After(10 * time.Millisecond):
		}
		s.says(one.says, `{"active": false}`)
		<-ctx.Done()
		var refusal *Refusal
		if !errors.As(context.Cause(ctx), &refusal) || refusal.Status != one.status {
			t.Errorf("%v, want %d", context.Cause(ctx), one.status)
		}
		stop()
	}
	ctx, stop := WhileActive(context.Background())
	defer stop()
	var refusal *Refusal
	if <-ctx.Done(); !errors.As(context.Cause(ctx), &refusal) || refusal.Status != 401 {
		t.Error("a request without a token has a stream")
	}
}

// Callers share the request of a token that still waits, and never one that was sent before.
func TestQuestionsShareRequests(t *testing.T) {
	s := newService(t, activeAnswer)
	release := s.holdAnswers(t)
	auth := open(t, s.URL)
	var callers sync.WaitGroup
	var joined atomic.Int64
	ask := func() {
		callers.Add(1)
		go func() {
			defer callers.Done()
			asked := auth.lookups.join(token)
			joined.Add(1)
			<-asked.done
			if asked.answer.user == nil {
				t.Error(asked.answer.failure)
			}
		}()
	}
	for sent := range maxInFlight {
		ask()
		until(t, func() bool { return s.requests() == sent+1 })
	}
	for range 100 {
		ask()
	}
	until(t, func() bool { return joined.Load() == maxInFlight+100 })
	release()
	callers.Wait()
	if s.requests() != maxInFlight+1 {
		t.Errorf("%d requests", s.requests())
	}
}

// Nobody waits longer than the time limit. A question that nobody waits for any more is not asked.
func TestTheTimeLimit(t *testing.T) {
	s := newService(t, activeAnswer)
	s.holdAnswers(t)
	auth := open(t, s.URL, timeout(100*time.Millisecond))
	var failure *Unavailable
	if _, err := auth.Introspect(context.Background(), token); !errors.As(err, &failure) {
		t.Error(err)
	}
	auth = open(t, s.URL, timeout(100*time.Millisecond))
	auth.lookups.inFlight = maxInFlight // so this one is not sent
	if _, err := auth.Introspect(context.Background(), token); !errors.As(err, &failure) {
		t.Error(err)
	}
	if batch := auth.lookups.next(); len(batch) > 0 || len(auth.lookups.waiting) > 0 {
		t.Error("a question is asked for nobody")
	}
	auth.lookups.inFlight = 0
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := auth.Introspect(gone, token); !errors.Is(err, context.Canceled) || !errors.As(err, &failure) {
		t.Error(err)
	}
}

// After Close, nothing of the introspector runs on, also if an answer was on its way.
func TestCloseWaits(t *testing.T) {
	for range 50 {
		s := newService(t, activeAnswer)
		release := s.holdAnswers(t)
		auth := open(t, s.URL)
		asked := make(chan error)
		go func() {
			_, err := auth.Introspect(context.Background(), token)
			asked <- err
		}()
		until(t, func() bool { return s.requests() == 1 })
		auth.Close()
		auth.lookups.idle.L.Lock()
		if auth.lookups.inFlight != 0 {
			t.Error("a request runs on")
		}
		auth.lookups.idle.L.Unlock()
		var failure *Unavailable
		if err := <-asked; !errors.As(err, &failure) {
			t.Error(err)
		}
		if _, err := auth.Introspect(context.Background(), token); !errors.As(err, &failure) {
			t.Error(err)
		}
		auth.Close() // as often as one likes
		release()
	}
}

// The log gets the reason and the remedy, once a minute at most for each kind of failure, and no secret.
func TestTheLog(t *testing.T) {
	clock := moveClock(t, 1000)
	s := newService(t, "")
	var written bytes.Buffer
	auth := open(t, strings.Replace(s.URL, "http://", "http://me:hidden@", 1), logTo(&written))
	for _, one := range []struct {
		status, lines int
		forward       float64
	}{{503, 1, 0}, {500, 1, 59}, {401, 2, 0}, {403, 2, 0}, {503, 3, 1}, {403, 4, 60}} {
		clock.forward(one.forward)
		s.says(one.status, "")
		_, _ = auth.Introspect(context.Background(), token)
		if lines := strings.Count(written.String(), "\n"); lines != one.lines {
			t.Errorf("%d: %d lines", one.status, lines)
		}
	}
	for _, word := range []string{"level=WARN", "remedy=", "level=ERROR", "permission", s.URL} {
		if !strings.Contains(written.String(), word) {
			t.Errorf("no %s in %s", word, written.String())
		}
	}
	auth.lookups.idle.L.Lock()
	auth.lookups.waiting[token] = &question{token: token}
	auth.lookups.idle.L.Unlock()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%q"} {
		fmt.Fprintf(&written, verb, auth)
	}
	for _, secret := range []string{"hidden", token} {
		if strings.Contains(written.String(), secret) {
			t.Errorf("%s in %s", secret, written.String())
		}
	}
}

// The log tells which of our settings the service refuses.
func TestTheLogOfARefusal(t *testing.T) {
	for status, remedy := range map[int]string{
		400: "check the address of the service, our client_id, secret and permission",
		401: "authsvc client rotate-secret ID",
		403: "authsvc client update ID --permission introspect",
		404: "this is not the address of authsvc",
		405: "this is not the address of authsvc",
	} {
		s := newService(t, "")
		s.says(status, "")
		var written bytes.Buffer
		_, _ = open(t, s.URL, logTo(&written)).Introspect(context.Background(), token)
		if !strings.Contains(written.String(), remedy) {
			t.Errorf("%d: %s", status, written.String())
		}
	}
}

// The certificate of the service is verified, and a setting that turns this off is refused.
func TestTLSIsVerified(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, activeAnswer)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	var failure *Unavailable
	if _, err := open(t, s.URL).Introspect(context.Background(), token); !errors.As(err, &failure) {
		t.Error(err)
	}
	trusting := s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	trusting.NextProtos = []string{"h2"} // the SDK speaks HTTP/1.1 all the same
	if _, err := open(t, s.URL, func(s *Settings) { s.TLS = trusting }).Introspect(context.Background(), token); err != nil {
		t.Error(err)
	}
	careless := trusting.Clone()
	careless.InsecureSkipVerify = true
	if _, err := New(s.URL, "backend", "sec_hidden", func(s *Settings) { s.TLS = careless }); err == nil {
		t.Error("it was taken")
	}
}

// A setting that is wrong is an error of New.
func TestSettings(t *testing.T) {
	for _, url := range []string{
		"", "auth.example.org", "ftp://auth.example.org", "http://", "://", "https:auth", "http://:80",
		"http://auth?x=1", "http://auth/?", "http://auth#", "http://auth/a b", "http://auth/\u00a0", " http://auth",
		"http://me:pa55w0rd@auth/?x", "http://me:pa55w0rd@auth:x",
	} {
		_, err := New(url, "backend", "sec_hidden")
		if err == nil || !strings.HasPrefix(err.Error(), "authsvc: url has to begin with http:// or https://") {
			t.Errorf("%q: %v", url, err)
		} else if strings.Contains(err.Error(), "pa55w0rd") {
			t.Error(err)
		}
	}
	if auth, err := New("HTTP://auth.example.org/base/", "backend", "sec_hidden", quiet); err != nil {
		t.Error(err)
	} else {
		auth.Close()
	}
	for at, option := range []Option{
		timeout(0),
		func(s *Settings) { s.CacheSize = 0 },
		func(s *Settings) { s.CacheMaxAge = 0 },
		func(s *Settings) { s.FeedSilence = time.Second },
		func(s *Settings) { s.ServeStaleFor = time.Second },
	} {
		if _, err := New("http://auth.example.org", "backend", "sec_hidden", option); err == nil {
			t.Errorf("option %d was taken", at)
		}
	}
	if _, err := New("http://auth.example.org", "backend", ""); err == nil {
		t.Error("no secret was taken")
	}
}

// A closed introspector can't tell.
func TestClosed(t *testing.T) {
	auth := open(t, newService(t, activeAnswer).URL, WithCache())
	auth.Close()
	var failure *Unavailable
	if _, err := auth.Introspect(context.Background(), token); !errors.As(err, &failure) {
		t.Error(err)
	}
}

// until waits for a condition, for ten seconds at most.
func until(t *testing.T, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen")
		}
	}
}
