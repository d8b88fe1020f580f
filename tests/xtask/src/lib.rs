//! What the project's own commands and the black-box tests share: real programs, a real Postgres, a plain HTTP client.
//!
//! Nothing here links the two programs: they are started, spoken to and stopped from outside, as an operator would.
//! Standard library only where possible, so that `cargo xtask` is ready in seconds.

pub mod code_flow;
pub mod fault;
pub mod fleet;
pub mod http;
pub mod journey;
pub mod postgres;
pub mod program;

pub mod shared_token;
pub mod shell;
pub mod timing;

pub use fault::{Explain, Fault, Outcome};
