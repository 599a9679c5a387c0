package authsvc

import (
	"math"
	"syscall"
	"unsafe"
)

const clockBoottime = 7

// now returns seconds since some moment in the past, by a clock that only runs forward. All times inside the SDK are
// such seconds, unless a name says otherwise. Go's monotonic clock stops while a Linux machine is suspended. After that,
// an old answer would look young, so the SDK reads CLOCK_BOOTTIME.
var now = func() float64 {
	var at syscall.Timespec
	_, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockBoottime, uintptr(unsafe.Pointer(&at)), 0)
	if errno != 0 {
		return math.Inf(1) // after all other moments: nothing that is cached holds then
	}
	return float64(at.Sec) + float64(at.Nsec)/1e9
}
