//! Who may read over HTTP: the users of the Postgres protocol, by password (Basic) or by a token that was given for
//! one (Bearer).

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use tokio::sync::Semaphore;

use crate::auth::{ClientKey, Users};
use crate::token;

/// Passwords that are checked at the same time: each keeps a processor busy for some milliseconds.
const CHECKS: usize = 4;

/// The answer to a client without credentials: what it may come with.
pub(crate) const CHALLENGES: [&str; 2] = [
    "Basic realm=\"lakegate\", charset=\"UTF-8\"",
    "Bearer realm=\"lakegate\"",
];

/// Why a request is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denial {
    /// Nobody proved to be a user.
    #[error("give the name and the password of a user, or a token")]
    NoCredentials,
    /// A wrong password, a user who does not exist, an old or made-up token.
    #[error("the password or the token is not right, or the token has ended")]
    WrongCredentials,
    /// A gateway without users trusts its own machine alone.
    #[error(
        "this gateway has no users, so it shows what it reads on a loopback address alone; start it with --users FILE, or \
         with --http on 127.0.0.1"
    )]
    Unprotected,
    /// A page of another site that made its name point to this machine.
    #[error(
        "this gateway has no users, so it answers requests to localhost or an IP address alone; start it with --users FILE"
    )]
    ForeignHost,
}

/// What a request comes with.
pub(crate) enum Credentials {
    Basic { user: String, password: String },
    Bearer(String),
}

impl Credentials {
    /// Those of the header `Authorization`; None without one, or when it is of another kind.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, rest) = value.split_once(' ')?;
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(Credentials::Bearer(rest.trim().to_owned()));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = String::from_utf8(BASE64.decode(rest.trim()).ok()?).ok()?;
        let (user, password) = decoded.split_once(':')?;
        Some(Credentials::Basic {
            user: user.to_owned(),
            password: password.to_owned(),
        })
    }
}

/// Who asks where there are no users and no name is given.
const ANONYMOUS: &str = "anonymous";

/// Whether a request names this machine as only its own programs do: a browser that a foreign site has led here sends
/// that site's name.
fn is_of_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else {
        return false;
    };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

/// Lets requests in, or not.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    users: Option<Arc<Users>>,
    /// Only this machine reaches the listener.
    is_loopback: bool,
    checks: Arc<Semaphore>,
}

impl Access {
    pub fn new(users: Option<Arc<Users>>, is_loopback: bool) -> Self {
        Access {
            users,
            is_loopback,
            checks: Arc::new(Semaphore::new(CHECKS)),
        }
    }

    /// The users who may come in; None when everybody may.
    pub fn users(&self) -> Result<Option<&Arc<Users>>, Denial> {
        match &self.users {
            Some(users) => Ok(Some(users)),
            None if self.is_loopback => Ok(None),
            None => Err(Denial::Unprotected),
        }
    }

    /// Whether a request may be answered.
    pub async fn check(&self, headers: &HeaderMap) -> Result<(), Denial> {
        match self.users()? {
            Some(users) => self.authenticate(users, headers).await.map(drop),
            None => Ok(()),
        }
    }

    /// The user that a request is of: without users whoever it says, on this machine alone.
    pub async fn user(&self, headers: &HeaderMap) -> Result<String, Denial> {
        if let Some(users) = self.users()? {
            return self.authenticate(users, headers).await;
        }
        if !is_of_this_machine(headers) {
            return Err(Denial::ForeignHost);
        }
        Ok(match Credentials::of(headers) {
            Some(Credentials::Basic { user, .. }) if !user.is_empty() => user,
            _ => ANONYMOUS.to_owned(),
        })
    }

    async fn authenticate(&self, users: &Arc<Users>, headers: &HeaderMap) -> Result<String, Denial> {
        match Credentials::of(headers).ok_or(Denial::NoCredentials)? {
            Credentials::Bearer(token) => token::read(users, &token, Timestamp::now())
                .map(|bearer| bearer.user)
                .ok_or(Denial::WrongCredentials),
            Credentials::Basic { user, password } => self
                .prove(users, user.clone(), password)
                .await
                .map(|_| user)
                .ok_or(Denial::WrongCredentials),
        }
    }

    /// Checks a password on a thread that may block.
    pub async fn prove(&self, users: &Arc<Users>, user: String, password: String) -> Option<ClientKey> {
        let turn = Arc::clone(&self.checks).acquire_owned().await.ok()?;
        let users = Arc::clone(users);
        let checked = tokio::task::spawn_blocking(move || {
            // held until the work is done, though the client may have left
            let _turn = turn;
            let proved = users.prove(&user, &password);
            if proved.is_none() {
                tracing::info!(user, "authentication over HTTP failed");
            }
            proved
        });
        checked.await.ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_calls_itself_so() {
        for (host, expected) in [
            ("localhost:8080", true),
            ("LOCALHOST", true),
            ("127.0.0.1:80", true),
            ("[::1]:80", true),
            ("evil.example:8080", false),
            ("localhost.evil.example", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            assert_eq!(is_of_this_machine(&headers), expected, "{host}");
        }
        assert!(!is_of_this_machine(&HeaderMap::new()));
    }

    #[test]
    fn credentials_are_read() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            Credentials::of(&headers).map(|credentials| match credentials {
                Credentials::Basic { user, password } => format!("{user} {password}"),
                Credentials::Bearer(token) => token,
            })
        };
        let basic = |text: &str| format!("Basic {}", BASE64.encode(text));
        assert_eq!(of(&basic("ann:a:b")).unwrap(), "ann a:b");
        assert_eq!(of(&basic("ann:é").replace("Basic", "bAsIc")).unwrap(), "ann é");
        assert_eq!(of("Bearer abc").unwrap(), "abc");
        assert_eq!(of("bearer  abc ").unwrap(), "abc");
        for bad in ["", "Basic", "Basic ???", &basic("ann"), "Digest x", "Bearer"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
