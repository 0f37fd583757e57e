package main

// Tests of a transport, as its author writes them: on this machine, without WebAssembly.

import (
	"bytes"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/iotest"

	"watm"
)

// connect makes both ends of a framed connection.
func connect(t *testing.T) (dialler, acceptor net.Conn) {
	t.Helper()
	near, far := net.Pipe()
	done := make(chan error, 1)
	go func() {
		var err error
		acceptor, err = transport{}.Accept(far)
		done <- err
	}()
	dialler, err := transport{}.Dial(near)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return dialler, acceptor
}

func TestBytesArriveWhole(t *testing.T) {
	dialler, acceptor := connect(t)
	sent := bytes.Repeat([]byte("0123456789"), 10_001)
	go func() {
		dialler.Write(sent[:1])
		dialler.Write(sent[1:])
		watm.CloseWrite(dialler)
	}()
	received, err := io.ReadAll(iotest.OneByteReader(acceptor))
	if err != nil || !bytes.Equal(received, sent) {
		t.Fatal(len(received), err)
	}
}

// stream is a network that delivers these bytes and ends.
type stream struct {
	net.Conn
	bytes io.Reader
}

func (s stream) Read(b []byte) (int, error)  { return s.bytes.Read(b) }
func (s stream) Write(b []byte) (int, error) { return len(b), nil }

func TestACutIsNeverAnEnd(t *testing.T) {
	whole := accepted + "\x00\x03one\x00\x03two\x00\x00"
	for length := range len(whole) + 1 {
		network := stream{bytes: iotest.OneByteReader(bytes.NewBufferString(whole[:length]))}
		conn, err := transport{}.Dial(network)
		if err == nil {
			_, err = io.ReadAll(conn)
		}
		switch {
		case length == len(whole) && err == nil:
		case length == 0 && errors.Is(err, io.EOF): // of the handshake, where it is an error
		case length < len(whole) && errors.Is(err, io.ErrUnexpectedEOF):
		default:
			t.Errorf("%d bytes: %v", length, err)
		}
	}
}

func TestWhatIsNotTheProtocolIsRefused(t *testing.T) {
	for _, words := range []string{
		"HTTP/1.1 400 Bad Request\r\n\r\n",
		accepted + "\xff\xff",
	} {
		conn, err := transport{}.Dial(stream{bytes: bytes.NewBufferString(words)})
		if err == nil {
			_, err = conn.Read(make([]byte, 10))
		}
		if !errors.Is(err, syscall.EPROTO) {
			t.Errorf("%q: %v", words, err)
		}
	}
}

func TestTheFixedAddressIsTheConfiguration(t *testing.T) {
	network, address, err := transport{server: "example.org:443"}.FixedAddress()
	if network != "tcp" || address != "example.org:443" || err != nil {
		t.Error(network, address, err)
	}
	if _, _, err := (transport{}).FixedAddress(); !errors.Is(err, syscall.EINVAL) {
		t.Error(err)
	}
}
