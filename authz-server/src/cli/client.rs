//! `authz-server client …`.

use clap::{Args, Subcommand};
use shared::clock;
use shared::config::Span;
use shared::scope::Scope;

use super::Outcome;
use super::client_details::Details;
use super::client_document::{Address, Import};
use super::client_invite::{self, Invite};
use super::client_list::List;
use super::print::Report;
use crate::client::register::{self, ClientMetadata};
use crate::client::{AuthMethod, ClientType, DEVICE_CODE, JWT_BEARER, TOKEN_EXCHANGE};
use crate::config::Config;
use crate::db::Db;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Create a client; print its id and, once and never again, its secret
    Create(Create),
    /// List clients
    List(List),
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
    /// Take a client's metadata document from a file instead of from its address
    Import(Import),
    /// Fetch a client's metadata document now, and keep it as it is
    Pin(Address),
    /// Let a pinned metadata document be fetched again
    Unpin(Address),
    /// End a client and every token it has
    Revoke {
        /// The client's id
        client_id: String,
    },
    /// Make a token that lets somebody register clients; shown once. With --revoke, end one
    Invite(Invite),
    /// List those tokens
    Invites,
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
    /// The only method it authenticates with: `client_secret_basic`, `client_secret_post`, `private_key_jwt`,
    /// `tls_client_auth`, `self_signed_tls_client_auth` [default: either of the first two]
    #[arg(long, value_name = "METHOD")]
    auth_method: Option<AuthMethod>,
    /// Where its codes may be sent: https, loopback, or the scheme of a program; may be repeated
    #[arg(long, value_name = "URI")]
    redirect_uri: Vec<String>,
    /// The grants it may use, separated by commas: `authorization_code`, `refresh_token`, `device_code`,
    /// `client_credentials`, `jwt_bearer`, `token_exchange` [default: the first two with a redirect URI, the last without]
    #[arg(long, value_delimiter = ',', value_name = "GRANTS")]
    grants: Vec<String>,
    #[command(flatten)]
    details: Details,
}

#[derive(Args)]
pub(super) struct Create {
    /// What people see
    #[arg(long)]
    name: String,
    /// A client that cannot keep a secret
    #[arg(long, conflicts_with = "auth_method")]
    public: bool,
    /// Approve its requests as this user without asking; for tests, while `login.testing_door` is true
    #[arg(long, value_name = "USERNAME")]
    approve_as: Option<String>,
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
    pub(super) async fn run(self, db: &Db, config: &Config) -> Outcome {
        let now = clock::now();
        match self {
            Self::Create(create) => create.run(db, config).await,
            Self::List(list) => list.run(db, now).await,
            Self::Invite(invite) => invite.run(db, now).await,
            Self::Invites => client_invite::list(db, now).await,
            Self::Show { client_id } => Report::record(&register::show(db, &client_id).await?),
            Self::Update(update) => {
                let mut metadata = update.metadata.read(update.name)?;
                if update.any_resource {
                    metadata.resources = Some(Vec::new());
                }
                Report::record(&register::update(db, &update.client_id, metadata, now).await?)
            }
            Self::RotateSecret { client_id, overlap } => {
                Report::record(&register::rotate_secret(db, &client_id, now, now + overlap.0).await?)
            }
            Self::Import(import) => import.run(db, config).await,
            Self::Pin(address) => address.pin(db, config).await,
            Self::Unpin(address) => address.unpin(db).await,
            Self::Revoke { client_id } => {
                register::revoke(db, &client_id, now).await?;
                Ok(Report::line("the client is revoked; its tokens are inactive"))
            }
        }
    }
}

impl Create {
    async fn run(self, db: &Db, config: &Config) -> Outcome {
        if self.approve_as.is_some() && !config.login.testing_door {
            return Err("--approve-as is for tests: it needs login.testing_door = true".into());
        }
        let mut metadata = self.metadata.read(Some(self.name))?;
        if metadata.scopes.is_none() {
            metadata.scopes = Some(Scope::from_tokens(DEFAULT_SCOPES)?);
        }
        if self.public {
            metadata.auth_method = Some(AuthMethod::None);
        }
        Report::record(&register::create(db, metadata, self.approve_as, clock::now()).await?)
    }
}

impl Metadata {
    fn read(self, name: Option<String>) -> Result<ClientMetadata, Box<dyn std::error::Error>> {
        Ok(ClientMetadata {
            name,
            more: self.details.members()?,
            client_type: self.r#type,
            scopes: self.scopes,
            resources: Some(self.resource).filter(|list| !list.is_empty()),
            auth_method: self.auth_method,
            redirect_uris: Some(self.redirect_uri).filter(|list| !list.is_empty()),
            grants: Some(self.grants)
                .filter(|list| !list.is_empty())
                .map(|list| list.into_iter().map(full_name).collect()),
        })
    }
}

/// The registered name of a grant that people write in short.
fn full_name(grant: String) -> String {
    match grant.as_str() {
        "device_code" => DEVICE_CODE.to_owned(),
        "jwt_bearer" => JWT_BEARER.to_owned(),
        "token_exchange" => TOKEN_EXCHANGE.to_owned(),
        _ => grant,
    }
}
