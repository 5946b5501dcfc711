//! Reading files: good ones, broken ones, our own, and what chance makes of them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod chance;
mod corpus;
mod draco;
mod geometry;
mod images;
mod ktx2;
mod meshopt_views;
mod own;
mod samples;
