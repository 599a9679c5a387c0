package authsvc

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

const (
	connectTimeout = time.Second
	// Bytes of one response. An answer about one token has at most 18 KiB.
	maxResponse = 1 << 20
)

// wire is the HTTP connections to one service.
type wire struct {
	settings Settings
	http     *http.Client
}

func newWire(settings Settings) *wire {
	config, timeout := settings.TLS.Clone(), min(settings.Timeout, connectTimeout)
	if config != nil {
		config.NextProtos = nil // see TLSNextProto
	}
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: timeout}).DialContext,
		TLSClientConfig:     config,
		TLSHandshakeTimeout: timeout,
		// HTTP/1.1 only. With HTTP/2 a retry would take the connection that has just failed.
		TLSNextProto:        map[string]func(string, *tls.Conn) http.RoundTripper{},
		MaxIdleConnsPerHost: maxInFlight,
		IdleConnTimeout:     4 * time.Second, // servers close idle connections after five seconds, or later
		DisableCompression:  true,
	}
	// A redirect would take our secret and the token to another place.
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &wire{settings, &http.Client{Transport: transport, CheckRedirect: stay}}
}

// introspection is the service's answers, in the order of the tokens.
type introspection struct {
	answers            []json.RawMessage
	date               time.Time // the service's clock when it answered; zero if it did not say
	sentAt, receivedAt float64   // our clock before the request and after the response
}

// introspect asks the service about these tokens, within the time limit. Introspection is safe to repeat, so any error
// on the way leads to one retry on another connection. A 503 of the service is passed on at once: the service has
// already retried.
func (w *wire) introspect(ctx context.Context, tokens []string) (*introspection, *Unavailable) {
	ctx, cancel := context.WithTimeout(ctx, w.settings.Timeout)
	defer cancel()
	answered, failure := w.introspectOnce(ctx, w.settings.Timeout/2, tokens) // a dead connection leaves time for the retry
	if failure != nil && failure.lost {
		w.http.CloseIdleConnections()
		answered, failure = w.introspectOnce(ctx, w.settings.Timeout, tokens)
	}
	return answered, failure
}

func (w *wire) introspectOnce(ctx context.Context, limit time.Duration, tokens []string) (*introspection, *Unavailable) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	path, kind, body := "/introspect", "application/x-www-form-urlencoded", "token="+url.QueryEscape(tokens[0])
	if len(tokens) > 1 {
		texts, _ := json.Marshal(map[string][]string{"tokens": tokens}) // texts have no error
		path, kind, body = "/introspect/batch", "application/json", string(texts)
	}
	sentAt := now()
	response, failure := w.send(ctx, http.MethodPost, path, body, "Content-Type", kind)
	if failure != nil {
		return nil, failure
	}
	defer response.Body.Close()
	answers, failure := answersIn(response, len(tokens))
	date, _ := http.ParseTime(response.Header.Get("Date"))
	return &introspection{answers, date, sentAt, now()}, failure
}

// send sends a request with our credentials and this header field. The status of the response is 200.
func (w *wire) send(ctx context.Context, method, path, body, field, value string) (*http.Response, *Unavailable) {
	request, err := http.NewRequestWithContext(ctx, method, w.settings.address+path, strings.NewReader(body))
	if err != nil {
		return nil, &Unavailable{Reason: err.Error()}
	}
	request.Header.Set("Accept-Encoding", "identity")
	request.Header.Set(field, value)
	w.settings.authorize(request)
	response, err := w.http.Do(request)
	if err != nil {
		return nil, &Unavailable{Reason: "the service can't be reached: " + err.Error(), lost: true, cause: err}
	}
	if response.StatusCode == http.StatusOK {
		return response, nil
	}
	response.Body.Close()
	return nil, failureOf(response)
}

// events reads the stream of changes until it ends. Each call of receive gets a chunk, and when the request was sent, by
// our clock. Silence of this length ends the stream.
func (w *wire) events(ctx context.Context, silence time.Duration, receive func(float64, []byte) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	end := time.AfterFunc(connectTimeout+silence, cancel)
	defer end.Stop()
	var sentAt atomic.Value // set by the transport, which may work in another goroutine
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) {
		sentAt.Store(now()) // the time to connect does not count
		end.Reset(silence)
	}})
	response, failure := w.send(ctx, http.MethodGet, "/events", "", "Accept", "text/event-stream")
	if failure != nil {
		return failure
	}
	defer response.Body.Close()
	chunk := make([]byte, 64<<10)
	for {
		read, ended := response.Body.Read(chunk)
		end.Reset(silence)
		if err := errors.Join(receive(sentAt.Load().(float64), chunk[:read]), ended); err != nil {
			return err
		}
	}
}

func failureOf(response *http.Response) *Unavailable {
	status := response.StatusCode
	after, _ := strconv.ParseUint(response.Header.Get("Retry-After"), 10, 31) // 0 for what is no number of seconds
	return &Unavailable{
		Reason:        fmt.Sprintf("the service answered %d", status),
		status:        status,
		RetryAfter:    time.Duration(after) * time.Second,
		Misconfigured: status < 500 && !slices.Contains([]int{408, 425, 429}, status),
		lost:          status == 502 || status == 504, // a gateway did not reach the service
	}
}

// answersIn returns one document for each of the tokens. A small compressed body can become a very large one, so the SDK
// asks for none.
func answersIn(response *http.Response, tokens int) (answers []json.RawMessage, failure *Unavailable) {
	body, err := io.ReadAll(io.LimitReader(response.Body, maxResponse+1))
	switch {
	case !slices.Contains([]string{"", "identity"}, response.Header.Get("Content-Encoding")):
		return nil, &Unavailable{Reason: "the service's answer is compressed, though the SDK asked for plain JSON"}
	case err != nil:
		return nil, &Unavailable{Reason: "the answer ended too early: " + err.Error(), lost: true, cause: err}
	case len(body) > maxResponse:
		return nil, &Unavailable{Reason: fmt.Sprintf("the service's answer is over %d bytes", maxResponse)}
	case !utf8.Valid(body) || !json.Valid(body):
		return nil, &Unavailable{Reason: "the service's answer is not JSON"}
	case tokens == 1:
		return []json.RawMessage{body}, nil
	case json.Unmarshal(body, &answers) != nil || len(answers) != tokens:
		return nil, &Unavailable{Reason: "the service's response has not one answer for each token"}
	}
	return answers, nil
}
