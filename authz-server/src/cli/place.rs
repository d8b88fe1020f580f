//! Where a command is carried out: on the configured database, or by a server far away. Both carry out the same
//! operation ([`crate::admin`]).

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use shared::config::read_secret_text;
use shared::http_client::{Exchanged, FetchFault, HttpClient, Message, NOT_TO_BE_ASKED, may_be_asked};
use shared::secret::{Secret, random_bytes};
use url::Url;

use crate::admin::{self, Ask, Call, Method, Operation, Page};
use crate::config::Config;
use crate::db::Db;

/// No answer is larger: a page of whole documents.
const MAX_ANSWER: usize = 16 * 1024 * 1024;
/// What a server does at once takes some seconds at most: to make keys, to fetch a document.
const PATIENCE: Duration = Duration::from_secs(60);
/// After so long a question whose answer was lost is asked again, as often as there are times.
const PAUSES: [Duration; 2] = [Duration::from_millis(300), Duration::from_secs(1)];
/// Neither metadata nor tokens are larger.
const MAX_METADATA: usize = 64 * 1024;
/// Things on a page of a list that is read to its end.
const PAGE: &str = "200";

/// Flags of every command.
#[derive(Args)]
pub(super) struct Far {
    /// Ask the server at this address instead of working on the configured database
    #[arg(long, global = true, value_name = "URL")]
    server: Option<Url>,
    /// A file with an access token for that server's admin API
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The client as which to get such a token, instead of a file with one
    #[arg(long, global = true, value_name = "ID")]
    as_client: Option<String>,
    /// A file with that client's secret
    #[arg(long, global = true, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// A PEM file with the authorities of that server's certificate, beside the public ones
    #[arg(long, global = true, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

impl Far {
    /// The server, if one is named.
    pub(super) async fn open(&self) -> Result<Option<Place>, Fault> {
        let Some(server) = &self.server else {
            let flags = [&self.token_file, &self.secret_file, &self.ca_file];
            if self.as_client.is_some() || flags.into_iter().any(Option::is_some) {
                let sentence = "--token-file, --as-client, --secret-file and --ca-file are for a server: name it with --server";
                return Err(sentence.into());
            }
            return Ok(None);
        };
        if !may_be_asked(server) {
            return Err(format!("--server: {NOT_TO_BE_ASKED}").into());
        }
        let client = HttpClient::patient(self.ca_file.as_deref(), PATIENCE)?;
        let base = server.as_str().trim_end_matches('/').to_owned();
        let token = match (&self.token_file, &self.as_client, &self.secret_file) {
            (Some(file), None, None) => read_secret_text(file)?,
            (None, Some(id), Some(file)) => {
                let secret = read_secret_text(file)?;
                token_of(&client, server, (id, &secret)).await?
            }
            _ => {
                let sentence = "--server needs a token: --token-file, or --as-client with --secret-file";
                return Err(sentence.into());
            }
        };
        Ok(Some(Place::There { client, base, token }))
    }
}

/// A token for the server's admin API, got by client credentials (OAuth 2.1 §4.2). What it is for the server says itself
/// (RFC 9728 §3.1).
async fn token_of(client: &HttpClient, server: &Url, (id, secret): (&str, &Secret)) -> Result<Secret, Fault> {
    let path = server.path().trim_end_matches('/');
    let at = |path: String| {
        let mut url = server.clone();
        url.set_path(&path);
        url
    };
    let metadata = at(format!("/.well-known/oauth-protected-resource{path}/admin/v1"));
    let named = |what: &'static str| move |fault: FetchFault| -> Fault { format!("{what}: {fault}").into() };
    let metadata = client
        .fetch_json(&metadata, MAX_METADATA)
        .await
        .map_err(named("the address of the admin API"))?;
    let metadata: Value = serde_json::from_slice(&metadata.body)?;
    let resource = metadata["resource"].as_str().unwrap_or_default();
    let form = [("grant_type", "client_credentials"), ("resource", resource)];
    let endpoint = at(format!("{path}/oauth/token"));
    let answer = client
        .post_form(&endpoint, &form, Some((id, secret)), MAX_METADATA)
        .await
        .map_err(named("a token for the admin API"))?;
    let answer: Value = serde_json::from_slice(&answer.body)?;
    match answer["access_token"].as_str() {
        Some(token) => Ok(Secret::from(token.to_owned())),
        None => Err("the server answered without a token".into()),
    }
}

/// Where commands are carried out.
pub(super) enum Place {
    /// On the database, as whoever has this machine.
    Here(Db, Box<Config>),
    /// By a server, as whoever the token is of.
    There {
        client: HttpClient,
        /// What stands before the paths.
        base: String,
        token: Secret,
    },
}

type Fault = Box<dyn std::error::Error>;

impl Place {
    /// Carries `operation` out and returns what it answers; `null` when that is nothing.
    pub(super) async fn ask(&self, operation: &Operation, call: Call) -> Result<Value, Fault> {
        match self {
            Self::Here(db, config) => Ok(Box::pin(Ask::here((db, config), operation, call)).await?.body),
            Self::There { client, base, token } => {
                Box::pin(far(client, base, token, (operation, call))).await
            }
        }
    }

    /// What `operation` answers, as what it is.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        operation: &Operation,
        call: Call,
    ) -> Result<T, Fault> {
        Ok(serde_json::from_value(self.ask(operation, call).await?)?)
    }

    /// Every item of a list, page by page.
    pub(super) async fn all<T: DeserializeOwned>(
        &self,
        operation: &'static Operation,
        query: &[(&'static str, String)],
    ) -> Result<Vec<T>, Fault> {
        let mut pages = Pages::of(operation, query.to_vec());
        let mut items = Vec::new();
        while let Some(page) = pages.next(self).await? {
            items.extend(page);
        }
        Ok(items)
    }

    /// The database, for what can be done beside it only.
    pub(super) fn here(&self) -> Result<(&Db, &Config), Fault> {
        match self {
            Self::Here(db, config) => Ok((db, config)),
            Self::There { .. } => Err(NOT_FAR.into()),
        }
    }
}

/// A list, page by page.
pub(super) struct Pages {
    operation: &'static Operation,
    query: Vec<(&'static str, String)>,
    /// `None` after the last page.
    next: Option<Vec<(&'static str, String)>>,
}

impl Pages {
    pub(super) fn of(operation: &'static Operation, mut query: Vec<(&'static str, String)>) -> Self {
        query.push(("limit", PAGE.to_owned()));
        Self {
            operation,
            next: Some(query.clone()),
            query,
        }
    }

    /// The next page; `None` after the last one.
    pub(super) async fn next<T: DeserializeOwned>(&mut self, place: &Place) -> Result<Option<Vec<T>>, Fault> {
        let Some(query) = self.next.take() else {
            return Ok(None);
        };
        let call = Call {
            query,
            ..Call::default()
        };
        let page: Page<T> = place.get(self.operation, call).await?;
        self.next = page.next_cursor.map(|cursor| {
            let mut query = self.query.clone();
            query.push(("cursor", cursor));
            query
        });
        Ok(Some(page.items))
    }
}

/// Why a command is refused.
pub(super) const NOT_FAR: &str =
    "this works on the database only: run it where the server is, without --server";

/// A call about one thing.
pub(super) fn of(id: &str) -> Call {
    Call {
        id: Some(id.to_owned()),
        ..Call::default()
    }
}

/// A call that says something.
pub(super) fn saying(body: Map<String, Value>) -> Call {
    Call {
        body,
        ..Call::default()
    }
}

async fn far(
    client: &HttpClient,
    base: &str,
    token: &Secret,
    (operation, call): (&Operation, Call),
) -> Result<Value, Fault> {
    let id = call.id.as_deref().map(admin::path_of).unwrap_or_default();
    let path = operation.path.replace("{id}", &id);
    let mut url: Url = format!("{base}/admin/v1{path}").parse()?;
    if !call.query.is_empty() {
        url.query_pairs_mut().extend_pairs(&call.query);
    }
    let document = Value::Object(call.body);
    // By its key the server knows a creation again (draft-ietf-httpapi-idempotency-key-header).
    let key = URL_SAFE_NO_PAD.encode(random_bytes::<16>()?);
    let headers = [
        // What is shown and changed in one breath is changed whatever it is.
        ("If-Match", "*"),
        ("Idempotency-Key", &*key),
    ];
    let is_creation = operation.method == Method::Post;
    let message = Message {
        method: operation.method.as_str(),
        url: &url,
        headers: if is_creation { &headers } else { &headers[..1] },
        document: operation.has_body().then_some(&document),
    };
    // Other changes are made once: nobody could tell the answer to the second try from a refusal of the first.
    let may_repeat = is_creation || matches!(operation.method, Method::Get | Method::Ask | Method::Again);
    let answer = persist(client, token, &message, may_repeat)
        .await
        .map_err(|fault| format!("{}: {fault}", url.origin().ascii_serialization()))?;
    if !(200..300).contains(&answer.status) {
        return Err(answer.complaint().into());
    }
    if answer.body.is_empty() {
        return Ok(Value::Null);
    }
    let answered = answer.json();
    answered.ok_or_else(|| "the server answered with something that is no JSON object".into())
}

/// The answer to `message`, which is sent again when none comes, if it may be.
async fn persist(
    client: &HttpClient,
    token: &Secret,
    message: &Message<'_>,
    may_repeat: bool,
) -> Result<Exchanged, FetchFault> {
    for pause in PAUSES {
        match client.send_as(token, message, MAX_ANSWER).await {
            Err(FetchFault::Transport(_)) if may_repeat => tokio::time::sleep(pause).await,
            answered => return answered,
        }
    }
    client.send_as(token, message, MAX_ANSWER).await
}
