package authsvc

import (
	"bytes"
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
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	connectTimeout = time.Second
	// Bytes of one response. An answer about one token has at most 18 KiB.
	maxResponse = 1 << 20
)

// wire is the HTTP connections to one service.
type wire struct {
	address   string // of the service, without a trailing slash
	authorize func(*http.Request)
	timeout   time.Duration
	transport *http.Transport
	http      *http.Client
}

func newWire(address, clientID, secret string, timeout time.Duration, config *tls.Config) *wire {
	if config != nil {
		config = config.Clone()
		config.NextProtos = nil // see TLSNextProto
	}
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: min(timeout, connectTimeout)}).DialContext,
		TLSClientConfig:     config,
		TLSHandshakeTimeout: min(timeout, connectTimeout),
		// HTTP/1.1 only. With HTTP/2 a retry would take the connection that has just failed.
		TLSNextProto:        map[string]func(string, *tls.Conn) http.RoundTripper{},
		MaxIdleConnsPerHost: maxInFlight,
		IdleConnTimeout:     4 * time.Second, // servers close idle connections after five seconds, or later
		DisableCompression:  true,
	}
	return &wire{
		address: address,
		// A function, because fmt prints no secret that a function holds.
		authorize: func(request *http.Request) { request.SetBasicAuth(clientID, secret) },
		timeout:   timeout,
		transport: transport,
		http: &http.Client{
			Transport: transport,
			// A redirect would take our secret and the token to another place.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// introspection is the service's answers, in the order of the tokens.
type introspection struct {
	answers          []json.RawMessage
	date             float64 // the service's clock when it answered, in epoch seconds
	dated            bool
	sentAt, received float64 // our clock before the request and after the response
}

func (i *introspection) took() float64 { return i.received - i.sentAt }

// introspect asks the service about these tokens, within the time limit. Introspection is safe to repeat, so any error
// on the way leads to one retry on another connection. A 503 of the service is passed on at once: the service has
// already retried.
func (w *wire) introspect(ctx context.Context, tokens []string) (*introspection, *Unavailable) {
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	response, err := w.introspectWithin(ctx, w.timeout/2, tokens) // a dead connection leaves time for the retry
	var failure *Unavailable
	if err != nil && !errors.As(err, &failure) {
		w.transport.CloseIdleConnections()
		response, err = w.introspectWithin(ctx, w.timeout, tokens)
	}
	switch {
	case err == nil:
		return response, nil
	case errors.As(err, &failure):
		return nil, failure
	case errors.Is(err, context.DeadlineExceeded):
		return nil, unavailable(fmt.Sprintf("no answer within %v", w.timeout))
	}
	return nil, unavailable("the service can't be reached: " + err.Error())
}

func (w *wire) introspectWithin(ctx context.Context, limit time.Duration, tokens []string) (*introspection, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	request, err := w.question(ctx, tokens)
	if err != nil {
		return nil, err
	}
	sentAt := now()
	response, err := w.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusBadGateway || response.StatusCode == http.StatusGatewayTimeout {
		// The gateway did not reach the service: worth a retry.
		return nil, fmt.Errorf("a gateway answered %d", response.StatusCode)
	}
	if failure := failureIn(response); failure != nil {
		return nil, failure
	}
	body, err := bodyOf(response)
	if err != nil {
		return nil, err
	}
	answers, failure := answersIn(body, len(tokens))
	if failure != nil {
		return nil, failure
	}
	read := &introspection{answers: answers, sentAt: sentAt, received: now()}
	if date, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		read.date, read.dated = float64(date.Unix()), true
	}
	return read, nil
}

func (w *wire) question(ctx context.Context, tokens []string) (*http.Request, error) {
	if len(tokens) > 1 {
		body, _ := json.Marshal(map[string][]string{"tokens": tokens}) // texts have no error
		return w.request(ctx, http.MethodPost, "/introspect/batch", "application/json", bytes.NewReader(body))
	}
	body := strings.NewReader("token=" + url.QueryEscape(tokens[0]))
	return w.request(ctx, http.MethodPost, "/introspect", "application/x-www-form-urlencoded", body)
}

// request makes a request with our credentials. kind: of the body, if there is one.
func (w *wire) request(ctx context.Context, method, path, kind string, body io.Reader) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, method, w.address+path, body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		request.Header.Set("Content-Type", kind)
	}
	request.Header.Set("Accept-Encoding", "identity")
	w.authorize(request)
	return request, nil
}

// events reads the stream of changes until it ends. Each call of receive gets a chunk, and when the request was sent, by
// our clock. Silence of this length ends the stream.
func (w *wire) events(ctx context.Context, silence time.Duration, receive func(float64, []byte) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	end := time.AfterFunc(connectTimeout+silence, cancel)
	defer end.Stop()
	var sentAt atomic.Value // set by the transport, which may work in another goroutine
	sentAt.Store(now())
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) {
		sentAt.Store(now()) // the time to connect does not count
		end.Reset(silence)
	}})
	request, err := w.request(ctx, http.MethodGet, "/events", "", nil)
	if err != nil {
		return err
	}
	response, err := w.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if failure := failureIn(response); failure != nil {
		return failure
	}
	chunk := make([]byte, 64<<10)
	for {
		read, err := response.Body.Read(chunk)
		end.Reset(silence)
		if read > 0 {
			if err := receive(sentAt.Load().(float64), chunk[:read]); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
}

func failureIn(response *http.Response) *Unavailable {
	status := response.StatusCode
	switch {
	case status == http.StatusOK:
		return nil
	case status == 408, status == 425, status == 429, status >= 500:
		failure := unavailable(fmt.Sprintf("the service answered %d", status))
		after := response.Header.Get("Retry-After")
		if seconds, err := strconv.ParseUint(after, 10, 31); err == nil {
			failure.RetryAfter = time.Duration(seconds) * time.Second
		}
		return failure
	}
	failure := unavailable(fmt.Sprintf(
		"the service refused us with %d: check its URL, our client_id, secret and permission", status))
	failure.Misconfigured = true
	return failure
}

// bodyOf returns the body of a response. A small compressed body can become a very large one, so the SDK asks for none.
func bodyOf(response *http.Response) ([]byte, error) {
	if encoding := response.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return nil, unavailable("the service's answer is compressed, though the SDK asked for plain JSON")
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxResponse+1))
	if err == nil && len(body) > maxResponse {
		return nil, unavailable(fmt.Sprintf("the service's answer is over %d bytes", maxResponse))
	}
	return body, err
}
