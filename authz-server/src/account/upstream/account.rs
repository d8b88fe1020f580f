//! The account of a person who signed in elsewhere.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use shared::clock::UnixSeconds;
use shared::id_token::Identity;
use shared::secret::random_bytes;

use super::not_signed_in;
use crate::account::provider::Provider;
use crate::app::App;
use crate::db::user_account::UserRow;
use crate::db::{self, DbFault};
use crate::error::{Failure, Trouble};

/// RFC 5321 §4.5.3.1.3.
const MAX_EMAIL: usize = 254;

/// The account that belongs to `identity`, made when there is none and the operator wants that. An e-mail address
/// never leads to an account: whoever can choose it elsewhere would get in here.
pub(super) async fn account_of(
    app: &App,
    provider: &Provider,
    identity: &Identity,
    now: UnixSeconds,
) -> Result<String, Failure> {
    let key = (provider.settings.issuer.as_str(), identity.subject.as_str());
    if let Some(user_id) = db::federated_identity::find(&app.db, key.0, key.1).await? {
        let user = db::user_account::find(&app.db, &user_id).await?;
        if user.is_none_or(|user| user.disabled_at.is_some()) {
            return Err(not_signed_in("the account is disabled"));
        }
        return Ok(user_id);
    }
    if !provider.settings.create_accounts {
        return Err(Failure::Shown(Trouble::NoAccount));
    }
    let mut row = new_account(identity, now)?;
    let wish = row.username.clone();
    for attempt in 2..=6 {
        let made = app.db.write(async |tx| {
            db::user_account::insert(tx, &row).await?;
            if db::federated_identity::insert(tx, key, &row.user_id, now).await? {
                Ok(())
            } else {
                Err(DbFault::Constraint("linked meanwhile".to_owned()))
            }
        });
        match made.await {
            Ok(()) => {
                tracing::info!(
                    user_id = row.user_id,
                    issuer = key.0,
                    "account created for a person of the provider"
                );
                return Ok(row.user_id);
            }
            Err(DbFault::Constraint(_)) => {}
            Err(fault) => return Err(fault.into()),
        }
        // The name is taken, or the person has come back in another tab a moment earlier.
        if let Some(user_id) = db::federated_identity::find(&app.db, key.0, key.1).await? {
            return Ok(user_id);
        }
        // Many people may have that name, or none that we can use.
        row.username = match attempt {
            2 => format!("{wish}-2"),
            _ => {
                let more = URL_SAFE_NO_PAD.encode(random_bytes::<6>()?);
                format!("{wish}-{}", more.to_ascii_lowercase())
            }
        };
    }
    Err(Failure::Internal(format!("no user name like {wish} was free")))
}

fn new_account(identity: &Identity, now: UnixSeconds) -> Result<UserRow, Failure> {
    let username = username(identity);
    let display_name: String = identity
        .name
        .as_deref()
        .unwrap_or(&username)
        .chars()
        .filter(|c| !c.is_control())
        .take(64)
        .collect();
    Ok(UserRow {
        user_id: format!("u_{}", URL_SAFE_NO_PAD.encode(random_bytes::<16>()?)),
        display_name: Some(display_name.trim().to_owned())
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| username.clone()),
        username,
        email: identity
            .verified_email
            .clone()
            .filter(|email| email.len() <= MAX_EMAIL),
        is_admin: false,
        password_hash: None,
        totp_sealed: None,
        totp_confirmed_at: None,
        created_at: now.0,
        disabled_at: None,
    })
}

/// A user name as ours are written, after what the provider says; only a wish, since names there mean nothing here.
fn username(identity: &Identity) -> String {
    let local_part = identity
        .verified_email
        .as_deref()
        .and_then(|email| email.split('@').next());
    let wishes = [
        identity.preferred_username.as_deref(),
        local_part,
        identity.name.as_deref(),
    ];
    let written = wishes.into_iter().flatten().map(|wish| {
        wish.chars()
            .map(|c| c.to_ascii_lowercase())
            .filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c))
            .take(48)
            .collect::<String>()
    });
    let mut fitting = written.filter(|name| name.chars().any(|c| c.is_ascii_alphanumeric()));
    fitting.next().unwrap_or_else(|| "person".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(preferred: Option<&str>, name: Option<&str>, email: Option<&str>) -> Identity {
        Identity {
            subject: "42".to_owned(),
            name: name.map(str::to_owned),
            preferred_username: preferred.map(str::to_owned),
            verified_email: email.map(str::to_owned),
        }
    }

    #[test]
    fn a_new_account_has_a_name_of_ours_and_no_rights() {
        for (preferred, name, email, expected) in [
            (Some("Ada.L"), Some("Ada"), None, "ada.l"),
            (Some("<>"), Some("Ada Lovelace"), Some("al@x.example"), "al"),
            (None, Some("Ada Lovelace"), None, "adalovelace"),
            (None, None, None, "person"),
            (Some("..."), None, None, "person"),
        ] {
            let row = new_account(&identity(preferred, name, email), UnixSeconds(1)).unwrap();
            assert_eq!(row.username, expected);
            assert!(!row.is_admin && row.password_hash.is_none());
        }
        let long = "x".repeat(500);
        let row = new_account(&identity(Some(&long), Some(&long), None), UnixSeconds(1)).unwrap();
        assert_eq!((row.username.len(), row.display_name.len()), (48, 64));
    }
}
