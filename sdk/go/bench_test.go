//go:build unix

package authsvc

import (
	"context"
	"fmt"
	"math"
	"sort"
	"strings"
	"syscall"
	"testing"
	"time"
)

// How long a token is accepted after its revocation was acknowledged, with a hundred subscribers that cache it.
func BenchmarkRevoked(b *testing.B) {
	const subscribers = 100
	s := startService(b)
	s.user("ada")
	auths := make([]*Introspector, subscribers)
	for at := range auths {
		auths[at] = s.introspector(WithCache())
	}
	var delays []float64
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		token := s.login("ada")
		for _, auth := range auths {
			waitUntilCached(b, auth, token)
		}
		b.StartTimer()
		s.post("/revoke", "token="+token)
		acknowledged := time.Now()
		for _, auth := range auths {
			for known := true; known; {
				var user *Active
				if user, known = auth.Cached(token); user == nil {
					break
				}
			}
			delays = append(delays, time.Since(acknowledged).Seconds()*1000)
		}
	}
	sort.Float64s(delays)
	b.ReportMetric(delays[len(delays)/2], "p50-ms")
	b.ReportMetric(delays[len(delays)*99/100], "p99-ms")
	b.ReportMetric(delays[len(delays)-1], "max-ms")
}

// Checks of cached tokens.
func BenchmarkCached(b *testing.B) {
	auth, tokens := cachedTokens(b, 10_000)
	b.ResetTimer()
	before := processorTime()
	for at := range b.N {
		if _, err := auth.Introspect(context.Background(), tokens[at%len(tokens)]); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/(processorTime()-before), "checks/cpu-s")
}

// The same in many goroutines.
func BenchmarkCachedParallel(b *testing.B) {
	auth, tokens := cachedTokens(b, 10_000)
	b.ResetTimer()
	before := processorTime()
	b.RunParallel(func(each *testing.PB) {
		for at := 0; each.Next(); at++ {
			if _, err := auth.Introspect(context.Background(), tokens[at%len(tokens)]); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/(processorTime()-before), "checks/cpu-s")
}

// processorTime is that of this process, in seconds. A busy machine does not change it much.
func processorTime() float64 {
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return float64(used.Utime.Sec+used.Stime.Sec) + float64(used.Utime.Usec+used.Stime.Usec)/1e6
}

// cachedTokens returns an introspector whose cache holds so many answers and is confirmed for ever.
func cachedTokens(b *testing.B, count int) (*Introspector, []string) {
	auth, err := New("http://127.0.0.1:1", "backend", "sec_x", quiet)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(auth.Close)
	auth.cache = newCache("backend", auth.settings)
	auth.cache.forgetAll()
	auth.cache.confirm(math.Inf(1))
	tokens := make([]string, count)
	for at := range tokens {
		tokens[at] = fmt.Sprintf("tok_%045d", at)
		user := &Active{Sub: fmt.Sprint(at), ClientID: "app", Scope: strings.Repeat("a ", 4)}
		auth.cache.keep(tokens[at], user, auth.cache.changes.Load(), math.Inf(1), math.Inf(1))
	}
	return auth, tokens
}
