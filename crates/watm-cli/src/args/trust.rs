//! Whose signatures count.

use std::path::PathBuf;

use super::value::KeyOrFile;

/// Trusted keys and a signature.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct TrustArgs {
    /// Reject what none of the trusted keys has signed: a public key of minisign, or its file
    /// (repeatable)
    ///
    /// A key has 56 characters that begin with RW; minisign keeps it in a file such as minisign.pub.
    /// The signature is read from the file beside the signed one, with the same name and .minisig.
    /// It is verified before anything is parsed. `minisign -Sm FILE` signs a file.
    #[arg(long, value_name = "KEY")]
    pub(crate) trusted_key: Vec<KeyOrFile>,

    /// Signature to verify [default: the name of the signed file, and .minisig]
    #[arg(long, value_name = "FILE", requires = "trusted_key")]
    pub(crate) signature: Option<PathBuf>,
}
