//! `lakegate ping`: whether a gateway answers, for a container image that has no other program.

use std::{process::ExitCode, time::Duration};

use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use super::{Failure, small_runtime};
use crate::cli::cluster::PingOptions;

/// Between two tries, and for one at most.
const TRY: Duration = Duration::from_secs(1);
const ONE_TRY: Duration = Duration::from_secs(5);

/// The message by which a client asks for encryption: eight bytes, and every server answers with one.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

pub fn ping(options: &PingOptions) -> Result<ExitCode, Failure> {
    small_runtime()?.block_on(async {
        let until = Instant::now() + options.timeout.get();
        if let Some(address) = &options.postgres {
            eventually(until, || speaks_postgres(address)).await?;
            println!("{address} speaks the Postgres protocol");
        }
        if let Some(url) = &options.ready {
            eventually(until, || is_ready(url)).await?;
            println!("{url} is ready");
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Tries until one succeeds; the last failure when the time is over.
async fn eventually<F: Future<Output = Result<(), Failure>>>(
    until: Instant,
    mut probe: impl FnMut() -> F,
) -> Result<(), Failure> {
    loop {
        let failure = match timeout(ONE_TRY, probe()).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(failure)) => failure,
            Err(_) => format!("no answer within {} s", ONE_TRY.as_secs()).into(),
        };
        if Instant::now() + TRY >= until {
            return Err(failure);
        }
        sleep(TRY).await;
    }
}

async fn speaks_postgres(address: &str) -> Result<(), Failure> {
    let unreachable = |error: std::io::Error| format!("{address} (--postgres): {error}");
    let mut stream = TcpStream::connect(address).await.map_err(unreachable)?;
    stream.write_all(&SSL_REQUEST).await.map_err(unreachable)?;
    let answer = stream.read_u8().await.map_err(unreachable)?;
    if matches!(answer, b'S' | b'N') {
        Ok(())
    } else {
        Err(format!("{address} (--postgres) does not speak the Postgres protocol").into())
    }
}

async fn is_ready(url: &str) -> Result<(), Failure> {
    let uri: hyper::Uri = url.parse().map_err(|error| format!("{url} (--ready): {error}"))?;
    let authority = uri
        .authority()
        .filter(|_| uri.scheme_str() == Some("http"))
        .ok_or_else(|| format!("{url} (--ready): write http://HOST:PORT/PATH"))?;
    let address = (authority.host(), authority.port_u16().unwrap_or(80));
    let unreachable = |error: &dyn std::error::Error| format!("{url} (--ready): {error}");
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| unreachable(&error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| unreachable(&error))?;
    let connection = tokio::spawn(connection);
    let request = Request::get(uri.path())
        .header(hyper::header::HOST, authority.as_str())
        .body(Empty::<Bytes>::new())
        .map_err(|error| unreachable(&error))?;
    let response = sender
        .send_request(request)
        .await
        .map_err(|error| unreachable(&error))?;
    let status = response.status();
    let body = response
        .into_body()
        .collect()
        .await
        .map_err(|error| unreachable(&error))?;
    drop(sender);
    connection.abort();
    if status.is_success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&body.to_bytes()).trim().to_owned();
    Err(format!("{url} (--ready) says {status}: {text}").into())
}
