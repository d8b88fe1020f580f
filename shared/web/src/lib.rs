//! The actix-web frame that both programs stand on: listening, manners that every answer has, the caller's true
//! address, rate limits, bounded bodies, metrics and probes.
//!
//! It is a crate of its own because `shared` must not know actix (docs/decisions/0002).

pub mod address;
pub mod answer;
pub mod attempts;
pub mod body;
pub mod certificate;
pub mod client_certificate;
pub mod frame;
pub mod metrics;
pub mod rates;
pub mod redirect;
pub mod server;
