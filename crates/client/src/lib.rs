//! Belvedere for programs: [`rest`] asks for sessions, and who has one connects to it
//! with [`live`].

pub mod live;
pub mod rest;
