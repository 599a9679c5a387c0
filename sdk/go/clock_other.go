//go:build !linux

package authsvc

import "time"

var start = time.Now()

// now returns seconds since some moment in the past, by a clock that only runs forward. All times inside the SDK are
// such seconds, unless a name says otherwise. The system decides whether the clock counts the time asleep.
var now = func() float64 {
	return time.Since(start).Seconds()
}
