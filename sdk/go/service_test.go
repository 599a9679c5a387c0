package authsvc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// realService is a process of authsvc with a store of its own. AUTHSVC_PROGRAM names the program.
type realService struct {
	t          testing.TB
	url        string
	directory  string
	process    *exec.Cmd
	ended      chan struct{}
	id, secret string // of an admin
}

// startService starts a service that ends with the test.
func startService(t testing.TB) *realService {
	t.Helper()
	program := os.Getenv("AUTHSVC_PROGRAM")
	if program == "" {
		t.Skip("AUTHSVC_PROGRAM is not set: it names the program authsvc")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	listener.Close()
	s := &realService{t: t, url: fmt.Sprintf("http://127.0.0.1:%d", port), directory: t.TempDir()}
	t.Cleanup(s.stop)
	s.start(program, port)
	return s
}

func (s *realService) start(program string, port int) {
	s.t.Helper()
	var output lockedBuffer
	s.process = exec.Command(program, "serve")
	s.process.Dir, s.process.Stdout, s.process.Stderr = s.directory, &output, &output
	s.process.Env = append(foreignEnvironment(), fmt.Sprintf("AUTHSVC_PORT=%d", port),
		"AUTHSVC_DATA_DIR="+filepath.Join(s.directory, "data"),
		"AUTHSVC_ARGON2_MEMORY_KIB=8", "AUTHSVC_ARGON2_TIME_COST=1")
	if err := s.process.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.ended = make(chan struct{})
	go func() {
		_ = s.process.Wait()
		close(s.ended)
	}()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		response, err := http.Get(s.url + "/readyz")
		if err == nil {
			response.Body.Close()
			if response.StatusCode == 200 {
				break
			}
		}
		select {
		case <-s.ended:
			s.t.Fatalf("it ended\n%s", output.String())
		default:
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("it does not answer: %v\n%s", err, output.String())
		}
	}
	printed := regexp.MustCompile(`client_id +(\S+)\s+client_secret +(\S+)`).FindStringSubmatch(output.String())
	if printed != nil {
		s.id, s.secret = printed[1], printed[2]
	}
}

func (s *realService) stop() {
	if s.ended != nil {
		_ = s.process.Process.Signal(syscall.SIGTERM)
		<-s.ended
	}
}

// foreignEnvironment is the environment without settings of the service, which refuses those that it does not know.
func foreignEnvironment() (kept []string) {
	for _, one := range os.Environ() {
		if !strings.HasPrefix(one, "AUTHSVC_") {
			kept = append(kept, one)
		}
	}
	return kept
}

type lockedBuffer struct {
	mu      sync.Mutex
	written bytes.Buffer
}

func (b *lockedBuffer) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.written.Write(text)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.written.String()
}

// post sends JSON, or a form if the body is text, as the admin.
func (s *realService) post(path string, body any) map[string]any {
	s.t.Helper()
	kind, text := "application/x-www-form-urlencoded", []byte{}
	if form, ok := body.(string); ok {
		text = []byte(form)
	} else {
		kind = "application/json"
		text, _ = json.Marshal(body)
	}
	request, err := http.NewRequest("POST", s.url+path, bytes.NewReader(text))
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("Content-Type", kind)
	if path != "/login" {
		request.SetBasicAuth(s.id, s.secret)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	var answer map[string]any
	_ = json.NewDecoder(response.Body).Decode(&answer)
	if response.StatusCode >= 300 {
		s.t.Fatalf("%s: %d %v", path, response.StatusCode, answer)
	}
	return answer
}

const password = "a walk by the river"

func (s *realService) user(name string) {
	s.t.Helper()
	s.post("/admin/users", map[string]any{"username": name, "password": password, "roles": []string{"editor"}})
}

func (s *realService) login(name string) string {
	s.t.Helper()
	return s.post("/login", map[string]any{"username": name, "password": password})["access_token"].(string)
}

func (s *realService) introspector(options ...Option) *Introspector {
	s.t.Helper()
	made := s.post("/admin/clients", map[string]any{"name": "orders", "permissions": []string{"introspect"}})
	auth, err := New(s.url, made["client_id"].(string), made["client_secret"].(string), append(options, quiet)...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(auth.Close)
	return auth
}

// A real service, its feed and the cache: an answer is cached, and gone when the token is revoked.
func TestARealService(t *testing.T) {
	s := startService(t)
	s.user("ada")
	auth, token := s.introspector(WithCache()), s.login("ada")
	protected := auth.Middleware(Require{Role: "editor"})(whoami)
	bearer := []string{"Authorization", "Bearer " + token}
	waitUntilCached(t, auth, token)
	if answer := call(protected, "GET", bearer...); answer.Code != 200 || answer.Body.Len() == 0 {
		t.Fatalf("%d %s", answer.Code, answer.Body)
	}
	admitted, err := auth.Authorize(context.Background(), []string{"Bearer " + token}, Require{})
	if err != nil {
		t.Fatal(err)
	}
	stream, stop := WhileActive(admitted)
	defer stop()
	s.post("/revoke", "token="+token)
	revoked := time.Now()
	until(t, func() bool { return call(protected, "GET", bearer...).Code == 401 })
	if took := time.Since(revoked); took > time.Second {
		t.Errorf("accepted for %v", took)
	}
	<-stream.Done()
	var refusal *Refusal
	if !errors.As(context.Cause(stream), &refusal) || refusal.Status != 401 {
		t.Error(context.Cause(stream))
	}

	// Several tokens in one request.
	tokens := []string{s.login("ada"), s.login("ada"), token}
	batch := []*question{{token: tokens[0]}, {token: tokens[1]}, {token: tokens[2]}}
	auth.fetch(batch)
	for at, asked := range batch {
		if (asked.answer.user != nil) != (at < 2) || asked.answer.failure != nil {
			t.Errorf("%+v", asked.answer)
		}
	}
	wrong, err := New(s.url, s.id, "sec_wrong", WithCache(), quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer wrong.Close()
	var failure *Unavailable
	if _, err := wrong.Introspect(context.Background(), tokens[0]); !errors.As(err, &failure) || !failure.Misconfigured {
		t.Error(err)
	}

	// A service that ends is neither a yes nor a logout.
	token = tokens[0]
	waitUntilCached(t, auth, token)
	s.stop()
	until(t, func() bool {
		return call(protected, "GET", "Authorization", "Bearer "+token).Code == 503
	})
}

func waitUntilCached(t testing.TB, auth *Introspector, token string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := auth.Introspect(context.Background(), token); err != nil {
			t.Fatal(err)
		}
		if _, known := auth.Cached(token); known {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing is cached")
		}
	}
}
