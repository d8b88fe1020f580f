//! The authorization code flow of a public client that the testing door approves: for commands that have no person.

use serde_json::Value;

use crate::fault::{Explain, Fault, Outcome};
use crate::fleet::AuthzServer;
use crate::http::{self, Answer, Request, form_encode};

/// TOML for [`AuthzServer::extra`]: requests of some clients are approved without a person.
pub const TESTING_DOOR: &str = "\n[login]\ntesting_door = true\n";

/// Where the codes are sent. Nobody listens there: they are read off the redirect.
pub const CALLBACK: &str = "http://127.0.0.1:9/callback";

/// RFC 7636 appendix B. A secret verifier protects a person's code; there is none here.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// A public client at a server, and the resource it asks for.
#[derive(Debug, Clone)]
pub struct CodeClient {
    /// The server's issuer.
    pub issuer: String,
    /// The client's id.
    pub id: String,
    /// The resource of its tokens.
    pub resource: String,
}

impl CodeClient {
    /// Registers a client that is approved as `username`, an account that is made with it.
    ///
    /// # Errors
    /// When a command refuses, for example because the server's configuration lacks [`TESTING_DOOR`].
    pub fn create(server: &AuthzServer, username: &str, (resource, scopes): (&str, &str)) -> Outcome<Self> {
        server.create_user(username, "a password nobody types", &[])?;
        let words = [
            "--public",
            "--redirect-uri",
            CALLBACK,
            "--resource",
            resource,
            "--scopes",
            scopes,
            "--approve-as",
            username,
        ];
        Ok(Self {
            issuer: server.issuer.clone(),
            id: server.create_public_client("approved by the testing door", &words)?,
            resource: resource.into(),
        })
    }

    /// The address of an authorization request.
    #[must_use]
    pub fn authorization_url(&self) -> String {
        self.authorization_url_with("st")
    }

    /// The address of an authorization request with this `state`, which the redirect repeats.
    #[must_use]
    pub fn authorization_url_with(&self, state: &str) -> String {
        let query: Vec<String> = [
            ("response_type", "code"),
            ("client_id", &self.id),
            ("redirect_uri", CALLBACK),
            ("state", state),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
            ("resource", &self.resource),
        ]
        .iter()
        .map(|(name, value)| format!("{name}={}", form_encode(value)))
        .collect();
        format!("{}/oauth/authorize?{}", self.issuer, query.join("&"))
    }

    /// The form that redeems a code; the code comes last.
    #[must_use]
    pub fn redemption<'a>(&'a self, code: &'a str) -> [(&'static str, &'a str); 5] {
        [
            ("grant_type", "authorization_code"),
            ("client_id", &self.id),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
            ("code", code),
        ]
    }

    /// The form that refreshes.
    #[must_use]
    pub fn renewal<'a>(&'a self, refresh_token: &'a str) -> [(&'static str, &'a str); 3] {
        [
            ("grant_type", "refresh_token"),
            ("client_id", &self.id),
            ("refresh_token", refresh_token),
        ]
    }

    /// The token endpoint of the server at this origin; instances of one issuer may listen elsewhere.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn ask(&self, form: &[(&str, &str)]) -> Outcome<Answer> {
        Request::post(&format!("{}/oauth/token", self.issuer))?
            .form(form)
            .send()
    }

    /// From an authorization request to tokens.
    ///
    /// # Errors
    /// When the server refuses at any step.
    pub fn tokens(&self) -> Outcome<Value> {
        let code = code_of(&location(&http::get(&self.authorization_url())?)?)?;
        let answer = self.ask(&self.redemption(&code))?;
        if answer.status != 200 {
            return Err(Fault::new(format!("the code was refused: {answer}")));
        }
        answer.json()
    }
}

/// Where a redirect leads.
///
/// # Errors
/// When the answer is none.
pub fn location(answer: &Answer) -> Outcome<String> {
    if !matches!(answer.status, 302 | 303) {
        return Err(Fault::new(format!("not a redirect: {answer}")));
    }
    let location = answer.header("location").explain("a redirect without Location")?;
    Ok(location.to_owned())
}

/// The code in a redirect. Codes need no decoding: they are base64url.
fn code_of(redirect: &str) -> Outcome<String> {
    let query = redirect.split_once('?').map_or("", |(_, query)| query);
    let code = query.split('&').find_map(|pair| pair.strip_prefix("code="));
    code.map(str::to_owned).explain(format!("no code in {redirect}"))
}
