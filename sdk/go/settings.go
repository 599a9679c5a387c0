package authsvc

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Settings are those of an Introspector.
type Settings struct {
	// The longest time that one check takes, retry included. Default: 3 s.
	Timeout time.Duration
	// Tokens whose `aud` does not name it are refused.
	Audience string
	// For a CA of your own or a client certificate. The certificate of the service is always verified.
	TLS *tls.Config
	// The name of a cookie from which Middleware takes the token too, for pages of the same site. Your application must
	// then protect itself from cross-site requests.
	Cookie string
	// How keys begin that another system issued: AUTHSVC_FOREIGN_KEY_PREFIXES of the service.
	ForeignKeyPrefixes []string
	// Default: slog.Default.
	Logger *slog.Logger

	// Keep answers in this process, and drop them when the service announces a change.
	Cache bool
	// How many answers the cache keeps, and after which time the SDK asks again even without a change. Default: 100,000
	// and 5 min.
	CacheSize   int
	CacheMaxAge time.Duration
	// How long after its last confirmation the cache may answer. A revocation stays unnoticed no longer. Default: 2 s. It
	// has to be above 1 s, because the service sends one heartbeat a second.
	FeedSilence time.Duration
	// How long old answers bridge an outage of the service. A revocation made during the outage stays unnoticed as long.
	// Default: 0, which is off.
	ServeStaleFor time.Duration

	address   string              // of the service, without a user name, a password and a trailing slash
	authorize func(*http.Request) // a function, because fmt prints no secret that a function holds
}

// Option changes settings: `func(s *authsvc.Settings) { s.Timeout = time.Second }`.
type Option func(*Settings)

// WithCache turns the cache on.
func WithCache() Option {
	return func(s *Settings) { s.Cache = true }
}

func settingsOf(service, clientID, secret string, options []Option) (Settings, error) {
	s := Settings{
		Timeout:     3 * time.Second,
		Logger:      slog.Default(),
		CacheSize:   100_000,
		CacheMaxAge: 5 * time.Minute,
		FeedSilence: 2 * time.Second,
		authorize:   func(request *http.Request) { request.SetBasicAuth(clientID, secret) },
	}
	for _, option := range options {
		option(&s)
	}
	parsed, err := url.Parse(service)
	switch {
	// The error repeats no part of the URL, which may have a password.
	case err != nil || parsed.Hostname() == "" || parsed.Scheme != "http" && parsed.Scheme != "https", strings.ContainsAny(service, "?# \t\r\n\u00a0"):
		return s, errors.New("authsvc: url has to begin with http:// or https://, and to name a host, without white space, ? and #")
	case clientID == "" || secret == "":
		return s, errors.New("authsvc: client id and secret are required")
	case s.Timeout <= 0 || s.CacheSize < 1 || s.CacheMaxAge <= 0:
		return s, errors.New("authsvc: Timeout, CacheSize and CacheMaxAge have to be above 0")
	case s.FeedSilence <= time.Second:
		return s, errors.New("authsvc: FeedSilence has to be above 1 s, because the service sends one heartbeat a second")
	case s.ServeStaleFor < 0 || s.ServeStaleFor > 0 && !s.Cache:
		return s, errors.New("authsvc: ServeStaleFor has to be 0 or more, and needs Cache")
	case s.TLS != nil && s.TLS.InsecureSkipVerify && s.TLS.VerifyConnection == nil:
		return s, errors.New("authsvc: TLS has to be verified: put the CA of the service into RootCAs")
	}
	s.address = parsed.Scheme + "://" + parsed.Host + strings.TrimRight(parsed.EscapedPath(), "/")
	s.Logger = s.Logger.With("service", s.address)
	return s, nil
}
