//! What a standing grant saves a person from, and what it does not.

mod standing;

use std::sync::Arc;
use std::time::Duration;

use shared::clock::UnixSeconds;
use shared::jose::Algorithm;
use shared::oauth_error::ErrorCode;
use shared::scope::Scope;

use super::negotiation::{Facts, negotiate};
use crate::client::Client;
use crate::db::client::ClientRow;
use crate::registry::Resource;

fn client(scopes: &str) -> Client {
    let row = ClientRow {
        client_id: "c_x".to_owned(),
        name: "x".to_owned(),
        client_type: "native".to_owned(),
        auth_methods: "none".to_owned(),
        grants: "authorization_code".to_owned(),
        scopes: scopes.to_owned(),
        resources: "[]".to_owned(),
        created_at: 0,
        tokens_not_before: 0,
        revoked_at: None,
        redirect_uris: r#"["http://127.0.0.1/cb"]"#.to_owned(),
        approves_as: None,
        origin: "operator".to_owned(),
        details: "{}".to_owned(),
        last_used_at: None,
        expires_at: None,
    };
    Client::from_rows(row, Vec::new()).unwrap()
}

fn resource(scopes: &str) -> Resource {
    Resource {
        uri: "https://rs/mcp".to_owned(),
        lookup_key: "https://rs/mcp".to_owned(),
        name: "https://rs/mcp".to_owned(),
        scopes: scopes.parse().unwrap(),
        algorithm: Algorithm::EdDSA,
        access_ttl: Duration::from_secs(60),
        client_id: None,
        authorization_details_types: Vec::new(),
        created_at: UnixSeconds(0),
        is_built_in: false,
    }
}

fn granted(client_scopes: &str, resource_scopes: &str, asked: Option<&str>) -> Result<String, ErrorCode> {
    let (client, resource) = (client(client_scopes), resource(resource_scopes));
    let facts = Facts {
        client: &client,
        resource: &resource,
        redirect_uri: "http://127.0.0.1:8/cb",
        code_challenge: Some("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
    };
    let asked: Option<Scope> = asked.map(|text| text.parse().unwrap());
    negotiate(&facts, asked.as_ref())
        .map(|scope| scope.to_string())
        .map_err(|refusal| refusal.code)
}

#[test]
fn a_scope_is_what_client_resource_and_request_all_allow() {
    assert_eq!(granted("a b c", "b c d", None).unwrap(), "b c");
    assert_eq!(granted("a b c", "b c d", Some("c a x")).unwrap(), "c");
    assert_eq!(
        granted("a", "a", Some("openid a email")).unwrap(),
        "a email openid"
    );
    assert_eq!(granted("a", "a", Some("openid")).unwrap(), "openid");
    assert_eq!(granted("a", "b", Some("a")), Err(ErrorCode::InvalidScope));
    assert_eq!(granted("a", "b", None), Err(ErrorCode::InvalidScope));
}

#[test]
fn identity_is_granted_to_who_asks_and_offline_access_is_nothing() {
    assert_eq!(granted("a openid", "a openid", None).unwrap(), "a openid");
    assert_eq!(granted("a", "a", None).unwrap(), "a");
    assert_eq!(granted("a b", "a b", Some("offline_access")).unwrap(), "a b");
    assert_eq!(granted("a b", "a b", Some("a offline_access")).unwrap(), "a");
}

#[test]
fn the_machine_wants_a_challenge() {
    let (client, resource) = (client("a"), resource("a"));
    let facts = Facts {
        client: &client,
        resource: &resource,
        redirect_uri: "http://127.0.0.1:8/cb",
        code_challenge: None,
    };
    let refused = negotiate(&facts, None).map_err(|refusal| refusal.code);
    assert_eq!(refused, Err(ErrorCode::InvalidRequest));
}

mod steps {
    use super::*;
    use crate::account::{SignedIn, User};
    use crate::authorize::answer::Destination;
    use crate::authorize::arrival::Arrival;
    use crate::authorize::interaction::{Interaction, Purpose};
    use crate::authorize::request::{AuthorizationRequest, Prompt};
    use crate::authorize::step::{code_scope, covers, is_fresh, stands};
    use crate::db::access_grant::GrantRow;

    pub(super) fn asked(scope: &str) -> AuthorizationRequest {
        AuthorizationRequest {
            client: Arc::new(client("a b c")),
            to: Destination {
                redirect_uri: "http://127.0.0.1:8/cb".to_owned(),
                state: None,
            },
            resource: Arc::new(resource("a b")),
            scope: scope.parse().unwrap(),
            code_challenge: String::new(),
            prompt: Prompt::default(),
            max_age: None,
            nonce: None,
            dpop_jkt: None,
            ui_locales: None,
            authorization_details: None,
            pushed: None,
        }
    }

    fn grant(scopes: &str, remembered: &str) -> GrantRow {
        GrantRow {
            grant_id: "g".to_owned(),
            user_id: "u".to_owned(),
            client_id: "c_x".to_owned(),
            resource: "https://rs/mcp".to_owned(),
            scopes: scopes.to_owned(),
            remembered_scopes: remembered.to_owned(),
            created_at: 0,
            updated_at: 0,
            expires_at: Some(100),
        }
    }

    fn person(authenticated_at: i64) -> SignedIn {
        SignedIn {
            session_id: "s".to_owned(),
            user: User {
                user_id: "u".to_owned(),
                username: "ada".to_owned(),
                display_name: "Ada".to_owned(),
                email: None,
                is_admin: false,
                is_disabled: false,
            },
            authenticated_at: UnixSeconds(authenticated_at),
            methods: "pwd".to_owned(),
        }
    }

    #[test]
    fn only_what_is_remembered_saves_the_question() {
        assert!(covers(&grant("a b", "a b"), &asked("a")));
        assert!(!covers(&grant("a b", "a"), &asked("a b")));
        assert!(!covers(&grant("a b", ""), &asked("a")));
        let mut forced = asked("a");
        forced.prompt.consent = true;
        assert!(!covers(&grant("a", "a"), &forced));
        let mut choosing = asked("a");
        choosing.prompt.select_account = true;
        assert!(!covers(&grant("a", "a"), &choosing));
        assert!(stands(&grant("a", "a"), UnixSeconds(99)) && !stands(&grant("a", "a"), UnixSeconds(100)));
    }

    #[test]
    fn a_step_up_keeps_what_was_there_and_a_smaller_wish_is_granted() {
        assert_eq!(code_scope(&asked("b"), Some(&grant("a", ""))).to_string(), "a b");
        assert_eq!(code_scope(&asked("a"), Some(&grant("a b", ""))).to_string(), "a");
        assert_eq!(code_scope(&asked("a"), None).to_string(), "a");
        // The resource has no c any more, and who a person is must be asked for each time.
        assert_eq!(
            code_scope(&asked("b"), Some(&grant("a c openid", ""))).to_string(),
            "a b"
        );
    }

    #[test]
    fn a_sign_in_is_fresh_by_its_age_or_because_the_request_brought_it_about() {
        let now = UnixSeconds(1000);
        assert!(is_fresh(&asked("a"), &person(0), None, now));
        let mut soon = asked("a");
        soon.max_age = Some(10);
        assert!(is_fresh(&soon, &person(990), None, now));
        assert!(!is_fresh(&soon, &person(989), None, now));
        let begun = |session_id: Option<&str>| Interaction {
            id: "i".to_owned(),
            purpose: Purpose::Authorize {
                arrival: Arrival::of(String::new()),
                allowed: None,
                session_id: session_id.map(str::to_owned),
            },
            started_at: UnixSeconds(500),
        };
        let signed_out = begun(None);
        assert!(is_fresh(&soon, &person(500), Some(&signed_out), now));
        let mut again = asked("a");
        again.prompt.login = true;
        assert!(!is_fresh(&again, &person(1000), None, now));
        assert!(!is_fresh(&again, &person(499), Some(&signed_out), now));
        assert!(is_fresh(&again, &person(500), Some(&signed_out), now));
        // The session that was there before is none, even if it began in the same second.
        assert!(!is_fresh(&again, &person(500), Some(&begun(Some("s"))), now));
        assert!(is_fresh(&again, &person(500), Some(&begun(Some("t"))), now));
    }
}
