//! What an operator has allowed, as pure functions: no clock, no database, no network.

pub(crate) mod exchange;
pub(crate) mod workload;
