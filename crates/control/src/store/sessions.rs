//! What the engine needs of a store.
//!
//! SQLite is the one store so far. Another one, shared by several control planes or simulated, takes its place here.

use std::pin::Pin;

use protocol::{AccountId, SessionId};
use session::Timestamp;

use super::{Store, StoreError, StoredSession};

/// What a store answers, later.
pub(crate) type Stored<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// The sessions, kept. One engine writes, one call after the other.
///
/// An error of [`Self::save`] says that the caller cannot know: all of it may be stored, or nothing. It may be called
/// again with the same sessions, or with newer states of them, as often as need be.
pub(crate) trait SessionStore: Send + Sync + 'static {
    /// Stores all of `sessions`, or none. What it returned `Ok` for outlives a power cut.
    fn save<'a>(&'a self, sessions: &'a [StoredSession]) -> Stored<'a, ()>;

    /// The sessions that have one of these names, live or ended, in any order.
    fn sessions_named<'a>(&'a self, names: &'a [(AccountId, SessionId)]) -> Stored<'a, Vec<StoredSession>>;

    /// The sessions that had not ended, oldest first.
    fn live_sessions(&self) -> Stored<'_, Vec<StoredSession>>;

    /// The highest `seq` in use.
    fn last_seq(&self) -> Stored<'_, i64>;

    /// Forgets sessions that ended before `before`; says how many.
    fn forget_ended(&self, before: Timestamp) -> Stored<'_, u64>;
}

impl SessionStore for Store {
    fn save<'a>(&'a self, sessions: &'a [StoredSession]) -> Stored<'a, ()> {
        Box::pin(Self::save(self, sessions))
    }

    fn sessions_named<'a>(&'a self, names: &'a [(AccountId, SessionId)]) -> Stored<'a, Vec<StoredSession>> {
        Box::pin(Self::sessions_named(self, names))
    }

    fn live_sessions(&self) -> Stored<'_, Vec<StoredSession>> {
        Box::pin(Self::live_sessions(self))
    }

    fn last_seq(&self) -> Stored<'_, i64> {
        Box::pin(Self::last_seq(self))
    }

    fn forget_ended(&self, before: Timestamp) -> Stored<'_, u64> {
        Box::pin(Self::forget_ended(self, before))
    }
}
