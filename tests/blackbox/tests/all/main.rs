//! Every black-box test, in one program. Tests carry the ids of the security catalogue in their names.
#![cfg(test)]

mod account;
mod authorize;
mod client_authentication;
mod client_credentials;
mod codes;
mod consent;
mod consent_shown;
mod device;
mod ended_session;
mod foreign;
mod form_action;
mod http_framing;
mod http_rules;
mod introspection;
mod known_browser;
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
mod second_step;
mod secrets_at_rest;
mod sign_in;
mod slow_provider;
mod testing_door;
mod tls_end_to_end;
mod two_instances;
mod upstream;
mod upstream_proof;
