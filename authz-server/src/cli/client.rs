//! `authz-server client …`.

use clap::{Args, Subcommand};
use shared::clock;
use shared::config::Span;
use shared::scope::Scope;

use super::Outcome;
use super::print::Report;
use crate::client::register::{self, ClientMetadata, ClientView};
use crate::client::{AuthMethod, ClientType};
use crate::db::Db;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Create a client; prints its id and, once and never again, its secret
    Create(Create),
    /// List every client
    List,
    /// Show one client
    Show {
        /// The client's id
        client_id: String,
    },
    /// Change a client
    Update(Update),
    /// Make a new secret; the old one works for the overlap
    RotateSecret {
        /// The client's id
        client_id: String,
        /// How long the old secret goes on working (0s ends it now)
        #[arg(long, default_value = "1h", value_name = "TIME")]
        overlap: Span,
    },
    /// End a client and every token it has
    Revoke {
        /// The client's id
        client_id: String,
    },
}

#[derive(Args)]
pub(super) struct Metadata {
    /// The scopes it may ask for, separated by spaces
    #[arg(long, value_name = "SCOPES")]
    scopes: Option<Scope>,
    /// A resource it may ask for; may be repeated [default: any]
    #[arg(long, value_name = "URI")]
    resource: Vec<String>,
    /// What kind of program it is: ai-agent, service, native or web
    #[arg(long, value_name = "TYPE")]
    r#type: Option<ClientType>,
    /// The only method it authenticates with: `client_secret_basic` or `client_secret_post` [default: either]
    #[arg(long, value_name = "METHOD")]
    auth_method: Option<AuthMethod>,
}

#[derive(Args)]
pub(super) struct Create {
    /// What people see
    #[arg(long)]
    name: String,
    /// The grants it may use, separated by commas [default: `client_credentials`]
    #[arg(long, value_delimiter = ',', value_name = "GRANTS")]
    grants: Vec<String>,
    /// A client that cannot keep a secret
    #[arg(long, conflicts_with = "auth_method")]
    public: bool,
    #[command(flatten)]
    metadata: Metadata,
}

#[derive(Args)]
pub(super) struct Update {
    /// The client's id
    client_id: String,
    /// What people see
    #[arg(long)]
    name: Option<String>,
    /// Let it ask for any resource
    #[arg(long, conflicts_with = "resource")]
    any_resource: bool,
    #[command(flatten)]
    metadata: Metadata,
}

/// What a client may ask for unless the operator says otherwise: to read and to call.
const DEFAULT_SCOPES: [&str; 2] = ["mcp:call", "mcp:read"];

impl Command {
    pub(super) async fn run(self, db: &Db) -> Outcome {
        let now = clock::now();
        match self {
            Self::Create(create) => create.run(db).await,
            Self::List => Report::rows(&register::list(db).await?, row),
            Self::Show { client_id } => Report::record(&register::show(db, &client_id).await?),
            Self::Update(update) => {
                let mut metadata = update.metadata.read(update.name);
                if update.any_resource {
                    metadata.resources = Some(Vec::new());
                }
                Report::record(&register::update(db, &update.client_id, metadata, now).await?)
            }
            Self::RotateSecret { client_id, overlap } => {
                Report::record(&register::rotate_secret(db, &client_id, now, now + overlap.0).await?)
            }
            Self::Revoke { client_id } => {
                register::revoke(db, &client_id, now).await?;
                Ok(Report::line("the client is revoked; its tokens are inactive"))
            }
        }
    }
}

impl Create {
    async fn run(self, db: &Db) -> Outcome {
        let mut metadata = self.metadata.read(Some(self.name));
        if metadata.scopes.is_none() {
            metadata.scopes = Some(Scope::from_tokens(DEFAULT_SCOPES)?);
        }
        let mut grants = self.grants;
        if self.public {
            metadata.auth_method = Some(AuthMethod::None);
        } else if grants.is_empty() {
            grants.push("client_credentials".to_owned());
        }
        Report::record(&register::create(db, metadata, &grants, clock::now()).await?)
    }
}

impl Metadata {
    fn read(self, name: Option<String>) -> ClientMetadata {
        ClientMetadata {
            name,
            client_type: self.r#type,
            scopes: self.scopes,
            resources: Some(self.resource).filter(|list| !list.is_empty()),
            auth_method: self.auth_method,
        }
    }
}

fn row(client: &ClientView) -> Vec<String> {
    let state = if client.revoked_at.is_some() {
        "revoked"
    } else {
        "active"
    };
    vec![
        client.client_id.clone(),
        state.to_owned(),
        client.client_type.clone(),
        client.scope.clone(),
        client.client_name.clone(),
    ]
}
