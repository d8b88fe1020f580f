//! Clients in wide use, with what they send.

use blackbox::answers::granted;
use blackbox::registered::{fleet_with, open_fleet, public, text};
use blackbox::{Db, PASSWORD, Pkce, both};
use serde_json::{Value, json};

/// What Visual Studio Code, Cursor, mcp-remote and Claude register, and where they then are called back.
fn in_use() -> [(Value, &'static str); 4] {
    [
        (
            json!({"client_name": "Visual Studio Code", "client_uri": "https://code.visualstudio.com",
                "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
                "response_types": ["code"], "token_endpoint_auth_method": "none", "application_type": "native",
                "redirect_uris": ["https://insiders.vscode.dev/redirect", "https://vscode.dev/redirect", "http://127.0.0.1/",
                    "http://127.0.0.1:33418/"]}),
            "http://127.0.0.1:33418/",
        ),
        (
            json!({"client_name": "Cursor", "token_endpoint_auth_method": "none",
                "redirect_uris": ["http://localhost:8787/callback", "https://www.cursor.com/agents/mcp/oauth/callback",
                    "cursor://anysphere.cursor-mcp/oauth/callback"],
                "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"]}),
            "cursor://anysphere.cursor-mcp/oauth/callback",
        ),
        (
            json!({"client_name": "MCP CLI Proxy", "client_uri": "https://github.com/modelcontextprotocol/mcp-cli",
                "redirect_uris": ["http://localhost:3334/oauth/callback"], "token_endpoint_auth_method": "none",
                "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
                "software_id": "2e6dc280-f3c3-4e01-99a7-8181dbd1d23d", "software_version": "0.1.29", "scope": ""}),
            // It listens elsewhere when its port is taken.
            "http://localhost:21217/oauth/callback",
        ),
        (
            json!({"client_name": "Claude", "redirect_uris": ["https://claude.ai/api/mcp/auth_callback"],
                "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
                "token_endpoint_auth_method": "none", "scope": "mcp:read mcp:call offline_access"}),
            "https://claude.ai/api/mcp/auth_callback",
        ),
    ]
}

both!(clients_in_use_register_and_get_tokens);
fn clients_in_use_register_and_get_tokens(db: Db) {
    let fleet = open_fleet(db);
    let ada = fleet.person_account();
    for (document, callback) in in_use() {
        let client = fleet.registered(&document);
        for name in [
            "client_name",
            "redirect_uris",
            "grant_types",
            "response_types",
            "token_endpoint_auth_method",
        ] {
            assert_eq!(client[name], document[name], "{name} of {client}");
        }
        assert!(client.get("client_secret").is_none(), "{client}");
        let id = text(&client, "client_id");
        let pkce = Pkce::fresh();
        let redirect = [("redirect_uri", callback)];
        let url = fleet.authorization_url(id, &pkce, &redirect);
        let sent = fleet.person().allow(&url, (&ada, PASSWORD));
        assert!(sent.url.starts_with(callback), "{}", sent.url);
        fleet.remember(&sent.code());
        let tokens = granted(&fleet.redeem(id, &sent.code(), &pkce, &redirect));
        assert_eq!(fleet.call(text(&tokens, "access_token")).status, 200);
        granted(&fleet.refresh(id, text(&tokens, "refresh_token"), &[]));
    }
}

both!(an_unknown_client_is_told_to_register_again);
fn an_unknown_client_is_told_to_register_again(db: Db) {
    let fleet = fleet_with(db, "registration = \"open\"");
    // What clients look for before they drop a dead registration: 401 and this code, as JSON.
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", "c_forgotten"),
        ("refresh_token", "ehr_x"),
    ];
    blackbox::answers::refused_client(&fleet.post_bare("/oauth/token", &form), false);
    let again = fleet.registered(&public(&json!({})));
    let ada = fleet.person_account();
    let _tokens = fleet.code_tokens(&mut fleet.person(), &ada, text(&again, "client_id"));
}
