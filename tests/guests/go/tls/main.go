//go:build wasip1

// A TLS client in standard Go (crypto/tls): a dialer. The configuration is the name that the server has to have, and
// behind the line its certificate, in PEM, or one that it is signed with.
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"syscall"

	"guests/transport"
)

var near, far transport.Conn

//go:wasmexport watm_init_v1
func initialise() int32 {
	return transport.Result(transport.Init())
}

//go:wasmexport watm_ctrlpipe_v1
func setControl(fd int32) int32 {
	return transport.Result(transport.SetControl(fd))
}

//go:wasmexport watm_dial_v1
func dial(internal int32) int32 {
	name, certificate, _ := bytes.Cut(transport.Configuration(), []byte("\n"))
	trusted := x509.NewCertPool()
	if !trusted.AppendCertsFromPEM(certificate) {
		return transport.Result(syscall.EINVAL)
	}
	var err error
	if near, err = transport.FromFD(internal); err != nil {
		return transport.Result(err)
	}
	conn, fd, err := transport.DialFixed()
	if err != nil {
		return transport.Result(err)
	}
	client := tls.Client(conn, &tls.Config{ServerName: string(name), RootCAs: trusted})
	if err := client.Handshake(); err != nil {
		println("the handshake failed:", err.Error())
		return transport.Result(syscall.EPROTO)
	}
	far = client
	return fd
}

//go:wasmexport watm_start_v1
func start() int32 {
	return transport.Result(transport.Carry(near, far))
}

func main() {}
