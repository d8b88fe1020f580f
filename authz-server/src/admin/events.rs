//! The audit log: what happened, and whether the log is as it was written.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::ask::{Answer, Ask, Reply, Stop};
use super::operation::{CURSOR, Form, Kind, LIMIT, Method, Operation, Parameter};
use super::page::{self, Wanted};
use super::problem::{Code, Problem};
use super::right::Noun;
use crate::audit::{self, VerifyFault};
use crate::db::audit_event::{self, About};

const ORDERS: &[&str] = &["newest", "oldest"];

pub(crate) static LIST: Operation = Operation {
    method: Method::Get,
    path: "/audit/events",
    name: "listAuditEvents",
    summary: "List events, the newest first unless it is said",
    noun: Noun::Audit,
    query: &[
        LIMIT,
        CURSOR,
        Parameter {
            name: "event",
            what: "Only those of this name",
            kind: Kind::Text,
        },
        Parameter {
            name: "actor",
            what: "Only what this client or person did",
            kind: Kind::Text,
        },
        Parameter {
            name: "target",
            what: "Only what was done to this; one of event, actor and target",
            kind: Kind::Text,
        },
        Parameter {
            name: "order",
            what: "From which end",
            kind: Kind::Words(ORDERS),
        },
    ],
    takes: None,
    gives: (200, Some(Form::page_of::<EventView>())),
    is_conditional: false,
    refuses: &[],
    run: list,
};

pub(crate) static VERIFY: Operation = Operation {
    method: Method::Get,
    path: "/audit/verification",
    name: "verifyAuditLog",
    summary: "Check that no event was changed, removed or moved; part by part, the oldest first",
    noun: Noun::Audit,
    query: &[CURSOR],
    takes: None,
    gives: (200, Some(Form::of::<VerificationView>())),
    is_conditional: false,
    refuses: &[409],
    run: verify,
};

/// Events that one answer checks at most: it takes some tens of milliseconds.
const PART: i64 = 10_000;

/// A part of the log that is as it was written.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = AuditVerification)]
pub(crate) struct VerificationView {
    /// How many events were checked.
    pub(crate) events: i64,
    /// The number of the first of them. Those before the first of the first part were removed when their time was over.
    pub(crate) first: i64,
    /// The hash of the last of them. That of the whole log, kept elsewhere, proves what the log was.
    pub(crate) head: String,
    /// Asks for what follows; not there when the end was checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next_cursor: Option<String>,
}

/// One event (docs/audit.md).
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = AuditEvent)]
pub(crate) struct EventView {
    pub(crate) sequence: i64,
    /// Unix seconds.
    pub(crate) occurred_at: i64,
    pub(crate) event: String,
    pub(crate) actor_type: String,
    pub(crate) actor: Option<String>,
    pub(crate) on_behalf_of: Option<String>,
    pub(crate) target_type: String,
    pub(crate) target: String,
    pub(crate) source: Option<String>,
    pub(crate) outcome: String,
    pub(crate) reason: Option<String>,
    /// What only this event has.
    pub(crate) details: Value,
    pub(crate) previous_hash: String,
    pub(crate) hash: String,
}

fn list<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let mut query = ask.query();
        let is_newest_first = query.word("order", ORDERS)? != Some("oldest");
        let wanted = Wanted::read(&mut query)?;
        let names = ["event", "actor", "target"];
        let [event, actor, target] = names.map(|name| query.take(name));
        let about = match (&event, &actor, &target) {
            (None, None, None) => About::Anything,
            (Some(name), None, None) => About::Event(name),
            (None, Some(id), None) => About::Actor(id),
            (None, None, Some(id)) => About::Target(id),
            _ => {
                let sentence = "name one of event, actor and target";
                return Err(Problem::new(Code::InvalidValue, sentence).into());
            }
        };
        let place = match (is_newest_first, wanted.after.0) {
            (true, i64::MIN) => i64::MAX,
            (_, sequence) => sequence,
        };
        let rows = audit_event::page(ask.db, about, (place, is_newest_first), wanted.rows()).await?;
        let page = wanted.page(
            rows,
            |row| (row.sequence, ""),
            |row| Value::Object(audit::members(&row)),
        );
        Ok(Answer::list(&page)?)
    })
}

fn verify<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let wanted = Wanted::read(&mut ask.query())?;
        match audit::verify_part(ask.db, wanted.after.0.max(0), PART).await {
            Ok(part) => Ok(Answer::list(&VerificationView {
                events: part.verified.events,
                first: part.verified.first,
                head: part.verified.head,
                next_cursor: part.continues_after.map(|row| page::cursor(row, "")),
            })?),
            Err(VerifyFault::Db(fault)) => Err(Stop::Db(fault)),
            Err(damage) => Err(Problem::new(Code::Conflict, damage.to_string()).into()),
        }
    })
}
