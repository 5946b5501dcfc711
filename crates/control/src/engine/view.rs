//! The live sessions as everybody may see them: what has been committed, and nothing else.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use protocol::rest::SessionSize;
use protocol::{AccountId, SessionId};
use session::Session;

use crate::link::Link;

/// A session's name among all accounts.
pub(crate) type Key = (AccountId, SessionId);

/// A live session, as of its last commit.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) id: SessionId,
    pub(crate) seq: i64,
    pub(crate) creation_time: String,
    pub(crate) size: SessionSize,
    pub(crate) life: Session,
    /// The way to its host, while the host serves it and its link is up.
    pub(crate) link: Option<Link>,
}

/// Read by every request, written by the engine after each commit.
#[derive(Debug, Default)]
pub(crate) struct View(RwLock<Inner>);

#[derive(Debug, Default)]
struct Inner {
    live: HashMap<Key, Arc<Shown>>,
    in_order: BTreeMap<(AccountId, i64), Arc<Shown>>,
}

impl View {
    pub(crate) fn session(&self, key: &Key) -> Option<Arc<Shown>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).live.get(key).cloned()
    }

    /// Up to `n_max` sessions of `account` in creation order, beginning after the one numbered `after`.
    pub(crate) fn page(&self, account: AccountId, after: i64, n_max: usize) -> Vec<Arc<Shown>> {
        let Some(first) = after.checked_add(1) else { return Vec::new() };
        let inner = self.0.read().unwrap_or_else(PoisonError::into_inner);
        inner
            .in_order
            .range((account, first)..=(account, i64::MAX))
            .take(n_max)
            .map(|(_, shown)| Arc::clone(shown))
            .collect()
    }

    /// Replaces sessions; `None` takes one away.
    pub(crate) fn replace(&self, changes: impl IntoIterator<Item = (Key, Option<Shown>)>) {
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for (key, shown) in changes {
            let account = key.0;
            let old = match shown.map(Arc::new) {
                Some(shown) => {
                    inner.in_order.insert((account, shown.seq), Arc::clone(&shown));
                    inner.live.insert(key, shown);
                    None
                }
                None => inner.live.remove(&key),
            };
            if let Some(old) = old {
                inner.in_order.remove(&(account, old.seq));
            }
        }
    }
}
