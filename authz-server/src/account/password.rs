//! Passwords: Argon2id, off the threads that answer requests, a few at a time.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::web::rates::Exceeded;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use shared::secret::{NoRandomness, Secret, random_bytes};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::app::App;
use crate::db::user_account::UserRow;
use crate::error::Failure;

/// Fewest characters of a password (NIST SP 800-63B §5.1.1.2).
pub(crate) const MIN_CHARACTERS: usize = 8;
/// Most bytes of a password.
const MAX_BYTES: usize = 256;
/// KiB of memory, passes and lanes: what OWASP recommends for Argon2id.
const COST: (u32, u32, u32) = (19_456, 2, 1);
/// Passwords that may wait for a turn. Whoever comes then is told to come back.
const MAX_WAITING: usize = 100;
/// When to come back.
const COME_BACK: Duration = Duration::from_secs(2);
/// The PHC string that is checked where there is no account or no password: of the same cost, and no password's.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A password that nobody may choose, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum PasswordFault {
    #[error("the password must have at least 8 characters")]
    TooShort,
    #[error("the password must have at most 256 bytes")]
    TooLong,
    #[error("the password must not be the username")]
    IsUsername,
}

/// The rules for a new password. What it is composed of is nobody's business (NIST SP 800-63B §5.1.1.2).
pub(crate) fn check(username: &str, password: &Secret) -> Result<(), PasswordFault> {
    let text = password.reveal();
    if text.chars().count() < MIN_CHARACTERS {
        return Err(PasswordFault::TooShort);
    }
    if text.len() > MAX_BYTES {
        return Err(PasswordFault::TooLong);
    }
    if text.eq_ignore_ascii_case(username) {
        return Err(PasswordFault::IsUsername);
    }
    Ok(())
}

/// The turns in which passwords are hashed: one processor always remains for everything else.
#[derive(Debug)]
pub(crate) struct Turns {
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
    max_waiting: usize,
}

impl Turns {
    /// As many turns at once as there are processors, less one.
    pub(crate) fn new() -> Arc<Self> {
        let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self::of(processors.saturating_sub(1).max(1), MAX_WAITING)
    }

    fn of(at_once: usize, max_waiting: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Arc::new(Semaphore::new(at_once)),
            waiting: AtomicUsize::new(0),
            max_waiting,
        })
    }

    /// Waits for a turn, unless too many wait already.
    async fn take(&self) -> Result<OwnedSemaphorePermit, Failure> {
        let place = Place::take(&self.waiting);
        if place.before >= self.max_waiting {
            return Err(Exceeded::come_back(COME_BACK).into());
        }
        let turn = Arc::clone(&self.free).acquire_owned().await;
        turn.map_err(|_| Failure::Internal("no turn to hash a password".to_owned()))
    }
}

/// A place in the queue; leaving the page leaves the queue.
struct Place<'a> {
    waiting: &'a AtomicUsize,
    before: usize,
}

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize) -> Self {
        let before = waiting.fetch_add(1, Ordering::AcqRel);
        Self { waiting, before }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Whether `password` is that of `user`. It takes the same time when there is no such person, or no password.
pub(crate) async fn verify(app: &App, user: Option<&UserRow>, password: Secret) -> Result<bool, Failure> {
    let known = user.and_then(|user| user.password_hash.clone());
    let is_known = known.is_some();
    let phc = known.unwrap_or_else(|| NOBODY.to_owned());
    let is_right = in_turn(app, move || is_password(&password, &phc)).await?;
    Ok(is_right && is_known)
}

/// The PHC string to keep of a new password.
pub(crate) async fn hash(app: &App, password: Secret) -> Result<String, Failure> {
    in_turn(app, move || phc_string(&password)).await
}

/// Does `work` in a turn, which is given back when the work is done, even if nobody waits for it any more.
async fn in_turn<T: Send + 'static>(
    app: &App,
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let turn = app.passwords.take().await?;
    let done = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        work()
    });
    done.await.map_err(|e| Failure::Internal(e.to_string()))?
}

/// [`hash`] for the command line, which has nothing else to do.
pub(crate) fn phc_string(password: &Secret) -> Result<String, Failure> {
    let salt: [u8; 16] = random_bytes().map_err(|fault: NoRandomness| Failure::from(fault))?;
    let hashed: Result<PasswordHash, _> =
        argon2id()?.hash_password_with_salt(password.reveal().as_bytes(), &salt);
    hashed
        .map(|phc| phc.to_string())
        .map_err(|e| Failure::Internal(e.to_string()))
}

fn is_password(password: &Secret, phc: &str) -> Result<bool, Failure> {
    let damaged =
        |e: argon2::password_hash::phc::Error| Failure::Internal(format!("a password hash is damaged: {e}"));
    let phc = PasswordHash::new(phc).map_err(damaged)?;
    match argon2id()?.verify_password(password.reveal().as_bytes(), &phc) {
        Ok(()) => Ok(true),
        Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
        Err(e) => Err(Failure::Internal(e.to_string())),
    }
}

fn argon2id() -> Result<Argon2<'static>, Failure> {
    let (memory, passes, lanes) = COST;
    let params = Params::new(memory, passes, lanes, None).map_err(|e| Failure::Internal(e.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::from(text.to_owned())
    }

    #[test]
    fn a_hash_is_argon2id_at_the_stated_cost_and_knows_its_password_only() {
        let phc = phc_string(&secret("correct horse")).unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        assert!(is_password(&secret("correct horse"), &phc).unwrap());
        assert!(!is_password(&secret("correct horsf"), &phc).unwrap());
        assert_ne!(phc, phc_string(&secret("correct horse")).unwrap());
    }

    #[test]
    fn the_string_for_nobody_costs_the_same_and_fits_nothing() {
        let phc = phc_string(&secret("x")).unwrap();
        let cost = |phc: &str| phc.rsplitn(3, '$').last().unwrap().to_owned();
        assert_eq!(cost(NOBODY), cost(&phc));
        assert_eq!(NOBODY.len(), phc.len());
        assert!(!is_password(&secret(""), NOBODY).unwrap());
    }

    #[test]
    fn rules_name_what_is_wrong() {
        assert_eq!(check("ada", &secret("1234567")), Err(PasswordFault::TooShort));
        assert_eq!(check("ada", &secret("ñandúñan")), Ok(()));
        assert_eq!(
            check("ada", &secret(&"x".repeat(257))),
            Err(PasswordFault::TooLong)
        );
        assert_eq!(
            check("ada.lovelace", &secret("Ada.Lovelace")),
            Err(PasswordFault::IsUsername)
        );
    }

    #[tokio::test]
    async fn whoever_finds_the_queue_full_is_told_to_come_back() {
        let turns = Turns::of(1, 1);
        let first = turns.take().await.unwrap();
        let (waits, refused) = tokio::join!(
            async {
                // Polled first, it takes the only place and waits until the turn is given back.
                turns.take().await.is_ok()
            },
            async {
                let refused = turns.take().await;
                drop(first);
                matches!(refused, Err(Failure::Limited(_)))
            }
        );
        assert!(waits && refused);
        assert!(turns.take().await.is_ok());
    }
}
