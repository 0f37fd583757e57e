// Package fixeddialer gives a module the role fixed dialer by being imported. It exports
// watm_dial_fixed_v1, which connects to the address that the module chose: see watm.FixedDialer.
package fixeddialer
