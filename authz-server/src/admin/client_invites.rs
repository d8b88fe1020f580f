//! Invites to register clients (RFC 7591 §3, initial access tokens).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ask::{Answer, Ask, Reply};
use super::operation::{CURSOR, Form, LIMIT, Method, Operation};
use super::page::Wanted;
use super::problem::{Code, Problem};
use super::right::Noun;
use crate::audit::{Name, Target};
use crate::client::invite::{self, Invite, InviteView};
use crate::db::initial_access_token::{self, InviteRow};
use crate::db::{self, DbFault};

const PATH: &str = "/client-invites";
const ONE: &str = "/client-invites/{id}";
/// How long an invite can be used, unless it is said.
const TTL: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) static LIST: Operation = Operation {
    method: Method::Get,
    path: PATH,
    name: "listClientInvites",
    summary: "List invites to register clients, the oldest first, until a while after their end",
    noun: Noun::Clients,
    query: &[LIMIT, CURSOR],
    takes: None,
    gives: (200, Some(Form::page_of::<InviteView>())),
    is_conditional: false,
    refuses: &[],
    run: list,
};

pub(crate) static CREATE: Operation = Operation {
    method: Method::Post,
    path: PATH,
    name: "createClientInvite",
    summary: "Make a token that lets somebody register clients; it is in the answer once and never again",
    noun: Noun::Clients,
    query: &[],
    takes: Some(Form::of::<ClientInviteInput>()),
    gives: (201, Some(Form::of::<InviteView>())),
    is_conditional: false,
    refuses: &[409],
    run: create,
};

pub(crate) static SHOW: Operation = Operation {
    method: Method::Get,
    path: ONE,
    name: "showClientInvite",
    summary: "Show one invite by its name, without its token",
    noun: Noun::Clients,
    query: &[],
    takes: None,
    gives: (200, Some(Form::of::<InviteView>())),
    is_conditional: false,
    refuses: &[404],
    run: show,
};

pub(crate) static REVOKE: Operation = Operation {
    method: Method::Delete,
    path: ONE,
    name: "revokeClientInvite",
    summary: "End an invite; the clients that it registered stay",
    noun: Noun::Clients,
    query: &[],
    takes: None,
    gives: (204, None),
    is_conditional: true,
    refuses: &[404],
    run: revoke,
};

/// What is said of an invite.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ClientInviteInput {
    /// What to call it; made up unless it is said.
    name: Option<String>,
    /// How many clients it registers; 1 unless it is said.
    #[schema(minimum = 1)]
    uses: Option<u32>,
    /// How long it can be used, such as `12h`; `1d` unless it is said.
    #[schema(pattern = "^[0-9]{1,9}(s|m|h|d)$")]
    ttl: Option<String>,
    /// Whether its clients may have tokens without a person (`client_credentials`).
    may_act_alone: Option<bool>,
}

fn list<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let wanted = Wanted::read(&mut ask.query())?;
        let (at, name) = &wanted.after;
        let rows = initial_access_token::page(ask.db, (*at, name), wanted.rows()).await?;
        let view = |row: InviteRow| InviteView::of(row, ask.now);
        let page = wanted.page(rows, |row| (row.created_at, &row.name), view);
        Ok(Answer::list(&page)?)
    })
}

fn create<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let mut body = ask.body();
        let said = Invite {
            name: body.text("name")?,
            uses: body.number("uses")?.unwrap_or(1),
            ttl: body.span("ttl")?.map_or(TTL, |span| span.0),
            may_act_alone: body.flag("may_act_alone")?.unwrap_or(false),
        };
        body.end()?;
        let prepared = invite::prepare(said, ask.now)?;
        let (shown, seen) = prepared.views(ask.now);
        ask.write(async |tx| {
            match prepared.write(tx).await {
                Err(DbFault::Constraint(_)) => {
                    let sentence = "there is an invite of that name already";
                    return Err(Problem::new(Code::Conflict, sentence).into());
                }
                written => written?,
            }
            let event = ask
                .by
                .event(Name::ClientInvited, Target::ClientInvite(prepared.name()));
            db::audit_event::append(tx, &event, ask.now).await?;
            Ok(Answer::made(&shown, &seen, (PATH, prepared.name()))?)
        })
        .await
    })
}

fn no_invite(name: &str) -> Problem {
    Problem::new(
        Code::NotFound,
        format!("there is no invite {name}, or it has ended; see: authz-server client invites"),
    )
}

fn show<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let name = ask.id()?;
        let row = initial_access_token::find(ask.db, name).await?;
        let row = row.ok_or_else(|| no_invite(name))?;
        Ok(Answer::one(&InviteView::of(row, ask.now))?)
    })
}

fn revoke<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let name = ask.id()?;
        ask.write(async |tx| {
            let row = initial_access_token::find_in(tx, name).await?;
            let row = row.ok_or_else(|| no_invite(name))?;
            ask.check_condition(&InviteView::of(row, ask.now))?;
            if !initial_access_token::revoke(tx, name, ask.now).await? {
                return Err(no_invite(name).into());
            }
            let event = ask
                .by
                .event(Name::ClientInviteRevoked, Target::ClientInvite(name));
            db::audit_event::append(tx, &event, ask.now).await?;
            Ok(Answer::done())
        })
        .await
    })
}
