//! Who may connect: SCRAM-SHA-256 verifiers in a file that is read again when it changes.
//!
//! One user a line, `name:SCRAM-SHA-256$4096:salt$stored:server`, the verifier in the form of
//! `pg_authid.rolpassword`; blank lines and lines that begin with `#` are skipped.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use pgwire::api::auth::sasl::scram::{SCRAM_ITERATIONS, ScramSecret, gen_salted_password};
use ring::hmac;
use sha2::{Digest, Sha256};

const SCHEME: &str = "SCRAM-SHA-256$";

/// Why a file of users cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UsersFailure {
    /// The file cannot be read.
    #[error("cannot read the users file {path}: {kind}; check --users", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        kind: std::io::ErrorKind,
    },
    /// A line is not a user.
    #[error(
        "{path}:{line}: not a user; a line is `name:SCRAM-SHA-256$4096:salt$stored:server`, \
         as `lakegate user add` writes it",
        path = path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// Two lines have the same name.
    #[error("{path}:{line}: user \"{name}\" is there twice; remove one of the lines", path = path.display())]
    Duplicate {
        /// The file.
        path: PathBuf,
        /// The second line.
        line: usize,
        /// The user.
        name: String,
    },
    /// A password cannot be empty.
    #[error("the password of user \"{0}\" is empty; give one")]
    EmptyPassword(String),
    /// A name that a line cannot hold.
    #[error("user name {0:?} is not usable; leave out `:`, `#` and line breaks")]
    BadName(String),
}

/// What proves a password without telling it (RFC 5802).
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Verifier {
    salt: Vec<u8>,
    iterations: usize,
    pub(crate) stored_key: Vec<u8>,
    pub(crate) server_key: Vec<u8>,
}

/// SCRAM's client key: what the password gives and the verifier does not.
pub(crate) type ClientKey = [u8; 32];

impl Verifier {
    fn parse(text: &str) -> Option<Self> {
        let (iterations, rest) = text.strip_prefix(SCHEME)?.split_once(':')?;
        let (salt, keys) = rest.split_once('$')?;
        let (stored_key, server_key) = keys.split_once(':')?;
        let verifier = Verifier {
            salt: BASE64.decode(salt).ok()?,
            iterations: iterations.parse().ok()?,
            stored_key: BASE64.decode(stored_key).ok()?,
            server_key: BASE64.decode(server_key).ok()?,
        };
        // SHA-256 has 32 bytes; RFC 7677 wants at least 4096 rounds, and a huge count would stall the client
        let sound = verifier.stored_key.len() == 32
            && verifier.server_key.len() == 32
            && !verifier.salt.is_empty()
            && (4096..=10_000_000).contains(&verifier.iterations);
        sound.then_some(verifier)
    }

    /// The client key of this password, if it is the right one. Takes as long as the verifier's iterations do.
    fn prove(&self, password: &str) -> Option<ClientKey> {
        let salted = gen_salted_password(password, &self.salt, self.iterations);
        let key = hmac::Key::new(hmac::HMAC_SHA256, &salted);
        let client_key: ClientKey = hmac::sign(&key, b"Client Key").as_ref().try_into().ok()?;
        self.fits(&client_key).then_some(client_key)
    }

    /// Whether a client key belongs to this verifier.
    pub(crate) fn fits(&self, client_key: &ClientKey) -> bool {
        let stored_key = Sha256::digest(client_key);
        // every byte is looked at, wherever the first difference is
        let difference = stored_key
            .iter()
            .zip(&self.stored_key)
            .fold(0, |difference, (left, right)| difference | (left ^ right));
        difference == 0 && self.stored_key.len() == stored_key.len()
    }

    fn secret(&self) -> ScramSecret {
        ScramSecret::Verifier {
            salt: self.salt.clone(),
            iterations: self.iterations,
            stored_key: self.stored_key.clone(),
            server_key: self.server_key.clone(),
        }
    }
}

/// The line of a users file for this user: a verifier with a new random salt, never the password.
pub fn user_line(name: &str, password: &str) -> Result<String, UsersFailure> {
    if name.is_empty()
        || name.starts_with('#')
        || name.contains([':', '\n', '\r', '\0'])
        || name.trim() != name
    {
        return Err(UsersFailure::BadName(name.to_owned()));
    }
    if password.is_empty() {
        return Err(UsersFailure::EmptyPassword(name.to_owned()));
    }
    let salt: [u8; 16] = rand::random();
    let salted = gen_salted_password(password, &salt, SCRAM_ITERATIONS);
    let secret = ScramSecret::verifier_from_salted_password(salt.to_vec(), salted, SCRAM_ITERATIONS);
    let (stored, server) = match &secret {
        ScramSecret::Verifier {
            stored_key,
            server_key,
            ..
        } => (stored_key.as_slice(), server_key.as_slice()),
        ScramSecret::SaltedPassword { .. } => (&[][..], &[][..]),
    };
    let [salt, stored, server] = [&salt[..], stored, server].map(|bytes| BASE64.encode(bytes));
    Ok(format!(
        "{name}:{SCHEME}{SCRAM_ITERATIONS}:{salt}${stored}:{server}"
    ))
}

/// What tells one version of a file from the next.
type Stamp = (Option<SystemTime>, u64);

struct Loaded {
    stamp: Stamp,
    users: Arc<BTreeMap<String, Verifier>>,
}

/// The users of a file.
pub struct Users {
    path: PathBuf,
    loaded: Mutex<Loaded>,
}

impl std::fmt::Debug for Users {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Users")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Users {
    /// Reads the file.
    pub fn open(path: &Path) -> Result<Self, UsersFailure> {
        let stamp = stamp(path)?;
        let users = Arc::new(read(path)?);
        Ok(Users {
            path: path.to_owned(),
            loaded: Mutex::new(Loaded { stamp, users }),
        })
    }

    /// What a client that says it is `name` must prove. An unknown name gets a verifier that no password
    /// fits and that looks, try after try, like a known one's.
    pub fn secret(&self, name: &str) -> ScramSecret {
        self.verifier(name).secret()
    }

    /// The verifier of a user, or one that no password fits.
    fn verifier(&self, name: &str) -> Verifier {
        let users = self.current();
        if let Some(verifier) = users.get(name) {
            return verifier.clone();
        }
        let mut seed = Sha256::new();
        // secret, and as stable as the file: a salt that changed would tell that the user does not exist
        for verifier in users.values().take(1) {
            seed.update(&verifier.server_key);
        }
        seed.update(name.as_bytes());
        let seed = seed.finalize();
        let random: [[u8; 32]; 2] = [rand::random(), rand::random()];
        Verifier {
            salt: seed[..16].to_vec(),
            iterations: users
                .values()
                .next()
                .map_or(SCRAM_ITERATIONS, |verifier| verifier.iterations),
            stored_key: random[0].to_vec(),
            server_key: random[1].to_vec(),
        }
    }

    /// The client key of a user's password; None when it is not the password, or there is no such user, which takes
    /// as long. Some milliseconds of work: for a thread that may block.
    pub(crate) fn prove(&self, name: &str, password: &str) -> Option<ClientKey> {
        let proved = self.verifier(name).prove(password);
        proved.filter(|_| self.contains(name))
    }

    /// The verifier of a user that exists.
    pub(crate) fn find(&self, name: &str) -> Option<Verifier> {
        self.current().get(name).cloned()
    }

    /// Whether the file has no user at all.
    pub fn is_empty(&self) -> bool {
        self.current().is_empty()
    }

    /// Whether the file, as it is now, has this user.
    pub fn contains(&self, name: &str) -> bool {
        self.current().contains_key(name)
    }

    /// The users of the newest readable version of the file.
    fn current(&self) -> Arc<BTreeMap<String, Verifier>> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        match stamp(&self.path) {
            Ok(stamp) if stamp == loaded.stamp => {}
            Ok(stamp) => match read(&self.path) {
                Ok(users) => {
                    tracing::info!(path = %self.path.display(), users = users.len(), "users read again");
                    *loaded = Loaded {
                        stamp,
                        users: Arc::new(users),
                    };
                }
                Err(failure) => {
                    tracing::warn!(%failure, "the users file changed and cannot be used; the users before hold");
                    // said once for each version of the file
                    loaded.stamp = stamp;
                }
            },
            // a file that vanished keeps its users until it is back: replacing a file may take two steps
            Err(failure) => tracing::warn!(%failure, "the users before hold"),
        }
        Arc::clone(&loaded.users)
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> UsersFailure {
    UsersFailure::Unreadable {
        path: path.to_owned(),
        kind: error.kind(),
    }
}

fn stamp(path: &Path) -> Result<Stamp, UsersFailure> {
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    Ok((metadata.modified().ok(), metadata.len()))
}

fn read(path: &Path) -> Result<BTreeMap<String, Verifier>, UsersFailure> {
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
    let mut users = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let user = line
            .split_once(':')
            .filter(|(name, _)| !name.is_empty())
            .and_then(|(name, verifier)| Some((name, Verifier::parse(verifier)?)));
        let Some((name, verifier)) = user else {
            return Err(UsersFailure::Malformed {
                path: path.to_owned(),
                line: index + 1,
            });
        };
        if users.insert(name.to_owned(), verifier).is_some() {
            let name = name.to_owned();
            return Err(UsersFailure::Duplicate {
                path: path.to_owned(),
                line: index + 1,
                name,
            });
        }
    }
    Ok(users)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_back_and_is_salted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        let (first, second) = (
            user_line("ann", "secret").unwrap(),
            user_line("ann", "secret").unwrap(),
        );
        assert_ne!(first, second);
        std::fs::write(&path, format!("# people\n\n{first}\n")).unwrap();
        let users = Users::open(&path).unwrap();
        assert!(users.contains("ann") && !users.contains("bob"));
        assert!(!format!("{users:?}").contains("SCRAM"));
    }

    #[test]
    fn bad_files_name_the_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        let good = user_line("ann", "secret").unwrap();
        for (text, expected) in [
            ("ann:secret".to_owned(), ":1: not a user"),
            (format!("{good}\nbob"), ":2: not a user"),
            (format!("{good}\n{good}"), ":2: user \"ann\" is there twice"),
            (good.replace("4096", "1"), ":1: not a user"),
        ] {
            std::fs::write(&path, text).unwrap();
            let failure = Users::open(&path).unwrap_err().to_string();
            assert!(
                failure.contains(expected) && !failure.contains("secret"),
                "{failure}"
            );
        }
        let failure = Users::open(&dir.path().join("none")).unwrap_err().to_string();
        assert!(failure.contains("cannot read the users file"), "{failure}");
    }

    #[test]
    fn an_unknown_user_has_a_steady_salt() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        std::fs::write(&path, user_line("ann", "secret").unwrap()).unwrap();
        let salt = |name: &str| match Users::open(&path).unwrap().secret(name) {
            ScramSecret::Verifier { salt, .. } | ScramSecret::SaltedPassword { salt, .. } => salt,
        };
        assert_eq!(salt("nobody"), salt("nobody"));
        assert_ne!(salt("nobody"), salt("someone"));
        assert_eq!(salt("nobody").len(), salt("ann").len());
    }

    #[test]
    fn names_and_passwords_are_checked() {
        for name in ["", "a:b", "#a", "a\nb", " a"] {
            assert!(user_line(name, "x").is_err(), "{name:?}");
        }
        assert!(user_line("a", "").is_err());
    }
}
