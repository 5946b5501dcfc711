//! Belvedere for programs: [`rest`] asks for sessions, and who has one connects to it
//! with [`live`]. [`latency`] tells which of several services is the nearest.

pub mod latency;
pub mod live;
pub mod rest;
