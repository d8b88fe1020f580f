//! The server as it runs: its configuration, the policies in it, and how much there is of everything.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared::config::Setting;
use utoipa::ToSchema;

use super::ask::{Answer, Ask, Reply};
use super::operation::{CURSOR, Form, Kind, LIMIT, Method, Operation, Parameter};
use super::page::Wanted;
use super::right::Noun;
use crate::db;
use crate::fleet;

pub(crate) static CONFIGURATION: Operation = Operation {
    method: Method::Get,
    path: "/configuration",
    name: "listSettings",
    summary: "List the configuration in force, in alphabetical order; secrets are in files, and not shown",
    noun: Noun::Configuration,
    query: &[LIMIT, CURSOR],
    takes: None,
    gives: (200, Some(Form::page_of::<SettingView>())),
    is_conditional: false,
    refuses: &[],
    run: configuration,
};

pub(crate) static POLICIES: Operation = Operation {
    method: Method::Get,
    path: "/policies",
    name: "listPolicies",
    summary: "List the policies of the configuration: edges of token exchange, workload platforms with their rules, identity providers, \
              issuers of software statements, and rules of what is fetched",
    noun: Noun::Policies,
    query: &[
        LIMIT,
        CURSOR,
        Parameter {
            name: "kind",
            what: "Only those of this kind",
            kind: Kind::Words(KINDS),
        },
    ],
    takes: None,
    gives: (200, Some(Form::page_of::<PolicyView>())),
    is_conditional: false,
    refuses: &[],
    run: policies,
};

pub(crate) static STATISTICS: Operation = Operation {
    method: Method::Get,
    path: "/statistics",
    name: "showStatistics",
    summary: "How many there are of everything",
    noun: Noun::Statistics,
    query: &[],
    takes: None,
    gives: (200, Some(Form::of::<StatisticsView>())),
    is_conditional: false,
    refuses: &[],
    run: statistics,
};

const KINDS: &[&str] = &[
    "exchange",
    "workload",
    "identity_provider",
    "software_statement",
    "fetch_rule",
];
/// Where each kind stands in the configuration.
const TABLES: [&str; 5] = [
    "exchange",
    "federation.workload",
    "federation.id_jag",
    "clients.software_statement",
    "fetch_rule",
];

/// A value of the configuration.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Setting)]
pub(crate) struct SettingView {
    pub(crate) key: String,
    pub(crate) value: String,
    /// Where it comes from: `default`, `file`, `environment` or `flag`.
    pub(crate) source: String,
}

impl From<&Setting> for SettingView {
    fn from(setting: &Setting) -> Self {
        Self {
            key: setting.path.clone(),
            value: setting.value.clone(),
            source: setting.source.as_str().to_owned(),
        }
    }
}

/// One table of the configuration that says who may do what.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Policy)]
pub(crate) struct PolicyView {
    kind: String,
    /// Its place among those of its kind, from 0 on.
    index: u32,
    /// Its keys, as docs/configuration.md names them; those of a workload's rules begin with `rule.` and their place.
    values: BTreeMap<String, String>,
}

/// The minutes that are kept.
const MOST_MINUTES: u32 = 24 * 60;
/// Minutes, unless more or fewer are asked for.
const USUAL_MINUTES: u32 = 60;

pub(crate) static HISTORY: Operation = Operation {
    method: Method::Get,
    path: "/statistics/minutes",
    name: "showHistory",
    summary: "What happened minute by minute, of all instances together, the newest minute last; some seconds late",
    noun: Noun::Statistics,
    query: &[Parameter {
        name: "minutes",
        what: "How many minutes back; 60 unless it is said",
        kind: Kind::Number(MOST_MINUTES),
    }],
    takes: None,
    gives: (200, Some(Form::of::<HistoryView>())),
    is_conditional: false,
    refuses: &[],
    run: history,
};

/// What happened minute by minute.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = History)]
pub(crate) struct HistoryView {
    /// Only minutes in which something happened, the oldest first.
    minutes: Vec<MinuteView>,
}

/// What happened in a minute.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[schema(as = Minute)]
pub(crate) struct MinuteView {
    /// Unix seconds of its beginning.
    minute: i64,
    /// Access tokens, by grant.
    issued: BTreeMap<String, i64>,
    /// Refused requests, by reason.
    refused: BTreeMap<String, i64>,
    answers: i64,
    /// How many microseconds all answers took together, each from request head to answer head.
    answer_micros: i64,
}

/// How many there are.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Statistics)]
pub(crate) struct StatisticsView {
    clients: i64,
    /// Those that were not revoked.
    clients_active: i64,
    /// Those that got a token since midnight UTC.
    clients_used_today: i64,
    resources: i64,
    /// Those that are enrolled.
    nodes: i64,
    nodes_ended: i64,
    /// Of those that are enrolled, those that reported of late.
    nodes_active: i64,
    /// And those that reported once, but not of late.
    nodes_silent: i64,
    users: i64,
    /// Those that are not disabled.
    users_active: i64,
    /// Browsers that are signed in, half a minute ago.
    sessions: i64,
    approvals_waiting: i64,
    audit_events: i64,
}

fn configuration<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let wanted = Wanted::read(&mut ask.query())?;
        let settings = ask.settings();
        let mut all: Vec<_> = settings.iter().collect();
        all.sort_by(|a, b| a.path.cmp(&b.path));
        let rows = all.into_iter().filter(|setting| setting.path > wanted.after.1);
        let rows = rows.take(wanted.rows() as usize).collect();
        let page = wanted.page(rows, |setting| (0, &setting.path), SettingView::from);
        Ok(Answer::list(&page)?)
    })
}

fn policies<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let mut query = ask.query();
        let kind = query.word("kind", KINDS)?;
        let wanted = Wanted::read(&mut query)?;
        let mut all: BTreeMap<(&str, u32), BTreeMap<String, String>> = BTreeMap::new();
        for setting in ask.settings().iter() {
            if let Some((kind, index, key)) = place_of(&setting.path) {
                let values = all.entry((kind, index)).or_default();
                values.insert(key.to_owned(), setting.value.clone());
            }
        }
        let rows = all
            .into_iter()
            .filter(|((known, index), _)| {
                kind.is_none_or(|kind| kind == *known) && position(known, *index) > wanted.after.1
            })
            .take(wanted.rows() as usize)
            .map(|((kind, index), values)| {
                let view = PolicyView {
                    kind: kind.to_owned(),
                    index,
                    values,
                };
                (position(kind, index), view)
            });
        let page = wanted.page(rows.collect(), |(at, _)| (0, at), |(_, view)| view);
        Ok(Answer::list(&page)?)
    })
}

/// Kind, index and key of a setting that is a part of a policy.
fn place_of(path: &str) -> Option<(&'static str, u32, &str)> {
    KINDS.iter().zip(TABLES).find_map(|(kind, table)| {
        let rest = path.strip_prefix(table)?.strip_prefix('.')?;
        let (index, key) = rest.split_once('.')?;
        Some((*kind, index.parse().ok()?, key))
    })
}

/// In the order of text, that of the numbers.
fn position(kind: &str, index: u32) -> String {
    format!("{kind}.{index:010}")
}

fn statistics<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let sessions = ask.server()?.counts.sessions();
        let counts =
            db::statistics::count(ask.db, fleet::silent_before(ask.config, ask.now), ask.now).await?;
        Ok(Answer::list(&StatisticsView {
            clients: counts.clients,
            clients_active: counts.clients_active,
            clients_used_today: counts.clients_used_today,
            resources: counts.resources,
            nodes: counts.nodes,
            nodes_ended: counts.nodes_ended,
            nodes_active: counts.nodes_active,
            nodes_silent: counts.nodes_silent,
            users: counts.users,
            users_active: counts.users_active,
            sessions,
            approvals_waiting: counts.approvals_waiting,
            audit_events: counts.audit_events,
        })?)
    })
}

fn history<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let minutes = ask
            .query()
            .number("minutes", MOST_MINUTES)?
            .unwrap_or(USUAL_MINUTES);
        let from = ask.now - Duration::from_secs(u64::from(minutes) * 60);
        let mut minutes: Vec<MinuteView> = Vec::new();
        for row in db::tally::since(ask.db, from).await? {
            if minutes.last().is_none_or(|last| last.minute != row.minute) {
                minutes.push(MinuteView {
                    minute: row.minute,
                    ..MinuteView::default()
                });
            }
            let Some(minute) = minutes.last_mut() else {
                continue;
            };
            match row.kind.as_str() {
                "issued" => {
                    minute.issued.insert(row.name, row.count);
                }
                "refused" => {
                    minute.refused.insert(row.name, row.count);
                }
                "answers" => minute.answers = row.count,
                _ => minute.answer_micros = row.count,
            }
        }
        Ok(Answer::list(&HistoryView { minutes })?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_tables_are_policies() {
        assert_eq!(
            place_of("exchange.0.from_client"),
            Some(("exchange", 0, "from_client"))
        );
        let rule = "federation.workload.12.rule.0.client";
        assert_eq!(place_of(rule), Some(("workload", 12, "rule.0.client")));
        for other in [
            "exchange",
            "exchange.x.y",
            "federation.url",
            "server.listen",
            "fetch_rule.1",
        ] {
            assert_eq!(place_of(other), None, "{other}");
        }
        assert!(position("exchange", 9) < position("exchange", 10));
    }
}
