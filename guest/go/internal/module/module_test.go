package module

// Each role on a host of the test, whose descriptors are pipes.

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"syscall"
	"testing"
)

const (
	internal = iota + 3
	network
	incoming
	control
)

// fixture is a module on a host of the test, and what holds the other ends of its descriptors.
type fixture struct {
	Module
	far       map[int32]net.Conn
	dialled   string
	announced []int32
	config    []byte
}

func newFixture(t *testing.T, transport Transport) *fixture {
	t.Helper()
	f := &fixture{far: map[int32]net.Conn{}}
	near := map[int32]net.Conn{}
	for _, fd := range []int32{internal, network, incoming, control} {
		near[fd], f.far[fd] = net.Pipe()
	}
	f.Host = Host{
		Dial: func(network, address string) int32 {
			f.dialled = network + " " + address
			return 4
		},
		DialFixed:     func() int32 { return network },
		Accept:        func() int32 { return incoming },
		Configuration: func() ([]byte, error) { return f.config, nil },
		Announce:      func(network, internal int32) { f.announced = []int32{network, internal} },
		Open: func(fd int32) (net.Conn, error) {
			if conn, ok := near[fd]; ok {
				return conn, nil
			}
			return nil, syscall.EBADF
		},
	}
	f.New = func([]byte) (Transport, error) { return transport, nil }
	if result := f.Init(); result != 0 {
		t.Fatal(result)
	}
	return f
}

func plain(network net.Conn) (net.Conn, error) { return network, nil }

// greeting waits for three bytes in the handshake.
func greeting(network net.Conn) (net.Conn, error) {
	received := make([]byte, 3)
	if _, err := io.ReadFull(network, received); err != nil {
		return nil, err
	}
	if string(received) != "hi\n" {
		return nil, fmt.Errorf("%q is no greeting: %w", received, syscall.EPROTO)
	}
	return network, nil
}

// run starts the worker, checks that it announces its polls for writing for both sides first, and
// that bytes travel between two ends, and ends it through control.
func (f *fixture) run(t *testing.T, near, far int32) {
	t.Helper()
	if result := f.Control(control); result != 0 {
		t.Fatal(result)
	}
	ended := make(chan int32, 1)
	go func() { ended <- f.Start() }()
	for _, way := range [][2]int32{{near, far}, {far, near}} {
		go io.WriteString(f.far[way[0]], "bytes")
		received := make([]byte, 5)
		if _, err := io.ReadFull(f.far[way[1]], received); err != nil || string(received) != "bytes" {
			t.Fatalf("%q, %v", received, err)
		}
		if !slices.Equal(f.announced, []int32{far, near}) {
			t.Fatal(f.announced)
		}
	}
	f.far[control].Write([]byte{0})
	if result := <-ended; result != -int32(syscall.ECANCELED) {
		t.Fatal(result)
	}
}

func TestADialerReturnsTheNetworkAndCarries(t *testing.T) {
	f := newFixture(t, Transport{Dial: greeting})
	go io.WriteString(f.far[network], "hi\n")
	if fd := f.Dial(internal); fd != network {
		t.Fatal(fd)
	}
	f.run(t, internal, network)
}

func TestAListenerWrapsWhatItAccepts(t *testing.T) {
	f := newFixture(t, Transport{Dial: greeting, Accept: plain})
	if fd := f.Accept(internal); fd != incoming {
		t.Fatal(fd)
	}
	f.run(t, internal, incoming)
}

func TestAFixedDialerDialsItsOwnAddress(t *testing.T) {
	address := func() (string, string, error) { return "tcp4", "example.org:443", nil }
	f := newFixture(t, Transport{Dial: plain, Address: address})
	if fd := f.DialFixed(internal); fd != network {
		t.Fatal(fd)
	}
	if f.dialled != "tcp4 example.org:443" {
		t.Fatal(f.dialled)
	}
	f.run(t, internal, network)
}

func TestARelayWrapsOnlyTheNetwork(t *testing.T) {
	f := newFixture(t, Transport{Dial: greeting})
	go io.WriteString(f.far[network], "hi\n")
	if result := f.Associate(); result != 0 {
		t.Fatal(result)
	}
	f.run(t, incoming, network)
}

func TestAWrongGreetingIsAProtocolError(t *testing.T) {
	for _, words := range []string{"HTTP", "h"} {
		f := newFixture(t, Transport{Dial: greeting})
		go func() {
			io.WriteString(f.far[network], words)
			f.far[network].Close()
		}()
		if result := f.Dial(internal); result != -int32(syscall.EPROTO) {
			t.Fatal(words, result)
		}
		if result := f.Start(); result != -int32(syscall.ENOTCONN) {
			t.Fatal(words, result)
		}
	}
}

func TestARoleThatTheTransportLacksIsNotThere(t *testing.T) {
	f := newFixture(t, Transport{})
	for name, result := range map[string]int32{
		"dial":       f.Dial(internal),
		"dial_fixed": f.DialFixed(internal),
		"accept":     f.Accept(internal),
		"associate":  f.Associate(),
	} {
		if result != -int32(syscall.ENOSYS) {
			t.Error(name, result)
		}
	}
}

func TestErrorsOfTheHostAreReturned(t *testing.T) {
	f := newFixture(t, Transport{Dial: plain, Accept: plain})
	refused := -int32(syscall.ECONNREFUSED)
	f.Host.DialFixed = func() int32 { return refused }
	if result := f.Dial(internal); result != refused {
		t.Error(result)
	}
	if result := f.Associate(); result != refused {
		t.Error(result)
	}
	f.Host.Accept = func() int32 { return -int32(syscall.ENODEV) }
	if result := f.Accept(internal); result != -int32(syscall.ENODEV) {
		t.Error(result)
	}
	if result := f.Control(99); result != -int32(syscall.EBADF) {
		t.Error(result)
	}
}

func TestTheTransportIsMadeOfTheConfiguration(t *testing.T) {
	f := newFixture(t, Transport{})
	f.config = []byte("secret")
	f.New = func(config []byte) (Transport, error) {
		if string(config) != "secret" {
			t.Errorf("%q", config)
		}
		return Transport{}, fmt.Errorf("too short: %w", syscall.EINVAL)
	}
	if result := f.Init(); result != -int32(syscall.EINVAL) {
		t.Error(result)
	}
	f.Host.Configuration = func() ([]byte, error) { return nil, errors.New("unreadable") }
	if result := f.Init(); result != -int32(syscall.EIO) {
		t.Error(result)
	}
	f.New = nil
	if result := f.Init(); result != -int32(syscall.ENOSYS) {
		t.Error(result)
	}
}
