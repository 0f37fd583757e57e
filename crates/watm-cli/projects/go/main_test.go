package main

// Tests of the transport on this machine, without WebAssembly.

import (
	"bytes"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/iotest"
)

func TestWhatIsSentArrivesInBothDirections(t *testing.T) {
	near, far := net.Pipe()
	dialler, err := transport{[]byte("a key")}.Dial(near)
	if err != nil {
		t.Fatal(err)
	}
	acceptor, err := transport{[]byte("a key")}.Accept(far)
	if err != nil {
		t.Fatal(err)
	}
	sent := bytes.Repeat([]byte("0123456789"), 10_001)
	for _, direction := range []struct{ from, to net.Conn }{
		{dialler, acceptor},
		{acceptor, dialler},
	} {
		written := make(chan error, 1)
		go func() {
			_, err := direction.from.Write(sent[:1])
			if err == nil {
				_, err = direction.from.Write(sent[1:])
			}
			written <- err
		}()
		received := make([]byte, len(sent))
		reader := iotest.OneByteReader(direction.to)
		if _, err := io.ReadFull(reader, received); err != nil || !bytes.Equal(received, sent) {
			t.Fatal("what was sent did not arrive: ", err)
		}
		if err := <-written; err != nil {
			t.Fatal(err)
		}
	}
}

func TestTheWireHasTheBytesCombinedWithTheKey(t *testing.T) {
	near, far := net.Pipe()
	conn, err := transport{[]byte{1, 2}}.Dial(near)
	if err != nil {
		t.Fatal(err)
	}
	go conn.Write([]byte{0, 0, 0})
	wire := make([]byte, 3)
	if _, err := io.ReadFull(far, wire); err != nil || !bytes.Equal(wire, []byte{1, 2, 1}) {
		t.Fatal(wire, err)
	}
}

func TestThereMustBeAKey(t *testing.T) {
	if _, err := newTransport(nil); !errors.Is(err, syscall.EINVAL) {
		t.Fatal(err)
	}
}
