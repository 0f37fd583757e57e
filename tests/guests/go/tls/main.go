//go:build wasip1

// A TLS client in standard Go (crypto/tls): a dialer. The first line of the configuration is the
// name of the server. The rest is its certificate, or its issuer's, in PEM.
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"syscall"

	"guests/transport"
)

//go:wasmexport watm_dial_v1
func dial(internal int32) int32 {
	name, certificate, _ := bytes.Cut(transport.Configuration(), []byte("\n"))
	trusted := x509.NewCertPool()
	if !trusted.AppendCertsFromPEM(certificate) {
		return transport.Result(syscall.EINVAL)
	}
	var err error
	if transport.Near, err = transport.FromFD(internal); err != nil {
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
	transport.Far = client
	return fd
}

func main() {}
