//! Who may turn which token into which (RFC 8693), along edges that the operator drew and along no other.

use std::str::FromStr;

use serde_json::{Map, Value, json};
use shared::scope::Scope;

/// How many may have acted before the one who acts now, and how many exchanges may lie behind a token.
pub(crate) const MAX_DEPTH: usize = 5;

/// One edge.
#[derive(Clone, Debug)]
pub(crate) struct Edge {
    /// The client that may exchange.
    pub(crate) from_client: String,
    /// The resource that the shown token is for.
    pub(crate) subject_audience: String,
    /// The resource that the new token is for.
    pub(crate) to_resource: String,
    /// The most that it may carry.
    pub(crate) scopes: Scope,
    pub(crate) mode: Mode,
    pub(crate) consent: Consent,
}

/// Whether the new token says who acts (RFC 8693 §1.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// It does: `act`.
    Delegation,
    /// It does not: the client is indistinguishable from the subject.
    Impersonation,
}

impl FromStr for Mode {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "delegation" => Ok(Self::Delegation),
            "impersonation" => Ok(Self::Impersonation),
            _ => Err("must be delegation or impersonation"),
        }
    }
}

/// Who must have agreed that the client acts for a person at the new resource.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Consent {
    /// Whoever wrote the edge, for everybody.
    Operator,
    /// The person, on the page that asks.
    Person,
}

impl FromStr for Consent {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "operator" => Ok(Self::Operator),
            "person" => Ok(Self::Person),
            _ => Err("must be operator or person"),
        }
    }
}

/// Why an exchange is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("this client has no edge")]
    NoEdges,
    #[error("no edge of this client leads from the shown token to that resource")]
    NoSuchEdge,
    #[error("several edges of this client begin there, and no resource was named")]
    Ambiguous,
    #[error("the scope exceeds the shown token, the edge, the client or the resource")]
    Scope,
    #[error("too many exchanges or actors lie behind the shown token")]
    Depth,
    #[error("may_act names another actor")]
    MayAct,
    #[error("act is malformed")]
    Act,
}

/// The edge for a client that shows a token for `audience` and asks for one for `target`; without a target, the only
/// one that begins there.
pub(crate) fn edge<'e>(
    edges: &'e [Edge],
    client_id: &str,
    audience: &str,
    target: Option<&str>,
) -> Result<&'e Edge, Refusal> {
    let mut own = edges
        .iter()
        .filter(|edge| edge.from_client == client_id)
        .peekable();
    if own.peek().is_none() {
        return Err(Refusal::NoEdges);
    }
    let mut fitting = own
        .filter(|edge| edge.subject_audience == audience)
        .filter(|edge| target.is_none_or(|target| edge.to_resource == target));
    let first = fitting.next().ok_or(Refusal::NoSuchEdge)?;
    if target.is_none() && fitting.any(|other| other.to_resource != first.to_resource) {
        return Err(Refusal::Ambiguous);
    }
    Ok(first)
}

/// What the new token may carry: what was asked for, or else everything, and never more than any of `bounds` allows
/// (the shown token, the edge, the client, the resource).
pub(crate) fn scope(asked: Option<&Scope>, bounds: [&Scope; 4]) -> Result<Scope, Refusal> {
    let [first, rest @ ..] = bounds;
    let most = rest
        .into_iter()
        .fold(first.clone(), |most, bound| most.intersection(bound));
    let granted = match asked {
        Some(asked) if !asked.is_subset(&most) => return Err(Refusal::Scope),
        Some(asked) => asked.clone(),
        None => most,
    };
    if granted.is_empty() {
        Err(Refusal::Scope)
    } else {
        Ok(granted)
    }
}

/// Who acts, as the new token will say it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Actor<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) subject: &'a str,
    pub(crate) client_id: &'a str,
}

/// The `act` of the new token: the actor, and inside of it whoever acted before (RFC 8693 §4.1). Impersonation adds
/// nobody, and takes nobody out.
pub(crate) fn act(mode: Mode, actor: Actor<'_>, before: Option<&Value>) -> Result<Option<Value>, Refusal> {
    let depth = depth(before)?;
    match mode {
        Mode::Impersonation => Ok(before.cloned()),
        Mode::Delegation if depth >= MAX_DEPTH => Err(Refusal::Depth),
        Mode::Delegation => {
            let mut act = json!({"sub": actor.subject});
            if actor.subject != actor.client_id {
                act["client_id"] = json!(actor.client_id);
            }
            if let Some(before) = before {
                act["act"] = before.clone();
            }
            Ok(Some(act))
        }
    }
}

/// How many have acted. More than a token of ours can have is malformed.
fn depth(act: Option<&Value>) -> Result<usize, Refusal> {
    let mut count = 0;
    let mut current = act;
    while let Some(value) = current {
        let members = value.as_object().ok_or(Refusal::Act)?;
        members.get("sub").and_then(Value::as_str).ok_or(Refusal::Act)?;
        count += 1;
        if count > MAX_DEPTH {
            return Err(Refusal::Depth);
        }
        current = members.get("act");
    }
    Ok(count)
}

/// Those who act, the present one first.
pub(crate) fn actors(act: Option<&Value>) -> impl Iterator<Item = &str> {
    std::iter::successors(act, |value| value.get("act"))
        .take(MAX_DEPTH + 1)
        .filter_map(|value| value.get("sub").and_then(Value::as_str))
}

/// Whether the subject lets `actor` act for it (RFC 8693 §4.4): every claim of `may_act` must be the actor's, and one
/// that is not understood is nobody's.
pub(crate) fn may_act(claim: Option<&Map<String, Value>>, actor: Actor<'_>) -> Result<(), Refusal> {
    let Some(claim) = claim else { return Ok(()) };
    let fits = |(name, value): (&String, &Value)| {
        let own = match name.as_str() {
            "sub" => actor.subject,
            "client_id" => actor.client_id,
            "iss" => actor.issuer,
            _ => return false,
        };
        value.as_str() == Some(own)
    };
    let names_somebody = claim.contains_key("sub") || claim.contains_key("client_id");
    if names_somebody && claim.iter().all(fits) {
        Ok(())
    } else {
        Err(Refusal::MayAct)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(from: &str, audience: &str, to: &str) -> Edge {
        Edge {
            from_client: from.to_owned(),
            subject_audience: audience.to_owned(),
            to_resource: to.to_owned(),
            scopes: "a".parse().unwrap(),
            mode: Mode::Delegation,
            consent: Consent::Operator,
        }
    }

    const ME: Actor<'_> = Actor {
        issuer: "https://as",
        subject: "c_x",
        client_id: "c_x",
    };

    #[test]
    fn an_edge_leads_from_one_place_to_one_other() {
        let edges = [
            drawn("c_x", "r1", "r2"),
            drawn("c_x", "r1", "r3"),
            drawn("c_y", "r2", "r1"),
        ];
        let find =
            |client, audience, target| edge(&edges, client, audience, target).map(|e| e.to_resource.clone());
        assert_eq!(find("c_x", "r1", Some("r2")).unwrap(), "r2");
        assert_eq!(find("c_y", "r2", None).unwrap(), "r1");
        // Not backwards, not from elsewhere, not by others, and not by guessing.
        assert_eq!(find("c_x", "r2", Some("r1")), Err(Refusal::NoSuchEdge));
        assert_eq!(find("c_x", "r1", Some("r1")), Err(Refusal::NoSuchEdge));
        assert_eq!(find("c_z", "r1", Some("r2")), Err(Refusal::NoEdges));
        assert_eq!(find("c_x", "r1", None), Err(Refusal::Ambiguous));
    }

    #[test]
    fn tx_07_everybody_narrows_the_scope_and_nobody_widens_it() {
        let scope = |asked: Option<&str>, bounds: [&str; 4]| {
            let asked: Option<Scope> = asked.map(|text| text.parse().unwrap());
            let bounds = bounds.map(|text| text.parse::<Scope>().unwrap());
            let [a, b, c, d] = &bounds;
            super::scope(asked.as_ref(), [a, b, c, d]).map(|scope| scope.to_string())
        };
        let all = "a b";
        assert_eq!(scope(None, [all; 4]).unwrap(), "a b");
        assert_eq!(scope(Some("a"), [all; 4]).unwrap(), "a");
        assert_eq!(scope(Some("a c"), [all; 4]), Err(Refusal::Scope));
        for narrow in 0..4 {
            let mut bounds = [all; 4];
            bounds[narrow] = "a";
            assert_eq!(scope(None, bounds).unwrap(), "a");
            assert_eq!(scope(Some("a b"), bounds), Err(Refusal::Scope));
            bounds[narrow] = "";
            assert_eq!(scope(None, bounds), Err(Refusal::Scope));
        }
    }

    #[test]
    fn tx_11_the_chain_of_actors_grows_by_one_and_ends() {
        let mut chain = None;
        for length in 1..=MAX_DEPTH {
            chain = act(Mode::Delegation, ME, chain.as_ref()).unwrap();
            assert_eq!(actors(chain.as_ref()).count(), length);
        }
        assert_eq!(act(Mode::Delegation, ME, chain.as_ref()), Err(Refusal::Depth));
        // Impersonation hides nobody who was named.
        assert_eq!(act(Mode::Impersonation, ME, chain.as_ref()).unwrap(), chain);
        assert_eq!(act(Mode::Impersonation, ME, None).unwrap(), None);
        let mut twenty = json!({"sub": "c_0"});
        for n in 1..20 {
            twenty = json!({"sub": format!("c_{n}"), "act": twenty});
        }
        assert_eq!(act(Mode::Impersonation, ME, Some(&twenty)), Err(Refusal::Depth));
        for forged in [
            json!("c_x"),
            json!({}),
            json!({"sub": 7}),
            json!({"sub": "c_x", "act": []}),
        ] {
            assert_eq!(
                act(Mode::Delegation, ME, Some(&forged)),
                Err(Refusal::Act),
                "{forged}"
            );
        }
    }

    #[test]
    fn an_actor_that_is_no_client_is_named_with_its_client() {
        let person = Actor { subject: "u_1", ..ME };
        let chain = act(Mode::Delegation, person, None).unwrap();
        assert_eq!(chain, Some(json!({"sub": "u_1", "client_id": "c_x"})));
    }

    #[test]
    fn tx_12_may_act_names_the_only_actor() {
        let check = |claim: Value| may_act(claim.as_object(), ME);
        assert_eq!(may_act(None, ME), Ok(()));
        for fits in [
            json!({"sub": "c_x"}),
            json!({"client_id": "c_x"}),
            json!({"sub": "c_x", "iss": "https://as"}),
        ] {
            assert_eq!(check(fits.clone()), Ok(()), "{fits}");
        }
        for other in [
            json!({}),
            json!({"sub": "c_y"}),
            json!({"sub": "c_x", "iss": "https://other"}),
            json!({"iss": "https://as"}),
            json!({"sub": ["c_x"]}),
            json!({"sub": "c_x", "groups": ["ops"]}),
        ] {
            assert_eq!(check(other.clone()), Err(Refusal::MayAct), "{other}");
        }
    }
}
