//! The door taken out, for the benchmark alone: what a call costs without it, or with a bare signature check in its place.

use std::sync::Arc;

use actix_web::http::header::HeaderMap;
use shared::jose::decode_base64url;

use super::caller::Caller;
use super::credentials::Credentials;
use crate::error::Refusal;
use crate::issuers::Grounds;

/// Everybody is taken for one caller.
pub(super) struct Opened {
    caller: Arc<Caller>,
    checks_signature: bool,
}

impl Opened {
    /// Everybody is `caller`, and of what they show at most the signature is checked.
    pub(super) fn new(caller: Caller, checks_signature: bool) -> Self {
        Self {
            caller: Arc::new(caller),
            checks_signature,
        }
    }

    pub(super) fn let_in(&self, headers: &HeaderMap) -> Result<Arc<Caller>, Refusal> {
        if self.checks_signature {
            let token = Credentials::read(headers)?.token;
            let (signed, signature) = token.rsplit_once('.').ok_or(Refusal::NoToken)?;
            let signature = decode_base64url(signature).ok_or(Refusal::NoToken)?;
            match self.caller.grounds() {
                Grounds::Key(key, _) if key.verifies(signed.as_bytes(), &signature) => {}
                _ => return Err(Refusal::NoToken),
            }
        }
        Ok(Arc::clone(&self.caller))
    }
}
