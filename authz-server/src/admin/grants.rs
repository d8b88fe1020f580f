//! What people have granted to clients, and the tokens that came of it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ask::{Answer, Ask, Reply, Stop};
use super::operation::{CURSOR, Form, Kind, LIMIT, Method, Operation, Parameter};
use super::page::Wanted;
use super::problem::{Code, Problem};
use super::right::Noun;
use crate::audit::{Name, Target};
use crate::db;
use crate::db::access_grant::{self, ShownGrant};
use crate::db::token_family::{self, Of, ShownFamily, Whose};

const GRANTS: &str = "/grants";
const GRANT: &str = "/grants/{id}";
const FAMILIES: &str = "/tokens";
const FAMILY: &str = "/tokens/{id}";
const STATES: &[&str] = &["standing", "ended"];

const STATE: Parameter = Parameter {
    name: "state",
    what: "Only those that stand, or that were revoked",
    kind: Kind::Words(STATES),
};
const USER: Parameter = Parameter {
    name: "user_id",
    what: "Only those of this person",
    kind: Kind::Text,
};
const CLIENT: Parameter = Parameter {
    name: "client_id",
    what: "Only those of this client",
    kind: Kind::Text,
};

pub(crate) static LIST: Operation = Operation {
    method: Method::Get,
    path: GRANTS,
    name: "listGrants",
    summary: "List what people have granted, the oldest first: of a person, of a client, or of all",
    noun: Noun::Grants,
    query: &[LIMIT, CURSOR, STATE, USER, CLIENT],
    takes: None,
    gives: (200, Some(Form::page_of::<GrantView>())),
    is_conditional: false,
    refuses: &[],
    run: list,
};

pub(crate) static SHOW: Operation = Operation {
    method: Method::Get,
    path: GRANT,
    name: "showGrant",
    summary: "Show one grant",
    noun: Noun::Grants,
    query: &[],
    takes: None,
    gives: (200, Some(Form::of::<GrantView>())),
    is_conditional: false,
    refuses: &[404],
    run: show,
};

pub(crate) static REVOKE: Operation = Operation {
    method: Method::Delete,
    path: GRANT,
    name: "revokeGrant",
    summary: "End a grant and every token that came of it",
    noun: Noun::Grants,
    query: &[],
    takes: None,
    gives: (204, None),
    is_conditional: true,
    refuses: &[404],
    run: revoke,
};

pub(crate) static LIST_FAMILIES: Operation = Operation {
    method: Method::Get,
    path: FAMILIES,
    name: "listTokens",
    summary: "List the tokens that came of the grants of a person or to a client, the oldest first; those of one code are one",
    noun: Noun::Tokens,
    query: &[
        LIMIT,
        CURSOR,
        STATE,
        USER,
        CLIENT,
        Parameter {
            name: "grant_id",
            what: "Only those that came of this grant; one of user_id, client_id and grant_id must be named",
            kind: Kind::Text,
        },
    ],
    takes: None,
    gives: (200, Some(Form::page_of::<FamilyView>())),
    is_conditional: false,
    refuses: &[],
    run: list_families,
};

pub(crate) static SHOW_FAMILY: Operation = Operation {
    method: Method::Get,
    path: FAMILY,
    name: "showTokens",
    summary: "Show the tokens that came of one code; their jti begins with this id",
    noun: Noun::Tokens,
    query: &[],
    takes: None,
    gives: (200, Some(Form::of::<FamilyView>())),
    is_conditional: false,
    refuses: &[404],
    run: show_family,
};

pub(crate) static REVOKE_FAMILY: Operation = Operation {
    method: Method::Delete,
    path: FAMILY,
    name: "revokeTokens",
    summary: "End the tokens that came of one code, refresh tokens and access tokens; the grant stands",
    noun: Noun::Tokens,
    query: &[],
    takes: None,
    gives: (204, None),
    is_conditional: true,
    refuses: &[404],
    run: revoke_family,
};

/// One standing permission: this client, for this person, with these scopes, at this resource.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Grant)]
pub(crate) struct GrantView {
    grant_id: String,
    user_id: String,
    client_id: String,
    resource: String,
    scope: String,
    /// What the person need not be asked for again.
    remembered_scope: String,
    created_at: i64,
    updated_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revoked_at: Option<i64>,
}

/// What came of one code or device code: refresh tokens, one after the other, and the access tokens beside them.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Tokens)]
pub(crate) struct FamilyView {
    family_id: String,
    grant_id: String,
    user_id: String,
    client_id: String,
    resource: String,
    scope: String,
    created_at: i64,
    last_used_at: i64,
    expires_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revoked_at: Option<i64>,
    /// Why they ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revoked_for: Option<String>,
}

impl From<ShownGrant> for GrantView {
    fn from(row: ShownGrant) -> Self {
        Self {
            grant_id: row.grant_id,
            user_id: row.user_id,
            client_id: row.client_id,
            resource: row.resource,
            scope: row.scopes,
            remembered_scope: row.remembered_scopes,
            created_at: row.created_at,
            updated_at: row.updated_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
        }
    }
}

impl From<ShownFamily> for FamilyView {
    fn from(row: ShownFamily) -> Self {
        Self {
            family_id: row.family_id,
            grant_id: row.grant_id,
            user_id: row.user_id,
            client_id: row.client_id,
            resource: row.resource,
            scope: row.scopes,
            created_at: row.created_at,
            last_used_at: row.last_used_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
            revoked_for: row.revoked_for,
        }
    }
}

/// Of the names that a query can have, the one that it has.
fn only<const N: usize>(named: [Option<&String>; N], sentence: &'static str) -> Result<(), Problem> {
    if named.into_iter().flatten().count() > 1 {
        return Err(Problem::new(Code::InvalidValue, sentence));
    }
    Ok(())
}

fn list<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let mut query = ask.query();
        let wanted = Wanted::read(&mut query)?;
        let standing = query.word("state", STATES)?.map(|state| state == "standing");
        let (user, client) = (query.take("user_id"), query.take("client_id"));
        only(
            [user.as_ref(), client.as_ref()],
            "name user_id or client_id, not both",
        )?;
        let whose = match (&user, &client) {
            (Some(user_id), _) => access_grant::Whose::User(user_id),
            (_, Some(client_id)) => access_grant::Whose::Client(client_id),
            (None, None) => access_grant::Whose::Any,
        };
        let (at, id) = &wanted.after;
        let rows = access_grant::page(ask.db, whose, standing, (*at, id), wanted.rows()).await?;
        let page = wanted.page(rows, |row| (row.created_at, &row.grant_id), GrantView::from);
        Ok(Answer::list(&page)?)
    })
}

fn no_grant(id: &str) -> Problem {
    Problem::new(Code::NotFound, format!("there is no grant {id}, or it has ended"))
}

fn show<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let id = ask.id()?;
        let row = access_grant::find(ask.db, id)
            .await?
            .ok_or_else(|| no_grant(id))?;
        Ok(Answer::one(&GrantView::from(row))?)
    })
}

fn revoke<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let id = ask.id()?;
        ask.write(async |tx| {
            let row = access_grant::hold_any(tx, id).await?;
            let row = row.filter(|row| row.revoked_at.is_none());
            let row = row.ok_or_else(|| no_grant(id))?;
            ask.check_condition(&GrantView::from(row.clone()))?;
            access_grant::revoke(tx, id, &row.user_id, ask.now).await?;
            let mut event = ask.by.event(Name::GrantRevoked, Target::Grant(id));
            event.details.extend(crate::audit::details([
                ("client_id", Some(&*row.client_id)),
                ("user_id", Some(&*row.user_id)),
            ]));
            db::audit_event::append(tx, &event, ask.now).await?;
            Ok(Answer::done())
        })
        .await
    })
}

fn list_families<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let mut query = ask.query();
        let wanted = Wanted::read(&mut query)?;
        let standing = query.word("state", STATES)?.map(|state| state == "standing");
        let names = ["user_id", "client_id", "grant_id"];
        let [user, client, grant] = names.map(|name| query.take(name));
        let sentence = "name one of user_id, client_id and grant_id";
        only([user.as_ref(), client.as_ref(), grant.as_ref()], sentence)?;
        let whose = match (&user, &client, &grant) {
            (Some(id), _, _) => Whose::User(id),
            (_, Some(id), _) => Whose::Client(id),
            (_, _, Some(id)) => Whose::Grant(id),
            (None, None, None) => return Err(Problem::new(Code::InvalidValue, sentence).into()),
        };
        let (at, id) = &wanted.after;
        let rows = token_family::page(ask.db, whose, standing, (*at, id), wanted.rows()).await?;
        let page = wanted.page(rows, |row| (row.created_at, &row.family_id), FamilyView::from);
        Ok(Answer::list(&page)?)
    })
}

fn no_family(id: &str) -> Problem {
    Problem::new(
        Code::NotFound,
        format!("there are no tokens {id}, or they have ended"),
    )
}

fn show_family<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let id = ask.id()?;
        let row = token_family::find(ask.db, id)
            .await?
            .ok_or_else(|| no_family(id))?;
        Ok(Answer::one(&FamilyView::from(row))?)
    })
}

fn revoke_family<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let id = ask.id()?;
        ask.write(async |tx| {
            let row = token_family::hold_any(tx, id).await?;
            let row = row.filter(|row| row.revoked_at.is_none());
            let row = row.ok_or_else(|| no_family(id))?;
            ask.check_condition(&FamilyView::from(row.clone()))?;
            token_family::revoke(tx, Of::Family(id), "an operator revoked it", ask.now).await?;
            let mut event = ask.by.event(Name::TokensRevoked, Target::Family(id));
            event.details.extend(crate::audit::details([
                ("client_id", Some(&*row.client_id)),
                ("user_id", Some(&*row.user_id)),
            ]));
            db::audit_event::append(tx, &event, ask.now).await?;
            Ok::<_, Stop>(Answer::done())
        })
        .await
    })
}
