package authsvc

import "time"

// now returns seconds since some moment in the past, by a clock that only runs forward. All times inside the SDK are
// such seconds, unless a name says otherwise.
var now = pickClock()

// wallNow is the clock on the wall of this machine. Only the age of a login is measured with it.
var wallNow = time.Now

func monotonic(start time.Time) func() float64 {
	return func() float64 { return time.Since(start).Seconds() }
}
