//! A node of ours in front of an issuer that is not: every token here was forged by the tests themselves.

mod algorithms;
mod door;
mod explain;
mod framing;
mod gate;
mod introspection;
mod jwks;
mod jwt_claims;
mod jwt_form;
mod jwt_keys;
mod providers;
mod reload;
mod shared_secret;
