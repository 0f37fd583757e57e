// Package module is one instance of a transport module: what its exports do, in the order in which
// the host calls them. It reaches the host through [Host] alone, so that it is tested without one.
package module

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	"watm/internal/carry"
	"watm/internal/result"
)

// Transport is what the author has registered. A function that the transport lacks is nil.
type Transport struct {
	Dial    func(network net.Conn) (net.Conn, error)
	Accept  func(network net.Conn) (net.Conn, error)
	Address func() (network, address string, err error)
}

// Host is what the host provides. The functions that return a descriptor return a negated error
// number if they fail.
type Host struct {
	Dial      func(network, address string) int32
	DialFixed func() int32
	Accept    func() int32
	Open      func(fd int32) (net.Conn, error)
	// Announce tells the host that this module polls for writing.
	Announce      func(network, internal int32)
	Configuration func() ([]byte, error)
}

// Module is the state of an instance, which serves one connection.
type Module struct {
	Host Host
	// New makes the transport of the configuration. nil if nothing was registered.
	New func(config []byte) (Transport, error)

	transport  Transport
	connection *carry.Connection
	control    net.Conn
	// The descriptors of both sides.
	network, internal int32
}

// This is the instance that the exports belong to.
var This Module

// Init is watm_init_v1.
func (m *Module) Init() int32 {
	if m.New == nil {
		return report("init", fmt.Errorf("no transport is registered: %w", syscall.ENOSYS))
	}
	config, err := m.Host.Configuration()
	if err == nil {
		m.transport, err = m.New(config)
	}
	return report("init", err)
}

// Dial is watm_dial_v1.
func (m *Module) Dial(internal int32) int32 {
	return m.begin("dial", internal, m.Host.DialFixed, m.transport.Dial)
}

// DialFixed is watm_dial_fixed_v1.
func (m *Module) DialFixed(internal int32) int32 {
	if m.transport.Address == nil {
		return report("dial_fixed", missing("FixedAddress"))
	}
	network, address, err := m.transport.Address()
	if err != nil {
		return report("dial_fixed", err)
	}
	dial := func() int32 { return m.Host.Dial(network, address) }
	return m.begin("dial_fixed", internal, dial, m.transport.Dial)
}

// Accept is watm_accept_v1.
func (m *Module) Accept(internal int32) int32 {
	return m.begin("accept", internal, m.Host.Accept, m.transport.Accept)
}

// Associate is watm_associate_v1.
func (m *Module) Associate() int32 {
	fd := m.Host.Accept()
	if fd < 0 {
		return fd
	}
	return min(m.begin("associate", fd, m.Host.DialFixed, m.transport.Dial), 0)
}

// Control is watm_ctrlpipe_v1.
func (m *Module) Control(fd int32) int32 {
	var err error
	m.control, err = m.Host.Open(fd)
	return report("ctrlpipe", err)
}

// Start is watm_start_v1.
func (m *Module) Start() int32 {
	if m.connection == nil {
		return -int32(syscall.ENOTCONN)
	}
	if m.control != nil {
		m.connection.Control = m.control
	}
	m.Host.Announce(m.network, m.internal)
	err := m.connection.Run()
	if errors.Is(err, syscall.ECANCELED) {
		// What the host asked for needs no line in its log.
		return result.Of(err)
	}
	return report("start", err)
}

// begin connects, does the handshake and keeps the connection. It returns the descriptor of the
// network or a negated error number.
func (m *Module) begin(
	stage string,
	internal int32,
	connect func() int32,
	wrap func(net.Conn) (net.Conn, error),
) int32 {
	if wrap == nil {
		return report(stage, missing("Dial or Accept"))
	}
	plain, err := m.Host.Open(internal)
	if err != nil {
		return report(stage, err)
	}
	fd := connect()
	if fd < 0 {
		return fd
	}
	network, err := m.Host.Open(fd)
	if err != nil {
		return report(stage, err)
	}
	wrapped, err := wrap(network)
	if err != nil {
		return report(stage, err)
	}
	m.connection = &carry.Connection{Plain: plain, Wrapped: wrapped, Network: network}
	m.network, m.internal = fd, internal
	return fd
}

func missing(method string) error {
	return fmt.Errorf("the transport has no %s: %w", method, syscall.ENOSYS)
}

// report logs an error, whose number says less than its text, and returns its number.
func report(stage string, err error) int32 {
	if err != nil {
		Logf("%s: %v", stage, err)
	}
	return result.Of(err)
}

// Logf writes one line to standard error, in one write.
func Logf(format string, args ...any) {
	line := strings.TrimSuffix(fmt.Sprintf(format, args...), "\n") + "\n"
	// A log that fails has nobody to tell.
	_, _ = os.Stderr.WriteString(line)
}
