//! Random secrets, their hashes, and comparing without telling.

use aws_lc_rs::{constant_time, digest};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

/// SHA-256 of a secret. Secrets here have 256 random bits, so a plain hash is enough and can be looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SecretHash([u8; 32]);

impl SecretHash {
    pub(crate) fn of(secret: &str) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, secret.as_bytes()).as_ref());
        Self(hash)
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub(crate) fn to_hex(self) -> String {
        self.0.iter().fold(String::with_capacity(64), |mut text, byte| {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
            }
            text
        })
    }
}

/// Where the engine's random bits come from: the machine, or the seed of a simulation.
pub(crate) struct Random(Box<Fill>);

type Fill = dyn FnMut(&mut [u8]) + Send;

impl Random {
    /// Bits that nobody can guess.
    pub(crate) fn of_the_machine() -> Self {
        Self::of(|bytes| rand::fill(bytes))
    }

    /// The bits that `fill` gives.
    pub(crate) fn of(fill: impl FnMut(&mut [u8]) + Send + 'static) -> Self {
        Self(Box::new(fill))
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.0)(&mut bytes);
        bytes
    }

    /// 256 bits for one host's link.
    pub(crate) fn link_secret(&mut self) -> String {
        URL_SAFE_NO_PAD.encode(self.bytes::<32>())
    }
}

/// A new account key: base64 of 32 random bytes, 44 characters, as Azure's are.
pub(crate) fn account_key() -> String {
    STANDARD.encode(rand::random::<[u8; 32]>())
}

/// Whether two secrets are equal, in a time that does not tell where they differ.
pub(crate) fn equal(a: &str, b: &str) -> bool {
    constant_time::verify_slices_are_equal(a.as_bytes(), b.as_bytes()).is_ok()
}
