//! The proof that must come with a token that is bound to a key (RFC 9449 §7).

use shared::access_token::Confirmation;
use shared::clock::UnixSeconds;
use shared::dpop::{Expected, Nonces, Proof, ProofFault, Target};
use url::Url;

use super::{Step, Verdict};

/// A proof to judge, and the request that it came with.
pub(crate) struct ShownProof {
    pub(crate) text: String,
    pub(crate) method: String,
    pub(crate) url: Url,
}

/// What comes of the proof of a token that is bound to `bound`.
pub(super) fn step(bound: &Confirmation, token: &str, shown: Option<&ShownProof>, now: UnixSeconds) -> Step {
    let (verdict, reason) = match (&bound.jkt, shown) {
        (Some(key), Some(shown)) => match judge(key, token, shown, now) {
            Ok(()) => (Verdict::Passed, None),
            Err(reason) => (Verdict::Failed, Some(reason)),
        },
        (Some(key), None) => {
            let reason = format!(
                "it needs a proof of the key {key} with every request, and the scheme DPoP; --dpop-proof judges one"
            );
            (Verdict::Skipped, Some(reason))
        }
        (None, _) => {
            let reason = "it needs the certificate that it is bound to, on every connection";
            (Verdict::Skipped, Some(reason.to_owned()))
        }
    };
    Step {
        check: "proof",
        demands: "a proof for this request by the key in cnf (RFC 9449 §4.3)",
        verdict,
        reason,
    }
}

fn judge(key: &str, token: &str, shown: &ShownProof, now: UnixSeconds) -> Result<(), String> {
    let expected = Expected {
        method: &shown.method,
        target: &Target::at(&shown.url, shown.url.path()),
        access_token: Some(token),
        // Whatever nonce it has, only the node that gave it out knows it.
        nonces: &Nonces::new(&[], false),
    };
    let proof = Proof::verify(&shown.text, &expected, now).map_err(|fault| match fault {
        ProofFault::Nonce(_) => "it has a nonce, which only the node that gave it out can judge".to_owned(),
        ProofFault::Invalid(reason) => reason.into_owned(),
    })?;
    if proof.key() == key {
        return Ok(());
    }
    Err(format!("it is made with the key {}, not with {key}", proof.key()))
}
