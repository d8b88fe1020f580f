//! What a document may say, and what it may not. The rows are those of DCR-05 to DCR-12 and CIMD-10 to CIMD-14.

use serde_json::json;
use shared::oauth_error::ErrorCode;

use super::*;

const CB: &str = "https://client.example/cb";
const DEVICE: &str = "urn:ietf:params:oauth:grant-type:device_code";

fn key() -> Value {
    json!({"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"a"})
}

/// A registration with these members over one that is good.
fn with(members: Value, policy: &Policy) -> Result<Metadata, MetadataFault> {
    let mut document = json!({"client_name": "A client", "redirect_uris": [CB]});
    let over = members.as_object().unwrap().clone();
    document.as_object_mut().unwrap().extend(over);
    Metadata::read(document.as_object().unwrap(), policy)
}

fn registered(members: Value) -> Metadata {
    with(members.clone(), &Policy::REGISTRATION).unwrap_or_else(|fault| panic!("{members}: {fault}"))
}

fn refused(members: Value) -> ErrorCode {
    let refusal = with(members.clone(), &Policy::REGISTRATION);
    let fault = refusal.err().unwrap_or_else(|| panic!("{members} was taken"));
    // RFC 6749 §5.2: what is sent has no quotes, backslashes or control characters.
    let can_be_sent = |c: char| matches!(c, ' ' | '!' | '#'..='[' | ']'..='~');
    assert!(fault.sentence.chars().all(can_be_sent), "{}", fault.sentence);
    fault.code
}

#[test]
fn what_is_left_out_has_its_default() {
    let client = registered(json!({}));
    assert_eq!(client.grants, ["authorization_code"]);
    assert_eq!(
        client.auth_methods,
        [AuthMethod::ClientSecretBasic, AuthMethod::ClientSecretPost]
    );
    assert_eq!((client.client_type, client.scopes), (ClientType::Web, None));
    assert_eq!(client.details, Details::default());
    let nothing = registered(
        json!({"client_name": null, "logo_uri": "", "jwks": null, "token_endpoint_auth_method": ""}),
    );
    assert_eq!(nothing.name, "client.example");
    assert_eq!(nothing.details, Details::default());
}

#[test]
fn clients_in_use_are_taken_as_they_are() {
    let vscode = registered(json!({
        "client_name": "Visual Studio Code", "client_uri": "https://code.visualstudio.com",
        "grant_types": ["authorization_code", "refresh_token", DEVICE], "response_types": ["code"],
        "redirect_uris": ["http://127.0.0.1:33418/", "https://vscode.dev/redirect", "http://127.0.0.1/", "http://localhost/"],
        "token_endpoint_auth_method": "none", "application_type": "native",
    }));
    assert_eq!(vscode.grants.len(), 3);
    assert_eq!(vscode.client_type, ClientType::Native);
    let cursor = registered(json!({
        "client_name": "Cursor", "token_endpoint_auth_method": "none",
        "redirect_uris": ["http://localhost:8787/callback", "https://www.cursor.com/agents/mcp/oauth/callback",
            "cursor://anysphere.cursor-mcp/oauth/callback"],
        "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
    }));
    assert_eq!(cursor.redirect_uris.len(), 3);
    assert_eq!(cursor.auth_methods, [AuthMethod::None]);
    let loopback = registered(json!({"redirect_uris": ["http://localhost:3334/oauth/callback"]}));
    assert_eq!(loopback.client_type, ClientType::Native);
}

#[test]
fn dcr_05_dcr_06_redirect_uris() {
    for bad in [
        "http://client.example/cb",
        "https://client.example/cb#f",
        "https://client.example/*/../cb",
        "https://client.example/%2e%2e/cb",
        "https://u@client.example/cb",
        "JavaScript:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "https://client.example/c\tb",
    ] {
        assert_eq!(
            refused(json!({"redirect_uris": [CB, bad]})),
            ErrorCode::InvalidRedirectUri,
            "{bad}"
        );
    }
    let many = vec![CB; redirect_uri::MAX_COUNT + 1];
    for bad in [json!(many), json!(CB), json!([1]), json!({}), json!([])] {
        assert_eq!(
            refused(json!({ "redirect_uris": bad })),
            ErrorCode::InvalidRedirectUri
        );
    }
}

#[test]
fn dcr_06_pages_are_https() {
    for name in ["client_uri", "logo_uri", "policy_uri", "tos_uri"] {
        for bad in [
            "http://client.example/",
            "JavaScript:alert(1)",
            "javascript:alert(1)",
            "data:image/png;base64,AA",
            "vbscript:x",
            "file:///etc/passwd",
            "https://u:p@client.example/",
            "https://client.example/\u{0}",
            "https://client.example/a b",
            "/logo",
        ] {
            assert_eq!(
                refused(json!({ name: bad })),
                ErrorCode::InvalidClientMetadata,
                "{name} {bad}"
            );
        }
        registered(json!({ name: "https://elsewhere.example/x.png" }));
    }
}

#[test]
fn dcr_07_names_are_what_they_look_like() {
    for bad in [
        "a".repeat(201),
        "\u{202e}tpg".to_owned(),
        "Cla\u{200b}ude".to_owned(),
        "a\nb".to_owned(),
        "...".to_owned(),
        " \u{3000} ".to_owned(),
    ] {
        assert_eq!(
            refused(json!({ "client_name": bad })),
            ErrorCode::InvalidClientMetadata,
            "{bad:?}"
        );
    }
    assert_eq!(
        refused(json!({"client_name": 7})),
        ErrorCode::InvalidClientMetadata
    );
    // Escaped where it is shown.
    assert_eq!(
        registered(json!({"client_name": " <b>Café</b> "})).name,
        "<b>Café</b>"
    );
    for name in ["software_id", "software_version"] {
        assert_eq!(
            refused(json!({ name: "a".repeat(256) })),
            ErrorCode::InvalidClientMetadata
        );
        registered(json!({ name: "4NRB1-0XZABZI9E6-5SM3R" }));
    }
    assert_eq!(
        refused(json!({"contacts": ["a\u{202e}b"]})),
        ErrorCode::InvalidClientMetadata
    );
    registered(json!({"contacts": ["ops@client.example"]}));
    let padding = json!({"unknown": "x".repeat(MAX_BYTES)});
    assert_eq!(refused(padding), ErrorCode::InvalidClientMetadata);
}

#[test]
fn dcr_08_keys_are_public_and_in_one_place() {
    let mut private = key();
    private["d"] = json!("AAAA");
    let good = json!({"keys": [key()]});
    for bad in [
        json!({"jwks": good, "jwks_uri": "https://client.example/jwks"}),
        json!({"jwks": {"keys": [private]}}),
        json!({"jwks": {"keys": [{"kty": "oct", "k": "AAAA", "kid": "a"}]}}),
        json!({"jwks": {"keys": []}}),
        json!({"jwks": {}}),
        json!({"jwks": "x"}),
        json!({"jwks": {"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "weak"}]}}),
        json!({"token_endpoint_auth_method": "private_key_jwt"}),
    ] {
        assert_eq!(refused(bad.clone()), ErrorCode::InvalidClientMetadata, "{bad}");
    }
    let client = registered(json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": good}));
    assert!(!client.uses_secret() && client.details.jwks.is_some());
}

#[test]
fn dcr_09_key_sets_of_strangers_are_on_the_public_internet() {
    for bad in [
        "http://client.example/jwks",
        "file:///etc/passwd",
        "data:application/json,{}",
        "https://localhost/jwks",
        "https://127.0.0.1/jwks",
        "https://10.0.0.1/jwks",
        "https://169.254.169.254/jwks",
        "https://[::1]/jwks",
        "https://[fd00::1]/jwks",
        "https://0x7f000001/jwks",
        "https://keys.localhost./jwks",
        "https://metadata.google.internal/jwks",
        "https://intranet/jwks",
    ] {
        assert_eq!(
            refused(json!({ "jwks_uri": bad })),
            ErrorCode::InvalidClientMetadata,
            "{bad}"
        );
    }
    registered(json!({"jwks_uri": "https://client.example/jwks"}));
    let local = json!({"jwks_uri": "http://127.0.0.1:9/jwks"});
    with(local, &Policy::OPERATOR).unwrap();
}

#[test]
fn dcr_12_a_stranger_gets_the_grants_of_strangers() {
    let mixed = json!({"grant_types": ["authorization_code", "password", "implicit", "client_credentials",
        "urn:ietf:params:oauth:grant-type:token-exchange", "refresh_token"]});
    assert_eq!(
        registered(mixed.clone()).grants,
        ["authorization_code", "refresh_token"]
    );
    let invited = Policy {
        may_act_alone: true,
        ..Policy::REGISTRATION
    };
    assert_eq!(
        with(mixed, &invited).unwrap().grants,
        ["authorization_code", "client_credentials", "refresh_token"]
    );
    for bad in [
        json!({"grant_types": ["client_credentials"], "redirect_uris": []}),
        json!({"grant_types": ["password"]}),
        json!({"grant_types": []}),
        json!({"grant_types": "authorization_code"}),
        json!({"response_types": ["token"]}),
        json!({"response_types": []}),
    ] {
        assert_eq!(refused(bad.clone()), ErrorCode::InvalidClientMetadata, "{bad}");
    }
    registered(json!({"response_types": ["code", "code id_token"]}));
}

#[test]
fn methods_are_chosen_among_those_that_the_client_has() {
    let methods = |members: Value, policy: &Policy| with(members, policy).map(|client| client.auth_methods);
    let choices = json!({"token_endpoint_auth_methods_supported": ["unknown", "none", "client_secret_post"]});
    assert_eq!(
        methods(choices, &Policy::REGISTRATION).unwrap(),
        [AuthMethod::None]
    );
    // A document that names both: either works, since its client is told nothing.
    let chatgpt = json!({"token_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
        "jwks_uri": "https://chatgpt.com/oauth/jwks.json"});
    assert_eq!(
        methods(chatgpt.clone(), &Policy::DOCUMENT).unwrap(),
        [AuthMethod::None, AuthMethod::PrivateKeyJwt]
    );
    let mut named = chatgpt;
    named["token_endpoint_auth_method"] = json!("private_key_jwt");
    assert_eq!(
        methods(named, &Policy::DOCUMENT).unwrap(),
        [AuthMethod::PrivateKeyJwt]
    );
    assert_eq!(methods(json!({}), &Policy::DOCUMENT).unwrap(), [AuthMethod::None]);
    for bad in [
        json!({"token_endpoint_auth_method": "client_secret_jwt"}),
        json!({"token_endpoint_auth_method": 1}),
        json!({"token_endpoint_auth_methods_supported": ["client_secret_jwt"]}),
        json!({"token_endpoint_auth_signing_alg": "HS256"}),
        json!({"token_endpoint_auth_signing_alg": "none"}),
        json!({"request_object_signing_alg": "none"}),
    ] {
        assert_eq!(refused(bad.clone()), ErrorCode::InvalidClientMetadata, "{bad}");
    }
    registered(json!({"token_endpoint_auth_signing_alg": "ES256"}));
}

#[test]
fn cimd_10_a_document_has_no_secret() {
    for bad in [
        json!({"token_endpoint_auth_method": "client_secret_basic"}),
        json!({"token_endpoint_auth_method": "none", "client_secret": "x"}),
        json!({"token_endpoint_auth_method": "none", "client_secret_expires_at": 0}),
        json!({"client_name": null}),
    ] {
        assert!(with(bad.clone(), &Policy::DOCUMENT).is_err(), "{bad}");
    }
    assert!(with(json!({"token_endpoint_auth_method": "none"}), &Policy::DOCUMENT).is_ok());
}

#[test]
fn a_certificate_has_one_name() {
    let method = "tls_client_auth";
    for bad in [
        json!({"token_endpoint_auth_method": method}),
        json!({"token_endpoint_auth_method": method, "tls_client_auth_san_dns": "a.example",
            "tls_client_auth_subject_dn": "CN=a"}),
        json!({"token_endpoint_auth_method": method, "tls_client_auth_san_ip": "a.example"}),
        json!({"token_endpoint_auth_method": "self_signed_tls_client_auth"}),
    ] {
        assert_eq!(refused(bad.clone()), ErrorCode::InvalidClientMetadata, "{bad}");
    }
    registered(json!({"token_endpoint_auth_method": method, "tls_client_auth_san_ip": "192.0.2.1"}));
    let own = json!({"token_endpoint_auth_method": "self_signed_tls_client_auth",
        "jwks": {"keys": [{"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA", "x5c": ["AA"]}]}});
    registered(own);
}

#[test]
fn the_kind_of_application_is_believed_but_not_assumed() {
    let local = json!(["http://localhost:1/cb"]);
    let claims_web = json!({"application_type": "web", "redirect_uris": local});
    assert_eq!(refused(claims_web), ErrorCode::InvalidRedirectUri);
    registered(json!({"application_type": "native", "redirect_uris": local}));
    registered(json!({ "redirect_uris": local }));
    assert_eq!(
        refused(json!({"application_type": "tv"})),
        ErrorCode::InvalidClientMetadata
    );
}

#[test]
fn what_is_written_is_read_again_the_same() {
    let described = registered(json!({
        "token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [key()]}, "scope": "b a",
        "dpop_bound_access_tokens": true, "contacts": ["ops@client.example"], "logo_uri": "https://client.example/l.png",
    }));
    let row = described
        .new_row("c_x".to_owned(), Origin::Registration, UnixSeconds(1))
        .unwrap();
    let again = Metadata::read(&document(&row).unwrap(), &Policy::REGISTRATION).unwrap();
    let second = again
        .new_row("c_x".to_owned(), Origin::Registration, UnixSeconds(1))
        .unwrap();
    assert_eq!(format!("{row:?}"), format!("{second:?}"));
    assert_eq!(row.scopes, "a b");
}

#[test]
fn only_one_json_object_is_a_document() {
    for bad in [&b"null"[..], b"[]", b"{", br#"{"a":1,"a":2}"#, b"", b"\xff"] {
        assert!(Metadata::parse(bad, &Policy::REGISTRATION).is_err());
    }
    let text = format!(r#"{{"redirect_uris":["{CB}"]}}"#);
    assert!(Metadata::parse(text.as_bytes(), &Policy::REGISTRATION).is_ok());
    let padded = format!("{text}{}", " ".repeat(MAX_BYTES));
    assert!(Metadata::parse(padded.as_bytes(), &Policy::REGISTRATION).is_err());
}
