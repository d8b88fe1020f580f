//! Reading the configuration again, as SIGHUP does.

use serde::{Deserialize, Serialize};
use shared::config::Difference;
use utoipa::ToSchema;

use super::ask::{Answer, Ask, Reply, Stop};
use super::operation::{Form, Method, Operation};
use super::problem::{Code, Problem};
use super::right::Noun;
use crate::reload::{NotReloaded, Reloaded};

pub(crate) static RELOAD: Operation = Operation {
    method: Method::Again,
    path: "/configuration-reloads",
    name: "reloadConfiguration",
    summary: "Let this instance read its configuration and its certificate again; with a fault in them nothing changes, and every fault is told",
    noun: Noun::Configuration,
    query: &[],
    takes: None,
    gives: (200, Some(Form::of::<ReloadView>())),
    is_conditional: false,
    refuses: &[409],
    run: reload,
};

/// What was other than before.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = ConfigurationReload)]
pub(crate) struct ReloadView {
    /// What counts from now on.
    pub(crate) changed: Vec<ChangeView>,
    /// What needs a restart.
    pub(crate) after_restart: Vec<ChangeView>,
    /// Whether another certificate is shown from now on.
    pub(crate) certificate_renewed: bool,
}

/// A key whose value is another one.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = ConfigurationChange)]
pub(crate) struct ChangeView {
    pub(crate) key: String,
    /// Not there if the key was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) before: Option<String>,
    /// Not there if the key is no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<String>,
    /// Whether it is the file that the key names which has changed.
    pub(crate) content_changed: bool,
}

impl From<&Difference> for ChangeView {
    fn from(difference: &Difference) -> Self {
        Self {
            key: difference.path.clone(),
            before: difference.before.clone(),
            after: difference.after.clone(),
            content_changed: difference.is_content,
        }
    }
}

impl From<&Reloaded> for ReloadView {
    fn from(reloaded: &Reloaded) -> Self {
        let views = |all: &[Difference]| all.iter().map(ChangeView::from).collect();
        Self {
            changed: views(&reloaded.changed),
            after_restart: views(&reloaded.after_restart),
            certificate_renewed: reloaded.has_certificate,
        }
    }
}

impl From<NotReloaded> for Stop {
    fn from(reason: NotReloaded) -> Self {
        match reason {
            NotReloaded::Faults(faults) => Problem::of_configuration(faults).into(),
            NotReloaded::Db(fault) => fault.into(),
            NotReloaded::Busy => Problem::new(Code::Conflict, reason.to_string()).into(),
            NotReloaded::NotServing => Problem::new(Code::TemporarilyUnavailable, reason.to_string()).into(),
        }
    }
}

fn reload<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let reloaded = ask.server()?.reloads.ask(ask.by.clone()).await?;
        Ok(Answer::list(&ReloadView::from(&reloaded))?)
    })
}
