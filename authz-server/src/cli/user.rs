//! `authz-server user …`.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use shared::clock::{self, UnixSeconds};
use shared::secret::Secret;

use super::Outcome;
use super::print::Report;
use crate::account::users::{self, Factors, Profile, UserView};
use crate::account::{link, password};
use crate::config::Config;
use crate::db::Db;
use crate::db::user_account::UserRow;

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
    pub(super) async fn run(self, db: &Db, config: &Config) -> Outcome {
        let now = clock::now();
        match self {
            Self::Create(create) => create.run(db, config, now).await,
            Self::List => Report::rows(&users::list(db).await?, row),
            Self::SetPassword {
                username,
                password_file,
                reset_factors,
            } => {
                let user = users::named(db, &username).await?;
                let factors = if reset_factors {
                    Factors::Remove
                } else {
                    Factors::Keep
                };
                let Some(file) = password_file else {
                    return with_link(db, config, (user, factors), now).await;
                };
                let phc = read_password(&user.username, &file)?;
                users::reset(db, &user.user_id, (Some(&phc), factors), now).await?;
                Ok(Report::line(
                    "the password is set; every session and grant of the person has ended",
                ))
            }
            Self::Disable { username } => {
                let user = users::named(db, &username).await?;
                users::disable(db, &user.user_id, now).await?;
                Ok(Report::line(
                    "the account is disabled; its sessions, grants and tokens have ended",
                ))
            }
            Self::Enable { username } => {
                let user = users::named(db, &username).await?;
                users::enable(db, &user.user_id, now).await?;
                Ok(Report::line("the account is enabled"))
            }
        }
    }
}

impl Create {
    async fn run(self, db: &Db, config: &Config, now: UnixSeconds) -> Outcome {
        let profile = Profile {
            username: self.username,
            display_name: self.display_name,
            email: self.email,
            is_admin: self.admin,
        };
        let mut draft = users::draft(profile, None, now)?;
        let has_password = self.password_file.is_some();
        if let Some(file) = self.password_file {
            draft.password_hash = Some(read_password(&draft.username, &file)?);
        }
        let row = draft.clone();
        let view = users::create(db, draft).await?;
        if has_password {
            return Report::record(&view);
        }
        with_link(db, config, (row, Factors::Keep), now).await
    }
}

async fn with_link(
    db: &Db,
    config: &Config,
    (user, factors): (UserRow, Factors),
    now: UnixSeconds,
) -> Outcome {
    if user.disabled_at.is_some() {
        return Err("the account is disabled; enable it first: authz-server user enable".into());
    }
    let is_newcomer = user.password_hash.is_none();
    // Whoever knows the old password must not get in first, nor take the link away again.
    users::reset(db, &user.user_id, (None, factors), now).await?;
    let link = link::for_password(db, &config.issuer, (&user.user_id, is_newcomer), now).await?;
    // As it is now.
    let user = users::named(db, &user.username).await?;
    Report::record(&UserView {
        set_password_link: Some(link.url),
        link_expires_at: Some(link.expires_at.0),
        ..user.into()
    })
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
