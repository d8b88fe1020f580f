//! What the configuration names and only the database has: clients and resources of rules and edges. One that is missing
//! closes its door and no other, so the server starts all the same, and says so.

use crate::app::App;
use crate::error::Failure;

/// Warns of every rule and edge that cannot be used as things are.
pub(crate) async fn warn_of_unknown(app: &App) -> Result<(), Failure> {
    let in_force = app.in_force();
    let config = &in_force.changeable;
    let rules = config
        .assertions
        .workloads
        .iter()
        .flat_map(|platform| &platform.rules);
    let providers = config
        .assertions
        .id_jag
        .iter()
        .flat_map(|provider| &provider.clients);
    let clients = rules
        .clone()
        .map(|rule| &rule.client)
        .chain(config.exchange.iter().map(|edge| &edge.from_client))
        .chain(providers);
    for client_id in clients {
        if app
            .client(client_id)
            .await?
            .is_none_or(|client| client.is_revoked)
        {
            tracing::warn!(
                client_id,
                "the configuration names a client that is not registered"
            );
        }
    }
    let resources = app.resources().await?;
    let named = rules.map(|rule| &rule.resource).chain(
        config
            .exchange
            .iter()
            .flat_map(|edge| [&edge.subject_audience, &edge.to_resource]),
    );
    for uri in named {
        if resources.find(uri).is_none_or(|known| known.uri != *uri) {
            tracing::warn!(
                uri,
                "the configuration names a resource that is not registered so"
            );
        }
    }
    Ok(())
}
