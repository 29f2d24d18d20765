//! Bearer tokens: proof that somebody knew a user's password a short while ago.
//!
//! Nothing is kept: a token holds the user, the time it ends, and SCRAM's client key, sealed with a key that follows
//! from the user's verifier. So every replica of a gateway takes what another gave, a new password or a removed user
//! ends it, and neither the file of users nor a token alone is enough to make one or to connect.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use jiff::Timestamp;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha2::{Digest, Sha256};

use crate::auth::{ClientKey, Users, Verifier};

/// How long a token is good for.
pub(crate) const LIFETIME: Duration = Duration::from_hours(1);

/// The form of the token; another form is another version.
const VERSION: u8 = 1;
const SECONDS: usize = size_of::<i64>();

/// What a good token says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Bearer {
    pub user: String,
    pub client_key: ClientKey,
}

/// A token for a user who has just proved to be one; None when the user is gone.
pub(crate) fn issue(users: &Users, user: &str, client_key: &ClientKey, now: Timestamp) -> Option<String> {
    let verifier = users.find(user)?;
    let nonce: [u8; NONCE_LEN] = rand::random();
    let ends = now.as_second().saturating_add(LIFETIME.as_secs() as i64);
    let mut sealed = Vec::with_capacity(SECONDS + client_key.len() + AES_256_GCM.tag_len());
    sealed.extend_from_slice(&ends.to_be_bytes());
    sealed.extend_from_slice(client_key);
    key_of(&verifier)?
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(user.as_bytes()),
            &mut sealed,
        )
        .ok()?;
    let mut token = vec![VERSION];
    token.extend_from_slice(&nonce);
    token.extend_from_slice(&sealed);
    Some(format!("{}.{}", BASE64.encode(user), BASE64.encode(token)))
}

/// What a token says; None when it was not issued here, has ended, or the user or the password is another one now.
pub(crate) fn read(users: &Users, token: &str, now: Timestamp) -> Option<Bearer> {
    let (user, sealed) = token.split_once('.')?;
    let user = String::from_utf8(BASE64.decode(user).ok()?).ok()?;
    let verifier = users.find(&user)?;
    let bytes = BASE64.decode(sealed).ok()?;
    let (&VERSION, rest) = bytes.split_first()? else {
        return None;
    };
    let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
    let mut sealed = sealed.to_vec();
    let opened = key_of(&verifier)?
        .open_in_place(
            Nonce::assume_unique_for_key(*nonce),
            Aad::from(user.as_bytes()),
            &mut sealed,
        )
        .ok()?;
    let (ends, client_key) = opened.split_first_chunk::<SECONDS>()?;
    let client_key: ClientKey = client_key.try_into().ok()?;
    let is_good = now.as_second() < i64::from_be_bytes(*ends) && verifier.fits(&client_key);
    is_good.then_some(Bearer { user, client_key })
}

fn key_of(verifier: &Verifier) -> Option<LessSafeKey> {
    let mut hasher = Sha256::new();
    hasher.update(b"lakegate bearer token\0");
    hasher.update(&verifier.server_key);
    hasher.update(&verifier.stored_key);
    let key = UnboundKey::new(&AES_256_GCM, &hasher.finalize()).ok()?;
    Some(LessSafeKey::new(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::user_line;

    fn users(lines: &[String]) -> (tempfile::TempDir, Users) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        std::fs::write(&path, lines.join("\n")).unwrap();
        let users = Users::open(&path).unwrap();
        (dir, users)
    }

    #[test]
    fn a_token_is_good_for_its_user_and_its_time() {
        let lines = [user_line("ann", "one").unwrap(), user_line("bob", "two").unwrap()];
        let (_dir, here) = users(&lines);
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        assert!(here.prove("ann", "two").is_none() && here.prove("eve", "one").is_none());
        let client_key = here.prove("ann", "one").unwrap();
        let token = issue(&here, "ann", &client_key, now).unwrap();
        let good = Some(Bearer {
            user: "ann".into(),
            client_key,
        });
        assert_eq!(read(&here, &token, now), good);
        // another process with the same file takes it
        let (_dir, there) = users(&lines);
        assert_eq!(read(&there, &token, now), good);
        let later = |seconds: i64| Timestamp::from_second(1_700_000_000 + seconds).unwrap();
        assert_eq!(read(&here, &token, later(3599)), good);
        assert_eq!(read(&here, &token, later(3600)), None);
    }

    #[test]
    fn a_new_password_and_a_removed_user_end_it() {
        let (_dir, here) = users(&[user_line("ann", "one").unwrap()]);
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let client_key = here.prove("ann", "one").unwrap();
        let token = issue(&here, "ann", &client_key, now).unwrap();
        for other in ["ann:two", "ann:one", "bob:one"] {
            let (name, password) = other.split_once(':').unwrap();
            let (_dir, there) = users(&[user_line(name, password).unwrap()]);
            assert_eq!(read(&there, &token, now), None, "{other}");
            assert!(issue(&there, "eve", &client_key, now).is_none());
        }
    }

    #[test]
    fn the_file_of_users_is_not_enough_to_make_one() {
        let (_dir, here) = users(&[user_line("ann", "one").unwrap()]);
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let verifier = here.find("ann").unwrap();
        let stolen: ClientKey = verifier.stored_key.clone().try_into().unwrap();
        let forged = issue(&here, "ann", &stolen, now).unwrap();
        assert_eq!(read(&here, &forged, now), None);
    }

    #[test]
    fn what_was_changed_or_made_up_is_refused() {
        let (_dir, here) = users(&[user_line("ann", "one").unwrap(), user_line("bob", "one").unwrap()]);
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let token = issue(&here, "ann", &here.prove("ann", "one").unwrap(), now).unwrap();
        let (user, sealed) = token.split_once('.').unwrap();
        let bob = BASE64.encode("bob");
        for bad in [
            String::new(),
            ".".into(),
            user.into(),
            format!("{user}."),
            format!("{bob}.{sealed}"),
            format!("{user}.{}", &sealed[..sealed.len() - 4]),
            format!("{user}.{}", BASE64.encode([VERSION; 8])),
            format!("{user}.{}A", &sealed[..sealed.len() - 1]),
            format!("{user}.B{}", &sealed[1..]),
        ] {
            assert!(bad == token || read(&here, &bad, now).is_none(), "{bad}");
        }
    }
}
