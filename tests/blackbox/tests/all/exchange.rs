//! TX, RFC 8693: tokens are exchanged along the operator's edges, and never become more than they were.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use blackbox::answers::{granted, not_stored, refused_400};
use blackbox::dpop::{Holder, with_proofs};
use blackbox::fleet::Wishes;
use blackbox::forge;
use blackbox::people::{CALLBACK, Pkce};
use blackbox::status_list::bit;
use blackbox::{Db, Fleet, Person, both};
use serde_json::{Value, json};
use xtask::fleet::{Credentials, UNLIMITED_SERVER};
use xtask::http::{Answer, Request};

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// A fleet whose operator has drawn edges. `first` is the node; a gateway there may go on to the others.
struct Stage {
    fleet: Fleet,
    first: String,
    second: String,
    /// Reached without a trace of the gateway.
    shadow: String,
    /// Reached when the person has agreed.
    asking: String,
    /// Registered, and no edge leads there.
    island: String,
    gateway: Credentials,
    /// A second hop: it was called with what the gateway got.
    archive: Credentials,
    /// May exchange in principle, but nobody drew it an edge.
    stranger: Credentials,
}

impl Stage {
    fn shared(db: Db) -> Arc<Self> {
        static SQLITE: Mutex<Weak<Stage>> = Mutex::new(Weak::new());
        static POSTGRES: Mutex<Weak<Stage>> = Mutex::new(Weak::new());
        let place = if db == Db::Sqlite { &SQLITE } else { &POSTGRES };
        let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stage) = place.upgrade() {
            return stage;
        }
        let stage = Arc::new(Self::set(db));
        *place = Arc::downgrade(&stage);
        stage
    }

    fn set(db: Db) -> Self {
        let mut fleet = Fleet::start(db, &Wishes::default());
        let [second, shadow, asking, island] = [(); 4].map(|()| fleet.resource(&[]));
        let grants = [
            "--grants",
            "token_exchange,client_credentials,authorization_code",
            "--redirect-uri",
            CALLBACK,
        ];
        let gateway = fleet.client_for_any(&grants);
        let archive = fleet.client_for_any(&["--grants", "token_exchange"]);
        let stranger = fleet.client_for_any(&["--grants", "token_exchange"]);
        let first = fleet.node.url();
        let edge = |client: &Credentials, from: &str, to: &str, more: &str| {
            format!(
                "\n[[exchange]]\nfrom_client = \"{}\"\nsubject_audience = \"{from}\"\nto_resource = \"{to}\"\n{more}\n",
                client.id
            )
        };
        let read_and_call = "scopes = \"mcp:read mcp:call\"";
        fleet.server.extra = [
            UNLIMITED_SERVER.to_owned(),
            edge(&gateway, &first, &second, read_and_call),
            edge(&gateway, &second, &second, read_and_call),
            edge(
                &gateway,
                &first,
                &shadow,
                &format!("{read_and_call}\nmode = \"impersonation\""),
            ),
            edge(
                &gateway,
                &first,
                &asking,
                &format!("{read_and_call}\nconsent = \"person\""),
            ),
            edge(&archive, &second, &shadow, "scopes = \"mcp:read\""),
        ]
        .concat();
        fleet.server.write_config().unwrap();
        fleet.restart_server();
        Self {
            first,
            second,
            shadow,
            asking,
            island,
            gateway,
            archive,
            stranger,
            fleet,
        }
    }

    /// A token of a client of its own, for the first resource.
    fn callers(&self) -> (Credentials, String) {
        let caller = self.fleet.client(&[]);
        let token = self.fleet.token(&caller, &self.first);
        (caller, token)
    }

    fn exchange(&self, client: &Credentials, token: &str, more: &[(&str, &str)]) -> Answer {
        let usual = [
            ("grant_type", EXCHANGE),
            ("subject_token", token),
            ("subject_token_type", ACCESS_TOKEN),
        ];
        let kept = usual
            .into_iter()
            .filter(|(name, _)| !more.iter().any(|(set, _)| set == name));
        let form: Vec<_> = kept
            .chain(more.iter().copied().filter(|(_, value)| !value.is_empty()))
            .collect();
        self.fleet.post("/oauth/token", client, &form)
    }

    fn to_second(&self, token: &str) -> Answer {
        self.exchange(&self.gateway, token, &[("resource", &self.second)])
    }

    fn is_active(&self, client: &Credentials, answer: &Value) -> bool {
        let token = answer["access_token"].as_str().unwrap();
        let active = self.fleet.introspect(client, token)["active"] == true;
        // Nodes that validate offline learn the same.
        assert_eq!(bit(token), u8::from(!active));
        active
    }

    /// A person whose token for the first resource a public client has.
    fn person(&self) -> (String, String, Value) {
        let name = self.fleet.person_account();
        let client = self.fleet.web_client(CALLBACK, &[]);
        let tokens = self.fleet.code_tokens(&mut self.fleet.person(), &name, &client);
        (name, client, tokens)
    }
}

fn claims(answer: &Value) -> Value {
    forge::part(answer["access_token"].as_str().unwrap(), 1)
}

fn token_of(answer: &Value) -> &str {
    answer["access_token"].as_str().unwrap()
}

both!(tx_18_a_good_exchange_says_what_was_issued);
fn tx_18_a_good_exchange_says_what_was_issued(db: Db) {
    let stage = Stage::shared(db);
    let (caller, token) = stage.callers();
    let answer = stage.to_second(&token);
    not_stored(&answer);
    let answer = granted(&answer);
    assert_eq!(answer["issued_token_type"], ACCESS_TOKEN);
    assert_eq!(answer["token_type"], "Bearer");
    assert_eq!(answer["scope"], "mcp:call mcp:read");
    assert!(
        answer.get("refresh_token").is_none() && answer.get("id_token").is_none(),
        "{answer}"
    );
    let claims = claims(&answer);
    assert_eq!(claims["sub"], caller.id.as_str());
    assert_eq!(claims["client_id"], stage.gateway.id.as_str());
    assert_eq!(claims["aud"], stage.second.as_str());
    assert_eq!(claims["act"], json!({"sub": stage.gateway.id}));
    let shown = stage.fleet.introspect(&stage.gateway, token_of(&answer));
    assert_eq!(shown["active"], true);
    assert_eq!(shown["act"], claims["act"]);
    // The other name of the type, and the other name of the target.
    let jwt = ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt");
    granted(&stage.exchange(&stage.gateway, &token, &[jwt, ("audience", &stage.second)]));
    let both = [
        ("resource", stage.second.as_str()),
        ("audience", stage.second.as_str()),
    ];
    granted(&stage.exchange(&stage.gateway, &token, &both));
    // The shown token is as good as before.
    assert_eq!(stage.fleet.introspect(&caller, &token)["active"], true);
}

both!(tx_18_an_edge_may_hide_who_acts);
fn tx_18_an_edge_may_hide_who_acts(db: Db) {
    let stage = Stage::shared(db);
    let (caller, token) = stage.callers();
    let to_shadow = [("resource", stage.shadow.as_str())];
    let answer = granted(&stage.exchange(&stage.gateway, &token, &to_shadow));
    let hidden = claims(&answer);
    assert_eq!(hidden["sub"], caller.id.as_str());
    assert!(hidden.get("act").is_none(), "{hidden}");
    // What is known of who acts stays known.
    let delegated = granted(&stage.to_second(&token));
    let onward = granted(&stage.exchange(&stage.archive, token_of(&delegated), &to_shadow));
    assert_eq!(
        claims(&onward)["act"],
        json!({"sub": stage.archive.id, "act": {"sub": stage.gateway.id}})
    );
    // Nobody hides behind an actor token.
    let actor = stage.fleet.token(&stage.gateway, &stage.second);
    let more = [
        to_shadow[0],
        ("actor_token", &actor),
        ("actor_token_type", ACCESS_TOKEN),
    ];
    refused_400(&stage.exchange(&stage.gateway, &token, &more), "invalid_request");
}

both!(tx_01_types_are_named_and_known);
fn tx_01_types_are_named_and_known(db: Db) {
    let stage = Stage::shared(db);
    let (_, token) = stage.callers();
    let to = ("resource", stage.second.as_str());
    for (name, value) in [
        ("subject_token_type", ""),
        ("subject_token_type", "access_token"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:saml2"),
        (
            "subject_token_type",
            "urn:ietf:params:oauth:token-type:refresh_token",
        ),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
        (
            "requested_token_type",
            "urn:ietf:params:oauth:token-type:refresh_token",
        ),
        (
            "requested_token_type",
            "urn:ietf:params:oauth:token-type:id_token",
        ),
        ("requested_token_type", "x"),
        ("actor_token_type", ACCESS_TOKEN),
        ("actor_token", token.as_str()),
    ] {
        let answer = stage.exchange(&stage.gateway, &token, &[to, (name, value)]);
        refused_400(&answer, "invalid_request");
    }
    let named = [to, ("requested_token_type", ACCESS_TOKEN)];
    granted(&stage.exchange(&stage.gateway, &token, &named));
    // RFC 9396 §5: details are not exchanged, and nobody is left to think so.
    let details = [to, ("authorization_details", r#"[{"type":"mcp_tools"}]"#)];
    let answer = stage.exchange(&stage.gateway, &token, &details);
    refused_400(&answer, "invalid_authorization_details");
}

both!(tx_02_the_token_is_there_once);
fn tx_02_the_token_is_there_once(db: Db) {
    let stage = Stage::shared(db);
    let (_, token) = stage.callers();
    let to = ("resource", stage.second.as_str());
    for bad in [
        "",
        " ",
        &format!(" {token}"),
        &format!("{token} "),
        &format!("{token}\n"),
    ] {
        let answer = stage.exchange(&stage.gateway, &token, &[to, ("subject_token", bad)]);
        refused_400(&answer, "invalid_request");
    }
    let twice = [to, ("subject_token", &token), ("subject_token", &token)];
    refused_400(&stage.exchange(&stage.gateway, "", &twice), "invalid_request");
    granted(&stage.to_second(&token));
}

both!(tx_04_only_an_access_token_is_one);
fn tx_04_only_an_access_token_is_one(db: Db) {
    let stage = Stage::shared(db);
    let name = stage.fleet.person_account();
    let client = stage.fleet.web_client(CALLBACK, &[]);
    let pkce = Pkce::fresh();
    let scope = [("scope", "openid mcp:read offline_access")];
    let redirect = stage
        .fleet
        .allowed(&mut stage.fleet.person(), &name, &client, (&pkce, &scope));
    let tokens = granted(&stage.fleet.redeem(&client, &redirect.code(), &pkce, &[]));
    for kind in ["id_token", "refresh_token"] {
        refused_400(
            &stage.to_second(tokens[kind].as_str().unwrap()),
            "invalid_request",
        );
    }
    // Other JWTs, of whoever's making.
    let key = forge::Key::ed25519("k");
    for typ in [
        "client-authentication+jwt",
        "dpop+jwt",
        "statuslist+jwt",
        "JWT",
        "at+jwt",
    ] {
        let header = json!({"typ": typ, "alg": "EdDSA", "kid": "k"});
        let forged = key.sign(&header, &forge::claims(&stage.fleet.server.issuer, &stage.first));
        refused_400(&stage.to_second(&forged), "invalid_request");
    }
    let answer = granted(&stage.to_second(token_of(&tokens)));
    assert_eq!(answer["scope"], "mcp:read");
}

both!(tx_05_a_signature_cannot_be_talked_away);
fn tx_05_a_signature_cannot_be_talked_away(db: Db) {
    let stage = Stage::shared(db);
    let (_, token) = stage.callers();
    let (header, claims) = (forge::part(&token, 0), forge::part(&token, 1));
    let part = |value: &Value| forge::encode(value.to_string());
    let none = json!({"typ": "at+jwt", "alg": "none", "kid": header["kid"]});
    let hs = json!({"typ": "at+jwt", "alg": "HS256", "kid": header["kid"]});
    let key_set = xtask::http::get(&stage.fleet.at("/.well-known/jwks.json")).unwrap();
    let signature = token.rsplit('.').next().unwrap();
    let mut wider = claims.clone();
    wider["scope"] = json!("mcp:read mcp:call mcp:admin");
    for forged in [
        format!("{}.{}.", part(&none), part(&claims)),
        format!("{}.{}.{signature}", part(&none), part(&claims)),
        forge::hs256(&hs, &claims, key_set.text().as_bytes()),
        format!("{}.{}.{signature}", part(&header), part(&wider)),
    ] {
        refused_400(&stage.to_second(&forged), "invalid_request");
    }
    granted(&stage.to_second(&token));
}

both!(tx_06_only_where_an_edge_leads);
fn tx_06_only_where_an_edge_leads(db: Db) {
    let stage = Stage::shared(db);
    let (_, token) = stage.callers();
    for target in [
        "http://localhost/unknown",
        "not a uri",
        &stage.island,
        &stage.first,
    ] {
        for name in ["resource", "audience"] {
            let answer = stage.exchange(&stage.gateway, &token, &[(name, target)]);
            refused_400(&answer, "invalid_target");
        }
    }
    // Several edges begin there: which one is meant?
    refused_400(&stage.exchange(&stage.gateway, &token, &[]), "invalid_target");
    let apart = [
        ("resource", stage.second.as_str()),
        ("audience", stage.shadow.as_str()),
    ];
    refused_400(&stage.exchange(&stage.gateway, &token, &apart), "invalid_target");
    // The edge of the archive begins at the second resource, not at the first.
    let to_shadow = [("resource", stage.shadow.as_str())];
    refused_400(
        &stage.exchange(&stage.archive, &token, &to_shadow),
        "invalid_target",
    );
    let delegated = granted(&stage.to_second(&token));
    // Only one begins there.
    granted(&stage.exchange(&stage.archive, token_of(&delegated), &[]));
}

both!(tx_07_a_scope_never_grows);
fn tx_07_a_scope_never_grows(db: Db) {
    let stage = Stage::shared(db);
    let caller = stage.fleet.client(&["--scopes", "mcp:read mcp:subscribe"]);
    let token = stage.fleet.token(&caller, &stage.first);
    let with = |scope: &str| {
        let more = [("resource", stage.second.as_str()), ("scope", scope)];
        stage.exchange(&stage.gateway, &token, &more)
    };
    // Not in the shown token; not on the edge; not at all.
    for wide in ["mcp:call", "mcp:read mcp:call", "mcp:subscribe", "mcp:read x"] {
        refused_400(&with(wide), "invalid_scope");
    }
    assert_eq!(granted(&with("mcp:read"))["scope"], "mcp:read");
    assert_eq!(granted(&with(""))["scope"], "mcp:read");
    // What was given up does not come back.
    let (_, whole) = stage.callers();
    let narrow = [("resource", stage.second.as_str()), ("scope", "mcp:read")];
    let less = granted(&stage.exchange(&stage.gateway, &whole, &narrow));
    let again = [
        ("resource", stage.second.as_str()),
        ("scope", "mcp:read mcp:call"),
    ];
    refused_400(
        &stage.exchange(&stage.gateway, token_of(&less), &again),
        "invalid_scope",
    );
}

both!(tx_08_without_an_edge_nothing_is_said);
fn tx_08_without_an_edge_nothing_is_said(db: Db) {
    let stage = Stage::shared(db);
    let (_, token) = stage.callers();
    let to = [("resource", stage.second.as_str())];
    // A good token and a bad one: who may not exchange learns nothing about either.
    for shown in [token.as_str(), "x"] {
        refused_400(
            &stage.exchange(&stage.stranger, shown, &to),
            "unauthorized_client",
        );
    }
    let without_grant = stage.fleet.client(&[]);
    refused_400(
        &stage.exchange(&without_grant, &token, &to),
        "unauthorized_client",
    );
    granted(&stage.to_second(&token));
}

both!(tx_09_a_public_client_exchanges_nothing);
fn tx_09_a_public_client_exchanges_nothing(db: Db) {
    let stage = Stage::shared(db);
    let (_, token) = stage.callers();
    let public = stage.fleet.web_client(CALLBACK, &[]);
    let form = [
        ("grant_type", EXCHANGE),
        ("client_id", &public),
        ("subject_token", &token),
        ("subject_token_type", ACCESS_TOKEN),
        ("resource", &stage.second),
    ];
    refused_400(
        &stage.fleet.post_bare("/oauth/token", &form),
        "unauthorized_client",
    );
    // Nor can one be registered for it.
    let words = ["--public", "--grants", "token_exchange"];
    assert!(stage.fleet.server.create_public_client("p", &words).is_err());
}

both!(tx_11_the_chain_of_actors_ends);
fn tx_11_the_chain_of_actors_ends(db: Db) {
    let stage = Stage::shared(db);
    let (caller, token) = stage.callers();
    let mut token = token;
    for length in 1..=5 {
        let answer = granted(&stage.to_second(&token));
        let claims = claims(&answer);
        assert_eq!(claims["sub"], caller.id.as_str());
        let mut act = &claims["act"];
        for _ in 0..length {
            assert_eq!(act["sub"], stage.gateway.id.as_str(), "{claims}");
            act = &act["act"];
        }
        assert!(act.is_null(), "{claims}");
        token_of(&answer).clone_into(&mut token);
    }
    refused_400(&stage.to_second(&token), "invalid_request");
}

both!(tx_11_the_actor_is_who_can_prove_it);
fn tx_11_the_actor_is_who_can_prove_it(db: Db) {
    let stage = Stage::shared(db);
    let (caller, token) = stage.callers();
    let with = |actor: &str| {
        let more = [
            ("resource", stage.second.as_str()),
            ("actor_token", actor),
            ("actor_token_type", ACCESS_TOKEN),
        ];
        stage.exchange(&stage.gateway, &token, &more)
    };
    let own = stage.fleet.token(&stage.gateway, &stage.first);
    assert_eq!(
        claims(&granted(&with(&own)))["act"],
        json!({"sub": stage.gateway.id})
    );
    // Another's token, a token that somebody acts with, a forged one.
    let another = stage.fleet.token(&caller, &stage.first);
    let acted = granted(&stage.to_second(&token));
    for bad in [another.as_str(), token_of(&acted), "x"] {
        refused_400(&with(bad), "invalid_request");
    }
}

both!(tx_11_a_token_ends_with_that_of_its_actor);
fn tx_11_a_token_ends_with_that_of_its_actor(db: Db) {
    let stage = Stage::shared(db);
    let (_, token) = stage.callers();
    let acting = |actor: &str| {
        let more = [
            ("resource", stage.second.as_str()),
            ("actor_token", actor),
            ("actor_token_type", ACCESS_TOKEN),
        ];
        granted(&stage.exchange(&stage.gateway, &token, &more))
    };
    let [ended, standing] = [(); 2].map(|()| stage.fleet.token(&stage.gateway, &stage.first));
    let (of_ended, of_standing) = (acting(&ended), acting(&standing));
    // What came of it goes too, also where nobody is named any more who acts.
    let onward = granted(&stage.exchange(
        &stage.archive,
        token_of(&of_ended),
        &[("resource", &stage.shadow)],
    ));
    assert!(stage.is_active(&stage.gateway, &of_ended) && stage.is_active(&stage.archive, &onward));
    let answer = stage
        .fleet
        .post("/oauth/revoke", &stage.gateway, &[("token", &ended)]);
    assert_eq!(answer.status, 200, "{answer}");
    assert!(!stage.is_active(&stage.gateway, &of_ended));
    assert!(!stage.is_active(&stage.archive, &onward));
    assert!(stage.is_active(&stage.gateway, &of_standing));
}

both!(tx_13_the_new_token_ends_with_the_old_one);
fn tx_13_the_new_token_ends_with_the_old_one(db: Db) {
    let stage = Stage::shared(db);
    let (_, token) = stage.callers();
    let answer = granted(&stage.to_second(&token));
    let (shown, new) = (forge::part(&token, 1), claims(&answer));
    assert!(new["exp"].as_i64() <= shown["exp"].as_i64(), "{new} {shown}");
    assert!(answer["expires_in"].as_i64().unwrap() <= 3600);
    // Its own resource may end it sooner.
    let expires_in = granted(&stage.exchange(&stage.gateway, &token, &[("resource", &stage.second)]));
    assert!(expires_in["expires_in"].as_i64().unwrap() > 3000, "{expires_in}");
}

both!(tx_14_a_target_that_is_gone_is_none);
fn tx_14_a_target_that_is_gone_is_none(db: Db) {
    let stage = Stage::set(db);
    let (_, token) = stage.callers();
    let before = granted(&stage.to_second(&token));
    assert!(stage.is_active(&stage.gateway, &before));
    // No refresh token came, and the access token is none.
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", token_of(&before)),
    ];
    let refreshed = stage.fleet.post("/oauth/token", &stage.gateway, &form);
    refused_400(&refreshed, "unauthorized_client");
    stage
        .fleet
        .server
        .json(&["resource", "delete", "--uri", &stage.second])
        .unwrap();
    refused_400(&stage.to_second(&token), "invalid_target");
    assert!(!stage.is_active(&stage.gateway, &before));
    // What does not lead there goes on.
    let to_shadow = [("resource", stage.shadow.as_str())];
    granted(&stage.exchange(&stage.gateway, &token, &to_shadow));
}

both!(tx_15_what_came_of_a_token_ends_with_it);
fn tx_15_what_came_of_a_token_ends_with_it(db: Db) {
    let stage = Stage::shared(db);
    let (caller, token) = stage.callers();
    let one = granted(&stage.to_second(&token));
    let two = granted(&stage.exchange(&stage.archive, token_of(&one), &[]));
    let sibling = granted(&stage.to_second(&token));
    assert!(stage.is_active(&stage.archive, &two));
    // The one in the middle takes back what came of it, and nothing else.
    let revoke = |client: &Credentials, token: &str| {
        let answer = stage.fleet.post("/oauth/revoke", client, &[("token", token)]);
        assert_eq!(answer.status, 200, "{answer}");
    };
    revoke(&stage.gateway, token_of(&one));
    assert!(!stage.is_active(&stage.gateway, &one));
    assert!(!stage.is_active(&stage.archive, &two));
    assert!(stage.is_active(&stage.gateway, &sibling));
    refused_400(
        &stage.exchange(&stage.archive, token_of(&one), &[]),
        "invalid_request",
    );
    // And the first one the rest.
    revoke(&caller, &token);
    assert!(!stage.is_active(&stage.gateway, &sibling));
    refused_400(&stage.to_second(&token), "invalid_request");
}

both!(tx_15_rt_20_what_came_of_a_family_ends_with_it);
fn tx_15_rt_20_what_came_of_a_family_ends_with_it(db: Db) {
    let stage = Stage::shared(db);
    // The refresh token is taken back; the person is disabled.
    let (_, client, tokens) = stage.person();
    let new = granted(&stage.to_second(token_of(&tokens)));
    assert_eq!(claims(&new)["sub"], claims(&tokens)["sub"]);
    assert!(stage.is_active(&stage.gateway, &new));
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let form = [("client_id", client.as_str()), ("token", refresh)];
    assert_eq!(stage.fleet.post_bare("/oauth/revoke", &form).status, 200);
    assert!(!stage.is_active(&stage.gateway, &new));
    refused_400(&stage.to_second(token_of(&tokens)), "invalid_request");

    // A refresh token is replayed.
    let (_, client, tokens) = stage.person();
    let new = granted(&stage.to_second(token_of(&tokens)));
    let first = tokens["refresh_token"].as_str().unwrap();
    let second = granted(&stage.fleet.refresh(&client, first, &[]));
    let second = second["refresh_token"].as_str().unwrap();
    let newer = granted(&stage.fleet.refresh(&client, second, &[]));
    let of_newer = granted(&stage.to_second(token_of(&newer)));
    assert!(stage.is_active(&stage.gateway, &new) && stage.is_active(&stage.gateway, &of_newer));
    refused_400(&stage.fleet.refresh(&client, first, &[]), "invalid_grant");
    assert!(!stage.is_active(&stage.gateway, &new) && !stage.is_active(&stage.gateway, &of_newer));
    refused_400(&stage.to_second(token_of(&newer)), "invalid_request");

    let (name, _, tokens) = stage.person();
    let new = granted(&stage.to_second(token_of(&tokens)));
    stage.fleet.server.json(&["user", "disable", &name]).unwrap();
    assert!(!stage.is_active(&stage.gateway, &new));
    refused_400(&stage.to_second(token_of(&tokens)), "invalid_request");
}

both!(tx_15_what_a_client_began_ends_with_the_client);
fn tx_15_what_a_client_began_ends_with_the_client(db: Db) {
    let stage = Stage::shared(db);
    let (caller, token) = stage.callers();
    let new = granted(&stage.to_second(&token));
    assert!(stage.is_active(&stage.gateway, &new));
    stage
        .fleet
        .server
        .json(&["client", "revoke", &caller.id])
        .unwrap();
    assert!(!stage.is_active(&stage.gateway, &new));
    refused_400(&stage.to_second(&token), "invalid_request");
}

both!(tx_16_a_person_is_asked_where_the_edge_says_so);
fn tx_16_a_person_is_asked_where_the_edge_says_so(db: Db) {
    let stage = Stage::shared(db);
    let (name, _, tokens) = stage.person();
    let ask = |scope: &str| {
        let more = [("resource", stage.asking.as_str()), ("scope", scope)];
        stage.exchange(&stage.gateway, token_of(&tokens), &more)
    };
    refused_400(&ask("mcp:read"), "consent_required");
    // The person lets the gateway act for them there, but only to read.
    let pkce = Pkce::fresh();
    let more = [("resource", stage.asking.as_str()), ("scope", "mcp:read")];
    let mut browser = stage.fleet.person();
    let redirect = stage
        .fleet
        .allowed(&mut browser, &name, &stage.gateway.id, (&pkce, &more));
    let form = [
        ("grant_type", "authorization_code"),
        ("code", &redirect.code()),
        ("code_verifier", &pkce.verifier),
    ];
    granted(&stage.fleet.post("/oauth/token", &stage.gateway, &form));
    let agreed = granted(&ask("mcp:read"));
    assert_eq!(agreed["scope"], "mcp:read");
    refused_400(&ask("mcp:read mcp:call"), "consent_required");
    assert!(stage.is_active(&stage.gateway, &agreed));
    // They change their mind about the gateway, and about nobody else.
    revoke_grant(&mut browser, &stage.asking);
    assert!(!stage.is_active(&stage.gateway, &agreed));
    refused_400(&ask("mcp:read"), "consent_required");
    granted(&stage.to_second(token_of(&tokens)));
    // A client that acts for itself has nobody who could agree.
    let (_, own) = stage.callers();
    let to = [("resource", stage.asking.as_str())];
    refused_400(&stage.exchange(&stage.gateway, &own, &to), "consent_required");
}

/// A request of a client that proves possession of a key.
fn prove(fleet: &Fleet, client: &Credentials, form: &[(&str, &str)], holder: &Holder) -> Value {
    let place = fleet.at("/oauth/token");
    let request = Request::post(&place).unwrap().basic(&client.id, &client.secret);
    let answer = with_proofs(request.form(form), &[&holder.proof("POST", &place)])
        .send()
        .unwrap();
    let body = answer.json().unwrap();
    if let Some(token) = body["access_token"].as_str() {
        fleet.remember(token);
    }
    body
}

both!(rfc_7800_a_bound_token_needs_a_proof);
fn rfc_7800_a_bound_token_needs_a_proof(db: Db) {
    let stage = Stage::shared(db);
    let (callers, gateways) = (Holder::fresh(), Holder::fresh());
    let bound = |client: &Credentials, holder: &Holder| {
        let form = [
            ("grant_type", "client_credentials"),
            ("resource", stage.first.as_str()),
        ];
        let answer = prove(&stage.fleet, client, &form, holder);
        token_of(&answer).to_owned()
    };
    let exchanged = |token: &str, holder: &Holder| {
        let form = [
            ("grant_type", EXCHANGE),
            ("subject_token", token),
            ("subject_token_type", ACCESS_TOKEN),
            ("resource", stage.second.as_str()),
        ];
        prove(&stage.fleet, &stage.gateway, &form, holder)
    };
    // The caller's key is not the gateway's to show; it shows its own, and the new token is bound to that.
    let token = bound(&stage.fleet.client(&[]), &callers);
    refused_400(&stage.to_second(&token), "invalid_request");
    let answer = exchanged(&token, &gateways);
    assert_eq!(answer["token_type"], "DPoP", "{answer}");
    assert_eq!(claims(&answer)["cnf"]["jkt"], gateways.thumbprint());
    // Its own key is, when the token is its own.
    let own = bound(&stage.gateway, &gateways);
    assert_eq!(exchanged(&own, &callers)["error"], "invalid_request");
    assert_eq!(exchanged(&own, &gateways)["token_type"], "DPoP");
}

/// Has a person who is signed in take back what they allowed at a resource, on their account's page.
fn revoke_grant(browser: &mut Person, resource: &str) {
    let page = browser.page("/account");
    let html = page.answer.text();
    // The form of a grant stands behind the resource's address.
    let behind = html.find(&format!("<code>{resource}</code>")).unwrap();
    let forms = page.forms().into_iter();
    let form = forms
        .filter_map(|form| {
            let at = html.find(form.value("grant_id")?)?;
            (at > behind).then_some((at, form))
        })
        .min_by_key(|(at, _)| *at);
    let answer = browser.submit_once(&page, &form.unwrap().1, &[]).1;
    assert_eq!(answer.status, 303, "{answer}");
}
