//! Whether a node may enrol. Pure: what is in the way was read before, in the transaction that writes.

use std::borrow::Cow;

use shared::oauth_error::{ErrorCode, OAuthError};
use shared::uri::ResourceUri;

use crate::db::node::NodeRow;
use crate::db::node_invite::InviteRow;
use crate::db::resource::ResourceRow;

/// Who wants to enrol, as which resource.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'a> {
    pub(super) thumbprint: &'a str,
    pub(super) node_id: &'a str,
    /// The resource's URI: as registered, where it is.
    pub(super) resource: &'a str,
}

/// Why not. Each has an answer of its own: whoever asks holds an invite, and needs to know what to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Obstacle {
    /// The invite was used meanwhile.
    Invite,
    /// The node that asked for the invite was cut off.
    Inviter,
    /// The key is that of a node that lives.
    Enrolled,
    /// The key is that of a node that was revoked.
    Revoked,
    /// The key of another node, which lives or was revoked, gives the same id.
    Id,
    /// Another node serves the resource.
    Resource,
    /// The resource is registered, and no operator's invite names it.
    Registered,
}

impl Obstacle {
    pub(super) fn refusal(self) -> OAuthError {
        let (code, sentence) = match self {
            Self::Invite => return invite_refused("the invite was used at the same moment"),
            Self::Inviter => return invite_refused("the node that asked for the invite was cut off"),
            Self::Enrolled => (
                ErrorCode::AlreadyEnrolled,
                "this key is enrolled already; the operator makes an invite that replaces the node (node invite --replace)",
            ),
            Self::Revoked => (
                ErrorCode::AlreadyEnrolled,
                "this key belongs to a node that was revoked, and does not come back; make a new key",
            ),
            Self::Id => (
                ErrorCode::AlreadyEnrolled,
                "another node has the id of this key; make a new key",
            ),
            Self::Resource => (ErrorCode::ResourceTaken, "another node serves this resource"),
            Self::Registered => (
                ErrorCode::ResourceTaken,
                "this resource is registered already; the operator makes an invite that names it (node invite --resource)",
            ),
        };
        OAuthError::new(code, Cow::Borrowed(sentence))
    }
}

/// The one answer for every invite that does not count.
pub(super) fn invite_refused(reason: &'static str) -> OAuthError {
    OAuthError::new(
        ErrorCode::InvalidInvite,
        "the invite is unknown, used or expired; ask the operator for a new one",
    )
    .because(reason)
}

/// The resource that the node will serve: what it names and what the invite names must not differ.
pub(super) fn resource(invite: &InviteRow, named: Option<&str>) -> Result<ResourceUri, OAuthError> {
    let refusal = |sentence: String| OAuthError::new(ErrorCode::InvalidTarget, sentence);
    let parse = |text: &str| {
        text.parse::<ResourceUri>()
            .map_err(|fault| refusal(format!("the resource cannot be registered: {fault}")))
    };
    match (named, &invite.resource) {
        (None, None) => Err(refusal("name the resource that the node serves".to_owned())),
        (Some(named), None) => parse(named),
        (None, Some(invited)) => parse(invited),
        (Some(named), Some(invited)) => {
            let (named, invited) = (parse(named)?, parse(invited)?);
            if named.lookup_key() == invited.lookup_key() {
                return Ok(named);
            }
            Err(refusal("the invite is for another resource".to_owned()))
        }
    }
}

/// Decides. `others` are the enrolments with the candidate's key, id or resource that live or were revoked.
pub(super) fn examine(
    candidate: Candidate<'_>,
    invite: &InviteRow,
    others: &[NodeRow],
    registered: Option<&ResourceRow>,
) -> Result<(), Obstacle> {
    for other in others {
        let lives = other.ended_at.is_none();
        // Whoever could use the key before it was revoked may still have it: no invite brings it back.
        if !lives && other.thumbprint == candidate.thumbprint {
            return Err(Obstacle::Revoked);
        }
        if invite.replaces.as_deref() == Some(&other.client_id) {
            continue;
        }
        if other.thumbprint == candidate.thumbprint {
            return Err(Obstacle::Enrolled);
        }
        // Also of one that was revoked: its name would speak for another.
        if other.node_id == candidate.node_id {
            return Err(Obstacle::Id);
        }
        if lives && other.resource == candidate.resource {
            return Err(Obstacle::Resource);
        }
    }
    // That an operator's invite names it is the decision to give it away. A node's invite gives away nothing.
    match registered {
        Some(_) if invite.resource.is_none() || invite.asked_by.is_some() => Err(Obstacle::Registered),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANDIDATE: Candidate<'static> = Candidate {
        thumbprint: "key",
        node_id: "id",
        resource: "https://node.example/mcp",
    };

    fn invite(resource: Option<&str>, replaces: Option<&str>) -> InviteRow {
        InviteRow {
            name: None,
            resource: resource.map(str::to_owned),
            replaces: replaces.map(str::to_owned),
            scopes: String::new(),
            asked_by: None,
            created_at: 0,
            expires_at: 0,
        }
    }

    fn other(thumbprint: &str, node_id: &str, resource: &str, ended_by: Option<&str>) -> NodeRow {
        NodeRow {
            client_id: "c_other".to_owned(),
            node_id: node_id.to_owned(),
            thumbprint: thumbprint.to_owned(),
            jwk: String::new(),
            name: String::new(),
            resource: resource.to_owned(),
            capabilities: String::new(),
            version: None,
            enrolled_at: 0,
            ended_at: ended_by.map(|_| 1),
            ended_by: ended_by.map(str::to_owned),
        }
    }

    #[test]
    fn each_obstacle_is_told_apart_and_a_replacement_goes_over_its_own() {
        let ours = CANDIDATE.resource;
        for (others, obstacle) in [
            (vec![other("key", "id", ours, None)], Obstacle::Enrolled),
            (
                vec![other("key", "id", "elsewhere", Some("revoked"))],
                Obstacle::Revoked,
            ),
            (vec![other("x", "id", "elsewhere", None)], Obstacle::Id),
            (vec![other("x", "y", ours, None)], Obstacle::Resource),
        ] {
            let decide = |invite: &InviteRow| examine(CANDIDATE, invite, &others, None);
            assert_eq!(decide(&invite(Some(ours), None)), Err(obstacle));
            assert_eq!(decide(&invite(Some(ours), Some("c_third"))), Err(obstacle));
            // No invite brings a key back that was revoked.
            let over_its_own = match obstacle {
                Obstacle::Revoked => Err(obstacle),
                _ => Ok(()),
            };
            assert_eq!(decide(&invite(Some(ours), Some("c_other"))), over_its_own);
        }
        // The resource of a node that was revoked is in nobody's way, its id is.
        let decide = |node_id: &str, invite: &InviteRow| {
            examine(
                CANDIDATE,
                invite,
                &[other("x", node_id, ours, Some("revoked"))],
                None,
            )
        };
        assert_eq!(decide("y", &invite(None, None)), Ok(()));
        assert_eq!(decide("id", &invite(None, None)), Err(Obstacle::Id));
        assert_eq!(decide("id", &invite(None, Some("c_other"))), Ok(()));
    }

    #[test]
    fn what_is_registered_belongs_to_the_invite_that_names_it() {
        let registered = ResourceRow {
            uri: CANDIDATE.resource.to_owned(),
            lookup_key: String::new(),
            name: String::new(),
            scopes: String::new(),
            alg: String::new(),
            access_ttl: 1,
            client_id: None,
            created_at: 0,
            authorization_details_types: String::new(),
        };
        let decide = |invite: &InviteRow| examine(CANDIDATE, invite, &[], Some(&registered));
        assert_eq!(decide(&invite(None, None)), Err(Obstacle::Registered));
        assert_eq!(decide(&invite(Some(CANDIDATE.resource), None)), Ok(()));
        // An invite that a node asked for gives away nothing that is registered.
        let of_node = InviteRow {
            asked_by: Some("c_node".to_owned()),
            ..invite(Some(CANDIDATE.resource), None)
        };
        assert_eq!(decide(&of_node), Err(Obstacle::Registered));
        assert_eq!(examine(CANDIDATE, &of_node, &[], None), Ok(()));
    }
}
