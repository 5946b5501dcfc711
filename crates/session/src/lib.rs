//! The life of a session, decided without clock, IO or randomness.
//!
//! The control plane calls [`Session::handle`] with the time and the news and performs the [`Effect`]s that come
//! back. Everything here can therefore be told in a test as a list of times and events.

pub mod life;
pub mod pool;
pub mod time;

pub use life::{Denied, Effect, Input, LimitError, Minutes, Session, Snapshot};
pub use time::Timestamp;
