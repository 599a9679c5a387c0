package authsvc

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

var quiet = logTo(io.Discard)

func logTo(written io.Writer) Option {
	return func(s *Settings) { s.Logger = slog.New(slog.NewTextHandler(written, nil)) }
}

func timeout(limit time.Duration) Option {
	return func(s *Settings) { s.Timeout = limit }
}

type scriptedResponse struct {
	Do         string
	Status     int
	Headers    map[string]string
	Body       *string
	BodyLatin1 *string `json:"body_latin1"`
	Padding    int
}

// write sends the response. It returns when the connection may be closed.
func (r scriptedResponse) write(connection net.Conn) {
	if r.Do == "close" {
		return
	}
	if r.Do == "hang" {
		_, _ = io.Copy(io.Discard, connection) // until the SDK gives up
		return
	}
	body := ""
	if r.Body != nil {
		body = *r.Body
	} else if r.BodyLatin1 != nil {
		body = latin1(*r.BodyLatin1)
	}
	body += strings.Repeat(" ", r.Padding)
	length := len(body)
	if r.Do == "cut" {
		length += 100
	}
	headers := map[string]string{
		"Date": "Fri, 15 Jan 2027 08:00:00 GMT", "Content-Type": "application/json", "Connection": "close",
		"Content-Length": fmt.Sprint(length),
	}
	for name, value := range r.Headers {
		headers[name] = value
	}
	head := fmt.Sprintf("HTTP/1.1 %d %s\r\n", r.Status, http.StatusText(r.Status))
	for name, value := range headers {
		if value != "" {
			head += name + ": " + value + "\r\n"
		}
	}
	_, _ = io.WriteString(connection, head+"\r\n"+body)
}

// scripted is a server that gives these responses in order, one a connection, and repeats the last one.
type scripted struct {
	net.Listener
	responses []scriptedResponse
	requests  atomic.Int64
}

func serveScript(t *testing.T, responses []scriptedResponse) *scripted {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &scripted{Listener: listener, responses: responses}
	t.Cleanup(func() { listener.Close() })
	go s.serve()
	return s
}

func (s *scripted) url() string { return "http://" + s.Addr().String() }

func (s *scripted) serve() {
	for {
		connection, err := s.Accept()
		if err != nil {
			return
		}
		go func() {
			defer connection.Close()
			request, err := http.ReadRequest(bufio.NewReader(connection))
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, request.Body)
			at := int(s.requests.Add(1)) - 1
			s.responses[min(at, len(s.responses)-1)].write(connection)
		}()
	}
}

func TestVectorsOfIntrospection(t *testing.T) {
	type file struct {
		Token    string
		TimeoutS float64 `json:"timeout_s"`
		Cases    []struct {
			Name      string
			Audience  string
			Responses []scriptedResponse
			Requests  int64
			Outcome   struct {
				Answer      string
				RetryAfterS int64 `json:"retry_after_s"`
				Cacheable   bool
				User        map[string]any
			}
		}
	}
	read := vectors[file](t, "introspection.json")
	for _, one := range read.Cases {
		t.Run(one.Name, func(t *testing.T) {
			t.Parallel()
			server := serveScript(t, one.Responses)
			limit := time.Duration(read.TimeoutS * float64(time.Second))
			hangs := func(response scriptedResponse) bool { return response.Do == "hang" }
			if !slices.ContainsFunc(one.Responses, hangs) {
				limit *= 20 // for a busy machine
			}
			auth, err := New(server.url(), "backend", "sec_x", timeout(limit), quiet, func(s *Settings) {
				s.Audience = one.Audience
			})
			if err != nil {
				t.Fatal(err)
			}
			defer auth.Close()
			// A cache without a feed, to see what may be kept.
			auth.cache = newCache("backend", auth.settings)
			auth.cache.forgetAll()
			user, err := auth.Introspect(context.Background(), read.Token)
			want := one.Outcome
			var failure *Unavailable
			switch errors.As(err, &failure); {
			case err == nil:
				expect(t, "answer", "active", want.Answer)
				got := described(user)
				for name, value := range want.User {
					expect(t, name, got[name], value)
				}
			case errors.Is(err, ErrInactive):
				expect(t, "answer", "inactive", want.Answer)
			case failure.Misconfigured:
				expect(t, "answer", "refused", want.Answer)
			default:
				expect(t, "answer", "unavailable", want.Answer)
				expect(t, "retry_after_s", int64(failure.RetryAfter/time.Second), want.RetryAfterS)
			}
			auth.cache.mu.Lock()
			expect(t, "cacheable", len(auth.cache.parts[true].entries)+len(auth.cache.parts[false].entries) > 0, want.Cacheable)
			auth.cache.mu.Unlock()
			expect(t, "requests", server.requests.Load(), one.Requests)
		})
	}
}

func expect(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// described returns the user as the vectors write it.
func described(user *Active) map[string]any {
	var act, claims any = nil, map[string]any{}
	if user.Claims != nil {
		_ = json.Unmarshal(user.Claims, &claims)
	}
	if user.Act != nil {
		_ = json.Unmarshal(user.Act, &act)
	}
	orNil := func(text string) any {
		if text == "" {
			return nil
		}
		return text
	}
	list := func(texts []string) []any {
		items := []any{}
		for _, text := range texts {
			items = append(items, text)
		}
		return items
	}
	var authTime any
	if !user.AuthTime.IsZero() {
		authTime = float64(user.AuthTime.Unix())
	}
	return map[string]any{
		"sub": user.Sub, "client_id": user.ClientID, "session_id": user.SessionID,
		"exp": float64(user.Exp.Unix()), "iat": float64(user.Iat.Unix()), "auth_time": authTime,
		"scope": user.Scope, "scopes": list(strings.Fields(user.Scope)), "username": orNil(user.Username),
		"roles": list(user.Roles), "amr": list(user.AMR), "acr": orNil(user.ACR),
		"vouched_by": orNil(user.VouchedBy), "token_use": orNil(user.TokenUse), "act": act,
		"clients": list(user.Clients), "aud": list(user.Aud),
		"version": float64(user.Version), "claims": claims,
	}
}
