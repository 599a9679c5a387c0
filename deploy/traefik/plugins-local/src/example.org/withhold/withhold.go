// Package withhold takes out of a request what is no business of the application: the token, the session cookie, and a
// switch to a protocol in which the gateway would see no more requests. Traefik itself can't change one cookie of several.
package withhold

import (
	"context"
	"net/http"
	"strings"
)

const session = "__Host-session"

// Config has no settings.
type Config struct{}

// CreateConfig is the entry point that Traefik looks for.
func CreateConfig() *Config {
	return &Config{}
}

// New wraps the next handler.
func New(_ context.Context, next http.Handler, _ *Config, _ string) (http.Handler, error) {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Authorization")
		withholdCookie(r.Header)
		if !strings.EqualFold(strings.Join(r.Header.Values("Upgrade"), ","), "websocket") {
			r.Header.Del("Upgrade")
			r.Header.Del("Connection")
		}
		next.ServeHTTP(w, r)
	}), nil
}

func withholdCookie(header http.Header) {
	var others []string
	for _, field := range header.Values("Cookie") {
		for _, cookie := range strings.Split(field, ";") {
			name := strings.Trim(strings.SplitN(cookie, "=", 2)[0], " \t")
			if name != session && strings.Trim(cookie, " \t") != "" {
				others = append(others, strings.Trim(cookie, " \t"))
			}
		}
	}
	header.Del("Cookie")
	if len(others) > 0 {
		header.Set("Cookie", strings.Join(others, "; "))
	}
}
