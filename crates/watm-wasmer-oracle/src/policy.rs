//! The oracle for the address policy.
//!
//! Knows the texts of entries and prefixes, and a model of what they match that works on numbers
//! and compares ranges. A case is about one IPv4 address: entries and prefixes lie around its
//! forms, and each of its forms is dialled.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use arbitrary::Arbitrary;
use watm_wasmer::{AddressEntry, AddressPolicy, Nat64Prefix};

/// A policy, and an address to try with it.
#[derive(Debug, Arbitrary)]
pub struct PolicyCase {
    /// The IPv4 address that it is about.
    pub base: Base,
    /// What stands in the bits around it, and is at the other end of a Teredo address.
    pub around: u128,
    /// Prefixes of NAT64 beside the usual one; the first three count.
    pub prefixes: Vec<PrefixChoice>,
    /// Entries that allow; the first four count.
    pub allow: Vec<EntryChoice>,
    /// Entries that deny; the first four count.
    pub deny: Vec<EntryChoice>,
    /// Whether all else is allowed.
    pub allow_others: bool,
    /// The host that is dialled; the address itself if none.
    pub host: Option<NameChoice>,
    /// The port that is dialled.
    pub port: PortChoice,
    /// A text that is anything: alone, and in the midst of each entry.
    pub text: String,
}

/// An IPv4 address.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub enum Base {
    /// `0.0.0.0`.
    Unspecified,
    /// `127.0.0.1`.
    Loopback,
    /// One of few.
    Small(u8),
    /// Any.
    Any(u32),
}

/// A prefix of NAT64.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub struct PrefixChoice {
    /// One of few, so that prefixes lie within each other.
    pub start: u8,
    /// Which of the six lengths.
    pub len: u8,
    /// A bit that should not be set; none if too large.
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
    /// Both.
    Tcp,
    /// IPv4 alone.
    Tcp4,
    /// IPv6 alone.
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
    /// An address in one of its forms.
    Address(Form),
    /// A block around one of its forms, of this length, behind a bit that is changed (none if too
    /// large).
    Block(Form, u8, u8),
    /// A block around a loopback address, of IPv6 or not, of this length.
    Loopback(bool, u8),
    /// A block of any place, of this length.
    Anywhere(u128, u8),
}

/// A name, or what looks like one.
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

/// A form of the address that a case is about.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub enum Form {
    /// Itself.
    Plain,
    /// Mapped into IPv6.
    Mapped,
    /// In the usual prefix of NAT64.
    WellKnown,
    /// In one of the prefixes of the case, or the usual one.
    Set(u8),
    /// As a router of 6to4.
    SixToFour,
    /// As a server of Teredo.
    TeredoServer,
    /// As a client of Teredo.
    TeredoClient,
    /// The last bits of an address that starts with zeros: `::` and `::1` among them.
    Last,
    /// The last bits of any other address.
    Other,
}

/// How a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyEnd {
    /// Whether an entry or a prefix was refused.
    pub refused: bool,
    /// Whether a form was allowed.
    pub allowed: bool,
    /// Whether a form was denied.
    pub denied: bool,
}

/// Builds the policy and compares what it permits with a model, for every form of the address.
///
/// # Panics
///
/// If they differ, an entry or a prefix is taken that should not be, or refused that should be
/// taken, or an error quotes what it should not.
pub fn policy(case: &PolicyCase) -> PolicyEnd {
    anything(&case.text);
    let mut refused = false;
    let mut set = Vec::new();
    let mut prefixes = Vec::new();
    for choice in case.prefixes.iter().take(3) {
        let (prefix, wrong) = choice.build();
        let parsed = prefix.to_string().parse::<Nat64Prefix>();
        assert_eq!(parsed.is_err(), wrong, "{prefix}: {parsed:?}");
        refused |= wrong;
        if let Ok(parsed) = parsed {
            prefixes.push(prefix);
            set.push(parsed);
        }
    }
    let mut entries = |choices: &[EntryChoice]| -> Vec<(AddressEntry, Entry)> {
        let built = choices.iter().take(4).filter_map(|choice| {
            let (text, entry) = choice.build(case, &prefixes);
            let (start, end) = text.split_at(case.around as usize % text.len());
            anything(&format!("{start}{}{end}", case.text));
            anything(start);
            let parsed = text.parse::<AddressEntry>();
            assert_eq!(parsed.is_ok(), entry.is_some(), "{text}: {parsed:?}");
            refused |= parsed.is_err();
            parsed.ok().zip(entry)
        });
        built.collect()
    };
    let (allow, deny) = (entries(&case.allow), entries(&case.deny));

    let start = || match case.allow_others {
        true => AddressPolicy::allow_all(),
        false => AddressPolicy::deny_all(),
    };
    let with_prefixes = |policy| {
        set.iter()
            .copied()
            .fold(policy, AddressPolicy::nat64_prefix)
    };
    let with_entries = |policy| {
        let taken = |entries: &[(AddressEntry, Entry)]| -> Vec<AddressEntry> {
            entries.iter().map(|(entry, _)| entry.clone()).collect()
        };
        let policy = taken(&deny).into_iter().fold(policy, AddressPolicy::deny);
        taken(&allow).into_iter().fold(policy, AddressPolicy::allow)
    };
    let policies = [
        with_entries(with_prefixes(start())),
        with_prefixes(with_entries(start())),
    ];

    let mut end = PolicyEnd {
        refused,
        allowed: false,
        denied: false,
    };
    let port = case.port.number();
    let forms = [
        Form::Plain,
        Form::Mapped,
        Form::WellKnown,
        Form::Set(0),
        Form::Set(1),
        Form::Set(2),
        Form::SixToFour,
        Form::TeredoServer,
        Form::TeredoClient,
        Form::Last,
        Form::Other,
    ];
    for form in forms {
        let address = form.build(case, &prefixes);
        let ip = address.ip();
        let host = case
            .host
            .map_or_else(|| ip.to_string(), |name| name.text().to_owned());
        let denied = deny
            .iter()
            .any(|(_, e)| e.denies(&host, address, port, &prefixes));
        let allowed = allow
            .iter()
            .any(|(_, e)| e.allows(&host, address, port, &prefixes));
        let expected = !denied && (case.allow_others || allowed);
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

/// Any text is an entry and a prefix, or neither, and an error shows it on one line.
fn anything(text: &str) {
    let errors = [
        text.parse::<AddressEntry>().err().map(|e| e.to_string()),
        text.parse::<Nat64Prefix>().err().map(|e| e.to_string()),
    ];
    for error in errors.into_iter().flatten() {
        assert!(!error.contains(char::is_control), "{error}");
        // Of 200 characters each may be escaped, and the rest is the reason.
        assert!(
            error.chars().count() < 200 * "\\u{10ffff}".len() + 400,
            "{error}"
        );
    }
}

// ---- from choices to texts and numbers ----------------------------------------------------------

/// An address as a number, of 32 bits or of 128.
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

/// All addresses from one to another.
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

/// A prefix of NAT64.
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
    /// The prefix, and whether it is none.
    fn build(self) -> (Prefix, bool) {
        let len = [32, 40, 48, 56, 64, 96][usize::from(self.len % 6)];
        let start = match self.start % 6 {
            0 => 0x2001_0db8 << 96,
            1 => 0x2001_0db8_0164_ab00 << 64,
            2 => (0x2001_0db8_0164_ab00 << 64) | (0x00cd << 48),
            // Within Teredo, 6to4, and beside the usual one.
            3 => (0x2001 << 112) | (7 << 64),
            4 => 0x2002_7f00_0001 << 80,
            _ => 0x0064_ff9b_0001 << 80,
        };
        let start = Range::around(v6(start), len).first;
        match 1_u128.checked_shl(u32::from(self.wrong)) {
            // In front of its length it may be a prefix as well, but for bits 64 to 71.
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
    /// The address in which `base` is, among the bits of `rest`.
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

    /// The IPv4 address in an address of this prefix.
    fn carried(self, number: u128) -> u128 {
        // Without bits 64 to 71, it follows the prefix.
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

/// A name as it is compared.
fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

impl EntryChoice {
    /// The text, and what it means; nothing if it should be refused.
    fn build(&self, case: &PolicyCase, prefixes: &[Prefix]) -> (String, Option<Entry>) {
        let around = |address: Address, len: u8| {
            // One more than there are bits, now and then.
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
    /// A block; one of IPv4 if all of it is mapped into IPv6.
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

/// The address as IPv4 if it is mapped.
fn unmapped(address: Address) -> Address {
    match address.v6 && address.number >> 32 == 0xffff {
        true => v4(address.number - (0xffff << 32)),
        false => address,
    }
}

/// The loopback address in place of an unspecified one.
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

/// Whether a block lies within a prefix whose addresses carry others.
fn is_for_what_it_carries(block: Range, prefixes: &[Prefix]) -> bool {
    let set = [&[WELL_KNOWN], prefixes].concat();
    set.iter().any(|prefix| {
        let all = Range::around(v6(prefix.start), prefix.len);
        block.is_within(all.first, all.last)
    }) || block.is_within(0x2002 << 112, (0x2003 << 112) - 1)
        || block.is_within(0x2001_0000 << 96, (0x2001_0001 << 96) - 1)
}
