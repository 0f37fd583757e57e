// Package relay gives a module the role relay by being imported. It exports watm_associate_v1,
// which accepts a connection and connects it to the address that the host chose.
package relay
