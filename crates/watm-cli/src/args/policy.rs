//! The addresses that a module may choose.

use watm_wasmer::{AddressEntry, Nat64Prefix};

/// The address policy.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Addresses the module may choose")]
pub(crate) struct PolicyArgs {
    /// Allow these addresses, as [tcp4://|tcp6://]HOST[:PORT] (repeatable)
    ///
    /// HOST is a name, *.NAME, an IP address, a CIDR block or *.
    #[arg(long, value_name = "ENTRY")]
    pub(crate) allow: Vec<AddressEntry>,

    /// Deny these addresses, even if another option allows them (repeatable)
    ///
    /// An IPv4 address is also denied where it is mapped into IPv6 or carried by NAT64, 6to4 or
    /// Teredo.
    #[arg(long, value_name = "ENTRY")]
    pub(crate) deny: Vec<AddressEntry>,

    /// Allow all addresses that are not denied, including this machine and its network
    #[arg(long)]
    pub(crate) allow_all: bool,

    /// NAT64 prefix in addition to 64:ff9b::/96 (repeatable)
    ///
    /// Its addresses count as the IPv4 addresses they carry.
    #[arg(long, value_name = "PREFIX")]
    pub(crate) nat64_prefix: Vec<Nat64Prefix>,
}
