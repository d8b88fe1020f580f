//! The authorization endpoint (OAuth 2.1 §4.1.1) and what lies between a client's request and its answer.

pub(crate) mod device;
pub(crate) mod interaction;

pub(crate) use self::device::Guesses;
