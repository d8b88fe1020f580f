//! Clients: programs that may ask for tokens.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::scope::Scope;
use utoipa::openapi::schema::{AnyOfBuilder, ObjectBuilder, SchemaType};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::ask::{Answer, Ask, Reply, Stop};
use super::input::Body;
use super::operation::{CURSOR, Form, Kind, LIMIT, Method, Operation, Parameter};
use super::page::Wanted;
use super::problem::{Code, Problem};
use super::right::Noun;
use crate::audit::{Name, Target};
use crate::client::register::{self, ClientMetadata, Draft, Edit, RegisterFault};
use crate::client::view::{self, ClientView};
use crate::client::{DETAILS, Details};
use crate::console;
use crate::db::client::ClientRow;
use crate::db::client_page::{self, Which};
use crate::db::{self, Tx};

/// What a client may ask for unless the operator says otherwise: to read and to call.
const DEFAULT_SCOPES: &str = "mcp:call mcp:read";
/// How long an old secret goes on working beside a new one, unless the operator says otherwise.
const OVERLAP: Duration = Duration::from_secs(60 * 60);
const PATH: &str = "/clients";
const ONE: &str = "/clients/{id}";

pub(crate) static LIST: Operation = Operation {
    method: Method::Get,
    path: PATH,
    name: "listClients",
    summary: "List clients, the oldest first",
    noun: Noun::Clients,
    query: &[
        LIMIT,
        CURSOR,
        Parameter {
            name: "state",
            what: "Only those that are active, or that were revoked",
            kind: Kind::Words(STATES),
        },
        Parameter {
            name: "origin",
            what: "Only those that an operator made, that registered themselves, or that publish what they are",
            kind: Kind::Words(ORIGINS),
        },
        Parameter {
            name: "name",
            what: "Only those of exactly this name; not together with origin",
            kind: Kind::Text,
        },
    ],
    takes: None,
    gives: (200, Some(Form::page_of::<ClientView>())),
    is_conditional: false,
    refuses: &[],
    run: list,
};
const STATES: &[&str] = &["active", "revoked"];
const ORIGINS: &[&str] = &["operator", "registration", "document"];

pub(crate) static CREATE: Operation = Operation {
    method: Method::Post,
    path: PATH,
    name: "createClient",
    summary: "Create a client; the answer holds its secret, once and never again",
    noun: Noun::Clients,
    query: &[],
    takes: Some(INPUT),
    gives: (201, Some(Form::of::<ClientView>())),
    is_conditional: false,
    refuses: &[],
    run: create,
};

pub(crate) static SHOW: Operation = Operation {
    method: Method::Get,
    path: ONE,
    name: "showClient",
    summary: "Show one client, revoked or not",
    noun: Noun::Clients,
    query: &[],
    takes: None,
    gives: (200, Some(Form::of::<ClientView>())),
    is_conditional: false,
    refuses: &[404],
    run: show,
};

pub(crate) static UPDATE: Operation = Operation {
    method: Method::Patch,
    path: ONE,
    name: "updateClient",
    summary: "Change a client; what is not named stays as it is",
    noun: Noun::Clients,
    query: &[],
    takes: Some(INPUT),
    gives: (200, Some(Form::of::<ClientView>())),
    is_conditional: true,
    refuses: &[404, 409],
    run: update,
};

pub(crate) static REVOKE: Operation = Operation {
    method: Method::Delete,
    path: ONE,
    name: "revokeClient",
    summary: "End a client and every token it has",
    noun: Noun::Clients,
    query: &[],
    takes: None,
    gives: (204, None),
    is_conditional: true,
    refuses: &[404, 409],
    run: revoke,
};

pub(crate) static NEW_SECRET: Operation = Operation {
    method: Method::Post,
    path: "/clients/{id}/secrets",
    name: "rotateClientSecret",
    summary: "Make a new secret, which is in the answer once and never again; the old one works for the overlap",
    noun: Noun::Clients,
    query: &[],
    takes: Some(Form::of::<SecretInput>()),
    gives: (201, Some(Form::of::<ClientView>())),
    is_conditional: false,
    refuses: &[404, 409],
    run: new_secret,
};

/// What is said of a client, by the names of RFC 7591 §2 where it has them.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ClientInput {
    /// What people see. A new client needs one.
    client_name: Option<String>,
    /// `ai-agent`, `service`, `native` or `web`.
    #[schema(pattern = "^(ai-agent|service|native|web)$")]
    client_type: Option<String>,
    /// What it may ask for at most, separated by spaces.
    scope: Option<String>,
    /// The resources it may ask for; an empty list: any.
    resources: Option<Vec<String>>,
    /// `none` makes a public client. Unless one is named, a secret may come in the header or in the body.
    token_endpoint_auth_method: Option<String>,
    redirect_uris: Option<Vec<String>>,
    grant_types: Option<Vec<String>>,
}

/// What is said of a client with what is said of its [`Details`], and nothing else.
const INPUT: Form = Form {
    name: ClientInput::name,
    schema: || {
        let (RefOr::T(Schema::Object(mut own)), RefOr::T(Schema::Object(more))) =
            (ClientInput::schema(), Details::schema())
        else {
            return ClientInput::schema();
        };
        // Of these, null and an empty string say as little as leaving them out.
        let nothing = ObjectBuilder::new()
            .schema_type(SchemaType::AnyValue)
            .enum_values(Some([Value::Null, Value::from("")]))
            .build();
        let or_nothing = |form: RefOr<Schema>| AnyOfBuilder::new().item(form).item(nothing.clone());
        let more = more.properties.into_iter();
        own.properties
            .extend(more.map(|(name, form)| (name, or_nothing(form).into())));
        RefOr::T(Schema::Object(own))
    },
    parts: Details::schemas,
};

/// How a secret is replaced.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SecretInput {
    /// How long the old secret goes on working, such as `10m`; `1h` unless it is said, `0s` ends it now.
    #[schema(pattern = "^[0-9]{1,9}(s|m|h|d)$")]
    overlap: Option<String>,
}

/// Reads what is said of a client.
fn metadata(body: &mut Body) -> Result<ClientMetadata, Problem> {
    Ok(ClientMetadata {
        name: body.text("client_name")?,
        client_type: body.parsed("client_type")?,
        scopes: body.parsed("scope")?,
        resources: body.texts("resources")?,
        auth_method: body.parsed("token_endpoint_auth_method")?,
        redirect_uris: body.texts("redirect_uris")?,
        grants: body.texts("grant_types")?,
        more: body.members(&DETAILS),
    })
}

fn list<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let mut query = ask.query();
        let wanted = Wanted::read(&mut query)?;
        let living = query.word("state", STATES)?.map(|state| state == "active");
        let origin = query.word("origin", ORIGINS)?;
        let name = query.take("name");
        let which = match (origin, &name) {
            (None, None) => Which::Any,
            (Some(origin), None) => Which::OfOrigin(origin),
            (None, Some(name)) => Which::Named(name),
            (Some(_), Some(_)) => {
                let sentence = "name and origin cannot be asked for together";
                return Err(Problem::new(Code::InvalidValue, sentence).into());
            }
        };
        let (at, id) = &wanted.after;
        let rows = client_page::page(ask.db, which, living, (*at, id), wanted.rows()).await?;
        let page = wanted.page(rows, |row| (row.created_at, &row.client_id), ClientView::from);
        Ok(Answer::list(&page)?)
    })
}

fn show<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async { Ok(Answer::one(&view::show(ask.db, ask.id()?).await?)?) })
}

fn create<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let mut body = ask.body();
        let mut metadata = metadata(&mut body)?;
        // The testing door is for whoever has this machine.
        let approves_as = if ask.by.is_operator() && ask.config.login.testing_door {
            body.text("approves_as")?
        } else {
            None
        };
        body.end()?;
        if metadata.scopes.is_none() {
            let scopes = DEFAULT_SCOPES.parse::<Scope>();
            metadata.scopes = Some(scopes.map_err(|fault| Problem::internal(fault.to_string()))?);
        }
        let draft = Draft::of(ask.db, metadata, approves_as, ask.now).await?;
        ask.check_rights(scopes_of(&draft.row))?;
        let secret = draft.secret.as_ref();
        ask.write(async |tx| {
            draft.write(tx).await?;
            let event = ask
                .by
                .event(Name::ClientCreated, Target::Client(&draft.row.client_id));
            db::audit_event::append(tx, &event, ask.now).await?;
            let mut seen = ClientView::from(draft.row.clone());
            if secret.is_some() {
                seen.client_secrets_expire_at = vec![None];
            }
            made(seen, secret.map(|secret| secret.reveal()))
        })
        .await
    })
}

/// What was made, with its new secret, which is not in what is shown from now on.
fn made(seen: ClientView, secret: Option<&str>) -> Result<Answer, Stop> {
    let mut shown = serde_json::to_value(&seen).map_err(|fault| Problem::internal(fault.to_string()))?;
    if let (Some(secret), Value::Object(members)) = (secret, &mut shown) {
        members.insert("client_secret".to_owned(), Value::from(secret));
    }
    Ok(Answer::made(&shown, &seen, (PATH, &seen.client_id))?)
}

/// A living client, which nobody changes until the transaction ends: the one that the caller has seen, and one that may
/// do no more here than the caller.
async fn held(ask: &Ask<'_>, tx: &mut Tx) -> Result<(i64, ClientRow), Stop> {
    let id = ask.id()?;
    if id == console::CLIENT_ID {
        let sentence =
            "the client of the console is a part of the server; admin.console = false turns it off";
        return Err(Problem::new(Code::Conflict, sentence).into());
    }
    let Some((turn, row)) = db::client::hold(tx, id).await? else {
        return Err(RegisterFault::NoSuchClient(id.to_owned()).into());
    };
    let secrets = db::client_secret::of_client_in(tx, id).await?;
    ask.check_condition(&ClientView::of(row.clone(), &secrets))?;
    ask.check_rights(scopes_of(&row))?;
    Ok((turn, row))
}

fn update<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let mut body = ask.body();
        let metadata = metadata(&mut body)?;
        body.end()?;
        let edit = Edit::of(ask.db, metadata).await?;
        ask.write(async |tx| {
            let (turn, mut row) = held(ask, tx).await?;
            let consent = edit.apply(&mut row)?;
            ask.check_rights(scopes_of(&row))?;
            db::client::amend(tx, (turn, &row), consent, ask.now).await?;
            let event = ask.by.event(Name::ClientUpdated, Target::Client(&row.client_id));
            db::audit_event::append(tx, &event, ask.now).await?;
            let secrets = db::client_secret::of_client_in(tx, &row.client_id).await?;
            Ok(Answer::one(&ClientView::of(row, &secrets))?)
        })
        .await
    })
}

fn revoke<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        ask.write(async |tx| {
            let (turn, row) = held(ask, tx).await?;
            db::client::revoke_held(tx, (turn, &row.client_id), ask.now).await?;
            let event = ask.by.event(Name::ClientRevoked, Target::Client(&row.client_id));
            db::audit_event::append(tx, &event, ask.now).await?;
            Ok(Answer::done())
        })
        .await
    })
}

fn new_secret<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let mut body = ask.body();
        let overlap = body.span("overlap")?.map_or(OVERLAP, |span| span.0);
        body.end()?;
        // Made once, however often the transaction is tried.
        let secret = register::new_secret()?;
        ask.write(async |tx| {
            let (turn, row) = held(ask, tx).await?;
            register::check_uses_secret(&row)?;
            let times = (ask.now, ask.now + overlap);
            db::client::replace_secret(tx, (turn, &row.client_id), &secret.hash(), times).await?;
            let event = ask
                .by
                .event(Name::ClientSecretRotated, Target::Client(&row.client_id));
            db::audit_event::append(tx, &event, ask.now).await?;
            let secrets = db::client_secret::of_client_in(tx, &row.client_id).await?;
            made(ClientView::of(row, &secrets), Some(secret.reveal()))
        })
        .await
    })
}

fn scopes_of(row: &ClientRow) -> impl Iterator<Item = &str> {
    row.scopes.split_ascii_whitespace()
}
