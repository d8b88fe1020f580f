//! `authz-server reload`.

use serde_json::Value;

use super::Outcome;
use super::place::Place;
use super::print::Report;
use crate::admin::Call;
use crate::admin::reloads::{ChangeView, RELOAD, ReloadView};

/// Why it is refused without a server.
pub(super) const WHERE: &str =
    "a running server is asked for this: name it with --server, or send its process SIGHUP";

pub(super) async fn run(place: &Place) -> Outcome {
    let answer: Value = place.ask(&RELOAD, Call::default()).await?;
    let view: ReloadView = serde_json::from_value(answer.clone())?;
    Ok(Report::told(answer, in_words(&view)))
}

/// A line for each change.
fn in_words(view: &ReloadView) -> String {
    let mut lines: Vec<String> = Vec::new();
    lines.extend(view.changed.iter().map(|one| format!("changed: {}", change(one))));
    if view.certificate_renewed {
        lines.push("changed: the certificate".to_owned());
    }
    let waiting = view.after_restart.iter();
    lines.extend(waiting.map(|one| format!("needs a restart: {}", change(one))));
    if lines.is_empty() {
        lines.push("the configuration is as before".to_owned());
    }
    lines.join("\n")
}

fn change(one: &ChangeView) -> String {
    let value = |value: &Option<String>| match value.as_deref() {
        None | Some("") => "none".to_owned(),
        Some(text) => text.to_owned(),
    };
    if one.content_changed {
        return format!("{}: what is in {}", one.key, value(&one.after));
    }
    format!(
        "{}: {} instead of {}",
        one.key,
        value(&one.after),
        value(&one.before)
    )
}
