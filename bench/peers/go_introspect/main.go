// A hand-tuned introspection endpoint: fasthttp, rueidis and sonic on the records of authsvc.
//
// It reads the same records in the same two round trips, makes the same decision and gives the same answer. rueidis
// pipelines the reads of concurrent requests. It does not note uses of sessions, and counts and logs nothing.
//
// BENCH_STORE_SOCKET: the unix socket of the store. BENCH_ISSUER: the `iss` of each answer. BENCH_PORT: where to listen.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"log"
	"net"
	"net/url"
	"os"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/bytedance/sonic"
	"github.com/redis/rueidis"
	"github.com/valyala/fasthttp"
)

var (
	inactive  = []byte(`{"active":false}`)
	noClient  = []byte(`{"error":"invalid_client"}`)
	noRight   = []byte(`{"error":"unauthorized_client"}`)
	noToken   = []byte(`{"error":"invalid_request"}`)
	noStore   = []byte(`{"error":"temporarily_unavailable"}`)
	notFound  = []byte(`{"error":"not_found"}`)
	basic     = []byte("Basic ")
	path      = []byte("/introspect")
	idPrefix  = strconv.FormatInt(time.Now().UnixNano(), 36)
	idCounter atomic.Uint64
)

func main() {
	debug.SetGCPercent(400) // the heap is small, so fewer collections cost little memory
	socket := os.Getenv("BENCH_STORE_SOCKET")
	store, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress:       []string{socket},
		DisableCache:      true,
		AlwaysPipelining:  true,
		PipelineMultiplex: -1, // one connection: more of them would make the batches smaller
		DialCtxFn: func(ctx context.Context, _ string, dialer *net.Dialer, _ *tls.Config) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	server := &server{store: store, issuer: os.Getenv("BENCH_ISSUER")}
	listening := &fasthttp.Server{Handler: server.handle, NoDefaultServerHeader: true}
	log.Fatal(listening.ListenAndServe("127.0.0.1:" + os.Getenv("BENCH_PORT")))
}

type server struct {
	store   rueidis.Client
	issuer  string
	clients remembered[Client]
	service remembered[Service]
}

func (s *server) handle(request *fasthttp.RequestCtx) {
	if !request.IsPost() || !bytes.Equal(request.Path(), path) {
		answer(request, fasthttp.StatusNotFound, notFound)
		return
	}
	clientID, secret, ok := credentials(request.Request.Header.Peek("Authorization"))
	if !ok {
		answer(request, fasthttp.StatusUnauthorized, noClient)
		return
	}
	presented := request.PostArgs().Peek("token")
	if len(presented) == 0 {
		answer(request, fasthttp.StatusBadRequest, noToken)
		return
	}
	status, body := s.introspect(request, clientID, secret, string(presented))
	answer(request, status, body)
}

func (s *server) introspect(ctx context.Context, clientID, secret, presented string) (int, []byte) {
	handle, wellFormed := parseToken(presented)
	keys := []string{"service", "client:" + clientID, "session:" + handle}
	if !wellFormed {
		keys = keys[:2]
	}
	found, err := s.read(ctx, keys)
	if err != nil || found[0] == "" {
		return fasthttp.StatusServiceUnavailable, noStore
	}
	service, err := s.service.parsed("service", found[0])
	if err != nil {
		return fasthttp.StatusServiceUnavailable, noStore
	}
	if found[1] == "" {
		return fasthttp.StatusUnauthorized, noClient
	}
	caller, err := s.clients.parsed(clientID, found[1])
	if err != nil || caller.ClientID != clientID {
		return fasthttp.StatusServiceUnavailable, noStore
	}
	now := float64(time.Now().UnixMicro()) / 1e6
	if !caller.opensWith(secret, now) {
		return fasthttp.StatusUnauthorized, noClient
	}
	if !caller.mayIntrospect() {
		return fasthttp.StatusForbidden, noRight
	}
	if !wellFormed || found[2] == "" {
		return fasthttp.StatusOK, inactive
	}
	return s.judged(ctx, handle, presented, found[2], caller, service, now)
}

func (s *server) judged(
	ctx context.Context, handle, presented, raw string, caller *Client, service *Service, now float64,
) (int, []byte) {
	var session Session
	var user User
	if err := sonic.UnmarshalString(raw, &session); err != nil {
		return fasthttp.StatusServiceUnavailable, noStore
	}
	found, err := s.read(ctx, []string{"user:{" + session.Sub + "}", "client:" + session.ClientID})
	if err != nil {
		return fasthttp.StatusServiceUnavailable, noStore
	}
	if found[0] == "" || found[1] == "" {
		return fasthttp.StatusOK, inactive
	}
	if err := sonic.UnmarshalString(found[0], &user); err != nil || user.Sub != session.Sub {
		return fasthttp.StatusServiceUnavailable, noStore
	}
	client, err := s.clients.parsed(session.ClientID, found[1])
	if err != nil || client.ClientID != session.ClientID {
		return fasthttp.StatusServiceUnavailable, noStore
	}
	match, ok := session.match(presented, now)
	if !ok || !session.alive(handle, &user, client, service, now) || !caller.covers(session.Aud) {
		return fasthttp.StatusOK, inactive
	}
	body, err := sonic.ConfigFastest.Marshal(described(handle, s.issuer, &session, &user, match, now))
	if err != nil {
		return fasthttp.StatusInternalServerError, noStore
	}
	return fasthttp.StatusOK, body
}

// read returns the values of the keys in one round trip. An absent key has the empty string.
func (s *server) read(ctx context.Context, keys []string) ([]string, error) {
	replies, err := s.store.Do(ctx, s.store.B().Mget().Key(keys...).Build()).ToArray()
	if err != nil {
		return nil, err
	}
	found := make([]string, len(replies))
	for at := range replies {
		if !replies[at].IsNil() {
			if found[at], err = replies[at].ToString(); err != nil {
				return nil, err
			}
		}
	}
	return found, nil
}

func credentials(header []byte) (clientID, secret string, ok bool) {
	encoded, found := bytes.CutPrefix(header, basic)
	if !found {
		return "", "", false
	}
	decoded := make([]byte, base64.StdEncoding.DecodedLen(len(encoded)))
	length, err := base64.StdEncoding.Decode(decoded, encoded)
	if err != nil {
		return "", "", false
	}
	first, second, found := bytes.Cut(decoded[:length], []byte(":"))
	if !found {
		return "", "", false
	}
	// RFC 6749 section 2.3.1: both are form-urlencoded.
	if clientID, err = url.QueryUnescape(string(first)); err != nil {
		return "", "", false
	}
	if secret, err = url.QueryUnescape(string(second)); err != nil {
		return "", "", false
	}
	return clientID, secret, secret != ""
}

// answer writes the headers that authsvc writes.
func answer(request *fasthttp.RequestCtx, status int, body []byte) {
	headers := &request.Response.Header
	request.SetStatusCode(status)
	headers.SetContentType("application/json")
	headers.Set("Cache-Control", "no-store")
	headers.Set("Pragma", "no-cache")
	headers.Set("X-Content-Type-Options", "nosniff")
	headers.Set("Referrer-Policy", "no-referrer")
	headers.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	if given := request.Request.Header.Peek("X-Request-Id"); len(given) > 0 {
		headers.SetBytesV("X-Request-Id", given)
	} else {
		headers.Set("X-Request-Id", idPrefix+strconv.FormatUint(idCounter.Add(1), 36))
	}
	request.Response.SetBodyRaw(body)
}
