//! Changes of the tool and prompt lists, told to every open subscription.

use std::sync::Arc;

use rmcp::service::SubscriptionContext;
use tokio::sync::watch;

/// How often each list has changed since the program started.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Edition {
    tools: u64,
    prompts: u64,
}

/// Where changes are announced and where subscriptions wait for them.
#[derive(Clone)]
pub(crate) struct News(Arc<watch::Sender<Edition>>);

impl News {
    /// News of nothing yet.
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Edition::default())))
    }

    /// The edition of this moment.
    pub(crate) fn edition(&self) -> Edition {
        *self.0.borrow()
    }

    /// The tool list has changed.
    pub(crate) fn tools_changed(&self) {
        self.0.send_modify(|edition| edition.tools += 1);
    }

    /// The prompt list has changed.
    pub(crate) fn prompts_changed(&self) {
        self.0.send_modify(|edition| edition.prompts += 1);
    }

    /// Tells `subscription` of every change after `seen`, until the client goes away.
    ///
    /// `seen` is taken before the subscription is acknowledged: a client may change a list the moment it reads the
    /// acknowledgement, and that change must not fall between two chairs.
    pub(crate) async fn tell(&self, subscription: &SubscriptionContext, mut seen: Edition) {
        let mut changes = self.0.subscribe();
        loop {
            let edition = *changes.borrow_and_update();
            if !announce(subscription, seen, edition).await {
                return;
            }
            seen = edition;
            tokio::select! {
                () = subscription.cancelled() => return,
                changed = changes.changed() => if changed.is_err() { return },
            }
        }
    }
}

/// Sends what differs between two editions and was asked for; `false` when the client is gone.
async fn announce(subscription: &SubscriptionContext, seen: Edition, edition: Edition) -> bool {
    let accepted = subscription.accepted();
    let sink = subscription.sink();
    if accepted.tools_list_changed == Some(true)
        && edition.tools != seen.tools
        && sink.notify_tool_list_changed().await.is_err()
    {
        return false;
    }
    if accepted.prompts_list_changed == Some(true)
        && edition.prompts != seen.prompts
        && sink.notify_prompt_list_changed().await.is_err()
    {
        return false;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edition_changes_with_either_list() {
        let news = News::new();
        let first = news.edition();

        news.tools_changed();
        let second = news.edition();
        news.clone().prompts_changed();
        let third = news.edition();

        assert_ne!(first, second);
        assert_ne!(second, third);
        assert_eq!(second.prompts, first.prompts);
        assert_eq!(third.tools, second.tools);
    }
}
