//! Who shares a bucket of requests with whom.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::Method;
use protocol::AccountId;
use session::Timestamp;

use super::route::Rendering;
use crate::rate::{Buckets, RateLimit};

/// Buckets that are not full, of accounts and of addresses each; one takes some 60 bytes.
const KEYS_MAX: usize = 32 * 1024;

/// Operations that share a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Class {
    ReadSessions,
    WriteSessions,
    Conversions,
    Connections,
}

impl Class {
    pub(super) fn of(what: Rendering<'_>, method: &Method) -> Self {
        match what {
            Rendering::Sessions | Rendering::Session { .. } if *method == Method::GET => Self::ReadSessions,
            Rendering::Sessions | Rendering::Session { .. } | Rendering::Stop { .. } => Self::WriteSessions,
            Rendering::Conversions | Rendering::Conversion { .. } => Self::Conversions,
            Rendering::Connections { .. } | Rendering::Connection { .. } | Rendering::Still { .. } => {
                Self::Connections
            }
        }
    }
}

/// The buckets of all clients.
#[derive(Debug)]
pub(crate) struct Rates {
    accounts: Mutex<Buckets<(AccountId, Class)>>,
    addresses: Mutex<Buckets<IpAddr>>,
    refusals: Mutex<Buckets<IpAddr>>,
}

impl Rates {
    pub(crate) fn new(limit: RateLimit, refusals: RateLimit) -> Self {
        Self {
            accounts: Mutex::new(Buckets::new(limit, KEYS_MAX)),
            addresses: Mutex::new(Buckets::new(limit, KEYS_MAX)),
            refusals: Mutex::new(Buckets::new(refusals, KEYS_MAX)),
        }
    }

    /// For whoever has proved to act for `account`.
    pub(super) fn take(&self, now: Timestamp, account: AccountId, class: Class) -> Result<(), Duration> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner).take(now, (account, class))
    }

    /// For whoever has proved nothing yet: an address is all that is known, and all that cannot be made up.
    pub(super) fn take_stranger(&self, now: Timestamp, address: IpAddr) -> Result<(), Duration> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).take(now, household(address))
    }

    /// For whoever is about to be told 401 or 403. Only refusals count and only refusals are held off: keys have
    /// 256 bits and are not guessed, and a proxy's clients, who share its address, must not lock each other out.
    /// What is held off is the flood, and with it what it would write into the logs.
    pub(super) fn refuse(&self, now: Timestamp, address: IpAddr) -> Result<(), Duration> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).take(now, household(address))
    }
}

/// IPv6 gives everybody 2^64 addresses, so they count as one.
fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from(network))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_network_is_one_stranger() {
        let same = |a: &str, b: &str| household(a.parse().unwrap()) == household(b.parse().unwrap());
        assert!(same("2001:db8::1", "2001:db8::ffff:1"));
        assert!(!same("2001:db8::1", "2001:db8:0:1::1"));
        assert!(same("::ffff:10.0.0.1", "10.0.0.1"));
        assert!(!same("10.0.0.1", "10.0.0.2"));
    }
}
