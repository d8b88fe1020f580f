//! Protected resources: what tokens can be for. The API itself is none of them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared::scope::Scope;
use shared::uri::ResourceUri;
use utoipa::ToSchema;

use super::ask::{Answer, Ask, Reply, Stop};
use super::input::Body;
use super::operation::{CURSOR, Form, LIMIT, Method, Operation};
use super::page::Wanted;
use super::problem::{Code, Problem};
use super::right::Noun;
use crate::audit::{Name, Target};
use crate::db::resource::ResourceRow;
use crate::db::{self, DbFault, Tx};
use crate::resource::{self, DEFAULT_SCOPES, ResourceFault, ResourceMetadata, ResourceView};

const PATH: &str = "/resources";
const ONE: &str = "/resources/{id}";

pub(crate) static LIST: Operation = Operation {
    method: Method::Get,
    path: PATH,
    name: "listResources",
    summary: "List resources, the oldest first",
    noun: Noun::Resources,
    query: &[LIMIT, CURSOR],
    takes: None,
    gives: (200, Some(Form::page_of::<ResourceView>())),
    is_conditional: false,
    refuses: &[],
    run: list,
};

pub(crate) static CREATE: Operation = Operation {
    method: Method::Post,
    path: PATH,
    name: "createResource",
    summary: "Register a resource",
    noun: Noun::Resources,
    query: &[],
    takes: Some(Form::of::<NewResource>()),
    gives: (201, Some(Form::of::<ResourceView>())),
    is_conditional: false,
    refuses: &[409],
    run: create,
};

pub(crate) static SHOW: Operation = Operation {
    method: Method::Get,
    path: ONE,
    name: "showResource",
    summary: "Show one resource; its URI may be spelt in any way",
    noun: Noun::Resources,
    query: &[],
    takes: None,
    gives: (200, Some(Form::of::<ResourceView>())),
    is_conditional: false,
    refuses: &[404],
    run: show,
};

pub(crate) static UPDATE: Operation = Operation {
    method: Method::Patch,
    path: ONE,
    name: "updateResource",
    summary: "Change a resource; what is not named stays as it is",
    noun: Noun::Resources,
    query: &[],
    takes: Some(Form::of::<ResourceInput>()),
    gives: (200, Some(Form::of::<ResourceView>())),
    is_conditional: true,
    refuses: &[404],
    run: update,
};

pub(crate) static DELETE: Operation = Operation {
    method: Method::Delete,
    path: ONE,
    name: "deleteResource",
    summary: "Forget a resource, and end what was granted for it and every token for it",
    noun: Noun::Resources,
    query: &[],
    takes: None,
    gives: (204, None),
    is_conditional: true,
    refuses: &[404],
    run: delete,
};

pub(crate) static SCOPES: Operation = Operation {
    method: Method::Get,
    path: "/scopes",
    name: "listScopes",
    summary: "List the scopes that resources know, in alphabetical order",
    noun: Noun::Resources,
    query: &[LIMIT, CURSOR],
    takes: None,
    gives: (200, Some(Form::page_of::<ScopeView>())),
    is_conditional: false,
    refuses: &[],
    run: scopes,
};

/// What is said of a new resource.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewResource {
    /// What clients use and what stands in `aud`, exactly.
    uri: String,
    /// What people see; the URI unless it is said.
    name: Option<String>,
    /// The scopes that it knows, separated by spaces; those of a node unless it is said.
    scope: Option<String>,
    /// What its tokens are signed with: `EdDSA`, `RS256` or `ES256`.
    #[schema(pattern = "^(EdDSA|RS256|ES256)$")]
    alg: Option<String>,
    /// How long its tokens live, in seconds.
    #[schema(minimum = 1)]
    access_ttl: Option<u32>,
    /// The client as which the resource server introspects its tokens.
    client_id: Option<String>,
    /// The types of authorization details that it understands (RFC 9396).
    authorization_details_types: Option<Vec<String>>,
}

/// What is changed of a resource.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ResourceInput {
    name: Option<String>,
    scope: Option<String>,
    #[schema(pattern = "^(EdDSA|RS256|ES256)$")]
    alg: Option<String>,
    #[schema(minimum = 1)]
    access_ttl: Option<u32>,
    /// `null` takes it away.
    client_id: Option<String>,
    authorization_details_types: Option<Vec<String>>,
}

/// A scope, and how many resources know it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Scope)]
pub(crate) struct ScopeView {
    scope: String,
    resources: u64,
}

impl From<ResourceFault> for Problem {
    fn from(fault: ResourceFault) -> Self {
        let sentence = fault.to_string();
        match fault {
            ResourceFault::Metadata(_) => Self::new(Code::InvalidValue, sentence),
            ResourceFault::Exists(_) => Self::new(Code::Conflict, sentence),
            ResourceFault::NoSuchResource(_) => Self::new(Code::NotFound, sentence),
            ResourceFault::Db(fault) => fault.into(),
        }
    }
}

impl From<ResourceFault> for Stop {
    fn from(fault: ResourceFault) -> Self {
        match fault {
            ResourceFault::Db(fault) => fault.into(),
            fault => Self::Problem(fault.into()),
        }
    }
}

fn metadata(body: &mut Body) -> Result<ResourceMetadata, Problem> {
    Ok(ResourceMetadata {
        name: body.text("name")?,
        scopes: body.parsed("scope")?,
        algorithm: body.parsed("alg")?,
        access_ttl: body
            .number("access_ttl")?
            .map(|ttl| Duration::from_secs(ttl.into())),
        client_id: body.nullable("client_id")?,
        authorization_details_types: body.texts("authorization_details_types")?,
    })
}

fn list<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let wanted = Wanted::read(&mut ask.query())?;
        let (at, uri) = &wanted.after;
        let rows = db::resource::page(ask.db, (*at, uri), wanted.rows()).await?;
        let page = wanted.page(rows, |row| (row.created_at, &row.uri), ResourceView::from);
        Ok(Answer::list(&page)?)
    })
}

fn show<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let found = db::resource::find_by_key(ask.db, &key(ask.id()?)?).await?;
        let row = found.ok_or_else(|| missing(ask.id().unwrap_or_default()))?;
        Ok(Answer::one(&ResourceView::from(row))?)
    })
}

fn create<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let mut body = ask.body();
        let uri: ResourceUri = body
            .parsed("uri")?
            .ok_or_else(|| Problem::new(Code::InvalidRequest, "uri is missing"))?;
        let mut metadata = metadata(&mut body)?;
        body.end()?;
        if metadata.scopes.is_none() {
            let scopes = Scope::from_tokens(DEFAULT_SCOPES);
            metadata.scopes = Some(scopes.map_err(|fault| Problem::internal(fault.to_string()))?);
        }
        metadata.algorithm = metadata.algorithm.or(Some(ask.config.default_algorithm));
        metadata.access_ttl = metadata.access_ttl.or(Some(ask.config.access_ttl));
        let row = resource::draft(ask.db, &uri, &metadata, ask.now).await?;
        if key(&super::uri(&ask.config.issuer))? == row.lookup_key {
            return Err(ResourceFault::Exists(row.uri).into());
        }
        ask.write(async |tx| {
            match db::resource::insert_in(tx, &row).await {
                Err(DbFault::Constraint(_)) => return Err(ResourceFault::Exists(row.uri.clone()).into()),
                written => written?,
            }
            let event = ask.by.event(Name::ResourceCreated, Target::Resource(&row.uri));
            db::audit_event::append(tx, &event, ask.now).await?;
            let view = ResourceView::from(row.clone());
            Ok(Answer::made(&view, &view, (PATH, &row.uri))?)
        })
        .await
    })
}

/// The resource that the caller has seen, which nobody changes until the transaction ends.
async fn held(ask: &Ask<'_>, tx: &mut Tx) -> Result<(i64, ResourceRow), Stop> {
    let id = ask.id()?;
    let held = db::resource::hold(tx, &key(id)?).await?;
    let (turn, row) = held.ok_or_else(|| missing(id))?;
    ask.check_condition(&ResourceView::from(row.clone()))?;
    Ok((turn, row))
}

fn update<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let mut body = ask.body();
        let metadata = metadata(&mut body)?;
        body.end()?;
        resource::check(ask.db, &metadata).await?;
        ask.write(async |tx| {
            let (turn, mut row) = held(ask, tx).await?;
            resource::apply(&mut row, &metadata);
            db::resource::amend(tx, (turn, &row), ask.now).await?;
            let event = ask.by.event(Name::ResourceUpdated, Target::Resource(&row.uri));
            db::audit_event::append(tx, &event, ask.now).await?;
            Ok(Answer::one(&ResourceView::from(row))?)
        })
        .await
    })
}

fn delete<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        ask.write(async |tx| {
            let (turn, row) = held(ask, tx).await?;
            db::resource::delete_held(tx, (turn, &row.uri), ask.now).await?;
            let event = ask.by.event(Name::ResourceDeleted, Target::Resource(&row.uri));
            db::audit_event::append(tx, &event, ask.now).await?;
            Ok(Answer::done())
        })
        .await
    })
}

fn scopes<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let wanted = Wanted::read(&mut ask.query())?;
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for scopes in db::resource::scopes(ask.db).await? {
            for scope in scopes.split_ascii_whitespace() {
                *counts.entry(scope.to_owned()).or_default() += 1;
            }
        }
        let known = counts
            .into_iter()
            .map(|(scope, resources)| ScopeView { scope, resources })
            // The order is that of the names alone.
            .filter(|known| known.scope > wanted.after.1);
        let rows = known.take(wanted.rows() as usize).collect();
        let page = wanted.page(rows, |known: &ScopeView| (0, &known.scope), |known| known);
        Ok(Answer::list(&page)?)
    })
}

/// The form under which spellings meet.
fn key(id: &str) -> Result<String, Problem> {
    let uri = id.parse::<ResourceUri>().map_err(|_| missing(id))?;
    Ok(uri.lookup_key())
}

fn missing(uri: &str) -> Problem {
    ResourceFault::NoSuchResource(uri.to_owned()).into()
}
