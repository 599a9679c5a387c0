// The backend of bench/backend.py with the SDK for Go:
//
//	backend speed|refusals URL CLIENT_ID CLIENT_SECRET TOKENS [NUMBER]
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	authsvc "authsvc/sdk/go"
)

const (
	warmWithin     = 120 * time.Second
	atOnce         = 1000
	lookEvery      = 500 * time.Microsecond
	clockMonotonic = 1
)

var ctx = context.Background()

func main() {
	what, url, id, secret, file := os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5]
	text, err := os.ReadFile(file)
	check(err)
	tokens, orders := strings.Fields(string(text)), bufio.NewScanner(os.Stdin)
	made := func() *authsvc.Introspector {
		auth, err := authsvc.New(url, id, secret, authsvc.WithCache(), func(s *authsvc.Settings) {
			s.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
		})
		check(err)
		return auth
	}
	if what == "speed" {
		speed(made(), tokens, orders)
		return
	}
	count, err := strconv.Atoi(os.Args[6])
	check(err)
	auths := make([]*authsvc.Introspector, count)
	for at := range auths {
		auths[at] = made()
	}
	refusals(auths, tokens, orders)
}

func speed(auth *authsvc.Introspector, tokens []string, orders *bufio.Scanner) {
	warm(auth, tokens)
	tell("warm")
	for orders.Scan() {
		seconds, err := strconv.ParseFloat(orders.Text(), 64)
		check(err)
		warm(auth, tokens)
		tell(measured(auth, tokens, time.Duration(seconds*float64(time.Second))))
	}
}

func measured(auth *authsvc.Introspector, tokens []string, limit time.Duration) map[string]float64 {
	checked, wrong, before := 0, 0, processorTime()
	for end := time.Now().Add(limit); time.Now().Before(end); checked += len(tokens) {
		for _, token := range tokens {
			if _, err := auth.Introspect(ctx, token); err != nil {
				wrong++
			}
		}
	}
	rate := float64(checked) / (processorTime() - before)
	var times []float64
	for _, token := range tokens {
		before := time.Now()
		user, err := auth.Introspect(ctx, token)
		times = append(times, float64(time.Since(before).Nanoseconds())/1000)
		if err != nil || user.SessionID != token[4:16] {
			wrong++
		}
	}
	sort.Float64s(times)
	return map[string]float64{
		"rate": rate, "wrong": float64(wrong), "p50_us": times[len(times)/2], "p99_us": times[len(times)*99/100],
	}
}

// refusals prints for each of many subscribers the moment at which it stops accepting a token.
func refusals(auths []*authsvc.Introspector, tokens []string, orders *bufio.Scanner) {
	each(len(auths), func(at int) { warm(auths[at], tokens) })
	tell("warm")
	for orders.Scan() {
		token, refused := orders.Text(), make([]float64, len(auths))
		each(len(auths), func(at int) {
			if _, err := auths[at].Introspect(ctx, token); err != nil {
				log.Fatal("a subscriber does not know the token")
			}
		})
		tell("looking")
		each(len(auths), func(at int) {
			for {
				if _, known := auths[at].Cached(token); !known {
					refused[at] = monotonic()
					return
				}
				time.Sleep(lookEvery)
			}
		})
		each(len(auths), func(at int) {
			if _, err := auths[at].Introspect(ctx, token); err == nil {
				log.Fatal("a revoked token is active")
			}
		})
		tell(refused)
	}
}

// warm introspects all tokens until the cache has all answers.
func warm(auth *authsvc.Introspector, tokens []string) {
	for deadline := time.Now().Add(warmWithin); ; time.Sleep(50 * time.Millisecond) {
		var missing []string
		for _, token := range tokens {
			if _, known := auth.Cached(token); !known {
				missing = append(missing, token)
			}
		}
		if len(missing) == 0 {
			return
		}
		if time.Now().After(deadline) {
			log.Fatalf("%d answers were not cached", len(missing))
		}
		each(min(len(missing), atOnce), func(at int) {
			if _, err := auth.Introspect(ctx, missing[at]); errors.Is(err, authsvc.ErrInactive) {
				log.Fatal("a wrong answer")
			}
		})
	}
}

// each calls the function with the numbers below count at the same time.
func each(count int, call func(at int)) {
	var calls sync.WaitGroup
	for at := range count {
		calls.Add(1)
		go func() {
			defer calls.Done()
			call(at)
		}()
	}
	calls.Wait()
}

func tell(told any) {
	check(json.NewEncoder(os.Stdout).Encode(told))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// processorTime is that of this process, in seconds.
func processorTime() float64 {
	var used syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &used))
	return float64(used.Utime.Sec+used.Stime.Sec) + float64(used.Utime.Usec+used.Stime.Usec)/1e6
}

// monotonic is the clock of all processes, in seconds: Python's time.perf_counter.
func monotonic() float64 {
	var at syscall.Timespec
	_, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clockMonotonic, uintptr(unsafe.Pointer(&at)), 0)
	if errno != 0 {
		check(errno)
	}
	return float64(at.Sec) + float64(at.Nsec)/1e9
}
