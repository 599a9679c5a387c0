package authsvc

import (
	"syscall"
	"time"
	"unsafe"
)

const (
	clockBoottime = 7
	// A moment after all others: nothing that is cached holds then.
	never = 1 << 40
)

// pickClock returns the clock of the SDK. Go's monotonic clock stops while a Linux machine is suspended. After that,
// an old answer would look young, so the SDK reads CLOCK_BOOTTIME.
func pickClock() func() float64 {
	if _, ok := boottime(); !ok {
		return monotonic(time.Now())
	}
	return func() float64 {
		at, ok := boottime()
		if !ok {
			return never
		}
		return at
	}
}

func boottime() (seconds float64, ok bool) {
	var at syscall.Timespec
	_, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockBoottime, uintptr(unsafe.Pointer(&at)), 0)
	return float64(at.Sec) + float64(at.Nsec)/1e9, errno == 0
}
