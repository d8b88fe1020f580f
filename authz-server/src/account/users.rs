//! Creating and changing accounts. Whoever does it, the command line, a link or the account page, passes here.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use shared::clock::UnixSeconds;
use shared::secret::{NoRandomness, random_bytes};
use utoipa::ToSchema;

use super::password::PasswordFault;
use crate::admin::By;
use crate::audit::{Name, Target};
use crate::db::user_account::UserRow;
use crate::db::{self, DbFault, Tx};

/// Longest username.
const MAX_USERNAME: usize = 64;
/// Most characters of a person's name.
const MAX_NAME: usize = 100;
/// Longest mail address (RFC 5321 §4.5.3.1).
const MAX_EMAIL: usize = 254;

/// An account could not be created or changed. Each sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UserFault {
    #[error("the username must have 1 to 64 letters a-z, digits, or . _ @ -")]
    Username,
    #[error("the name must have at most 100 characters, none of them a control character")]
    DisplayName,
    #[error("the mail address must look like name@example.org")]
    Email,
    /// See [`PasswordFault`].
    #[error(transparent)]
    Password(#[from] PasswordFault),
    /// Somebody else has it.
    #[error("the username {0} is taken")]
    Taken(String),
    /// There is no such account.
    #[error("there is no user {0}; see: authz-server user list")]
    NoSuchUser(String),
    /// See [`DbFault`].
    #[error(transparent)]
    Db(#[from] DbFault),
    /// See [`NoRandomness`].
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// What is said of a new person.
#[derive(Clone, Debug, Default)]
pub(crate) struct Profile {
    /// In any case; it is kept in lower case.
    pub(crate) username: String,
    /// What pages call them; the username when there is none.
    pub(crate) display_name: Option<String>,
    pub(crate) email: Option<String>,
    pub(crate) is_admin: bool,
}

/// What is shown of an account.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = User)]
pub(crate) struct UserView {
    pub(crate) user_id: String,
    pub(crate) username: String,
    pub(crate) display_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) email: Option<String>,
    pub(crate) is_admin: bool,
    pub(crate) has_password: bool,
    pub(crate) has_second_factor: bool,
    pub(crate) created_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) disabled_at: Option<i64>,
    /// A link that sets a password once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) set_password_link: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) link_expires_at: Option<i64>,
}

impl From<UserRow> for UserView {
    fn from(row: UserRow) -> Self {
        Self {
            user_id: row.user_id,
            username: row.username,
            display_name: row.display_name,
            email: row.email,
            is_admin: row.is_admin,
            has_password: row.password_hash.is_some(),
            has_second_factor: row.totp_confirmed_at.is_some(),
            created_at: row.created_at,
            disabled_at: row.disabled_at,
            set_password_link: None,
            link_expires_at: None,
        }
    }
}

/// A username as it is kept and compared: without the spaces that phones add, in lower case.
pub(crate) fn normalised(username: &str) -> String {
    username.trim().to_ascii_lowercase()
}

/// A new row of `profile`, once its rules are kept. `password_hash` is a PHC string.
pub(crate) fn draft(
    profile: Profile,
    password_hash: Option<String>,
    now: UnixSeconds,
) -> Result<UserRow, UserFault> {
    let username = normalised(&profile.username);
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._@-".contains(c);
    if username.is_empty() || username.len() > MAX_USERNAME || !username.chars().all(is_plain) {
        return Err(UserFault::Username);
    }
    let display_name = display_name(profile.display_name.as_deref(), &username)?;
    let email = email(profile.email)?;
    Ok(UserRow {
        user_id: format!("u_{}", URL_SAFE_NO_PAD.encode(random_bytes::<16>()?)),
        username,
        display_name,
        email,
        is_admin: profile.is_admin,
        password_hash,
        totp_sealed: None,
        totp_confirmed_at: None,
        created_at: now.0,
        disabled_at: None,
    })
}

/// What pages call a person: what is said, or the username.
pub(crate) fn display_name(said: Option<&str>, username: &str) -> Result<String, UserFault> {
    let name = said
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .unwrap_or(username);
    if name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(UserFault::DisplayName);
    }
    Ok(name.to_owned())
}

/// A mail address, if one is said.
pub(crate) fn email(said: Option<String>) -> Result<Option<String>, UserFault> {
    if said.as_deref().is_some_and(|email| !is_email(email)) {
        return Err(UserFault::Email);
    }
    Ok(said)
}

/// What a reset does with whatever else a person signs in with: passkeys, the second factor and its recovery codes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Factors {
    /// They stay: whoever learns the new password alone gets no further than whoever knew the old one.
    Keep,
    /// They go: the person has lost them, or somebody else has added one.
    Remove,
}

/// An operator's reset: the password is replaced by another (a PHC string), or taken away, so that what is left is a
/// link to set one. Everything that the person was signed in to or had granted ends.
pub(crate) async fn reset_in(
    tx: &mut Tx,
    user_id: &str,
    (password_hash, factors): (Option<&str>, Factors),
    now: UnixSeconds,
) -> Result<(), DbFault> {
    match password_hash {
        Some(hash) => {
            db::user_account::set_password(tx, user_id, hash).await?;
        }
        None => db::user_account::forget_password(tx, user_id).await?,
    }
    if factors == Factors::Remove {
        db::totp::remove(tx, user_id).await?;
        db::recovery_code::drop_all(tx, user_id).await?;
        db::passkey::remove_all(tx, user_id).await?;
    }
    end_everything(tx, user_id, None, now).await
}

/// Replaces a password (a PHC string) inside a transaction. Every session but `kept`, every grant and every link of
/// the person ends (OAuth 2.1 §4.3.3): whoever knew the old one loses what it gave. `false` when there is no such
/// account.
pub(super) async fn set_password_in(
    tx: &mut Tx,
    user_id: &str,
    password_hash: &str,
    kept: Option<&str>,
    now: UnixSeconds,
) -> Result<bool, DbFault> {
    if !db::user_account::set_password(tx, user_id, password_hash).await? {
        return Ok(false);
    }
    end_everything(tx, user_id, kept, now).await?;
    Ok(true)
}

/// Closes an account: nothing of the person works any more, from now on. Closing it twice is no fault.
pub(crate) async fn disable_in(tx: &mut Tx, user_id: &str, by: &By, now: UnixSeconds) -> Result<(), DbFault> {
    let was_open = db::user_account::disable(tx, user_id, now).await?;
    db::status_revoked::user(tx, user_id, now).await?;
    end_everything(tx, user_id, None, now).await?;
    if was_open {
        let event = by.event(Name::UserDisabled, Target::User(user_id));
        db::audit_event::append(tx, &event, now).await?;
    }
    Ok(())
}

/// Opens an account again. What ended when it was closed stays ended.
pub(crate) async fn enable_in(tx: &mut Tx, user_id: &str, by: &By, now: UnixSeconds) -> Result<(), DbFault> {
    if db::user_account::enable(tx, user_id).await? {
        let event = by.event(Name::UserEnabled, Target::User(user_id));
        db::audit_event::append(tx, &event, now).await?;
    }
    Ok(())
}

async fn end_everything(
    tx: &mut Tx,
    user_id: &str,
    kept: Option<&str>,
    now: UnixSeconds,
) -> Result<(), DbFault> {
    db::access_grant::revoke_all_of_user(tx, user_id, now).await?;
    db::session::end_all(tx, user_id, kept.unwrap_or_default(), now).await?;
    db::one_time_link::end_of_user(tx, user_id, now).await
}

fn is_email(text: &str) -> bool {
    let parts = text.rsplit_once('@');
    let is_visible = |c: char| !c.is_control() && !c.is_whitespace();
    text.len() <= MAX_EMAIL
        && text.chars().all(is_visible)
        && parts.is_some_and(|(name, host)| !name.is_empty() && !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

    fn named(username: &str) -> Result<UserRow, UserFault> {
        let profile = Profile {
            username: username.to_owned(),
            ..Profile::default()
        };
        draft(profile, None, NOW)
    }

    #[test]
    fn a_username_is_kept_in_lower_case_and_is_plain() {
        let row = named(" Ada.Lovelace@Example.org ").unwrap();
        assert_eq!(row.username, "ada.lovelace@example.org");
        assert_eq!(row.display_name, row.username);
        assert!(row.user_id.starts_with("u_") && row.user_id.len() == 24);
        for bad in ["", " ", "ada lovelace", "адa", "a\nda", "a/b", &"x".repeat(65)] {
            assert!(named(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_and_mail_addresses_have_rules() {
        let profile = |display_name: &str, email: &str| Profile {
            username: "ada".to_owned(),
            display_name: Some(display_name.to_owned()),
            email: Some(email.to_owned()),
            is_admin: false,
        };
        assert_eq!(
            draft(profile(" Ada ", "a@b"), None, NOW).unwrap().display_name,
            "Ada"
        );
        assert_eq!(
            draft(profile("  ", "a@b"), None, NOW).unwrap().display_name,
            "ada"
        );
        assert!(draft(profile("A\u{7}", "a@b"), None, NOW).is_err());
        assert!(draft(profile("Ada", "a b@c"), None, NOW).is_err());
        assert!(draft(profile("Ada", "@c"), None, NOW).is_err());
    }
}
