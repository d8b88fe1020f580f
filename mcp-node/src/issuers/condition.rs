//! How a trusted issuer is, for readiness, the status and its page.

use std::time::Duration;

use super::{Trust, TrustedIssuer};
use crate::revocation::{Revocation, RevocationStatus};

/// How a trusted issuer is.
pub(crate) struct Condition {
    /// Whether tokens of it can be judged now.
    pub(crate) usable: bool,
    /// Time since its key set was fetched.
    pub(crate) keys_age: Option<Duration>,
    /// How long they would serve on without it.
    pub(crate) keys_left: Option<Duration>,
    /// How many keys it has.
    pub(crate) keys: usize,
    /// What is known of tokens that it took back.
    pub(crate) revocation: Option<RevocationStatus>,
    /// Why the latest attempt to reach it failed, if it did.
    pub(crate) fault: Option<String>,
}

impl TrustedIssuer {
    /// Whether tokens can be judged. Asks the issuer, if nobody did yet.
    pub(crate) async fn is_ready(&self) -> bool {
        match &self.trust {
            Trust::Keys(keys) => keys.is_ready().await,
            Trust::Secret(_) => true,
            Trust::Introspection(asked) => asked.is_ready().await,
        }
    }

    /// How it is. Never waits, never asks.
    pub(crate) fn condition(&self) -> Condition {
        let revocation = self.revocation.as_ref().map(Revocation::status);
        match &self.trust {
            Trust::Keys(keys) => {
                let status = keys.status();
                Condition {
                    usable: status.usable,
                    keys_age: status.age,
                    keys_left: status.left,
                    revocation,
                    keys: status.keys.len(),
                    fault: status.fault,
                }
            }
            Trust::Secret(_) => Condition {
                usable: true,
                revocation,
                keys_left: None,
                keys_age: None,
                keys: 0,
                fault: None,
            },
            Trust::Introspection(asked) => {
                let fault = asked.fault();
                Condition {
                    usable: fault.is_none(),
                    revocation,
                    keys_left: None,
                    keys_age: None,
                    keys: 0,
                    fault,
                }
            }
        }
    }
}
