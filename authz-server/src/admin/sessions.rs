//! Browsers in which people are signed in.

use serde::{Deserialize, Serialize};
use shared::clock::UnixSeconds;
use utoipa::ToSchema;

use super::ask::{Answer, Ask, Reply};
use super::operation::{CURSOR, Form, Kind, LIMIT, Method, Operation, Parameter};
use super::page::Wanted;
use super::problem::{Code, Problem};
use super::right::Noun;
use super::users;
use crate::audit::{self, Name, Target};
use crate::db;
use crate::db::session::{self, SessionRow};

const PATH: &str = "/sessions";
const ONE: &str = "/sessions/{id}";

pub(crate) static LIST: Operation = Operation {
    method: Method::Get,
    path: PATH,
    name: "listSessions",
    summary: "List the browsers in which a person is signed in, the oldest first",
    noun: Noun::Users,
    query: &[
        LIMIT,
        CURSOR,
        Parameter {
            name: "user_id",
            what: "Of this person; it must be named",
            kind: Kind::Needed,
        },
    ],
    takes: None,
    gives: (200, Some(Form::page_of::<SessionView>())),
    is_conditional: false,
    refuses: &[],
    run: list,
};

pub(crate) static SHOW: Operation = Operation {
    method: Method::Get,
    path: ONE,
    name: "showSession",
    summary: "Show one browser in which a person is signed in",
    noun: Noun::Users,
    query: &[],
    takes: None,
    gives: (200, Some(Form::of::<SessionView>())),
    is_conditional: false,
    refuses: &[404],
    run: show,
};

pub(crate) static END: Operation = Operation {
    method: Method::Delete,
    path: ONE,
    name: "endSession",
    summary: "Sign a browser out; what the person has granted stands. An administrator's takes the scope admin:write",
    noun: Noun::Users,
    query: &[],
    takes: None,
    gives: (204, None),
    is_conditional: true,
    refuses: &[404],
    run: end,
};

/// A browser in which a person is signed in.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Session)]
pub(crate) struct SessionView {
    session_id: String,
    user_id: String,
    /// How the person proved who they are (RFC 8176): `pwd`, `otp`, `hwk`, `fed`.
    methods: Vec<String>,
    /// What the browser says that it is.
    user_agent: String,
    /// Where it was when the person signed in.
    address: String,
    authenticated_at: i64,
    last_seen_at: i64,
    expires_at: i64,
}

impl From<SessionRow> for SessionView {
    fn from(row: SessionRow) -> Self {
        Self {
            session_id: row.session_id,
            user_id: row.user_id,
            methods: row.methods.split_ascii_whitespace().map(str::to_owned).collect(),
            user_agent: row.user_agent,
            address: row.address,
            authenticated_at: row.authenticated_at,
            last_seen_at: row.last_seen_at,
            expires_at: row.expires_at,
        }
    }
}

/// Now, and since when a browser must have been seen.
fn times(ask: &Ask<'_>) -> (UnixSeconds, UnixSeconds) {
    (ask.now, ask.now - ask.config.login.session_idle)
}

fn list<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let mut query = ask.query();
        let wanted = Wanted::read(&mut query)?;
        let user_id = query.take("user_id");
        let user_id = user_id.ok_or_else(|| Problem::new(Code::InvalidRequest, "user_id is missing"))?;
        let (at, id) = &wanted.after;
        let after = (user_id.as_str(), (*at, id.as_str()));
        let rows = session::page_of_user(ask.db, after, times(ask), wanted.rows()).await?;
        let page = wanted.page(
            rows,
            |row| (row.authenticated_at, &row.session_id),
            SessionView::from,
        );
        Ok(Answer::list(&page)?)
    })
}

fn no_session(id: &str) -> Problem {
    Problem::new(
        Code::NotFound,
        format!("there is no session {id}, or it has ended"),
    )
}

fn show<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let id = ask.id()?;
        let row = session::find_by_id(ask.db, id, times(ask)).await?;
        Ok(Answer::one(&SessionView::from(
            row.ok_or_else(|| no_session(id))?,
        ))?)
    })
}

fn end<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let id = ask.id()?;
        ask.write(async |tx| {
            let row = session::find_by_id_in(tx, id, times(ask)).await?;
            let row = row.ok_or_else(|| no_session(id))?;
            ask.check_condition(&SessionView::from(row.clone()))?;
            let person = db::user_account::hold(tx, &row.user_id).await?;
            users::check_role(ask, person.is_some_and(|person| person.is_admin))?;
            if !session::end_one_in(tx, (&row.user_id, id), ask.now).await? {
                return Err(no_session(id).into());
            }
            let mut event = ask.by.event(Name::SessionEnded, Target::Session(id));
            event
                .details
                .extend(audit::details([("user_id", Some(&*row.user_id))]));
            db::audit_event::append(tx, &event, ask.now).await?;
            Ok(Answer::done())
        })
        .await
    })
}
