//! Reading files: good ones, broken ones, our own, and what chance makes of them.

mod chance;
mod corpus;
mod own;
mod samples;
