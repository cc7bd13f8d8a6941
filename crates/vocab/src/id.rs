//! Ids of calls and of the places that serve them.

use std::fmt;

/// Hash slots of a site. Slots are mapped to partitions; the number never changes while a site
/// lives.
pub const SLOTS: u16 = 1024;

/// Names one call everywhere and for ever: 128 bits out of a keyed hash, the same at every site.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallKey(pub [u8; 16]);

impl CallKey {
    /// The hash slot of this key. The key is uniform already, so its first bytes serve.
    #[must_use]
    pub fn slot(&self) -> Slot {
        Slot(u16::from_be_bytes([self.0[0], self.0[1]]) % SLOTS)
    }

    /// Reads the 32 hexadecimal digits that `Display` prints.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        if text.len() != 32 || !text.is_ascii() {
            return None;
        }
        let mut key = [0; 16];
        for (byte, pair) in key.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(key))
    }
}

impl fmt::Display for CallKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CallKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call:{self}")
    }
}

/// One of the [`SLOTS`] hash slots, `0..SLOTS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u16);

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $inner:ty, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

number_id!(
    /// A location with its own engines and partitions: a number from 1 up, the same everywhere.
    SiteId, u16, "site"
);
number_id!(
    /// One engine process (or one engine of a process that runs several) of a site, for its
    /// lifetime: a restarted engine has another id.
    EngineId, u64, "engine"
);
number_id!(
    /// One partition of a site's state tier.
    PartitionId, u16, "partition"
);
number_id!(
    /// One member of a partition's view, for its lifetime: a restarted replica has another id.
    ReplicaId, u64, "replica"
);
