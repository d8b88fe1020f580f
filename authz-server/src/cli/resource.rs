//! `authz-server resource …`.

use clap::{Args, Subcommand};
use shared::clock;
use shared::config::Span;
use shared::jose::Algorithm;
use shared::scope::Scope;
use shared::uri::ResourceUri;

use super::Outcome;
use super::print::Report;
use crate::config::Config;
use crate::db::Db;
use crate::resource::{self, DEFAULT_SCOPES, ResourceMetadata, ResourceView};

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
    pub(super) async fn run(self, db: &Db, config: &Config) -> Outcome {
        let now = clock::now();
        match self {
            Self::Create(create) => {
                let uri: ResourceUri = create.uri.parse().map_err(|e| format!("{}: {e}", create.uri))?;
                let given = create.metadata.read();
                let metadata = ResourceMetadata {
                    scopes: Some(
                        given
                            .scopes
                            .map_or_else(|| Scope::from_tokens(DEFAULT_SCOPES), Ok)?,
                    ),
                    algorithm: given.algorithm.or(Some(config.default_algorithm)),
                    access_ttl: given.access_ttl.or(Some(config.access_ttl)),
                    ..given
                };
                Report::record(&resource::create(db, &uri, metadata, now).await?)
            }
            Self::List => Report::rows(&resource::list(db).await?, row),
            Self::Show { uri } => Report::record(&resource::show(db, &uri).await?),
            Self::Update(update) => {
                let mut metadata = update.metadata.read();
                if update.no_client {
                    metadata.client_id = Some(None);
                }
                Report::record(&resource::update(db, &update.uri, metadata, now).await?)
            }
            Self::Delete { uri } => {
                resource::delete(db, &uri, now).await?;
                Ok(Report::line("the resource is forgotten; its tokens are inactive"))
            }
        }
    }
}

impl Metadata {
    fn read(self) -> ResourceMetadata {
        ResourceMetadata {
            name: self.name,
            scopes: self.scopes,
            algorithm: self.alg,
            access_ttl: self.access_ttl.map(|span| span.0),
            client_id: self.client.map(Some),
            authorization_details_types: self
                .authorization_details_types
                .map(|types| types.split_whitespace().map(str::to_owned).collect()),
        }
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
