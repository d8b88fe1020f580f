//! Calls that wait for somebody's yes (docs/fleet.md).

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::ask::{Answer, Ask, Reply, Stop};
use super::operation::{CURSOR, Form, LIMIT, Method, Operation};
use super::page::Wanted;
use super::problem::{Code, Problem};
use super::right::Noun;
use crate::audit::{self, Name, Outcome, Target};
use crate::db;
use crate::db::approval::{self, OpenRow};

const PATH: &str = "/approvals";
const ONE: &str = "/approvals/{id}";

pub(crate) static LIST: Operation = Operation {
    method: Method::Get,
    path: PATH,
    name: "listApprovals",
    summary: "List the calls that wait for an administrator's answer, the oldest first; and those that wait for the person of the token",
    noun: Noun::Approvals,
    query: &[LIMIT, CURSOR],
    takes: None,
    gives: (200, Some(Form::page_of::<ApprovalView>())),
    is_conditional: false,
    refuses: &[],
    run: list,
};

pub(crate) static SHOW: Operation = Operation {
    method: Method::Get,
    path: ONE,
    name: "showApproval",
    summary: "Show one call that waits",
    noun: Noun::Approvals,
    query: &[],
    takes: None,
    gives: (200, Some(Form::of::<ApprovalView>())),
    is_conditional: false,
    refuses: &[404],
    run: show,
};

pub(crate) static DECIDE: Operation = Operation {
    method: Method::Post,
    path: "/approvals/{id}/decision",
    name: "decideApproval",
    summary: "Answer for a call, once, as the person of the token",
    noun: Noun::Approvals,
    query: &[],
    takes: Some(Form::of::<DecisionInput>()),
    gives: (204, None),
    is_conditional: false,
    refuses: &[404],
    run: decide,
};

/// A call that waits.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Approval)]
pub(crate) struct ApprovalView {
    approval_id: String,
    /// Where it waits.
    node_id: String,
    node_name: String,
    resource: String,
    tool: String,
    /// What the node says of it.
    summary: String,
    /// Exactly what will be called.
    #[schema(value_type = Object)]
    arguments: Value,
    /// Who calls: an issuer of tokens, and what it calls person and client.
    caller_iss: String,
    caller_sub: String,
    caller_client: String,
    /// The one person who may answer; any administrator when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    created_at: i64,
    expires_at: i64,
}

/// An answer.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct DecisionInput {
    /// `approved` or `denied`.
    #[schema(pattern = "^(approved|denied)$")]
    decision: String,
}

impl From<OpenRow> for ApprovalView {
    fn from(row: OpenRow) -> Self {
        let (row, node_id, node_name) = (row.approval, row.node_id, row.node_name);
        Self {
            arguments: serde_json::from_str(&row.arguments).unwrap_or(Value::Null),
            approval_id: row.approval_id,
            node_id,
            node_name,
            resource: row.resource,
            tool: row.tool,
            summary: row.summary,
            caller_iss: row.caller_iss,
            caller_sub: row.caller_sub,
            caller_client: row.caller_client,
            user_id: row.user_id,
            created_at: row.created_at,
            expires_at: row.expires_at,
        }
    }
}

fn list<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let wanted = Wanted::read(&mut ask.query())?;
        let (at, id) = &wanted.after;
        let after = (ask.by.user_id().unwrap_or_default(), (*at, id.as_str()));
        let rows = approval::page_of_open(ask.db, after, ask.now, wanted.rows()).await?;
        let page = wanted.page(
            rows,
            |row| (row.approval.created_at, &row.approval.approval_id),
            ApprovalView::from,
        );
        Ok(Answer::list(&page)?)
    })
}

async fn find(ask: &Ask<'_>) -> Result<OpenRow, Stop> {
    let id = ask.id()?;
    let whose = (ask.by.user_id().unwrap_or_default(), id);
    let row = approval::find_open(ask.db, whose, ask.now).await?;
    Ok(row.ok_or_else(|| over(id))?)
}

/// What is not theirs looks like what is not there.
fn over(id: &str) -> Problem {
    Problem::new(
        Code::NotFound,
        format!("no call {id} waits: it was decided, or its time is over"),
    )
}

fn show<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async { Ok(Answer::one(&ApprovalView::from(find(ask).await?))?) })
}

fn decide<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let mut body = ask.body();
        let decision = body.text("decision")?;
        body.end()?;
        let (word, outcome) = match decision.as_deref() {
            Some("approved") => ("approved", Outcome::Approved),
            Some("denied") => ("denied", Outcome::Denied),
            _ => {
                let sentence = "decision is approved or denied";
                return Err(Problem::new(Code::InvalidRequest, sentence).into());
            }
        };
        let Some(user_id) = ask.by.user_id() else {
            let sentence = "a person answers for a call; this token is of a program in its own name";
            return Err(Problem::new(Code::AccessDenied, sentence).into());
        };
        let row = find(ask).await?;
        let said = &row.approval;
        let answer = ask
            .write(async |tx| {
                if !approval::decide(tx, &said.approval_id, (word, user_id), ask.now).await? {
                    return Err(over(&said.approval_id).into());
                }
                let target = Target::Approval(&said.approval_id);
                let mut event = ask.by.event(Name::ApprovalDecided, target);
                event.outcome = outcome;
                event.on_behalf_of = Some(&said.caller_sub);
                event.details.extend(audit::details([
                    ("node_id", Some(&*row.node_id)),
                    ("tool", Some(&*said.tool)),
                    ("arguments_sha256", Some(&*said.arguments_sha256)),
                    ("caller_iss", Some(&*said.caller_iss)),
                    ("caller_client", Some(&*said.caller_client)),
                ]));
                db::audit_event::append(tx, &event, ask.now).await?;
                Ok(Answer::done())
            })
            .await?;
        tracing::info!(
            event = "approval.decided",
            approval_id = said.approval_id,
            node_id = row.node_id,
            tool = said.tool,
            decision = word,
            user_id,
            caller_sub = said.caller_sub,
            caller_client = said.caller_client,
            "a person decided about a call"
        );
        Ok(answer)
    })
}
