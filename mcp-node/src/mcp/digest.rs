//! What identifies the arguments of a call, as bytes: [`shared::digest`] tells what is hashed.

use ring::digest::{SHA256, digest};
use rmcp::model::JsonObject;
use shared::digest::canonical_arguments;

/// SHA-256 of the canonical arguments. No arguments and an empty object are the same call.
pub(crate) fn of_arguments(arguments: Option<&JsonObject>) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, canonical_arguments(arguments).as_bytes()).as_ref());
    bytes
}
