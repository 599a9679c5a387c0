package authsvc

import (
	"context"
	"crypto/tls"
	"encoding/json"
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
	"unicode/utf8"
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
	http      *http.Client
}

func newWire(address, clientID, secret string, timeout time.Duration, config *tls.Config) *wire {
	if config != nil {
		config = config.Clone()
		config.NextProtos = nil // see TLSNextProto
	}
	return &wire{
		address: address,
		// A function, because fmt prints no secret that a function holds.
		authorize: func(request *http.Request) { request.SetBasicAuth(clientID, secret) },
		timeout:   timeout,
		http: &http.Client{
			Transport: &http.Transport{
				Proxy:               http.ProxyFromEnvironment,
				DialContext:         (&net.Dialer{Timeout: min(timeout, connectTimeout)}).DialContext,
				TLSClientConfig:     config,
				TLSHandshakeTimeout: min(timeout, connectTimeout),
				// HTTP/1.1 only. With HTTP/2 a retry would take the connection that has just failed.
				TLSNextProto:        map[string]func(string, *tls.Conn) http.RoundTripper{},
				MaxIdleConnsPerHost: maxInFlight,
				IdleConnTimeout:     4 * time.Second, // servers close idle connections after five seconds, or later
				DisableCompression:  true,
			},
			// A redirect would take our secret and the token to another place.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
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
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	answered, failure := w.introspectOnce(ctx, w.timeout/2, tokens) // a dead connection leaves time for the retry
	if failure != nil && failure.lost {
		w.http.CloseIdleConnections()
		answered, failure = w.introspectOnce(ctx, w.timeout, tokens)
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
	response, failure := w.send(ctx, http.MethodPost, path, kind, body)
	if failure != nil {
		return nil, failure
	}
	defer response.Body.Close()
	answers, failure := answersIn(response, len(tokens))
	date, _ := http.ParseTime(response.Header.Get("Date"))
	return &introspection{answers, date, sentAt, now()}, failure
}

// send sends a request with our credentials. The status of the response is 200.
func (w *wire) send(ctx context.Context, method, path, kind, body string) (*http.Response, *Unavailable) {
	request, err := http.NewRequestWithContext(ctx, method, w.address+path, strings.NewReader(body))
	if err != nil {
		return nil, unavailable(err.Error())
	}
	request.Header.Set("Accept-Encoding", "identity")
	if body != "" {
		request.Header.Set("Content-Type", kind)
	}
	w.authorize(request)
	response, err := w.http.Do(request)
	if err != nil {
		return nil, lostOnTheWay(err)
	}
	failure := failureIn(response)
	if failure != nil {
		response.Body.Close()
	}
	return response, failure
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
	response, failure := w.send(ctx, http.MethodGet, "/events", "", "")
	if failure != nil {
		return failure
	}
	defer response.Body.Close()
	chunk := make([]byte, 64<<10)
	for {
		read, ended := response.Body.Read(chunk)
		end.Reset(silence)
		if err := receive(sentAt.Load().(float64), chunk[:read]); err != nil {
			return err
		}
		if ended != nil {
			return ended
		}
	}
}

func lostOnTheWay(err error) *Unavailable {
	return &Unavailable{Reason: "the service can't be reached: " + err.Error(), lost: true, cause: err}
}

func failureIn(response *http.Response) *Unavailable {
	status := response.StatusCode
	switch {
	case status == http.StatusOK:
		return nil
	case status == 408, status == 425, status == 429, status >= 500:
		after, _ := strconv.ParseUint(response.Header.Get("Retry-After"), 10, 31) // 0 for what is no number of seconds
		return &Unavailable{
			Reason:     fmt.Sprintf("the service answered %d", status),
			RetryAfter: time.Duration(after) * time.Second,
			lost:       status == 502 || status == 504, // a gateway did not reach the service
		}
	}
	reason := fmt.Sprintf("the service refused us with %d", status)
	return &Unavailable{Reason: reason, Misconfigured: true}
}

// answersIn returns one document for each of the tokens. A small compressed body can become a very large one, so the SDK
// asks for none.
func answersIn(response *http.Response, tokens int) (answers []json.RawMessage, failure *Unavailable) {
	if encoding := response.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return nil, unavailable("the service's answer is compressed, though the SDK asked for plain JSON")
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxResponse+1))
	switch {
	case err != nil:
		return nil, lostOnTheWay(err)
	case len(body) > maxResponse:
		return nil, unavailable(fmt.Sprintf("the service's answer is over %d bytes", maxResponse))
	case !utf8.Valid(body) || !json.Valid(body):
		return nil, unavailable("the service's answer is not JSON")
	case tokens == 1:
		return []json.RawMessage{body}, nil
	case json.Unmarshal(body, &answers) != nil || len(answers) != tokens:
		return nil, unavailable("the service's response has not one answer for each token")
	}
	return answers, nil
}
