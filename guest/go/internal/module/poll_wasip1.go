//go:build tinygo || watm_poll

package module

// Connections for compilers whose package net takes no descriptors. Goroutines run in turns on one
// thread there, so that one of them may sleep for all: the first that finds nobody else to run. It
// cannot know of those that wait for a timer, or compute between two turns. So it gives the others
// several turns before, and never sleeps for long.

import (
	"io"
	"net"
	"runtime"
	"syscall"
	"time"
	"unsafe"
)

const (
	nonblocking = 4 // flag of a descriptor
	shutWrite   = 2 // direction of sock_shutdown

	turns = 4 // that all others have before one sleeps

	shortest = time.Millisecond // of sleeps, which grow while nothing happens
	longest  = 50 * time.Millisecond
)

//go:wasmimport wasi_snapshot_preview1 fd_read
func fdRead(fd int32, iovecs unsafe.Pointer, count int32, read unsafe.Pointer) uint32

//go:wasmimport wasi_snapshot_preview1 fd_write
func fdWrite(fd int32, iovecs unsafe.Pointer, count int32, written unsafe.Pointer) uint32

//go:wasmimport wasi_snapshot_preview1 fd_close
func fdClose(fd int32) uint32

//go:wasmimport wasi_snapshot_preview1 fd_fdstat_set_flags
func fdSetFlags(fd int32, flags uint32) uint32

//go:wasmimport wasi_snapshot_preview1 sock_shutdown
func sockShutdown(fd int32, how uint32) uint32

func errorOf(number uint32) error {
	if number == 0 {
		return nil
	}
	return syscall.Errno(number)
}

// open makes a connection of a descriptor.
func open(fd int32) (net.Conn, error) {
	if err := errorOf(fdSetFlags(fd, nonblocking)); err != nil {
		return nil, err
	}
	return &conn{
		reading: waiter{fd: fd, event: forRead},
		writing: waiter{fd: fd, event: forWrite},
	}, nil
}

// conn is a connection. One goroutine may read while another one writes.
type conn struct {
	reading, writing waiter
}

func (c *conn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	for {
		count, err := c.reading.move(b)
		if err == nil && count == 0 {
			return 0, io.EOF
		}
		if err != syscall.EAGAIN {
			return count, err
		}
		if err := c.reading.wait(); err != nil {
			return 0, err
		}
	}
}

func (c *conn) Write(b []byte) (int, error) {
	done := 0
	for done < len(b) {
		count, err := c.writing.move(b[done:])
		done += count
		switch {
		// A write that takes nothing is a refusal, whatever the host calls it.
		case err == syscall.EAGAIN, err == nil && count == 0:
			if err := c.writing.wait(); err != nil {
				return done, err
			}
		case err != nil:
			return done, err
		}
	}
	return done, nil
}

func (c *conn) CloseWrite() error { return errorOf(sockShutdown(c.writing.fd, shutWrite)) }
func (c *conn) Close() error      { return errorOf(fdClose(c.reading.fd)) }

func (c *conn) LocalAddr() net.Addr  { return hidden{} }
func (c *conn) RemoteAddr() net.Addr { return hidden{} }

func (c *conn) SetDeadline(time.Time) error      { return syscall.ENOTSUP }
func (c *conn) SetReadDeadline(time.Time) error  { return syscall.ENOTSUP }
func (c *conn) SetWriteDeadline(time.Time) error { return syscall.ENOTSUP }

// hidden is an address that the host keeps to itself.
type hidden struct{}

func (hidden) Network() string { return "tcp" }
func (hidden) String() string  { return "hidden" }

// waiter is one direction of a descriptor. It holds the records of its calls, so that a call
// allocates nothing.
type waiter struct {
	fd     int32
	event  uint8
	ready  bool
	err    error
	buffer ciovec
	count  uint32
}

// move reads or writes once, and again if it is interrupted.
func (w *waiter) move(b []byte) (int, error) {
	for {
		w.buffer = ciovec{uint32(uintptr(unsafe.Pointer(unsafe.SliceData(b)))), uint32(len(b))}
		var number uint32
		if w.event == forRead {
			number = fdRead(w.fd, unsafe.Pointer(&w.buffer), 1, unsafe.Pointer(&w.count))
		} else {
			number = fdWrite(w.fd, unsafe.Pointer(&w.buffer), 1, unsafe.Pointer(&w.count))
		}
		runtime.KeepAlive(b)
		switch syscall.Errno(number) {
		case 0:
			return int(w.count), nil
		case syscall.EINTR:
		default:
			return 0, syscall.Errno(number)
		}
	}
}

var (
	waiting []*waiter
	// changes counts what may let a goroutine run: those that begin to wait and those that stop.
	changes uint32
	// bound is how long the next sleep may take.
	bound = shortest
)

// wait returns when the descriptor is ready.
func (w *waiter) wait() error {
	w.ready = false
	waiting = append(waiting, w)
	changes++
	bound = shortest
	for !w.ready {
		before := changes
		for turn := 0; turn < turns && !w.ready && changes == before; turn++ {
			runtime.Gosched()
		}
		// All others have had their turns, and wait as well.
		if !w.ready && changes == before {
			sleep()
		}
	}
	changes++
	return w.err
}

var (
	subscriptions []subscription
	events        []event
	happened      uint32
)

// sleep waits until a descriptor is ready that a goroutine waits for, or until the bound, which
// grows if none is.
func sleep() {
	subscriptions = subscriptions[:0]
	for i, w := range waiting {
		one := subscription{userdata: uint64(i), event: w.event, id: uint32(w.fd)}
		subscriptions = append(subscriptions, one)
	}
	number := poll(bound)
	if number == 0 && happened == 0 {
		// A host that does not wait would make it spin.
		subscriptions = subscriptions[:0]
		_ = poll(shortest)
		happened = 0
	}
	bound = min(2*bound, longest)
	if number != 0 && syscall.Errno(number) != syscall.EINTR {
		for _, w := range waiting {
			w.ready, w.err = true, errorOf(number)
		}
	} else if number == 0 {
		for _, e := range events[:happened] {
			if e.event == onClock {
				continue
			}
			bound = shortest
			w := waiting[e.userdata]
			w.ready, w.err = true, errorOf(uint32(e.number))
		}
	}
	still := waiting[:0]
	for _, w := range waiting {
		if !w.ready {
			still = append(still, w)
		}
	}
	waiting = still
	changes++
}

// poll waits for what is subscribed, and not longer than the limit. It returns an error number.
func poll(limit time.Duration) uint32 {
	subscriptions = append(subscriptions, after(limit))
	events = append(events[:0], make([]event, len(subscriptions))...)
	return pollOneoff(
		unsafe.Pointer(&subscriptions[0]),
		unsafe.Pointer(&events[0]),
		int32(len(subscriptions)),
		unsafe.Pointer(&happened),
	)
}
