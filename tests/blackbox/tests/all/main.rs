//! Every black-box test, in one program. Tests carry the ids of the security catalogue in their names.
#![cfg(test)]

mod account;
mod authorize;
mod client_authentication;
mod client_credentials;
mod codes;
mod consent;
mod device;
mod documents;
mod documents_change;
mod documents_guard;
mod foreign;
mod form_action;
mod http_framing;
mod http_rules;
mod introspection;
mod limits;
mod metadata;
mod node;
mod node_protocol;
mod openid;
mod operations;
mod parameters;
mod pkce;
mod refresh;
mod refresh_race;
mod revocation;
mod secrets_at_rest;
mod sign_in;
mod tls_end_to_end;
mod two_instances;
mod upstream;
