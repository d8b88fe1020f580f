//! The harness of the black-box tests: real programs on loopback ports, spoken to as strangers would.
//!
//! Nothing of ours is linked in but the small HTTP client and the starter of `xtask`: what these tests know of tokens,
//! keys and answers is written from the standards, so that a mistake in the programs cannot repeat itself here.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a harness of tests: what goes wrong here is a failed test"
)]

pub mod acme;
pub mod admin;
pub mod answers;
pub mod assertion;
pub mod balancer;
pub mod certificate;
pub mod cut;
pub mod database;
pub mod dpop;
pub mod enrolled;
pub mod exchange;
pub mod fleet;
pub mod forge;
pub mod html;
pub mod issuer;
pub mod length;
pub mod local_network;
pub mod location;
pub mod lone_node;
pub mod moved_clock;
pub mod pair;
pub mod peer_node;
pub mod people;
pub mod person;
pub mod provider;
pub mod published;
pub mod publisher;
pub mod raw_peer;
pub mod raw_yamux;
pub mod registered;
pub mod relay_server;
pub mod session;
pub mod status_list;
pub mod tls;
pub mod told;
pub mod traced;
pub mod wire;

pub use database::{Db, Place};
pub use fleet::Fleet;
pub use people::{CALLBACK, PASSWORD, Pkce};
pub use person::Person;
