//! What a module can do for a connection: dial, dial an address of its own, listen, or relay.
//!
//! Knows the four roles and the export of each. Must never know how a role is carried out.

use std::fmt;

use super::names;

/// What a module does for a connection.
///
/// ```
/// use watm_abi::Role;
///
/// assert_eq!(Role::Dialer.export(), "watm_dial_v1");
/// assert_eq!(Role::FixedDialer.to_string(), "fixed dialer");
/// let role = Role::ALL.iter().find(|role| role.export() == "watm_associate_v1");
/// assert_eq!(role, Some(&Role::Relay));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Role {
    /// Connects to a server that the host chose.
    Dialer = 0,
    /// Connects to a server that the module chose.
    FixedDialer = 1,
    /// Accepts connections.
    Listener = 2,
    /// Accepts connections and associates each with an outgoing one.
    Relay = 3,
}

impl Role {
    /// Every role.
    pub const ALL: &[Role] = &[Role::Dialer, Role::FixedDialer, Role::Listener, Role::Relay];

    /// The name of the export that gives a module this role.
    pub const fn export(self) -> &'static str {
        match self {
            Role::Dialer => names::DIAL,
            Role::FixedDialer => names::DIAL_FIXED,
            Role::Listener => names::ACCEPT,
            Role::Relay => names::ASSOCIATE,
        }
    }

    /// The name of the role, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Role::Dialer => "dialer",
            Role::FixedDialer => "fixed dialer",
            Role::Listener => "listener",
            Role::Relay => "relay",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A set of roles: what one module can do.
///
/// [`Display`](fmt::Display) writes a list such as `dialer, relay`, and `none` for the empty set.
///
/// ```
/// use watm_abi::{Role, Roles};
///
/// let mut roles = Roles::from_iter([Role::Relay, Role::Dialer]);
/// assert!(roles.contains(Role::Dialer) && !roles.contains(Role::Listener));
/// assert_eq!(roles.to_string(), "dialer, relay");
/// roles.insert(Role::Listener);
/// assert_eq!(roles.len(), 3);
/// assert_eq!(Roles::new().to_string(), "none");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Roles(u8);

impl Roles {
    /// Creates the empty set.
    pub const fn new() -> Self {
        Roles(0)
    }

    /// Adds a role. Adding it twice has no further effect.
    pub fn insert(&mut self, role: Role) {
        self.0 |= role.bit();
    }

    /// Whether the role is in the set.
    pub const fn contains(self, role: Role) -> bool {
        self.0 & role.bit() != 0
    }

    /// Whether the set contains no role.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Number of roles in the set.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Iterates over the roles, in the order of [`Role::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL
            .iter()
            .copied()
            .filter(move |role| self.contains(*role))
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        let mut set = Roles::new();
        set.extend(roles);
        set
    }
}

impl Extend<Role> for Roles {
    fn extend<I: IntoIterator<Item = Role>>(&mut self, roles: I) {
        roles.into_iter().for_each(|role| self.insert(role));
    }
}

impl fmt::Debug for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        for (index, role) in self.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{role}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_has_the_export_of_the_interface() {
        let exports: Vec<&str> = Role::ALL.iter().map(|role| role.export()).collect();
        let expected = [
            "watm_dial_v1",
            "watm_dial_fixed_v1",
            "watm_accept_v1",
            "watm_associate_v1",
        ];
        assert_eq!(exports, expected);
    }

    #[test]
    fn a_set_holds_what_was_inserted() {
        for bits in 0..16u8 {
            let members: Vec<Role> = Role::ALL
                .iter()
                .copied()
                .filter(|role| bits >> *role as u8 & 1 == 1)
                .collect();
            let roles: Roles = members.iter().rev().chain(&members).copied().collect();
            assert_eq!(roles.iter().collect::<Vec<_>>(), members);
            assert_eq!(roles.len(), members.len());
            assert_eq!(roles.is_empty(), members.is_empty());
            for role in Role::ALL {
                assert_eq!(roles.contains(*role), members.contains(role));
            }
        }
    }

    #[test]
    fn a_set_prints_as_a_list() {
        let mut roles = Roles::new();
        assert_eq!(roles.to_string(), "none");
        roles.insert(Role::Relay);
        assert_eq!(roles.to_string(), "relay");
        roles.insert(Role::FixedDialer);
        roles.insert(Role::Dialer);
        assert_eq!(roles.to_string(), "dialer, fixed dialer, relay");
        assert_eq!(format!("{roles:?}"), "{Dialer, FixedDialer, Relay}");
        assert_eq!(format!("{:<9}|", Role::Listener), "listener |");
    }
}
