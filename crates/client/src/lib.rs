//! Belvedere for programs: [`rest`] asks for sessions, and who has one connects to it.

pub mod rest;
