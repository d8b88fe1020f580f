//! The rows about clients that sign: private_key_jwt and DPoP.

use serde_json::json;
use xtask::http::form_encode;
use xtask::{Explain, Outcome};

use super::load::Shot;
use super::rows::{Bench, Row, SCOPES, refuse};

const RESOURCE: &str = "http://localhost/bench/mcp";
/// The key of RFC 8032 §7.1, test 1; the load generator's script has the other half.
const PUBLIC_KEY: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

impl Bench {
    /// `proof` is `assertion` or `dpop`. Each request carries one of its own, as it must.
    pub(super) fn proofs(&self, name: &str, proof: &str, postgres: bool) -> Outcome<Row> {
        let target = self.start(postgres)?;
        target.server.ensure_resource(RESOURCE, &[])?;
        let endpoint = target.endpoint("token");
        let mut environment = vec![
            ("PROOF", proof.to_owned()),
            ("ISSUER", target.server.issuer.clone()),
            ("FORM", form()),
            ("AUTHORIZATION", target.authorization()),
        ];
        if proof == "assertion" {
            let keys = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": PUBLIC_KEY, "kid": "bench", "alg": "EdDSA"}]});
            let file = target.server.folder.join("jwks.json");
            std::fs::write(&file, keys.to_string())?;
            let file = file.display().to_string();
            let words = [
                "client",
                "create",
                "--name",
                "signs",
                "--auth-method",
                "private_key_jwt",
                "--jwks",
                &file,
                "--scopes",
                SCOPES,
            ];
            let client = target.server.json(&words)?;
            let id = client["client_id"].as_str().explain("no client_id")?;
            environment.push(("CLIENT_ID", id.to_owned()));
        }
        // Without its proof, or its credentials, the request is refused: the proof is what is measured.
        refuse(&endpoint, &form())?;
        let shot = Shot {
            script: "proof.lua",
            url: endpoint,
            environment,
        };
        self.fire(name, &shot, &target.program, target.postgres)
    }
}

fn form() -> String {
    format!(
        "grant_type=client_credentials&scope={}&resource={}",
        form_encode(SCOPES),
        form_encode(RESOURCE)
    )
}
