//go:build !linux

package authsvc

import "time"

// pickClock returns the clock of the SDK. The system decides whether it counts the time asleep.
func pickClock() func() float64 {
	return monotonic(time.Now())
}
