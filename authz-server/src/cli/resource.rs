//! `authz-server resource …`.

use clap::{Args, Subcommand};
use serde_json::{Map, Value};
use shared::config::Span;
use shared::jose::Algorithm;
use shared::scope::Scope;

use super::Outcome;
use super::place::{Place, of, saying};
use super::print::Report;
use crate::admin::{Call, resources};
use crate::resource::ResourceView;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Register a resource
    Create(Create),
    /// List every resource
    List,
    /// Show one resource
    Show {
        /// The resource's URI, in any spelling
        #[arg(long)]
        uri: String,
    },
    /// Change a resource
    Update(Update),
    /// Forget a resource; its tokens become inactive
    Delete {
        /// The resource's URI, in any spelling
        #[arg(long)]
        uri: String,
    },
}

#[derive(Args)]
pub(super) struct Metadata {
    /// What people see [default: the URI]
    #[arg(long)]
    name: Option<String>,
    /// The scopes it knows, separated by spaces
    #[arg(long, value_name = "SCOPES")]
    scopes: Option<Scope>,
    /// What its tokens are signed with: EdDSA, RS256 or ES256 [default: `keys.default_alg`]
    #[arg(long, value_name = "ALG")]
    alg: Option<Algorithm>,
    /// How long its tokens live [default: `tokens.access_ttl`]
    #[arg(long, value_name = "TIME")]
    access_ttl: Option<Span>,
    /// The client as which the resource server introspects its tokens
    #[arg(long, value_name = "CLIENT_ID")]
    client: Option<String>,
    /// The types of authorization details that it understands, separated by spaces
    #[arg(long, value_name = "TYPES")]
    authorization_details_types: Option<String>,
}

#[derive(Args)]
pub(super) struct Create {
    /// The URI that clients use and that stands in `aud`, exactly
    #[arg(long)]
    uri: String,
    #[command(flatten)]
    metadata: Metadata,
}

#[derive(Args)]
pub(super) struct Update {
    /// The resource's URI, in any spelling
    #[arg(long)]
    uri: String,
    /// Let no client introspect its tokens any more
    #[arg(long, conflicts_with = "client")]
    no_client: bool,
    #[command(flatten)]
    metadata: Metadata,
}

impl Command {
    pub(super) async fn run(self, place: &Place) -> Outcome {
        match self {
            Self::Create(create) => {
                let mut body = create.metadata.read();
                body.insert("uri".to_owned(), Value::from(create.uri));
                Report::record(&place.ask(&resources::CREATE, saying(body)).await?)
            }
            Self::List => {
                let list: Vec<ResourceView> = place.all(&resources::LIST, &[]).await?;
                Report::rows(&list, row)
            }
            Self::Show { uri } => Report::record(&place.ask(&resources::SHOW, of(&uri)).await?),
            Self::Update(update) => {
                let mut body = update.metadata.read();
                if update.no_client {
                    body.insert("client_id".to_owned(), Value::Null);
                }
                let call = Call {
                    body,
                    ..of(&update.uri)
                };
                Report::record(&place.ask(&resources::UPDATE, call).await?)
            }
            Self::Delete { uri } => {
                place.ask(&resources::DELETE, of(&uri)).await?;
                Ok(Report::line("the resource is forgotten; its tokens are inactive"))
            }
        }
    }
}

impl Metadata {
    fn read(self) -> Map<String, Value> {
        let words = |text: String| text.split_whitespace().map(Value::from).collect::<Value>();
        let named = [
            ("name", self.name.map(Value::from)),
            ("scope", self.scopes.map(|scope| scope.to_string().into())),
            ("alg", self.alg.map(|alg| alg.as_str().into())),
            ("access_ttl", self.access_ttl.map(|ttl| ttl.0.as_secs().into())),
            ("client_id", self.client.map(Value::from)),
            (
                "authorization_details_types",
                self.authorization_details_types.map(words),
            ),
        ];
        named
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect()
    }
}

fn row(resource: &ResourceView) -> Vec<String> {
    vec![
        resource.uri.clone(),
        resource.alg.clone(),
        format!("{}s", resource.access_ttl),
        resource.scope.clone(),
    ]
}
