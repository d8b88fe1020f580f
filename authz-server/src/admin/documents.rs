//! Metadata documents that an operator brings: of clients whose id is the address of their own metadata.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::http_client::Own;
use utoipa::ToSchema;

use super::ask::{Answer, Ask, Reply};
use super::operation::{Form, Method, Operation};
use super::problem::{Code, Problem};
use super::right::Noun;
use crate::audit::{Name, Target};
use crate::client::document::{self, Standing};
use crate::client::register::RegisterFault;
use crate::client::view::ClientView;
use crate::db::client_document::DocumentRow;
use crate::db::{self, client_document};

const ONE: &str = "/client-documents/{id}";

pub(crate) static IMPORT: Operation = Operation {
    method: Method::Post,
    path: "/client-documents",
    name: "importClientDocument",
    summary: "Take a client's metadata document as it is said, or fetch it now and keep it as it is",
    noun: Noun::Clients,
    query: &[],
    takes: Some(Form::of::<DocumentInput>()),
    gives: (200, Some(Form::of::<ClientView>())),
    is_conditional: false,
    refuses: &[409],
    run: import,
};

pub(crate) static SHOW: Operation = Operation {
    method: Method::Get,
    path: ONE,
    name: "showClientDocument",
    summary: "Show the document of a client, and whether it is pinned; its id is its client's",
    noun: Noun::Clients,
    query: &[],
    takes: None,
    gives: (200, Some(Form::of::<DocumentView>())),
    is_conditional: false,
    refuses: &[404],
    run: show,
};

pub(crate) static UNPIN: Operation = Operation {
    method: Method::Delete,
    path: ONE,
    name: "unpinClientDocument",
    summary: "Let a pinned document be fetched again when its client is next seen",
    noun: Noun::Clients,
    query: &[],
    takes: None,
    gives: (204, None),
    is_conditional: true,
    refuses: &[404],
    run: unpin,
};

const STANDINGS: &str = "standing is fetched, pinned or vouched";

/// A document: `document` with `standing`, or `client_id` to fetch and pin it.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct DocumentInput {
    /// The document. Its `client_id` is the https address at which it is published.
    #[schema(value_type = Option<Object>)]
    document: Option<Value>,
    /// `fetched`: as if it had been fetched just now. `pinned`: it stays as it is. `vouched`: it stays as it is, and the
    /// client is as one that an operator created. `fetched` unless it is said.
    #[schema(pattern = "^(fetched|pinned|vouched)$")]
    standing: Option<String>,
    /// The address of a document, which is fetched now, and pinned.
    client_id: Option<String>,
}

/// The document of a client.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = ClientDocument)]
pub(crate) struct DocumentView {
    client_id: String,
    /// Whether it stays as it is.
    is_pinned: bool,
    fetched_at: i64,
    /// From then on it is fetched again before it is relied on, unless it is pinned; -1: a reload has forgotten it.
    fresh_until: i64,
    /// As it was published.
    #[schema(value_type = Object)]
    document: Value,
}

impl From<DocumentRow> for DocumentView {
    fn from(row: DocumentRow) -> Self {
        Self {
            document: serde_json::from_str(&row.content).unwrap_or(Value::Null),
            client_id: row.client_id,
            is_pinned: row.is_pinned,
            fetched_at: row.fetched_at,
            fresh_until: row.fresh_until,
        }
    }
}

fn import<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let mut body = ask.body();
        let (document, client_id) = (body.object("document")?, body.text("client_id")?);
        let wrong = |sentence: &str| Problem::new(Code::InvalidRequest, sentence);
        let standing = match body.text("standing")?.as_deref() {
            None => None,
            Some("fetched") => Some(Standing::Fetched),
            Some("pinned") => Some(Standing::Pinned),
            Some("vouched") => Some(Standing::Registered),
            Some(_) => return Err(wrong(STANDINGS).into()),
        };
        body.end()?;
        let (content, standing) = match (document, client_id) {
            (Some(document), None) => {
                let content = Value::Object(document).to_string().into_bytes();
                (content, standing.unwrap_or(Standing::Fetched))
            }
            (None, Some(client_id)) if standing.is_none_or(|standing| standing == Standing::Pinned) => {
                let own = ask.server().map_or_else(|_| Own::default(), crate::app::App::own);
                let content = document::bring(&ask.changeable().fetch_rules, own, &client_id).await?;
                (content, Standing::Pinned)
            }
            _ => {
                let sentence = "name document or client_id, and the latter only to pin it";
                return Err(Problem::new(Code::InvalidValue, sentence).into());
            }
        };
        let prepared = document::prepare(&ask.changeable().clients, &content, standing, ask.now)?;
        ask.write(async |tx| {
            prepared.write(tx, ask.now).await?;
            let client_id = prepared.client_id();
            let mut event = ask.by.event(Name::ClientImported, Target::Client(client_id));
            event
                .details
                .insert("is_pinned".to_owned(), (standing != Standing::Fetched).into());
            db::audit_event::append(tx, &event, ask.now).await?;
            let row = db::client::find_in(tx, client_id).await?;
            let row = row.ok_or_else(|| RegisterFault::NoSuchClient(client_id.to_owned()))?;
            Ok(Answer::list(&ClientView::from(row))?)
        })
        .await
    })
}

fn no_document(id: &str) -> Problem {
    Problem::new(
        Code::NotFound,
        format!("there is no document of the client {id}; see: authz-server client list"),
    )
}

fn show<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let id = ask.id()?;
        let row = client_document::find(ask.db, id).await?;
        Ok(Answer::one(&DocumentView::from(
            row.ok_or_else(|| no_document(id))?,
        ))?)
    })
}

fn unpin<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let id = ask.id()?;
        ask.write(async |tx| {
            let row = client_document::find_in(tx, id).await?;
            let row = row.filter(|row| row.is_pinned).ok_or_else(|| no_document(id))?;
            ask.check_condition(&DocumentView::from(row))?;
            if !client_document::unpin(tx, id, ask.now).await? {
                return Err(no_document(id).into());
            }
            let event = ask.by.event(Name::ClientUnpinned, Target::Client(id));
            db::audit_event::append(tx, &event, ask.now).await?;
            Ok(Answer::done())
        })
        .await
    })
}
