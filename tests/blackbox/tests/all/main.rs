//! Every black-box test, in one program. Tests carry the ids of the security catalogue in their names.
#![cfg(test)]

mod client_authentication;
mod client_credentials;
mod codes;
mod foreign;
mod http_framing;
mod http_rules;
mod introspection;
mod limits;
mod metadata;
mod node;
mod node_protocol;
mod operations;
mod parameters;
mod refresh;
mod revocation;
mod secrets_at_rest;
mod tls_end_to_end;
