//! From the first byte of a connection to an authenticated session: encryption, start-up message,
//! proof of identity.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use pgwire::api::auth::sasl::scram::ScramServerAuth;
use pgwire::api::auth::sasl::{SCRAM_SHA_256_METHOD, SCRAM_SHA_256_PLUS_METHOD};
use pgwire::messages::Message;
use pgwire::messages::response::ErrorResponse;
use pgwire::messages::startup::{Authentication, NegotiateProtocolVersion, Startup};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::auth::Users;
use crate::fault::Fault;
use crate::tls::{ALPN, TlsFiles};
use crate::wire::frontend::{self, Frontend, SMALL_MESSAGE};
use crate::wire::transport::Transport;

const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;
/// The first byte of a TLS record that holds a ClientHello.
const TLS_HANDSHAKE: u8 = 0x16;

/// Why a connection ended before it had a session.
#[derive(Debug)]
pub enum Refusal {
    /// The client was told why.
    Told(Fault),
    /// The client left, or the network failed.
    Gone(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Refusal::Gone(error)
    }
}

/// A start-up message.
#[derive(Debug)]
pub struct Opened {
    /// The connection, encrypted or not.
    pub transport: Transport,
    /// `user`, `database`, `options` and settings.
    pub parameters: BTreeMap<String, String>,
    /// The certificate the client saw.
    certificate_pem: Option<Arc<[u8]>>,
}

impl Opened {
    /// Whether the connection is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.certificate_pem.is_some()
    }

    /// The user the client says it is.
    pub fn user(&self) -> &str {
        self.parameters.get("user").map_or("", String::as_str)
    }
}

/// What a connection is for.
#[derive(Debug)]
pub enum Purpose {
    /// A session.
    Session(Box<Opened>),
    /// To cancel what another one runs.
    Cancel {
        /// The other connection.
        pid: i32,
        /// Its secret.
        secret: i32,
    },
}

/// Reads up to the start-up message, encrypting the connection when the client asks for it.
pub async fn open(stream: TcpStream, tls: Option<&TlsFiles>) -> Result<Purpose, Refusal> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    let (mut transport, mut certificate_pem) = (Transport::Plain(stream), None);
    let mut asked_for_gss = false;
    if first[0] == TLS_HANDSHAKE {
        // `sslnegotiation=direct`; without a certificate there is nothing to answer that it would read
        let Some(tls) = tls else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "TLS without a certificate").into());
        };
        (transport, certificate_pem) = encrypt(transport, tls, true).await?;
    }
    loop {
        let length = transport.read_u32().await? as usize;
        if !(8..=SMALL_MESSAGE).contains(&length) {
            return refuse(
                &mut transport,
                Fault::fatal("08P01", "invalid length of startup packet"),
            )
            .await;
        }
        let code = transport.read_u32().await?;
        let mut body = vec![0; length - 8];
        transport.read_exact(&mut body).await?;
        match code {
            SSL_REQUEST if certificate_pem.is_none() => match tls {
                Some(tls) => {
                    transport.write_all(b"S").await?;
                    transport.flush().await?;
                    (transport, certificate_pem) = encrypt(transport, tls, false).await?;
                }
                None => transport.write_all(b"N").await?,
            },
            GSSENC_REQUEST if !asked_for_gss => {
                asked_for_gss = true;
                transport.write_all(b"N").await?;
            }
            CANCEL_REQUEST => {
                let mut body = &body[..];
                if body.len() != 8 {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "cancel request of a wrong length",
                    )
                    .into());
                }
                return Ok(Purpose::Cancel {
                    pid: body.get_i32(),
                    secret: body.get_i32(),
                });
            }
            _ if code >> 16 == 3 => {
                let parameters = match start_up_parameters(&body) {
                    Ok(parameters) => parameters,
                    Err(fault) => return refuse(&mut transport, fault).await,
                };
                let opened = negotiate(transport, code, parameters, certificate_pem).await?;
                return Ok(Purpose::Session(Box::new(opened)));
            }
            _ => {
                let message = format!(
                    "unsupported frontend protocol {}.{}: server supports 3.0 to 3.0",
                    code >> 16,
                    code & 0xffff
                );
                return refuse(&mut transport, Fault::fatal("0A000", message)).await;
            }
        }
    }
}

async fn encrypt(
    transport: Transport,
    tls: &TlsFiles,
    direct: bool,
) -> Result<(Transport, Option<Arc<[u8]>>), Refusal> {
    let Transport::Plain(stream) = transport else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "TLS within TLS").into());
    };
    let identity = tls.current();
    let stream = TlsAcceptor::from(identity.config).accept(stream).await?;
    // as PostgreSQL: who speaks TLS at once must name the protocol, so that a web server's client that
    // was led here cannot be made to speak SQL
    if direct && stream.get_ref().1.alpn_protocol() != Some(ALPN) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "direct TLS without ALPN").into());
    }
    Ok((Transport::Tls(Box::new(stream)), Some(identity.certificate_pem)))
}

fn start_up_parameters(body: &[u8]) -> Result<BTreeMap<String, String>, Fault> {
    let invalid = || {
        Fault::fatal(
            "08P01",
            "invalid startup packet layout: expected terminator as last byte",
        )
    };
    let mut parameters = BTreeMap::new();
    let mut rest = body;
    let mut take = || -> Result<String, Fault> {
        let end = rest.iter().position(|byte| *byte == 0).ok_or_else(invalid)?;
        let text = frontend::utf8(&rest[..end]).map_err(|fault| Fault {
            severity: crate::fault::Severity::Fatal,
            ..fault
        })?;
        let text = text.to_owned();
        rest = &rest[end + 1..];
        Ok(text)
    };
    loop {
        let name = take()?;
        if name.is_empty() {
            break;
        }
        let value = take()?;
        parameters.insert(name, value);
    }
    if rest.is_empty() {
        Ok(parameters)
    } else {
        Err(invalid())
    }
}

async fn negotiate(
    mut transport: Transport,
    version: u32,
    mut parameters: BTreeMap<String, String>,
    certificate_pem: Option<Arc<[u8]>>,
) -> Result<Opened, Refusal> {
    let unknown: Vec<String> = parameters
        .keys()
        .filter(|name| name.starts_with("_pq_."))
        .cloned()
        .collect();
    for name in &unknown {
        parameters.remove(name);
    }
    if version & 0xffff != 0 || !unknown.is_empty() {
        send(
            &mut transport,
            &NegotiateProtocolVersion::new(Startup::PROTOCOL_VERSION_3_0, unknown),
        )
        .await?;
    }
    if parameters.get("user").is_none_or(String::is_empty) {
        return refuse(
            &mut transport,
            Fault::fatal("28000", "no PostgreSQL user name specified in startup packet"),
        )
        .await;
    }
    if parameters
        .get("replication")
        .is_some_and(|value| !matches!(value.as_str(), "false" | "off" | "no" | "0"))
    {
        return refuse(
            &mut transport,
            Fault::fatal("0A000", "replication is not supported"),
        )
        .await;
    }
    Ok(Opened {
        transport,
        parameters,
        certificate_pem,
    })
}

/// Tells the client why and ends the connection.
pub async fn refuse<T>(transport: &mut Transport, fault: Fault) -> Result<T, Refusal> {
    send(transport, &ErrorResponse::new(fault.fields())).await?;
    // the client may be gone already
    let _ = transport.shutdown().await;
    Err(Refusal::Told(fault))
}

async fn send(transport: &mut Transport, message: &impl Message) -> io::Result<()> {
    let mut buffer = BytesMut::new();
    message
        .encode(&mut buffer)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
    transport.write_all(&buffer).await?;
    transport.flush().await
}

/// Has the client prove who it is. Returns the bytes that arrived after its proof.
pub async fn authenticate(opened: &mut Opened, users: &Users, peer: SocketAddr) -> Result<BytesMut, Refusal> {
    let user = opened.user().to_owned();
    let mut scram = ScramServerAuth::new();
    let mut methods = vec![SCRAM_SHA_256_METHOD.to_owned()];
    if let Some(pem) = &opened.certificate_pem {
        // a certificate whose signature names no digest (Ed25519) leaves channel binding out, as in PostgreSQL
        if scram.configure_certificate(pem).is_ok() {
            methods.insert(0, SCRAM_SHA_256_PLUS_METHOD.to_owned());
        }
    }
    let denied = || {
        Fault::fatal(
            "28P01",
            format!("password authentication failed for user \"{user}\""),
        )
    };
    let mut input = BytesMut::new();
    send(&mut opened.transport, &Authentication::SASL(methods.clone())).await?;
    let body = password_message(&mut opened.transport, &mut input).await?;
    let Some((method, first)) = sasl_initial(&body) else {
        return refuse(
            &mut opened.transport,
            Fault::fatal("08P01", "malformed SCRAM message"),
        )
        .await;
    };
    if !methods.contains(&method) {
        return refuse(
            &mut opened.transport,
            Fault::fatal(
                "08P01",
                "client selected an invalid SASL authentication mechanism",
            ),
        )
        .await;
    }
    // which flag the client must have set depends on the mechanism it chose (RFC 5802, section 6)
    let plus = method == SCRAM_SHA_256_PLUS_METHOD;
    if plus != first.starts_with(b"p=") {
        return refuse(
            &mut opened.transport,
            Fault::fatal("08P01", "malformed SCRAM message"),
        )
        .await;
    }
    let (challenge, waiting) = match scram.on_client_first_message_with_secret(&first, users.secret(&user)) {
        Ok(step) => step,
        Err(error) => {
            tracing::info!(%peer, user, %error, "authentication failed");
            return refuse(&mut opened.transport, denied()).await;
        }
    };
    send(
        &mut opened.transport,
        &Authentication::SASLContinue(Bytes::from(challenge)),
    )
    .await?;
    let body = password_message(&mut opened.transport, &mut input).await?;
    match waiting.on_client_final_message(&body) {
        // the verifier of an unknown user fits nothing; the second look keeps that from resting on luck alone
        Ok(proof) if users.contains(&user) => {
            send(
                &mut opened.transport,
                &Authentication::SASLFinal(Bytes::from(proof)),
            )
            .await?;
            Ok(input)
        }
        Ok(_) | Err(_) => {
            tracing::info!(%peer, user, "authentication failed");
            refuse(&mut opened.transport, denied()).await
        }
    }
}

async fn password_message(transport: &mut Transport, input: &mut BytesMut) -> Result<Bytes, Refusal> {
    loop {
        match frontend::split_frame(input, SMALL_MESSAGE) {
            Err(fault) => return refuse(transport, fault).await,
            Ok(Some((kind, body))) => {
                return match frontend::parse(kind, body) {
                    Ok(Frontend::Password(body)) => Ok(body),
                    Ok(Frontend::Terminate) => Err(io::Error::from(io::ErrorKind::ConnectionAborted).into()),
                    _ => {
                        let message = format!("expected SASL response, got message type {kind}");
                        refuse(transport, Fault::fatal("08P01", message)).await
                    }
                };
            }
            Ok(None) => {
                if transport.read_buf(input).await? == 0 {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                }
            }
        }
    }
}

/// Mechanism and first data of a SASLInitialResponse.
fn sasl_initial(body: &[u8]) -> Option<(String, Vec<u8>)> {
    let end = body.iter().position(|byte| *byte == 0)?;
    let method = std::str::from_utf8(&body[..end]).ok()?.to_owned();
    let mut rest = &body[end + 1..];
    if rest.len() < 4 {
        return None;
    }
    let length = usize::try_from(rest.get_i32()).ok()?;
    (rest.len() == length).then(|| (method, rest.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_up_parameters_are_checked() {
        let parameters = start_up_parameters(b"user\0ann\0database\0\0\0").unwrap();
        assert_eq!(parameters.get("user").map(String::as_str), Some("ann"));
        assert_eq!(parameters.get("database").map(String::as_str), Some(""));
        for bad in [
            &b"user\0ann\0"[..],
            b"user",
            b"",
            b"user\0a\0\0more",
            b"user\0\xff\0\0",
        ] {
            assert!(start_up_parameters(bad).unwrap_err().is_fatal(), "{bad:?}");
        }
    }

    #[test]
    fn sasl_initial_responses_are_checked() {
        assert_eq!(
            sasl_initial(b"M\0\0\0\0\x02ab"),
            Some(("M".into(), b"ab".to_vec()))
        );
        for bad in [&b"M"[..], b"M\0\0\0", b"M\0\0\0\0\x03ab", b"M\0\xff\xff\xff\xff"] {
            assert_eq!(sasl_initial(bad), None, "{bad:?}");
        }
    }
}
