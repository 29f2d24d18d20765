//! Greeting, TLS and authentication.

use std::sync::Arc;

use ring::digest::{Algorithm, Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

use super::{Client, EOF, ERROR, OK, Reader, Target, WireError, server_error};

mod capability {
    pub const LONG_PASSWORD: u32 = 1;
    pub const LONG_FLAG: u32 = 1 << 2;
    pub const CONNECT_WITH_DB: u32 = 1 << 3;
    pub const PROTOCOL_41: u32 = 1 << 9;
    pub const SSL: u32 = 1 << 11;
    pub const TRANSACTIONS: u32 = 1 << 13;
    pub const SECURE_CONNECTION: u32 = 1 << 15;
    pub const PLUGIN_AUTH: u32 = 1 << 19;
    pub const CONNECT_ATTRIBUTES: u32 = 1 << 20;
}

/// Without these nothing below is right.
const NEEDED: u32 = capability::PROTOCOL_41 | capability::SECURE_CONNECTION | capability::PLUGIN_AUTH;

/// `utf8mb4_general_ci`, which every server has; SET NAMES follows.
const UTF8MB4: u8 = 45;
/// The protocol's largest packet; what the server sends is bounded on arrival.
const MAX_PACKET: u32 = 1 << 30;
/// The bytes an answer to the password challenge is made from.
const NONCE: usize = 20;

const NATIVE: &str = "mysql_native_password";
const CACHING_SHA2: &str = "caching_sha2_password";

/// The server's first packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Greeting {
    pub version: String,
    pub connection: u32,
    capabilities: u32,
    nonce: Vec<u8>,
    plugin: String,
}

impl Greeting {
    /// Layout: u8 protocol version, version NUL, u32 connection, 8 bytes nonce,
    /// filler, u16 capabilities; then u8 character set, u16 status, u16 higher
    /// capabilities, u8 length of the whole nonce, 10 bytes filler, the rest of
    /// the nonce (at least 13 bytes, the last is NUL), plugin NUL.
    pub(super) fn parse(packet: &[u8]) -> Result<Self, WireError> {
        match packet.first() {
            Some(&ERROR) => return Err(server_error(packet)),
            Some(10) => {}
            _ => return Err(WireError::Protocol("it is no greeting of protocol version 10")),
        }
        Self::fields(packet).ok_or(WireError::Protocol("its greeting cannot be read"))
    }

    fn fields(packet: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(packet);
        reader.u8()?;
        let version = String::from_utf8_lossy(reader.terminated()?).into_owned();
        let connection = reader.u32()?;
        let mut nonce = reader.bytes(8)?.to_vec();
        reader.u8()?;
        let low = reader.u16()?;
        reader.bytes(3)?;
        let capabilities = u32::from(low) | u32::from(reader.u16()?) << 16;
        let nonce_length = usize::from(reader.u8()?);
        reader.bytes(10)?;
        nonce.extend_from_slice(reader.bytes(nonce_length.saturating_sub(8).max(13))?);
        nonce.truncate(NONCE);
        // Old servers forget the NUL.
        let plugin = reader.clone().terminated().unwrap_or(reader.rest());
        Some(Self {
            version,
            connection,
            capabilities,
            nonce,
            plugin: String::from_utf8_lossy(plugin).into_owned(),
        })
    }
}

impl Client {
    pub(super) async fn authenticate(
        &mut self,
        greeting: &Greeting,
        target: &Target<'_>,
    ) -> Result<(), WireError> {
        if greeting.capabilities & NEEDED != NEEDED {
            return Err(WireError::Protocol("it is older than MySQL 5.5"));
        }
        let mut flags = NEEDED
            | capability::LONG_PASSWORD
            | capability::LONG_FLAG
            | capability::TRANSACTIONS
            | greeting.capabilities & capability::CONNECT_ATTRIBUTES;
        if target.database.is_some() {
            flags |= capability::CONNECT_WITH_DB;
        }
        let mut head = Vec::new();
        if let Some(config) = &target.tls {
            if greeting.capabilities & capability::SSL == 0 {
                return Err(WireError::Tls("the server does not support TLS".to_owned()));
            }
            flags |= capability::SSL;
            head_of_response(flags, &mut head);
            self.send(&head).await?;
            // Whatever came before the handshake came from anybody.
            if !self.packets.is_empty() {
                return Err(WireError::Tls("unencrypted data before the handshake".to_owned()));
            }
            self.transport.encrypt(Arc::clone(config), target.host).await?;
            head.clear();
        }
        head_of_response(flags, &mut head);
        // The server's own method may not be the user's: it has the last word.
        let mut plugin = known(&greeting.plugin).unwrap_or(NATIVE);
        let answer = scramble(plugin, target.password, &greeting.nonce);
        self.send(&response(head, flags, plugin, &answer, target)).await?;
        loop {
            let packet = self.packet().await?;
            match packet.first() {
                Some(&OK) => return Ok(()),
                Some(&ERROR) => return Err(server_error(&packet)),
                Some(&EOF) => {
                    let (name, nonce) = switch_of(&packet);
                    plugin = known(&name).ok_or_else(|| unsupported(&name))?;
                    let answer = scramble(plugin, target.password, nonce);
                    self.send(&answer).await?;
                }
                Some(1) if plugin == CACHING_SHA2 => self.continue_caching_sha2(&packet, target).await?,
                _ => return Err(WireError::Protocol("an unknown step of authentication")),
            }
        }
    }

    /// The server either knows a hash of the password already, or asks for the
    /// password itself.
    async fn continue_caching_sha2(&mut self, packet: &[u8], target: &Target<'_>) -> Result<(), WireError> {
        const KNOWN: u8 = 3;
        const PASSWORD_WANTED: u8 = 4;
        match packet.get(1) {
            Some(&KNOWN) => Ok(()),
            Some(&PASSWORD_WANTED) if self.transport.is_encrypted() => {
                let mut clear = target.password.as_bytes().to_vec();
                clear.push(0);
                self.send(&clear).await
            }
            // The server's public key could be asked for, but whoever stands in
            // between could answer with another one.
            Some(&PASSWORD_WANTED) => Err(WireError::Authentication(format!(
                "{CACHING_SHA2} needs TLS; set tls.mode of the DataSource to VerifyFull or Require"
            ))),
            _ => Err(WireError::Protocol("an unknown step of caching_sha2_password")),
        }
    }
}

/// A plugin this client has.
fn known(plugin: &str) -> Option<&'static str> {
    [NATIVE, CACHING_SHA2].into_iter().find(|known| *known == plugin)
}

fn unsupported(plugin: &str) -> WireError {
    WireError::Authentication(format!(
        "the user authenticates by {plugin}, and only {NATIVE} and {CACHING_SHA2} are supported; make \
         such a user for Lakegate"
    ))
}

/// Layout: 0xFE, plugin NUL, nonce and NUL; 0xFE alone asks for the method of
/// MySQL before 4.1.
fn switch_of(packet: &[u8]) -> (String, &[u8]) {
    let mut reader = Reader::new(packet);
    reader.u8();
    let Some(name) = reader.terminated() else {
        return ("mysql_old_password".to_owned(), &[]);
    };
    let name = String::from_utf8_lossy(name).into_owned();
    let nonce = reader.rest();
    (name, nonce.get(..NONCE).unwrap_or(nonce))
}

fn head_of_response(flags: u32, into: &mut Vec<u8>) {
    into.extend(flags.to_le_bytes());
    into.extend(MAX_PACKET.to_le_bytes());
    into.push(UTF8MB4);
    into.extend([0; 23]);
}

/// Layout: head, user NUL, u8 length and answer, database NUL, plugin NUL,
/// length and attributes.
fn response(mut head: Vec<u8>, flags: u32, plugin: &str, answer: &[u8], target: &Target<'_>) -> Vec<u8> {
    head.extend_from_slice(target.username.as_bytes());
    head.push(0);
    // At most 32 bytes, by every plugin known here.
    head.push(answer.len() as u8);
    head.extend_from_slice(answer);
    if let Some(database) = target.database {
        head.extend_from_slice(database.as_bytes());
        head.push(0);
    }
    head.extend_from_slice(plugin.as_bytes());
    head.push(0);
    if flags & capability::CONNECT_ATTRIBUTES != 0 {
        let mut attributes = Vec::new();
        for text in ["program_name", "lakegate"] {
            attributes.push(text.len() as u8);
            attributes.extend_from_slice(text.as_bytes());
        }
        head.push(attributes.len() as u8);
        head.extend(attributes);
    }
    head
}

/// The answer to a challenge: a hash of the password, masked by a hash of the
/// challenge and of what the server keeps. Empty for an empty password.
fn scramble(plugin: &str, password: &str, nonce: &[u8]) -> Vec<u8> {
    if password.is_empty() {
        return Vec::new();
    }
    let (algorithm, challenge_first) = if plugin == CACHING_SHA2 {
        (&SHA256, false)
    } else {
        (&SHA1_FOR_LEGACY_USE_ONLY, true)
    };
    let secret = digest(algorithm, &[password.as_bytes()]);
    let kept = digest(algorithm, &[&secret]);
    let mask = if challenge_first {
        digest(algorithm, &[nonce, &kept])
    } else {
        digest(algorithm, &[&kept, nonce])
    };
    secret.iter().zip(&mask).map(|(byte, mask)| byte ^ mask).collect()
}

fn digest(algorithm: &'static Algorithm, parts: &[&[u8]]) -> Vec<u8> {
    let mut context = Context::new(algorithm);
    for part in parts {
        context.update(part);
    }
    context.finish().as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Against Python's hashlib.
    #[test]
    fn answers_to_challenges() {
        let nonce: Vec<u8> = (1..=20).collect();
        assert_eq!(
            hex(&scramble(NATIVE, "secret", &nonce)),
            "b32bb3a583e1340c0a1108d58b1be49781ad8c2f"
        );
        assert_eq!(
            hex(&scramble(CACHING_SHA2, "secret", &nonce)),
            "746ebe205d56a0707acb3e796e834e0dd7b1d61743b26bd5202c7a623230c7c9"
        );
        assert_eq!(scramble(NATIVE, "", &nonce), Vec::<u8>::new());
    }

    #[test]
    fn greetings() {
        let mut packet = b"\x0a8.4.0\0\x07\0\0\0".to_vec();
        packet.extend(1..=8);
        packet.push(0);
        packet.extend([0xFF, 0xF7, 45, 2, 0, 0xFF, 0xDF, 21]);
        packet.extend([0; 10]);
        packet.extend(9..=20);
        packet.push(0);
        packet.extend_from_slice(b"caching_sha2_password\0");
        let greeting = Greeting::parse(&packet).unwrap();
        assert_eq!(
            greeting,
            Greeting {
                version: "8.4.0".to_owned(),
                connection: 7,
                capabilities: 0xDFFF_F7FF,
                nonce: (1..=20).collect(),
                plugin: CACHING_SHA2.to_owned(),
            }
        );
        packet.pop();
        assert_eq!(Greeting::parse(&packet).unwrap(), greeting);
        assert!(matches!(
            Greeting::parse(b"\xff\x10\x04Too many connections"),
            Err(WireError::Server { code: 1040, .. })
        ));
        assert!(matches!(Greeting::parse(b"\x09x"), Err(WireError::Protocol(_))));
    }

    #[test]
    fn switches() {
        let mut packet = b"\xfemysql_native_password\0".to_vec();
        packet.extend(1..=20);
        packet.push(0);
        let expected: Vec<u8> = (1..=20).collect();
        assert_eq!(switch_of(&packet), (NATIVE.to_owned(), expected.as_slice()));
        assert_eq!(switch_of(b"\xfe").0, "mysql_old_password");
    }
}
