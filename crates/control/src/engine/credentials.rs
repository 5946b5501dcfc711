//! Who may open a link: the one-time tokens and secrets of all hosts, by their hashes.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use protocol::HostId;

use crate::secrets::SecretHash;

/// Asked for every link before it opens, changed by the engine alone.
///
/// A credential is here from before its host can know it until the host is forgotten: who is not here is no host.
#[derive(Debug, Default)]
pub(crate) struct Credentials(RwLock<HashMap<SecretHash, HostId>>);

impl Credentials {
    /// The host whose token or secret has this hash.
    pub(crate) fn host(&self, hash: SecretHash) -> Option<HostId> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&hash).copied()
    }

    pub(super) fn insert(&self, hash: SecretHash, host: HostId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(hash, host);
    }

    pub(super) fn remove(&self, hash: SecretHash) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(&hash);
    }
}
