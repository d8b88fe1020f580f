//! The authorization endpoint (OAuth 2.1 §4.1.1) and what lies between a client's request and its answer.
//!
//! ```text
//! query → arrival → request (page, or back to the client) → testing door | person → step → sign in | consent | code → answer
//! ```
//!
//! The parameters are kept as they arrived and read again at every step, so nothing that was checked once is believed
//! later.

mod answer;
mod approval;
mod arrival;
mod asking;
mod code;
mod consent;
pub(crate) mod device;
mod endpoint;
pub(crate) mod interaction;
mod negotiation;
mod pushed;
mod raw;
pub(crate) mod redirect_uri;
mod request;
mod request_object;
mod step;
#[cfg(test)]
mod tests;

pub(crate) use self::asking::asking;
pub(crate) use self::consent::{ask_before_upstream, decide, deny, show};
pub(crate) use self::device::Guesses;
pub(crate) use self::endpoint::{authorize, authorize_form};
pub(crate) use self::pushed::push;
pub(crate) use self::step::{wants_proof, wants_sign_in};
