//! One Edge Hive node: an OAuth 2.1 resource server that serves MCP.
//!
//! A request passes few rooms and never turns back: origin, door (token → [`auth::Caller`]), rate, body, message,
//! scope, then rmcp or a plain-JSON endpoint. [`server::run`] puts any rmcp handler behind the same door.

pub mod auth;
pub mod cli;
pub mod config;
pub mod door;
pub mod mcp;
pub mod server;

mod advertisement;
mod app;
mod approval;
mod audit;
mod discovery;
mod enrolment;
mod error;
mod explain;
mod fleet;
mod gate;
mod health;
mod identity;
mod issuers;
mod logs;
mod metadata;
mod offline;
mod origin;
mod p2p;
mod peers;
mod records;
mod reload;
mod report;
mod rest;
mod revocation;
mod status;
mod upstream;

#[cfg(test)]
mod testing;
