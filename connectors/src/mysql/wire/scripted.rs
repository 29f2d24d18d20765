//! The client against servers that play a script: what a real one cannot be
//! made to do at will.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;

/// The challenge of every greeting here.
const NONCE: [u8; 20] = [7; 20];

fn greeting(plugin: &str) -> Vec<u8> {
    let mut packet = b"\x0a8.4.0\0\x2a\0\0\0".to_vec();
    packet.extend(&NONCE[..8]);
    packet.push(0);
    // No TLS, no attributes.
    packet.extend([0xFF, 0xF7, 45, 2, 0, 0x0F, 0x00, 21]);
    packet.extend([0; 10]);
    packet.extend(&NONCE[8..]);
    packet.push(0);
    packet.extend_from_slice(plugin.as_bytes());
    packet.push(0);
    packet
}

enum Act {
    /// Sends a packet with this number.
    Say(u8, Vec<u8>),
    /// Receives a packet.
    Hear,
    /// Does nothing until the client gives up.
    Hold,
}

/// Plays the acts for one client, then hangs up; what it heard.
async fn server(acts: Vec<Act>) -> (u16, JoinHandle<Vec<Vec<u8>>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let played = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut heard = Vec::new();
        for act in acts {
            match act {
                Act::Say(sequence, packet) => say(&mut stream, sequence, &packet).await,
                Act::Hear => heard.push(hear(&mut stream).await),
                Act::Hold => {
                    let _ = stream.read(&mut [0; 16]).await;
                }
            }
        }
        heard
    });
    (port, played)
}

async fn say(stream: &mut TcpStream, sequence: u8, packet: &[u8]) {
    let [a, b, c, _] = (packet.len() as u32).to_le_bytes();
    stream.write_all(&[a, b, c, sequence]).await.unwrap();
    stream.write_all(packet).await.unwrap();
}

async fn hear(stream: &mut TcpStream) -> Vec<u8> {
    let mut header = [0; 4];
    stream.read_exact(&mut header).await.unwrap();
    let [a, b, c, _] = header;
    let mut packet = vec![0; u32::from_le_bytes([a, b, c, 0]) as usize];
    stream.read_exact(&mut packet).await.unwrap();
    packet
}

async fn connect(port: u16) -> Result<Client, WireError> {
    let target = Target {
        host: "127.0.0.1",
        port,
        username: "lakegate",
        password: "secret",
        database: None,
        tls: None,
        patience: Duration::from_millis(500),
    };
    Client::connect(&target).await
}

fn ok() -> Vec<u8> {
    vec![0, 0, 0, 2, 0, 0, 0]
}

async fn failure(acts: Vec<Act>) -> WireError {
    let (port, _played) = server(acts).await;
    match connect(port).await {
        Ok(_) => panic!("it connected"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_password_that_the_server_remembers() {
    let (port, played) = server(vec![
        Act::Say(0, greeting("caching_sha2_password")),
        Act::Hear,
        Act::Say(2, vec![1, 3]),
        Act::Say(3, ok()),
        Act::Hear,
    ])
    .await;
    let client = connect(port).await.unwrap();
    assert_eq!((client.id, client.version.as_str()), (42, "8.4.0"));
    client.quit().await;
    let heard = played.await.unwrap();
    let response = String::from_utf8_lossy(&heard[0]).into_owned();
    assert!(response.contains("lakegate\0\u{20}"), "{response:?}");
    assert!(!response.contains("secret"), "{response:?}");
    assert_eq!(heard[1], [command::QUIT]);
}

#[tokio::test]
async fn a_password_is_never_sent_in_the_clear() {
    let error = failure(vec![
        Act::Say(0, greeting("caching_sha2_password")),
        Act::Hear,
        Act::Say(2, vec![1, 4]),
        Act::Hold,
    ])
    .await;
    assert!(matches!(error, WireError::Authentication(_)), "{error}");
    assert!(error.to_string().contains("tls.mode"), "{error}");
    let error = failure(vec![
        Act::Say(0, greeting("mysql_native_password")),
        Act::Hear,
        Act::Say(2, b"\xfemysql_clear_password\0".to_vec()),
        Act::Hold,
    ])
    .await;
    assert!(error.to_string().contains("mysql_clear_password"), "{error}");
}

#[tokio::test]
async fn another_method_than_the_server_s_own() {
    let mut switch = b"\xfemysql_native_password\0".to_vec();
    switch.extend([9; 20]);
    switch.push(0);
    let (port, played) = server(vec![
        Act::Say(0, greeting("some_future_plugin")),
        Act::Hear,
        Act::Say(2, switch),
        Act::Hear,
        Act::Say(4, ok()),
        Act::Hold,
    ])
    .await;
    let client = connect(port).await.unwrap();
    client.quit().await;
    // A hash of SHA-1.
    assert_eq!(played.await.unwrap()[1].len(), 20);
}

#[tokio::test]
async fn silence_and_nonsense_end_in_time() {
    let error = failure(vec![Act::Hold]).await;
    assert!(matches!(error, WireError::Silent(_)), "{error}");
    let error = failure(vec![]).await;
    assert!(matches!(error, WireError::Closed), "{error}");
    // Another protocol altogether.
    let error = failure(vec![Act::Say(0, b"HTTP/1.1 400".to_vec()), Act::Hold]).await;
    assert!(matches!(error, WireError::Protocol(_)), "{error}");
    let error = failure(vec![Act::Say(5, greeting("mysql_native_password")), Act::Hold]).await;
    assert!(matches!(error, WireError::Protocol(_)), "{error}");
}

#[tokio::test]
async fn a_cut_answer_is_an_error() {
    let (port, _played) = server(vec![
        Act::Say(0, greeting("mysql_native_password")),
        Act::Hear,
        Act::Say(2, ok()),
        Act::Hear,
        // One column of text, its end, one row, and no end of rows.
        Act::Say(1, vec![1]),
        Act::Say(2, column()),
        Act::Say(3, vec![EOF, 0, 0, 2, 0]),
        Act::Say(4, vec![1, b'a']),
    ])
    .await;
    let mut client = connect(port).await.unwrap();
    let error = client.query("SELECT 1").await.unwrap_err();
    assert!(matches!(error, WireError::Closed), "{error}");
    assert!(client.is_broken() && client.is_busy());
}

#[tokio::test]
async fn an_error_in_the_middle_of_rows() {
    let (port, _played) = server(vec![
        Act::Say(0, greeting("mysql_native_password")),
        Act::Hear,
        Act::Say(2, ok()),
        Act::Hear,
        Act::Say(1, vec![1]),
        Act::Say(2, column()),
        Act::Say(3, vec![EOF, 0, 0, 2, 0]),
        Act::Say(4, vec![1, b'a']),
        Act::Say(5, b"\xff\x25\x05#70100Query execution was interrupted".to_vec()),
        Act::Hold,
    ])
    .await;
    let mut client = connect(port).await.unwrap();
    let error = client.query("SELECT 1").await.unwrap_err();
    assert!(matches!(error, WireError::Server { code: 1317, .. }), "{error}");
    // The answer has ended; the connection could go on.
    assert!(!client.is_broken() && !client.is_busy());
}

fn column() -> Vec<u8> {
    let mut packet = b"\x03def\0\0\0\x01a\0".to_vec();
    packet.extend([12, 45, 0, 4, 0, 0, 0, 253, 0, 0, 0, 0, 0]);
    packet
}
