//! `authz-server client …`.

use clap::{Args, Subcommand};
use serde_json::{Map, Value};
use shared::clock;
use shared::config::Span;
use shared::scope::Scope;

use super::Outcome;
use super::client_details::Details;
use super::client_document::{Address, Import};
use super::client_invite::{self, Invite};
use super::client_list::List;
use super::place::{Place, of, saying};
use super::print::Report;
use crate::admin::{Call, clients};
use crate::client::{AuthMethod, ClientType, DEVICE_CODE, JWT_BEARER, TOKEN_EXCHANGE};

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

impl Command {
    pub(super) async fn run(self, place: &Place) -> Outcome {
        let now = clock::now();
        match self {
            Self::Create(create) => create.run(place).await,
            Self::List(list) => list.run(place, now).await,
            Self::Invite(invite) => invite.run(place).await,
            Self::Invites => client_invite::list(place).await,
            Self::Show { client_id } => Report::record(&place.ask(&clients::SHOW, of(&client_id)).await?),
            Self::Update(update) => {
                let mut body = update.metadata.read(update.name)?;
                if update.any_resource {
                    body.insert("resources".to_owned(), Value::Array(Vec::new()));
                }
                let call = Call {
                    body,
                    ..of(&update.client_id)
                };
                Report::record(&place.ask(&clients::UPDATE, call).await?)
            }
            Self::RotateSecret { client_id, overlap } => {
                let overlap = Value::from(format!("{}s", overlap.0.as_secs()));
                let call = Call {
                    body: Map::from_iter([("overlap".to_owned(), overlap)]),
                    ..of(&client_id)
                };
                Report::record(&place.ask(&clients::NEW_SECRET, call).await?)
            }
            Self::Import(import) => import.run(place).await,
            Self::Pin(address) => address.pin(place).await,
            Self::Unpin(address) => address.unpin(place).await,
            Self::Revoke { client_id } => {
                place.ask(&clients::REVOKE, of(&client_id)).await?;
                Ok(Report::line("the client is revoked; its tokens are inactive"))
            }
        }
    }
}

impl Create {
    async fn run(self, place: &Place) -> Outcome {
        let mut body = self.metadata.read(Some(self.name))?;
        if self.public {
            let none = AuthMethod::None.as_str();
            body.insert("token_endpoint_auth_method".to_owned(), Value::from(none));
        }
        if let Some(username) = self.approve_as {
            if !place.here()?.1.login.testing_door {
                return Err("--approve-as is for tests: it needs login.testing_door = true".into());
            }
            body.insert("approves_as".to_owned(), Value::from(username));
        }
        Report::record(&place.ask(&clients::CREATE, saying(body)).await?)
    }
}

impl Metadata {
    /// What the flags say, by the names of RFC 7591 §2 where it has them.
    fn read(self, name: Option<String>) -> Result<Map<String, Value>, Box<dyn std::error::Error>> {
        let mut members = self.details.members()?;
        let list = |list: Vec<String>| Some(list).filter(|list| !list.is_empty()).map(Value::from);
        let grants: Vec<_> = self.grants.into_iter().map(full_name).collect();
        let named = [
            ("client_name", name.map(Value::from)),
            ("client_type", self.r#type.map(|kind| kind.as_str().into())),
            ("scope", self.scopes.map(|scope| scope.to_string().into())),
            ("resources", list(self.resource)),
            (
                "token_endpoint_auth_method",
                self.auth_method.map(|method| method.as_str().into()),
            ),
            ("redirect_uris", list(self.redirect_uri)),
            ("grant_types", list(grants)),
        ];
        members.extend(
            named
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), value?))),
        );
        Ok(members)
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
