//! Declares the sets of flags of WASI Preview 1.
//!
//! Knows how a set of named bits behaves, and must never know what a bit stands for.

/// A set of named bits over an unsigned integer, with the operations that a host needs.
macro_rules! bit_set {
    (
        $(#[$attr:meta])*
        $name:ident($raw:ty) { $($(#[$flag_attr:meta])* $flag:ident = $bit:expr;)* }
    ) => {
        $(#[$attr])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
        pub struct $name($raw);

        impl $name {
            $($(#[$flag_attr])* pub const $flag: Self = Self($bit);)*

            /// No bit.
            pub const NONE: Self = Self(0);
            /// Every bit that WASI Preview 1 defines.
            pub const ALL: Self = Self(0 $(| $bit)*);

            /// The set with exactly these bits, or `None` when one of them is not defined.
            pub const fn from_bits(bits: $raw) -> Option<Self> {
                if bits & !Self::ALL.0 == 0 { Some(Self(bits)) } else { None }
            }

            /// The set with those of these bits that are defined.
            pub const fn from_bits_truncate(bits: $raw) -> Self {
                Self(bits & Self::ALL.0)
            }

            /// The bits, as WASI Preview 1 numbers them.
            pub const fn bits(self) -> $raw {
                self.0
            }

            /// Whether no bit is set.
            pub const fn is_empty(self) -> bool {
                self.0 == 0
            }

            /// Whether every bit of `other` is set here too.
            pub const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// The set without the bits of `other`.
            #[must_use]
            pub const fn without(self, other: Self) -> Self {
                Self(self.0 & !other.0)
            }
        }

        impl std::ops::BitOr for $name {
            type Output = Self;

            fn bitor(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }
        }

        impl std::ops::BitOrAssign for $name {
            fn bitor_assign(&mut self, other: Self) {
                self.0 |= other.0;
            }
        }

        impl std::ops::BitAnd for $name {
            type Output = Self;

            fn bitand(self, other: Self) -> Self {
                Self(self.0 & other.0)
            }
        }

        impl std::fmt::Debug for $name {
            /// The names of the bits, such as `FdFlags(APPEND | NONBLOCK)`.
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let named: &[(Self, &str)] = &[$((Self::$flag, stringify!($flag))),*];
                f.write_str(concat!(stringify!($name), "("))?;
                let mut separator = "";
                for (_, name) in named.iter().filter(|(flag, _)| self.contains(*flag)) {
                    write!(f, "{separator}{name}")?;
                    separator = " | ";
                }
                f.write_str(")")
            }
        }
    };
}

pub(crate) use bit_set;
