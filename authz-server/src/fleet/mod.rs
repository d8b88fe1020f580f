//! The nodes of the fleet: how they enrol, who they are, and what they ask people.
//!
//! ```text
//! invite (operator, or a node that an administrator allowed it) → enroll → node, client, resource in one transaction
//! directory   what everybody may know of the living nodes, signed
//! report      a node tells of itself, so that operators see which are awake
//! ask         a node asks whether a call may run → answer   a person decides → poll   the node learns it, signed
//! ```

mod answer;
mod ask;
mod directory;
mod enroll;
mod examine;
pub(crate) mod invite;
pub(crate) mod node;
mod provision;
mod report;

pub(crate) use self::answer::{decide, show};
pub(crate) use self::ask::{ask, poll};
pub(crate) use self::directory::{Directory, nodes, record};
pub(crate) use self::enroll::enroll;
pub(crate) use self::provision::provision;
pub(crate) use self::report::report;

/// A node is silent that was heard of last before this.
pub(crate) fn silent_before(
    config: &crate::config::Config,
    now: shared::clock::UnixSeconds,
) -> shared::clock::UnixSeconds {
    match config.node_silent_after {
        std::time::Duration::ZERO => shared::clock::UnixSeconds(0),
        after => now - after,
    }
}

/// With what the server signs what it says of nodes: the algorithm of their own keys.
const ALGORITHM: shared::jose::Algorithm = shared::jose::Algorithm::EdDSA;

/// Signs `claims` as a JWT of the type `typ`.
async fn sign(
    app: &crate::app::App,
    typ: &str,
    claims: &impl serde::Serialize,
) -> Result<String, crate::error::Failure> {
    sign_with(&*app.keys().await?, typ, claims)
}

/// As [`sign`], with these keys.
fn sign_with(
    keys: &crate::keys::KeyRing,
    typ: &str,
    claims: &impl serde::Serialize,
) -> Result<String, crate::error::Failure> {
    use crate::error::Failure;

    let signer = keys
        .signer(ALGORITHM)
        .ok_or_else(|| Failure::Internal(format!("there is no {ALGORITHM} key")))?;
    let claims = serde_json::to_vec(claims).map_err(|e| Failure::Internal(e.to_string()))?;
    signer
        .sign_jwt(typ, &claims)
        .map_err(|e| Failure::Internal(e.to_string()))
}
