//! Signing keys: made at the first start, sealed in the database under a master key that lies beside it as a file,
//! opened into memory, published as a JWK set. How they come and go: [`life`].

pub(crate) mod life;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hmac;
use serde_json::{Map, Value, json};
use shared::clock::UnixSeconds;
use shared::jose::{Algorithm, KeySet, SigningFault, SigningKey, sha256_base64url};
use shared::secret::{NoRandomness, random_bytes};
use shared::tls::write_private;
use zeroize::Zeroizing;

use crate::db::signing_key::{NewKey, SigningKeyRow};
use crate::db::{self, Db, DbFault};

/// The algorithms that a resource can ask for. Each has a current key from the first start on.
pub(crate) const ALGORITHMS: [Algorithm; 3] = [Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256];

/// Everything signed counts for a day at most, but for access tokens: directories and records of nodes, and key sets. So a
/// key is kept for a day from the first on, and for longer before it signs a longer token ([`KeyRing::life_to_add`]).
const SHORTEST_LIFE: Duration = Duration::from_secs(86_400);

/// The keys cannot be used. Each sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyFault {
    /// The master key file cannot be read or written.
    #[error("keys.master_key_file: {path}: {reason}")]
    MasterKeyFile {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// The sealed keys do not open.
    #[error(
        "the signing keys in the database were sealed under another master key; \
         copy the master.key of the server that made them to {path}"
    )]
    OtherMasterKey {
        /// Our file.
        path: String,
    },
    /// See [`DbFault`].
    #[error(transparent)]
    Db(#[from] DbFault),
    /// See [`SigningFault`].
    #[error(transparent)]
    Signing(#[from] SigningFault),
    /// See [`NoRandomness`].
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The thread that makes keys died.
    #[error("the signing keys could not be made")]
    Interrupted,
}

/// The key under which the signing keys are sealed. It never enters the database.
pub(crate) struct MasterKey {
    key: LessSafeKey,
    /// Derived, for the anti-forgery tokens of forms.
    forms: hmac::Key,
    /// Derived, for the nonces of DPoP proofs.
    nonces: hmac::Tag,
    /// Derived, for the hashes of recovery codes.
    recovery_codes: hmac::Key,
    path: String,
}

impl MasterKey {
    /// Reads the file, or makes it (mode 0600) when there is none.
    pub(crate) fn open(path: &Path) -> Result<Self, KeyFault> {
        let fault = |reason: String| KeyFault::MasterKeyFile {
            path: path.display().to_string(),
            reason,
        };
        let bytes = match std::fs::read(path) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                    std::fs::create_dir_all(folder).map_err(|e| fault(e.to_string()))?;
                }
                let fresh = Zeroizing::new(random_bytes::<32>()?.to_vec());
                match write_private(path, &fresh, false) {
                    Ok(()) => fresh,
                    // Another server made it in this very moment.
                    Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                        Zeroizing::new(std::fs::read(path).map_err(|e| fault(e.to_string()))?)
                    }
                    Err(e) => return Err(fault(e.to_string())),
                }
            }
            Err(e) => return Err(fault(e.to_string())),
        };
        check_mode(path).map_err(fault)?;
        let key = UnboundKey::new(&AES_256_GCM, &bytes)
            .map_err(|_| fault("it must have exactly 32 bytes".to_owned()))?;
        let root = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
        let derive = |purpose: &[u8]| hmac::sign(&root, purpose);
        let key_for = |purpose: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, derive(purpose).as_ref());
        Ok(Self {
            key: LessSafeKey::new(key),
            forms: key_for(b"edge-hive forms"),
            nonces: derive(b"edge-hive dpop nonces"),
            recovery_codes: key_for(b"edge-hive recovery codes"),
            path: path.display().to_string(),
        })
    }

    /// The key of the anti-forgery tokens; every instance with this master key has the same.
    pub(crate) fn forms(&self) -> &hmac::Key {
        &self.forms
    }

    /// The secret behind the nonces of DPoP proofs; the same at every instance with this master key.
    pub(crate) fn nonces(&self) -> &[u8] {
        self.nonces.as_ref()
    }

    /// The key under which recovery codes are hashed: short as they are, a copy of the database alone gives none away.
    pub(crate) fn recovery_codes(&self) -> &hmac::Key {
        &self.recovery_codes
    }

    /// Seals a secret of a person. `place` names the row and column, so that values cannot be swapped.
    pub(crate) fn seal_value(&self, place: &str, plain: &[u8]) -> Result<Vec<u8>, KeyFault> {
        self.seal(place, "value", plain)
    }

    /// Opens what [`Self::seal_value`] sealed for the same `place`.
    pub(crate) fn open_value(&self, place: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyFault> {
        self.open_sealed(place, "value", sealed)
    }

    /// Nonce and ciphertext. The name and algorithm of the key are authenticated with it, so rows cannot be swapped.
    fn seal(&self, kid: &str, alg: &str, plain: &[u8]) -> Result<Vec<u8>, KeyFault> {
        let nonce = random_bytes::<12>()?;
        let mut text = plain.to_vec();
        let aad = Aad::from(format!("{alg}:{kid}"));
        let sealed = self
            .key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut text);
        sealed.map_err(|_| KeyFault::Interrupted)?;
        Ok([nonce.as_slice(), &text].concat())
    }

    /// Opens what [`Self::seal`] sealed.
    pub(crate) fn open_sealed(
        &self,
        kid: &str,
        alg: &str,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, KeyFault> {
        let other = || KeyFault::OtherMasterKey {
            path: self.path.clone(),
        };
        let (nonce, text) = sealed.split_first_chunk::<12>().ok_or_else(other)?;
        let mut text = Zeroizing::new(text.to_vec());
        let aad = Aad::from(format!("{alg}:{kid}"));
        let opened = self
            .key
            .open_in_place(Nonce::assume_unique_for_key(*nonce), aad, &mut text);
        let length = opened.map_err(|_| other())?.len();
        text.truncate(length);
        Ok(text)
    }
}

/// A master key that others can read protects nothing.
fn check_mode(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;

    let mode = std::fs::metadata(path)
        .map_err(|e| e.to_string())?
        .permissions()
        .mode()
        & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(format!(
        "others can read it (mode {mode:o}); run: chmod 600 {}",
        path.display()
    ))
}

/// What a key is there for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// Published, and will sign.
    Next,
    /// It signs.
    Current,
    /// It has signed what still counts.
    Retired,
}

impl State {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Current => "current",
            Self::Retired => "retired",
        }
    }
}

/// A key without its secret.
#[derive(Clone, Debug)]
pub(crate) struct KeyState {
    pub(crate) kid: String,
    pub(crate) algorithm: Algorithm,
    pub(crate) state: State,
    pub(crate) created_at: UnixSeconds,
    /// Of the next one: when it may begin to sign. Of others: when it began.
    pub(crate) signs_from: UnixSeconds,
    /// Nothing that it has signed counts for longer.
    longest_life: Duration,
    /// Of a retired one: when the last of what it signed is over.
    pub(crate) ends_at: Option<UnixSeconds>,
}

fn states(rows: &[SigningKeyRow]) -> Result<Vec<KeyState>, DbFault> {
    rows.iter().map(KeyState::read).collect()
}

/// Every key without its secret, oldest first.
pub(crate) async fn all(db: &Db) -> Result<Vec<KeyState>, DbFault> {
    states(&db::signing_key::all(db).await?)
}

impl KeyState {
    fn read(row: &SigningKeyRow) -> Result<Self, DbFault> {
        let damaged = || DbFault::Unexpected(format!("signing key {} is damaged", row.kid));
        let state = [State::Next, State::Current, State::Retired]
            .into_iter()
            .find(|state| state.as_str() == row.state);
        Ok(Self {
            kid: row.kid.clone(),
            algorithm: row.alg.parse().map_err(|_| damaged())?,
            state: state.ok_or_else(damaged)?,
            created_at: UnixSeconds(row.created_at),
            signs_from: UnixSeconds(row.signs_from),
            longest_life: Duration::from_secs(u64::try_from(row.longest_life).unwrap_or_default()),
            ends_at: row.ends_at.map(UnixSeconds),
        })
    }
}

/// The keys in memory. Replaced as a whole when they change.
pub(crate) struct KeyRing {
    current: Vec<SigningKey>,
    /// All of them, oldest first.
    pub(crate) states: Vec<KeyState>,
    /// What tokens of ours are checked with: every key, also that which will sign.
    pub(crate) published: KeySet,
    /// The JWK set as it is served (RFC 7517 §5).
    pub(crate) document: String,
    /// A strong validator for [`Self::document`].
    pub(crate) etag: String,
    /// When they were read, which is whenever one of them changed.
    pub(crate) read_at: UnixSeconds,
}

impl KeyRing {
    /// The key that signs for `algorithm`.
    pub(crate) fn signer(&self, algorithm: Algorithm) -> Option<&SigningKey> {
        self.current.iter().find(|key| key.algorithm() == algorithm)
    }

    /// Whether the next key of the same algorithm is published and takes over in its time: nothing is late then.
    pub(crate) fn has_heir(&self, key: &KeyState, now: UnixSeconds) -> bool {
        let is_heir = |other: &KeyState| other.algorithm == key.algorithm && other.state == State::Next;
        self.states
            .iter()
            .any(|other| is_heir(other) && now <= other.signs_from + life::LATE)
    }

    /// How long whatever the key of `algorithm` signs must be able to count, before it signs what counts for `life`; `None`
    /// when that is known already. Whole days, so that this is rare.
    pub(crate) fn life_to_add(&self, algorithm: Algorithm, life: Duration) -> Option<(&str, i64)> {
        let mut states = self.states.iter();
        let current = states.find(|key| key.algorithm == algorithm && key.state == State::Current)?;
        let days = life.as_secs().div_ceil(SHORTEST_LIFE.as_secs());
        let longest = days.saturating_mul(SHORTEST_LIFE.as_secs());
        (life > current.longest_life)
            .then(|| (current.kid.as_str(), i64::try_from(longest).unwrap_or(i64::MAX)))
    }

    /// Opens the keys; makes those that are missing.
    pub(crate) async fn load_or_make(
        db: &Db,
        master: &Arc<MasterKey>,
        now: UnixSeconds,
    ) -> Result<Self, KeyFault> {
        let rows = db::signing_key::all(db).await?;
        let has_current = |alg: &Algorithm| {
            rows.iter()
                .any(|row| row.alg == alg.as_str() && row.state == "current")
        };
        let missing: Vec<_> = ALGORITHMS.into_iter().filter(|alg| !has_current(alg)).collect();
        if missing.is_empty() {
            return Self::open(rows, master).await;
        }
        let sealer = Arc::clone(master);
        // RSA takes tens of milliseconds and more: not on a thread that serves.
        let made =
            tokio::task::spawn_blocking(move || missing.into_iter().map(|alg| make(&sealer, alg)).collect());
        let made: Result<Vec<NewKey>, KeyFault> = made.await.map_err(|_| KeyFault::Interrupted)?;
        db::signing_key::insert_missing(db, &made?, now).await?;
        Self::load(db, master).await
    }

    /// Opens the keys that are in the database.
    pub(crate) async fn load(db: &Db, master: &Arc<MasterKey>) -> Result<Self, KeyFault> {
        Self::open(db::signing_key::all(db).await?, master).await
    }

    async fn open(rows: Vec<SigningKeyRow>, master: &Arc<MasterKey>) -> Result<Self, KeyFault> {
        let master = Arc::clone(master);
        let opened = tokio::task::spawn_blocking(move || Self::from_rows(&rows, &master));
        opened.await.map_err(|_| KeyFault::Interrupted)?
    }

    fn from_rows(rows: &[SigningKeyRow], master: &MasterKey) -> Result<Self, KeyFault> {
        let states = states(rows)?;
        let mut current = Vec::new();
        let mut public: Vec<Map<String, Value>> = Vec::new();
        for (row, state) in rows.iter().zip(&states) {
            let damaged = || KeyFault::Db(DbFault::Unexpected(format!("signing key {} is damaged", row.kid)));
            let key = SigningKey::from_private_jwk(
                state.algorithm,
                &master.open_sealed(&row.kid, &row.alg, &row.sealed_jwk)?,
            )?;
            if key.kid() != row.kid {
                return Err(damaged());
            }
            public.push(key.public_jwk().clone());
            if state.state == State::Current {
                current.push(key);
            }
        }
        let document = json!({ "keys": public }).to_string();
        let published = KeySet::parse(document.as_bytes())
            .map_err(|e| KeyFault::Db(DbFault::Unexpected(format!("the signing keys: {e}"))))?;
        let etag = format!("\"{}\"", sha256_base64url(document.as_bytes()));
        Ok(Self {
            current,
            states,
            published,
            document,
            etag,
            read_at: shared::clock::now(),
        })
    }
}

fn make(master: &MasterKey, algorithm: Algorithm) -> Result<NewKey, KeyFault> {
    let private = SigningKey::generate(algorithm)?;
    let kid = SigningKey::from_private_jwk(algorithm, &private)?
        .kid()
        .to_owned();
    let sealed_jwk = master.seal(&kid, algorithm.as_str(), &private)?;
    Ok(NewKey {
        kid,
        algorithm,
        sealed_jwk,
        longest_life: i64::try_from(SHORTEST_LIFE.as_secs()).unwrap_or(i64::MAX),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(new: NewKey) -> SigningKeyRow {
        SigningKeyRow {
            kid: new.kid,
            alg: new.algorithm.as_str().to_owned(),
            state: "current".to_owned(),
            sealed_jwk: new.sealed_jwk,
            created_at: 0,
            signs_from: 0,
            longest_life: new.longest_life,
            ends_at: None,
        }
    }

    #[test]
    fn sealed_keys_open_under_their_own_master_key_and_name_only() {
        let folder = tempfile::tempdir().unwrap();
        let master = MasterKey::open(&folder.path().join("a.key")).unwrap();
        let sealed = row(make(&master, Algorithm::EdDSA).unwrap());
        let ring = KeyRing::from_rows(std::slice::from_ref(&sealed), &master).unwrap();
        assert_eq!(ring.signer(Algorithm::EdDSA).unwrap().kid(), sealed.kid);
        assert!(!ring.document.contains("\"d\""));

        let other = MasterKey::open(&folder.path().join("b.key")).unwrap();
        assert!(matches!(
            KeyRing::from_rows(std::slice::from_ref(&sealed), &other),
            Err(KeyFault::OtherMasterKey { .. })
        ));
        let renamed = SigningKeyRow {
            kid: "other".to_owned(),
            ..sealed
        };
        assert!(matches!(
            KeyRing::from_rows(&[renamed], &master),
            Err(KeyFault::OtherMasterKey { .. })
        ));
    }

    #[test]
    fn the_master_key_file_is_private_kept_and_checked() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/master.key");
        MasterKey::open(&path).unwrap();
        let first = std::fs::read(&path).unwrap();
        MasterKey::open(&path).unwrap();
        assert_eq!((first.len(), std::fs::read(&path).unwrap()), (32, first.clone()));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(
            MasterKey::open(&path)
                .err()
                .unwrap()
                .to_string()
                .contains("chmod 600")
        );
        std::fs::write(&path, b"short").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(
            MasterKey::open(&path)
                .err()
                .unwrap()
                .to_string()
                .contains("32 bytes")
        );
    }
}
