//! The oracle for the address policy.
//!
//! Knows the texts of entries and prefixes, and a model of what they match. The model works on
//! numbers and compares ranges. A case is about one IPv4 address. Entries and prefixes lie around
//! the forms of this address, and each form is dialled.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use arbitrary::Arbitrary;
use watm_wasmer::{AddressEntry, AddressPolicy, Nat64Prefix};

/// A policy, and an address to try with it.
#[derive(Debug, Arbitrary)]
pub struct PolicyCase {
    /// The IPv4 address of the case.
    pub base: Base,
    /// The bits around the address. Also the other end of a Teredo address.
    pub around: u128,
    /// NAT64 prefixes besides the well-known one. Only the first three count.
    pub prefixes: Vec<PrefixChoice>,
    /// Allow entries. Only the first four count.
    pub allow: Vec<EntryChoice>,
    /// Deny entries. Only the first four count.
    pub deny: Vec<EntryChoice>,
    /// Whether everything else is allowed.
    pub allow_others: bool,
    /// The dialled host. If it is `None`, the address itself is dialled.
    pub host: Option<NameChoice>,
    /// The dialled port.
    pub port: PortChoice,
    /// Arbitrary text, which is used alone and in the middle of each entry.
    pub text: String,
}

/// An IPv4 address.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub enum Base {
    /// `0.0.0.0`.
    Unspecified,
    /// `127.0.0.1`.
    Loopback,
    /// A small number.
    Small(u8),
    /// Any address.
    Any(u32),
}

/// A NAT64 prefix.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub struct PrefixChoice {
    /// One of a few starts, so that some prefixes lie within others.
    pub start: u8,
    /// One of the six lengths.
    pub len: u8,
    /// A bit that must not be set. A large number means none.
    pub wrong: u8,
}

/// An entry.
#[derive(Clone, Debug, Arbitrary)]
pub struct EntryChoice {
    /// Its network, if it names one.
    pub network: Option<NetworkChoice>,
    /// Its host.
    pub host: HostChoice,
    /// Its port, if it names one.
    pub port: Option<PortChoice>,
}

/// A network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Arbitrary)]
pub enum NetworkChoice {
    /// IPv4 and IPv6.
    Tcp,
    /// IPv4 only.
    Tcp4,
    /// IPv6 only.
    Tcp6,
}

/// The host of an entry.
#[derive(Clone, Debug, Arbitrary)]
pub enum HostChoice {
    /// `*`.
    Any,
    /// A name.
    Name(NameChoice),
    /// `*.` and a name.
    Below(NameChoice),
    /// One form of the address.
    Address(Form),
    /// A block of this length around one form, after a change of one bit. A large bit number means
    /// no change.
    Block(Form, u8, u8),
    /// A block of this length around a loopback address. The flag selects IPv6.
    Loopback(bool, u8),
    /// A block of this length around any address.
    Anywhere(u128, u8),
}

/// A name, or something similar.
#[derive(Clone, Copy, Debug, Arbitrary)]
#[allow(missing_docs, reason = "see `NameChoice::text`")]
pub enum NameChoice {
    Example,
    Capital,
    Dot,
    Sub,
    Suffix,
    Com,
    Short,
    Decimal,
    Hexadecimal,
    FiveNumbers,
}

/// A port.
#[derive(Clone, Copy, Debug, Arbitrary)]
#[allow(missing_docs, reason = "their names say it")]
pub enum PortChoice {
    Web,
    Tls,
    Zero,
    Any(u16),
}

/// A form of the address of the case.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub enum Form {
    /// The address itself.
    Plain,
    /// Mapped into IPv6.
    Mapped,
    /// In the well-known NAT64 prefix.
    WellKnown,
    /// In one of the case's NAT64 prefixes, or in the well-known one.
    Set(u8),
    /// As a 6to4 router.
    SixToFour,
    /// As a Teredo server.
    TeredoServer,
    /// As a Teredo client.
    TeredoClient,
    /// The last bits of an address that starts with zeros, such as `::` and `::1`.
    Last,
    /// The last bits of any other address.
    Other,
}

/// How a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyEnd {
    /// Whether any entry or prefix was refused.
    pub refused: bool,
    /// Whether any form was allowed.
    pub allowed: bool,
    /// Whether any form was denied.
    pub denied: bool,
}

/// Builds the policy and compares what it permits with a model, for every form of the address.
///
/// # Panics
///
/// Panics if they differ, if an entry or a prefix is wrongly accepted or refused, or if an error
/// quotes too much.
pub fn policy(case: &PolicyCase) -> PolicyEnd {
    anything(&case.text);
    let (prefixes, wrong_prefixes) = prefixes(case);
    let (allow, wrong_allow) = entries(case, &case.allow, &prefixes.models);
    let (deny, wrong_deny) = entries(case, &case.deny, &prefixes.models);
    let policies = policies(case, &prefixes.parsed, &allow.parsed, &deny.parsed);
    let mut end = PolicyEnd {
        refused: wrong_prefixes || wrong_allow || wrong_deny,
        allowed: false,
        denied: false,
    };
    for form in Form::ALL {
        let address = form.build(case, &prefixes.models);
        let (ip, port) = (address.ip(), case.port.number());
        let host = case
            .host
            .map_or_else(|| ip.to_string(), |name| name.text().to_owned());
        let denies = |entry: &Entry| entry.denies(&host, address, port, &prefixes.models);
        let allows = |entry: &Entry| entry.allows(&host, address, port, &prefixes.models);
        let expected = !deny.models.iter().any(denies)
            && (case.allow_others || allow.models.iter().any(allows));
        for policy in &policies {
            let permitted = policy.permits(&host, SocketAddr::new(ip, port));
            assert_eq!(
                permitted, expected,
                "{host} at {ip}, port {port}: {policy:?}"
            );
        }
        end.allowed |= expected;
        end.denied |= !expected;
    }
    end
}

/// What the runtime has parsed, and its models.
struct Taken<T, M> {
    parsed: Vec<T>,
    models: Vec<M>,
}

/// The prefixes of a case, and whether one was refused.
fn prefixes(case: &PolicyCase) -> (Taken<Nat64Prefix, Prefix>, bool) {
    let (mut parsed, mut models, mut refused) = (Vec::new(), Vec::new(), false);
    for choice in case.prefixes.iter().take(3) {
        let (prefix, wrong) = choice.build();
        let result = prefix.to_string().parse::<Nat64Prefix>();
        assert_eq!(result.is_err(), wrong, "{prefix}: {result:?}");
        refused |= wrong;
        if let Ok(result) = result {
            parsed.push(result);
            models.push(prefix);
        }
    }
    (Taken { parsed, models }, refused)
}

/// The entries of a case, and whether one was refused.
fn entries(
    case: &PolicyCase,
    choices: &[EntryChoice],
    prefixes: &[Prefix],
) -> (Taken<AddressEntry, Entry>, bool) {
    let (mut parsed, mut models, mut refused) = (Vec::new(), Vec::new(), false);
    for choice in choices.iter().take(4) {
        let (text, entry) = choice.build(case, prefixes);
        let (start, end) = text.split_at(case.around as usize % text.len());
        anything(&format!("{start}{}{end}", case.text));
        anything(start);
        let result = text.parse::<AddressEntry>();
        assert_eq!(result.is_ok(), entry.is_some(), "{text}: {result:?}");
        refused |= result.is_err();
        parsed.extend(result);
        models.extend(entry);
    }
    (Taken { parsed, models }, refused)
}

/// The policy of a case, built in two orders.
fn policies(
    case: &PolicyCase,
    prefixes: &[Nat64Prefix],
    allow: &[AddressEntry],
    deny: &[AddressEntry],
) -> [AddressPolicy; 2] {
    let start = || match case.allow_others {
        true => AddressPolicy::allow_all(),
        false => AddressPolicy::deny_all(),
    };
    let with_prefixes = |policy| {
        let prefixes = prefixes.iter().copied();
        prefixes.fold(policy, AddressPolicy::nat64_prefix)
    };
    let with_entries = |policy| {
        let policy = deny.iter().cloned().fold(policy, AddressPolicy::deny);
        allow.iter().cloned().fold(policy, AddressPolicy::allow)
    };
    [
        with_entries(with_prefixes(start())),
        with_prefixes(with_entries(start())),
    ]
}

/// Parses arbitrary text as an entry and as a prefix. An error must show the text on one line.
fn anything(text: &str) {
    let errors = [
        text.parse::<AddressEntry>().err().map(|e| e.to_string()),
        text.parse::<Nat64Prefix>().err().map(|e| e.to_string()),
    ];
    for error in errors.into_iter().flatten() {
        assert!(!error.contains(char::is_control), "{error}");
        // The error quotes up to 200 characters, each of which may be escaped. The rest is the
        // reason.
        assert!(
            error.chars().count() < 200 * "\\u{10ffff}".len() + 400,
            "{error}"
        );
    }
}

// ---- from choices to texts and numbers ----------------------------------------------------------

/// An address as a number of 32 or 128 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Address {
    v6: bool,
    number: u128,
}

fn v4(number: u128) -> Address {
    Address { v6: false, number }
}

fn v6(number: u128) -> Address {
    Address { v6: true, number }
}

impl Address {
    fn ip(self) -> IpAddr {
        match self.v6 {
            true => Ipv6Addr::from_bits(self.number).into(),
            false => Ipv4Addr::from_bits(self.number as u32).into(),
        }
    }
}

/// All addresses between two, both included.
#[derive(Clone, Copy, Debug)]
struct Range {
    v6: bool,
    first: u128,
    last: u128,
}

impl Range {
    /// The block of this length around an address.
    fn around(address: Address, len: u32) -> Self {
        let free = match address.v6 {
            true => u128::MAX.checked_shr(len).unwrap_or(0),
            false => u128::from(u32::MAX) >> len,
        };
        Self {
            v6: address.v6,
            first: address.number & !free,
            last: address.number | free,
        }
    }

    fn holds(self, address: Address) -> bool {
        self.v6 == address.v6 && self.first <= address.number && address.number <= self.last
    }

    fn is_within(self, first: u128, last: u128) -> bool {
        self.v6 && first <= self.first && self.last <= last
    }
}

/// A NAT64 prefix.
#[derive(Clone, Copy, Debug)]
struct Prefix {
    start: u128,
    len: u32,
}

const WELL_KNOWN: Prefix = Prefix {
    start: 0x0064_ff9b << 96,
    len: 96,
};

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv6Addr::from_bits(self.start), self.len)
    }
}

impl PrefixChoice {
    /// The prefix, and whether it is invalid.
    fn build(self) -> (Prefix, bool) {
        let len = [32, 40, 48, 56, 64, 96][usize::from(self.len % 6)];
        let start = match self.start % 6 {
            0 => 0x2001_0db8 << 96,
            1 => 0x2001_0db8_0164_ab00 << 64,
            2 => (0x2001_0db8_0164_ab00 << 64) | (0x00cd << 48),
            // Within Teredo, within 6to4, and beside the well-known prefix.
            3 => (0x2001 << 112) | (7 << 64),
            4 => 0x2002_7f00_0001 << 80,
            _ => 0x0064_ff9b_0001 << 80,
        };
        let start = Range::around(v6(start), len).first;
        match 1_u128.checked_shl(u32::from(self.wrong)) {
            // A bit before the length may give another valid prefix, except bits 64 to 71.
            Some(bit) => {
                let wrong = bit.leading_zeros() >= len || (64..72).contains(&bit.leading_zeros());
                let start = if wrong { start | bit } else { start };
                (Prefix { start, len }, wrong)
            }
            None => (Prefix { start, len }, false),
        }
    }
}

impl Form {
    const ALL: [Self; 11] = [
        Self::Plain,
        Self::Mapped,
        Self::WellKnown,
        Self::Set(0),
        Self::Set(1),
        Self::Set(2),
        Self::SixToFour,
        Self::TeredoServer,
        Self::TeredoClient,
        Self::Last,
        Self::Other,
    ];

    fn build(self, case: &PolicyCase, prefixes: &[Prefix]) -> Address {
        let base = u128::from(case.base.number());
        let around = |len| Range::around(v6(u128::MAX), len).first ^ u128::MAX;
        let rest = case.around;
        match self {
            Self::Plain => v4(base),
            Self::Mapped => v6((0xffff << 32) | base),
            Self::WellKnown => v6(WELL_KNOWN.start | base),
            Self::Set(index) => {
                let index = usize::from(index) % prefixes.len().max(1);
                let prefix = prefixes.get(index).unwrap_or(&WELL_KNOWN);
                v6(prefix.carrying(base, rest))
            }
            Self::SixToFour => v6((0x2002 << 112) | (base << 80) | (rest & around(48))),
            Self::TeredoServer => v6((0x2001 << 112) | (base << 64) | (rest & around(64))),
            Self::TeredoClient => {
                let inverted = base ^ u128::from(u32::MAX);
                v6((0x2001 << 112) | (rest & around(32) & !around(96)) | inverted)
            }
            Self::Last if base == 0x7f00_0001 => v6(1),
            Self::Last => v6(base),
            Self::Other => v6((rest & !around(96)) | base),
        }
    }
}

impl Prefix {
    /// The address that carries `base`, with `rest` in its other bits.
    fn carrying(self, base: u128, rest: u128) -> u128 {
        let mut address = self.start;
        let mut bits = (0..32).rev().map(|bit| (base >> bit) & 1);
        for position in self.len..128 {
            let of_rest = (rest >> (127 - position)) & 1;
            let bit = match position {
                64..72 => of_rest,
                _ => bits.next().unwrap_or(of_rest),
            };
            address |= bit << (127 - position);
        }
        address
    }

    fn holds(self, number: u128) -> bool {
        number >> (128 - self.len) == self.start >> (128 - self.len)
    }

    /// The IPv4 address that an address of this prefix carries.
    fn carried(self, number: u128) -> u128 {
        // It follows the prefix and skips bits 64 to 71.
        let joined = (number >> 64 << 56) | (number & ((1 << 56) - 1));
        let prefix = if self.len > 64 {
            self.len - 8
        } else {
            self.len
        };
        (joined >> (120 - prefix - 32)) & u128::from(u32::MAX)
    }
}

impl Base {
    fn number(self) -> u32 {
        match self {
            Self::Unspecified => 0,
            Self::Loopback => 0x7f00_0001,
            Self::Small(number) => u32::from(number % 4),
            Self::Any(number) => number,
        }
    }
}

impl PortChoice {
    fn number(self) -> u16 {
        match self {
            Self::Web => 80,
            Self::Tls => 443,
            Self::Zero => 0,
            Self::Any(port) => port,
        }
    }
}

impl NameChoice {
    fn text(self) -> &'static str {
        match self {
            Self::Example => "name.example",
            Self::Capital => "Name.EXAMPLE",
            Self::Dot => "name.example.",
            Self::Sub => "a.b.name.example",
            Self::Suffix => "badname.example",
            Self::Com => "com",
            Self::Short => "example",
            Self::Decimal => "127.1",
            Self::Hexadecimal => "0x7f.0X000001.",
            Self::FiveNumbers => "1.2.3.4.5",
        }
    }

    fn is_number(self) -> bool {
        matches!(self, Self::Decimal | Self::Hexadecimal | Self::FiveNumbers)
    }
}

/// A name in the form in which names are compared.
fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

impl EntryChoice {
    /// The text and its meaning. `None` if it must be refused.
    fn build(&self, case: &PolicyCase, prefixes: &[Prefix]) -> (String, Option<Entry>) {
        let around = |address: Address, len: u8| {
            // Sometimes one more than the number of bits.
            let len = u32::from(len) % if address.v6 { 130 } else { 34 };
            let text = format!("{}/{len}", address.ip());
            let fits = len <= if address.v6 { 128 } else { 32 };
            (text, fits.then(|| Host::block(Range::around(address, len))))
        };
        let name = |name: NameChoice, below: &str, host: fn(String) -> Host| {
            let text = format!("{below}{}", name.text());
            (text, (!name.is_number()).then(|| host(plain(name.text()))))
        };
        let (host, meant) = match self.host {
            HostChoice::Any => ("*".to_owned(), Some(Host::Any)),
            HostChoice::Name(choice) => name(choice, "", Host::Name),
            HostChoice::Below(choice) => name(choice, "*.", Host::Below),
            HostChoice::Address(form) => {
                let address = form.build(case, prefixes);
                let len = if address.v6 { 128 } else { 32 };
                let block = Host::block(Range::around(address, len));
                (address.ip().to_string(), Some(block))
            }
            HostChoice::Block(form, len, bit) => {
                let mut address = form.build(case, prefixes);
                if bit < if address.v6 { 128 } else { 32 } {
                    address.number ^= 1 << bit;
                }
                around(address, len)
            }
            HostChoice::Loopback(true, len) => around(v6(1), len),
            HostChoice::Loopback(false, len) => around(v4(0x7f00_0001), len),
            HostChoice::Anywhere(number, len) => around(v6(number), len),
        };
        let network = match self.network {
            None => "",
            Some(NetworkChoice::Tcp) => "tcp://",
            Some(NetworkChoice::Tcp4) => "tcp4://",
            Some(NetworkChoice::Tcp6) => "tcp6://",
        };
        let port = self.port.map(PortChoice::number);
        let text = match port {
            Some(port) => format!("{network}[{host}]:{port}"),
            None => format!("{network}{host}"),
        };
        let other_family = match meant {
            Some(Host::Block(block)) if block.v6 => NetworkChoice::Tcp4,
            Some(Host::Block(_)) => NetworkChoice::Tcp6,
            _ => NetworkChoice::Tcp,
        };
        let agree = other_family == NetworkChoice::Tcp || self.network != Some(other_family);
        let meant = meant.filter(|_| agree && port != Some(0));
        let entry = meant.map(|host| Entry {
            network: self.network.unwrap_or(NetworkChoice::Tcp),
            host,
            port,
        });
        (text, entry)
    }
}

// ---- the model ----------------------------------------------------------------------------------

#[derive(Debug)]
struct Entry {
    network: NetworkChoice,
    host: Host,
    port: Option<u16>,
}

#[derive(Debug)]
enum Host {
    Any,
    Name(String),
    Below(String),
    Block(Range),
}

impl Host {
    /// A block. An IPv4 block if all of it is mapped into IPv6.
    fn block(mut range: Range) -> Self {
        let mapped = 0xffff << 32;
        if range.is_within(mapped, mapped + u128::from(u32::MAX)) {
            range = Range {
                v6: false,
                first: range.first - mapped,
                last: range.last - mapped,
            };
        }
        Self::Block(range)
    }

    fn is_named(&self, host: &str) -> bool {
        let host = plain(host);
        match self {
            Self::Any => true,
            Self::Name(name) => host == *name,
            Self::Below(parent) => {
                host.len() > parent.len() + 1 && host.ends_with(&format!(".{parent}"))
            }
            Self::Block(_) => false,
        }
    }
}

/// The IPv4 address if the address is mapped.
fn unmapped(address: Address) -> Address {
    match address.v6 && address.number >> 32 == 0xffff {
        true => v4(address.number - (0xffff << 32)),
        false => address,
    }
}

/// An unspecified address becomes the loopback address.
fn connected(address: Address) -> Address {
    match address.number {
        0 if address.v6 => v6(1),
        0 => v4(0x7f00_0001),
        _ => address,
    }
}

/// The IPv4 addresses that an address carries.
fn carried(address: Address, prefixes: &[Prefix]) -> Vec<Address> {
    let Address { v6: true, number } = address else {
        return Vec::new();
    };
    let low = u128::from(u32::MAX);
    let mut carried = Vec::new();
    for prefix in [&[WELL_KNOWN], prefixes].concat() {
        if prefix.holds(number) {
            carried.push(v4(prefix.carried(number)));
        }
    }
    if number >> 112 == 0x2002 {
        carried.push(v4((number >> 80) & low));
    }
    if number >> 96 == 0x2001_0000 {
        carried.push(v4((number >> 64) & low));
        carried.push(v4(!number & low));
    }
    carried
}

impl NetworkChoice {
    fn reaches(self, address: Address) -> bool {
        match self {
            Self::Tcp => true,
            Self::Tcp4 => !address.v6,
            Self::Tcp6 => address.v6,
        }
    }
}

impl Entry {
    fn denies(&self, host: &str, address: Address, port: u16, prefixes: &[Prefix]) -> bool {
        let mut forms = vec![address, unmapped(address)];
        forms.extend(carried(address, prefixes));
        let matches = match self.host {
            Host::Block(block) => forms
                .iter()
                .any(|form| block.holds(*form) || block.holds(connected(*form))),
            _ => self.host.is_named(host),
        };
        let reached = self.network.reaches(address) || self.network.reaches(unmapped(address));
        matches && reached && self.port.is_none_or(|own| own == port)
    }

    fn allows(&self, host: &str, address: Address, port: u16, prefixes: &[Prefix]) -> bool {
        let mut ends = carried(address, prefixes);
        if ends.is_empty() {
            ends.push(unmapped(address));
        }
        let matches = match self.host {
            Host::Block(block) if is_for_what_it_carries(block, prefixes) => block.holds(address),
            Host::Block(block) => ends.iter().all(|end| {
                let alone = block.first == block.last && block.holds(*end);
                alone || block.holds(connected(*end))
            }),
            _ => self.host.is_named(host),
        };
        let reached = self.network.reaches(unmapped(address));
        matches && reached && self.port.is_none_or(|own| own == port)
    }
}

/// Whether a block lies within a prefix whose addresses carry other addresses.
fn is_for_what_it_carries(block: Range, prefixes: &[Prefix]) -> bool {
    let set = [&[WELL_KNOWN], prefixes].concat();
    set.iter().any(|prefix| {
        let all = Range::around(v6(prefix.start), prefix.len);
        block.is_within(all.first, all.last)
    }) || block.is_within(0x2002 << 112, (0x2003 << 112) - 1)
        || block.is_within(0x2001_0000 << 96, (0x2001_0001 << 96) - 1)
}
