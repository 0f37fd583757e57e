// Package listener gives a module the role listener by being imported. It exports watm_accept_v1,
// which accepts a connection of the host's listener: see watm.Acceptor.
package listener
