//! The authorization server of an Edge Hive fleet: OAuth 2.1 on actix-web, Postgres or an embedded SQLite file.
//!
//! `docs/architecture.md` walks through the rooms; `token` is the one to read first.

mod account;
mod admin;
mod alerts;
mod app;
mod audit;
mod authorization_details;
mod authorize;
mod backup;
#[cfg(test)]
mod browsing;
mod changes;
mod cleanup;
pub mod cli;
mod client;
mod conditional;
mod config;
mod console;
mod counts;
mod db;
mod discovery;
mod doctor;
mod dpop;
mod error;
#[cfg(test)]
mod faults;
mod fleet;
mod flight;
mod health;
mod in_force;
mod keys;
mod latency;
mod openid;
mod pages;
mod params;
mod policy;
mod registry;
mod reload;
mod resource;
mod revocations;
mod routes;
mod server;
mod status_list;
mod tally;
mod token;
