package carry

// What both ends of a connection see, over TCP on this machine.

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// pair returns both ends of a TCP connection.
func pair(t *testing.T) (near, far *net.TCPConn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	dialled, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		dialled.Close()
		accepted.Close()
	})
	return dialled.(*net.TCPConn), accepted.(*net.TCPConn)
}

// carried is a connection that runs, and the ends that the application and the peer hold.
type carried struct {
	application, peer *net.TCPConn
	control           net.Conn
	result            chan error
}

func carryWith(t *testing.T, wrap func(net.Conn) net.Conn) *carried {
	t.Helper()
	application, plain := pair(t)
	network, peer := pair(t)
	control, watched := net.Pipe()
	t.Cleanup(func() { control.Close() })
	c := &carried{application, peer, control, make(chan error, 1)}
	connection := &Connection{Plain: plain, Wrapped: wrap(network), Network: network, Control: watched}
	go func() { c.result <- connection.Run() }()
	return c
}

func (c *carried) expect(t *testing.T, expected error) {
	t.Helper()
	select {
	case err := <-c.result:
		if !errors.Is(err, expected) {
			t.Fatalf("%v, not %v", err, expected)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the connection does not end")
	}
}

func read(t *testing.T, from io.Reader) []byte {
	t.Helper()
	all, err := io.ReadAll(from)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func write(t *testing.T, to net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(to, text); err != nil {
		t.Fatal(err)
	}
}

func unchanged(network net.Conn) net.Conn { return network }

func TestBytesPassInBothDirectionsAtOnce(t *testing.T) {
	c := carryWith(t, unchanged)
	random := rand.New(rand.NewPCG(1, 2))
	up, down := make([]byte, 5_000_003), make([]byte, 3_000_001)
	for _, b := range [][]byte{up, down} {
		for i := range b {
			b[i] = byte(random.Uint32())
		}
	}
	for conn, sent := range map[*net.TCPConn][]byte{c.application: up, c.peer: down} {
		go func() {
			conn.Write(sent)
			conn.CloseWrite()
		}()
	}
	received := make(chan []byte)
	go func() {
		all, _ := io.ReadAll(c.peer)
		received <- all
	}()
	if !bytes.Equal(read(t, c.application), down) || !bytes.Equal(<-received, up) {
		t.Fatal("the bytes differ")
	}
	c.expect(t, nil)
}

func TestTheOtherDirectionGoesOnAfterAnEnd(t *testing.T) {
	c := carryWith(t, unchanged)
	write(t, c.application, "request")
	c.application.CloseWrite()
	if got := read(t, c.peer); string(got) != "request" {
		t.Fatalf("%q", got)
	}
	write(t, c.peer, "response")
	c.peer.CloseWrite()
	if got := read(t, c.application); string(got) != "response" {
		t.Fatalf("%q", got)
	}
	c.expect(t, nil)
}

// opaque hides CloseWrite, as a wrapper does that embeds a net.Conn.
type opaque struct{ net.Conn }

func TestTheNetworkIsEndedForAWrapperThatCannot(t *testing.T) {
	c := carryWith(t, func(network net.Conn) net.Conn { return opaque{network} })
	c.application.CloseWrite()
	read(t, c.peer)
	c.peer.CloseWrite()
	c.expect(t, nil)
}

// polite says goodbye when it is ended.
type polite struct{ *net.TCPConn }

func (p polite) CloseWrite() error {
	io.WriteString(p.TCPConn, "goodbye")
	return p.TCPConn.CloseWrite()
}

func TestAWrapperEndsItsOwnStream(t *testing.T) {
	c := carryWith(t, func(network net.Conn) net.Conn { return polite{network.(*net.TCPConn)} })
	write(t, c.application, "hello, ")
	c.application.CloseWrite()
	if got := read(t, c.peer); string(got) != "hello, goodbye" {
		t.Fatalf("%q", got)
	}
	c.peer.CloseWrite()
	c.expect(t, nil)
}

func TestControlEndsTheConnection(t *testing.T) {
	c := carryWith(t, unchanged)
	c.control.Write([]byte{0})
	c.expect(t, syscall.ECANCELED)
}

func TestTheEndOfControlEndsTheConnection(t *testing.T) {
	c := carryWith(t, unchanged)
	c.control.Close()
	c.expect(t, syscall.ECANCELED)
}

func TestControlEndsAConnectionThatIsFull(t *testing.T) {
	c := carryWith(t, unchanged)
	go c.application.Write(make([]byte, 64<<20)) // nobody reads
	c.control.Write([]byte{0})
	c.expect(t, syscall.ECANCELED)
}

func TestAResetIsReported(t *testing.T) {
	c := carryWith(t, unchanged)
	c.peer.SetLinger(0)
	c.peer.Close()
	c.expect(t, syscall.ECONNRESET)
}

// failing returns bytes and an error at once.
type failing struct{ net.Conn }

func (f failing) Read(b []byte) (int, error) {
	return copy(b, "before"), io.ErrUnexpectedEOF
}

func TestWhatComesBeforeAnErrorIsDelivered(t *testing.T) {
	c := carryWith(t, func(network net.Conn) net.Conn { return failing{network} })
	c.expect(t, io.ErrUnexpectedEOF)
	received := make([]byte, 6)
	if _, err := io.ReadFull(c.application, received); err != nil || string(received) != "before" {
		t.Fatalf("%q, %v", received, err)
	}
}

// deaf takes nothing: its peer no longer listens.
type deaf struct {
	net.Conn
	written chan struct{}
}

func (d deaf) Write([]byte) (int, error) {
	close(d.written)
	return 0, syscall.EPIPE
}

func TestLastWordsArriveAfterAFailedWrite(t *testing.T) {
	written := make(chan struct{})
	c := carryWith(t, func(network net.Conn) net.Conn { return deaf{network, written} })
	write(t, c.application, "request")
	<-written
	write(t, c.peer, "last words")
	c.peer.CloseWrite()
	if got := read(t, c.application); string(got) != "last words" {
		t.Fatalf("%q", got)
	}
	c.expect(t, syscall.EPIPE)
}

func TestControlEndsAConnectionWhoseWriteHasFailed(t *testing.T) {
	written := make(chan struct{})
	c := carryWith(t, func(network net.Conn) net.Conn { return deaf{network, written} })
	write(t, c.application, "request")
	<-written
	c.control.Write([]byte{0})
	c.expect(t, syscall.ECANCELED)
}

// stubborn is a connection of a host that cannot end it in one direction, or fails to.
type stubborn struct {
	net.Conn
	err error
}

func (s stubborn) CloseWrite() error { return os.NewSyscallError("shutdown", s.err) }

func TestWithoutHalfCloseOneEndIsTheEnd(t *testing.T) {
	for _, err := range []error{syscall.ENOSYS, syscall.ENOTSUP, syscall.ENOTSOCK} {
		c := carryWith(t, func(network net.Conn) net.Conn { return stubborn{network, err} })
		write(t, c.application, "request")
		c.application.CloseWrite()
		c.expect(t, nil)
		received := make([]byte, 7)
		if _, err := io.ReadFull(c.peer, received); err != nil || string(received) != "request" {
			t.Fatalf("%q, %v", received, err)
		}
	}
}

func TestAFailedEndIsReportedAfterTheOtherDirection(t *testing.T) {
	c := carryWith(t, func(network net.Conn) net.Conn { return stubborn{network, syscall.EIO} })
	c.application.CloseWrite()
	write(t, c.peer, "last words")
	c.peer.CloseWrite()
	if got := read(t, c.application); string(got) != "last words" {
		t.Fatalf("%q", got)
	}
	c.expect(t, syscall.EIO)
}

type short struct{ net.Conn }

func (s short) Write(b []byte) (int, error) { return len(b) - 1, nil }

func TestAWriterThatForgetsBytesFails(t *testing.T) {
	c := carryWith(t, func(network net.Conn) net.Conn { return short{network} })
	write(t, c.application, "request")
	c.expect(t, io.ErrShortWrite)
}

func TestConnectionsWithoutHalfCloseAreCarried(t *testing.T) {
	application, plain := net.Pipe()
	network, peer := net.Pipe()
	result := make(chan error, 1)
	connection := &Connection{Plain: plain, Wrapped: network, Network: network}
	go func() { result <- connection.Run() }()
	go io.WriteString(application, "request")
	received := make([]byte, 7)
	if _, err := io.ReadFull(peer, received); err != nil || string(received) != "request" {
		t.Fatalf("%q, %v", received, err)
	}
	application.Close()
	peer.Close()
	if err := <-result; err != nil {
		t.Fatal(err)
	}
}
