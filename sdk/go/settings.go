package authsvc

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"
)

// Option is a setting of an Introspector.
type Option func(*settings)

type settings struct {
	timeout       time.Duration
	audience      string
	tls           *tls.Config
	cookie        string
	logger        *slog.Logger
	cache         bool
	cacheSize     int
	cacheMaxAge   time.Duration
	feedSilence   time.Duration
	serveStaleFor time.Duration
}

// WithTimeout sets the longest time that one check takes, retry included. The default is 3 s.
func WithTimeout(limit time.Duration) Option {
	return func(s *settings) { s.timeout = limit }
}

// WithAudience refuses tokens whose `aud` does not name this resource server.
func WithAudience(audience string) Option {
	return func(s *settings) { s.audience = audience }
}

// WithTLS is for a CA of your own or a client certificate. The certificate of the service is always verified.
func WithTLS(config *tls.Config) Option {
	return func(s *settings) { s.tls = config }
}

// WithCookie lets the Middleware take the token from the cookie of this name too, for pages of the same site. Your
// application must then protect itself from cross-site requests.
func WithCookie(name string) Option {
	return func(s *settings) { s.cookie = name }
}

// WithLogger sets the log. The default is slog.Default.
func WithLogger(logger *slog.Logger) Option {
	return func(s *settings) { s.logger = logger }
}

// WithCache keeps answers in this process, and drops them when the service announces a change.
func WithCache() Option {
	return func(s *settings) { s.cache = true }
}

// WithCacheSize sets how many answers the cache keeps. The default is 100,000.
func WithCacheSize(size int) Option {
	return func(s *settings) { s.cacheSize = size }
}

// WithCacheMaxAge sets after which time the SDK asks again even without a change. The default is 5 min.
func WithCacheMaxAge(limit time.Duration) Option {
	return func(s *settings) { s.cacheMaxAge = limit }
}

// WithFeedSilence sets how long after its last confirmation the cache may answer. A revocation stays unnoticed no
// longer. The default is 2 s. It has to be above 1 s, because the service sends one heartbeat a second.
func WithFeedSilence(limit time.Duration) Option {
	return func(s *settings) { s.feedSilence = limit }
}

// WithServeStale lets old answers bridge an outage of the service for this long. A revocation made during the outage
// stays unnoticed as long. The default is 0: off.
func WithServeStale(limit time.Duration) Option {
	return func(s *settings) { s.serveStaleFor = limit }
}

func settingsOf(options []Option) (settings, error) {
	s := settings{
		timeout:     3 * time.Second,
		logger:      slog.Default(),
		cacheSize:   100_000,
		cacheMaxAge: 5 * time.Minute,
		feedSilence: 2 * time.Second,
	}
	for _, option := range options {
		option(&s)
	}
	switch {
	case s.timeout <= 0 || s.cacheSize < 1 || s.cacheMaxAge <= 0:
		return s, errors.New("authsvc: timeout, cache size and cache max age have to be above 0")
	case s.feedSilence <= time.Second:
		return s, errors.New("authsvc: feed silence has to be above 1 s, because the service sends one heartbeat a second")
	case s.serveStaleFor < 0 || s.serveStaleFor > 0 && !s.cache:
		return s, errors.New("authsvc: serve stale has to be 0 or more, and needs WithCache")
	case s.tls != nil && s.tls.InsecureSkipVerify && s.tls.VerifyConnection == nil:
		return s, errors.New("authsvc: TLS has to be verified: put the CA of the service into RootCAs")
	}
	return s, nil
}

// addressOf checks the URL of the service, and returns it without a user name, a password and a trailing slash.
func addressOf(text string) (string, error) {
	parsed, err := url.Parse(text)
	if err != nil || parsed.Host == "" || parsed.Scheme != "http" && parsed.Scheme != "https" {
		return "", fmt.Errorf("authsvc: the URL has to begin with http:// or https://, and to name a host")
	}
	return parsed.Scheme + "://" + parsed.Host + strings.TrimRight(parsed.EscapedPath(), "/"), nil
}
