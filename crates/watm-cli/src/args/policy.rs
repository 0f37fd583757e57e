//! The addresses that a module may choose.

use watm_wasmer::{AddressEntry, Nat64Prefix};

/// Which addresses a module may choose.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Addresses that the module may choose (repeatable)")]
pub(crate) struct PolicyArgs {
    /// Allow these: [tcp4://|tcp6://]HOST[:PORT], where HOST is a name, *.NAME, an IP address, a
    /// CIDR block or *
    #[arg(long, value_name = "ENTRY")]
    pub(crate) allow: Vec<AddressEntry>,

    /// Deny these, whatever else is allowed; an IPv4 address also where it is mapped into IPv6, or
    /// carried by NAT64, 6to4 or Teredo
    #[arg(long, value_name = "ENTRY")]
    pub(crate) deny: Vec<AddressEntry>,

    /// Allow all that is not denied, this machine and its network included
    #[arg(long)]
    pub(crate) allow_all: bool,

    /// A prefix of NAT64 beside 64:ff9b::/96: its addresses count as the IPv4 addresses that they
    /// carry
    #[arg(long, value_name = "PREFIX")]
    pub(crate) nat64_prefix: Vec<Nat64Prefix>,
}
