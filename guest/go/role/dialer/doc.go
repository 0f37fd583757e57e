// Package dialer gives a module the role dialer by being imported. It exports watm_dial_v1, which
// connects to the address that the host chose.
package dialer
