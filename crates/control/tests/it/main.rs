//! The control plane from outside: a real server on free ports, hosts that speak the real link protocol.
//!
//! Tests named `item_NN_…` are lines of the conformance checklist for the REST API.

#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

mod audit;
mod authentication;
mod checklist;
mod churn;
mod connection;
mod cors;
mod database;
mod garbage;
mod life;
mod management;
mod matrix;
mod oidc;
mod operations;
mod processes;
mod rates;
mod scripts;
mod sessions;
mod tls;
mod transport;
mod world;
