//! Hosts without a renderer, for tests and benches of the control plane.
//!
//! A simulated host is one task: it dials the real link over a real WebSocket, takes sessions, answers questions,
//! comes back when the link breaks, and ends itself when its lease is over and nobody is there to say so. Thousands
//! of them fit into one process, beside the control plane or apart from it.
//!
//! ```no_run
//! # async fn example(dir: &std::path::Path) -> Result<(), control::StartError> {
//! let fleet = testkit::Fleet::default();
//! let mut config = control::Config::new(dir, Vec::new());
//! config.provisioner = Some(std::sync::Arc::new(fleet.clone()));
//! let running = control::start(config).await?;
//! fleet.behave(testkit::Manner::Refusing); // From now on sessions fail to start.
//! # Ok(())
//! # }
//! ```

mod fleet;
mod host;

pub use fleet::Fleet;
pub use host::{Heard, Log, Manner, serve};
