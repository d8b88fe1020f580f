//! `authz-server user …`.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Map, Value};
use shared::secret::Secret;

use super::Outcome;
use super::place::{Place, of, saying};
use super::print::Report;
use crate::account::password;
use crate::account::users::{UserFault, UserView, normalised};
use crate::admin::{Call, users};

/// More than any password has.
const MAX_FILE_BYTES: u64 = 1024;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Create an account; without a password file, print a link by which the person sets a password once
    Create(Create),
    /// List every account
    List,
    /// Set a password, which ends every session and grant of the person; without a file, print a link for it
    SetPassword {
        /// The account's username
        username: String,
        /// A file with the password, or - for standard input
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        /// Remove the person's passkeys, second factor and recovery codes too
        #[arg(long)]
        reset_factors: bool,
    },
    /// Close an account: nothing of the person works any more
    Disable {
        /// The account's username
        username: String,
    },
    /// Open an account again; what ended stays ended
    Enable {
        /// The account's username
        username: String,
    },
}

#[derive(Args)]
pub(super) struct Create {
    /// What the person types to sign in
    #[arg(long)]
    username: String,
    /// What pages call the person [default: the username]
    #[arg(long, value_name = "NAME")]
    display_name: Option<String>,
    /// The person's mail address
    #[arg(long)]
    email: Option<String>,
    /// Let the person change this server
    #[arg(long)]
    admin: bool,
    /// A file with the password, or - for standard input
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl Command {
    pub(super) async fn run(self, place: &Place) -> Outcome {
        match self {
            Self::Create(create) => create.run(place).await,
            Self::List => {
                let mut list: Vec<UserView> = place.all(&users::LIST, &[]).await?;
                list.sort_by(|one, other| one.username.cmp(&other.username));
                Report::rows(&list, row)
            }
            Self::SetPassword {
                username,
                password_file,
                reset_factors,
            } => {
                let user = named(place, &username).await?;
                let mut body = Map::from_iter([("reset_factors".to_owned(), Value::from(reset_factors))]);
                let Some(file) = password_file else {
                    let call = Call {
                        body,
                        ..of(&user.user_id)
                    };
                    return Report::record(&place.ask(&users::RESET, call).await?);
                };
                place.here()?;
                let phc = read_password(&user.username, &file)?;
                body.insert("password_phc".to_owned(), Value::from(phc));
                let call = Call {
                    body,
                    ..of(&user.user_id)
                };
                place.ask(&users::RESET, call).await?;
                Ok(Report::line(
                    "the password is set; every session and grant of the person has ended",
                ))
            }
            Self::Disable { username } => {
                set_disabled(place, &username, true).await?;
                Ok(Report::line(
                    "the account is disabled; its sessions, grants and tokens have ended",
                ))
            }
            Self::Enable { username } => {
                set_disabled(place, &username, false).await?;
                Ok(Report::line("the account is enabled"))
            }
        }
    }
}

impl Create {
    async fn run(self, place: &Place) -> Outcome {
        let phc = match &self.password_file {
            Some(file) => {
                place.here()?;
                Some(read_password(&normalised(&self.username), file)?)
            }
            None => None,
        };
        let named = [
            ("username", Some(Value::from(self.username))),
            ("display_name", self.display_name.map(Value::from)),
            ("email", self.email.map(Value::from)),
            ("is_admin", self.admin.then_some(Value::Bool(true))),
            ("password_phc", phc.map(Value::from)),
        ];
        let body = named
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)));
        Report::record(&place.ask(&users::CREATE, saying(body.collect())).await?)
    }
}

/// The account of a name.
async fn named(place: &Place, username: &str) -> Result<UserView, Box<dyn std::error::Error>> {
    let found: Vec<UserView> = place
        .all(&users::LIST, &[("username", username.to_owned())])
        .await?;
    let missing = || UserFault::NoSuchUser(username.to_owned()).into();
    found.into_iter().next().ok_or_else(missing)
}

async fn set_disabled(
    place: &Place,
    username: &str,
    is_disabled: bool,
) -> Result<(), Box<dyn std::error::Error>> {
    let user = named(place, username).await?;
    let call = Call {
        body: Map::from_iter([("is_disabled".to_owned(), Value::from(is_disabled))]),
        ..of(&user.user_id)
    };
    place.ask(&users::UPDATE, call).await?;
    Ok(())
}

/// The PHC string of the password in `file`: its first line. Never from the command line, which others can see.
fn read_password(username: &str, file: &Path) -> Result<String, Box<dyn std::error::Error>> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().take(MAX_FILE_BYTES).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|open| open.take(MAX_FILE_BYTES).read_to_string(&mut text))
    };
    read.map_err(|e| format!("cannot read the password from {}: {e}", file.display()))?;
    let text = zeroize::Zeroizing::new(text);
    let password = Secret::from(text.lines().next().unwrap_or_default().to_owned());
    password::check(username, &password)?;
    Ok(password::phc_string(&password)?)
}

fn row(user: &UserView) -> Vec<String> {
    let state = if user.disabled_at.is_some() {
        "disabled"
    } else {
        "active"
    };
    let role = if user.is_admin { "admin" } else { "user" };
    vec![
        user.username.clone(),
        state.to_owned(),
        role.to_owned(),
        user.user_id.clone(),
        user.display_name.clone(),
    ]
}
