// The example is a resource server of one page: `GET /` says who its caller is. The promise suite drives it, and
// sdk/vectors/README.md says how.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	authsvc "authsvc/sdk/go"
)

func main() {
	auth, err := authsvc.New(os.Getenv("AUTH_URL"), os.Getenv("AUTH_CLIENT_ID"), os.Getenv("AUTH_CLIENT_SECRET"),
		authsvc.WithCache(),
		func(s *authsvc.Settings) {
			s.Timeout = seconds("AUTH_TIMEOUT_S", 3)
			s.ServeStaleFor = seconds("AUTH_SERVE_STALE_FOR_S", 0)
		})
	if err != nil {
		log.Fatal(err)
	}
	defer auth.Close()

	whoami := func(w http.ResponseWriter, r *http.Request) {
		user := authsvc.FromContext(r.Context())
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"sub": user.Sub, "cached": r.Header.Get("Cached") == "true"})
	}
	protected := auth.Middleware(authsvc.Require{})(http.HandlerFunc(whoami))

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("{\"port\": %d}\n", listener.Addr().(*net.TCPAddr).Port)
	go func() { log.Fatal(http.Serve(listener, beforehand(auth, protected))) }()
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, os.Interrupt)
	<-ended
}

// beforehand notes whether the answer is cached before the middleware asks for it.
func beforehand(auth *authsvc.Introspector, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, cached := auth.Cached(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		r.Header.Set("Cached", strconv.FormatBool(cached))
		next.ServeHTTP(w, r)
	})
}

func seconds(name string, otherwise float64) time.Duration {
	value, err := strconv.ParseFloat(os.Getenv(name), 64)
	if err != nil {
		value = otherwise
	}
	return time.Duration(value * float64(time.Second))
}
