//! How long the server takes to answer.

use ::web::metrics::Times;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ask::{Answer, Ask, Reply};
use super::operation::{Form, Kind, Method, Operation, Parameter};
use super::right::Noun;
use crate::latency;

/// The minutes that are kept.
const MOST_MINUTES: u32 = 60;

pub(crate) static SHOW: Operation = Operation {
    method: Method::Get,
    path: "/statistics/latency",
    name: "showLatency",
    summary: "How long the instance that answers took to answer, of at most the last hour",
    noun: Noun::Statistics,
    query: &[Parameter {
        name: "minutes",
        what: "How many minutes back; 60 unless it is said",
        kind: Kind::Number(MOST_MINUTES),
    }],
    takes: None,
    gives: (200, Some(Form::of::<LatencyView>())),
    is_conditional: false,
    refuses: &[],
    run: show,
};

/// How long answers took, from request head to answer head. Times are of histograms, and as exact as their buckets are wide.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Latency)]
pub(crate) struct LatencyView {
    /// Unix seconds of its beginning: where the minutes begin, or the instance.
    since: i64,
    /// By what was asked for; only what was.
    groups: Vec<GroupLatencyView>,
    /// Minute by minute, without those who wait for news of status lists; only minutes with answers, the oldest first.
    minutes: Vec<MinuteLatencyView>,
}

/// How long answers of one kind took.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = GroupLatency)]
pub(crate) struct GroupLatencyView {
    /// `token`, `introspect`, `revoke`, `authorize`, `register`, `people`, `metadata`, `status` (those wait for news), `fleet`,
    /// `admin`, `console`, `probes` or `other`.
    group: String,
    answers: i64,
    /// The time that half of them took at most.
    p50_micros: i64,
    /// The time that 99 of 100 took at most.
    p99_micros: i64,
}

/// How long the answers of one minute took.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = MinuteLatency)]
pub(crate) struct MinuteLatencyView {
    /// Unix seconds of its beginning.
    minute: i64,
    answers: i64,
    /// The time that half of them took at most.
    p50_micros: i64,
    /// The time that 99 of 100 took at most.
    p99_micros: i64,
}

fn show<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let minutes = ask
            .query()
            .number("minutes", MOST_MINUTES)?
            .unwrap_or(MOST_MINUTES);
        let server = ask.server()?;
        latency::look(server, ask.now);
        let told = server.latency.tell(minutes as usize, ask.now);
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let percentile = |times: &Times, percent| number(times.percentile(percent).unwrap_or(0));
        let groups = told.groups.iter().map(|part| GroupLatencyView {
            group: part.of.to_owned(),
            answers: number(part.times.count()),
            p50_micros: percentile(&part.times, 50),
            p99_micros: percentile(&part.times, 99),
        });
        let minutes = told.minutes.iter().map(|part| MinuteLatencyView {
            minute: part.of,
            answers: number(part.times.count()),
            p50_micros: percentile(&part.times, 50),
            p99_micros: percentile(&part.times, 99),
        });
        Ok(Answer::list(&LatencyView {
            since: told.since,
            groups: groups.collect(),
            minutes: minutes.collect(),
        })?)
    })
}
