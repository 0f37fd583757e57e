package module

// Polls of WASI, below the scheduler of Go.

import (
	"time"
	"unsafe"
)

const (
	onClock  = 0 // types of events
	forRead  = 1
	forWrite = 2

	monotonic = 1 // number of a clock
)

//go:wasmimport wasi_snapshot_preview1 poll_oneoff
func pollOneoff(subscriptions, events unsafe.Pointer, count int32, happened unsafe.Pointer) uint32

type subscription struct {
	userdata  uint64
	event     uint8
	_         [7]byte
	id        uint32 // of the descriptor or the clock
	_         [4]byte
	timeout   uint64 // in nanoseconds, relative, for the clock
	precision uint64
	flags     uint16
	_         [6]byte
}

type event struct {
	userdata uint64
	number   uint16
	event    uint8
	_        [21]byte
}

func after(delay time.Duration) subscription {
	return subscription{event: onClock, id: monotonic, timeout: uint64(delay)}
}

// announce tells the host that this module polls for writing. Hosts that have seen no such poll may
// take a module for one that loses what is refused, and hold all of it in a write to a full side.
func announce(network, internal int32) {
	subscriptions := [...]subscription{
		{event: forWrite, id: uint32(network)},
		{event: forWrite, id: uint32(internal)},
		after(0), // a full side must not make it wait
	}
	var events [len(subscriptions)]event
	var happened uint32
	// What is wrong with a descriptor shows when it is used.
	_ = pollOneoff(
		unsafe.Pointer(&subscriptions[0]),
		unsafe.Pointer(&events[0]),
		int32(len(subscriptions)),
		unsafe.Pointer(&happened),
	)
}
