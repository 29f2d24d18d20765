//! Who gets in, and how.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Output;

use lakegate_gateway::auth::user_line;
use lakegate_gateway::{Gateway, GatewayOptions};
use tokio::process::Command;

use crate::raw::Raw;
use crate::support::{Server, options};

fn tls(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/tls")
        .join(name)
}

async fn with_users(users: &Path) -> Server {
    let guarded = GatewayOptions {
        users: Some(users.to_owned()),
        ..options()
    };
    Server::with(guarded, vec![]).await
}

fn told(error: &tokio_postgres::Error) -> (String, String) {
    let error = error.as_db_error().unwrap_or_else(|| panic!("{error:?}"));
    (error.code().code().to_owned(), error.message().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_proved() {
    let dir = tempfile::tempdir().unwrap();
    let users = dir.path().join("users");
    std::fs::write(&users, user_line("ann", "right").unwrap()).unwrap();
    let server = with_users(&users).await;
    let client = server.try_client("ann", "shop", Some("right")).await.unwrap();
    assert_eq!(
        client
            .query_one("select 1 as a", &[])
            .await
            .unwrap()
            .get::<_, i32>(0),
        1
    );
    // a user that does not exist fails exactly as a wrong password does
    for (user, password) in [("ann", "wrong"), ("nobody", "right")] {
        let error = server
            .try_client(user, "shop", Some(password))
            .await
            .err()
            .unwrap();
        let expected = format!("password authentication failed for user \"{user}\"");
        assert_eq!(told(&error), ("28P01".into(), expected));
    }
    // what databases there are is told to users only
    let error = server
        .try_client("ann", "nope", Some("wrong"))
        .await
        .err()
        .unwrap();
    assert_eq!(told(&error).0, "28P01");
    let error = server
        .try_client("ann", "nope", Some("right"))
        .await
        .err()
        .unwrap();
    assert_eq!(told(&error).0, "3D000");
    let mut raw = Raw::connect(server.address).await;
    raw.send(&crate::raw::start_up(196_608, &[("user", "ann")])).await;
    let first = raw.next().await.unwrap();
    assert_eq!(
        (first.kind, &first.body[..]),
        ('R', &b"\0\0\0\x0aSCRAM-SHA-256\0\0"[..])
    );
    // nothing but the answer is taken
    raw.send(&crate::raw::query("select 1")).await;
    assert_eq!(raw.next().await.unwrap().sqlstate(), "08P01");
    assert_eq!(raw.next().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_users_are_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let users = dir.path().join("users");
    let ann = user_line("ann", "one").unwrap();
    std::fs::write(&users, &ann).unwrap();
    let server = with_users(&users).await;
    server.try_client("ann", "shop", Some("one")).await.unwrap();
    std::fs::write(
        &users,
        format!("# both\n{ann}\n{}\n", user_line("bob", "two").unwrap()),
    )
    .unwrap();
    server.try_client("bob", "shop", Some("two")).await.unwrap();
    // a file that cannot be read changes nothing
    std::fs::write(&users, "nonsense").unwrap();
    server.try_client("bob", "shop", Some("two")).await.unwrap();
    std::fs::remove_file(&users).unwrap();
    server.try_client("bob", "shop", Some("two")).await.unwrap();
    std::fs::write(&users, &ann).unwrap();
    let error = server.try_client("bob", "shop", Some("two")).await.err().unwrap();
    assert_eq!(told(&error).0, "28P01");
}

#[tokio::test]
async fn unsafe_or_broken_options_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty");
    std::fs::write(&empty, "# nobody\n").unwrap();
    let everywhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let cases = [
        (
            GatewayOptions {
                listen: everywhere,
                ..options()
            },
            "refusing to listen on 0.0.0.0:0 without users",
        ),
        (
            GatewayOptions {
                listen: "[::]:0".parse().unwrap(),
                ..options()
            },
            "refusing to listen on [::]:0 without users",
        ),
        (
            GatewayOptions {
                users: Some(empty),
                ..options()
            },
            "has no user",
        ),
        (
            GatewayOptions {
                users: Some(dir.path().join("none")),
                ..options()
            },
            "cannot read the users file",
        ),
        (
            GatewayOptions {
                tls_cert: Some(tls("rsa.crt")),
                ..options()
            },
            "belong together",
        ),
        (
            GatewayOptions {
                tls_cert: Some(tls("rsa.crt")),
                tls_key: Some(tls("ec.sec1.key")),
                ..options()
            },
            "cannot be used together",
        ),
        (
            GatewayOptions {
                tls_cert: Some(tls("rsa.pkcs8.key")),
                tls_key: Some(tls("rsa.pkcs8.key")),
                ..options()
            },
            "has no PEM certificate",
        ),
        (
            GatewayOptions {
                tls_cert: Some(tls("rsa.crt")),
                tls_key: Some(tls("rsa.crt")),
                ..options()
            },
            "has no PEM private key",
        ),
        (
            GatewayOptions {
                listen: "192.0.2.1:0".parse().unwrap(),
                ..options()
            },
            "refusing",
        ),
    ];
    for (options, expected) in cases {
        let failure = Gateway::bind(options).await.unwrap_err().to_string();
        assert!(failure.contains(expected), "{failure}");
    }
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let failure = Gateway::bind(GatewayOptions {
        listen: taken.local_addr().unwrap(),
        ..options()
    })
    .await
    .unwrap_err();
    assert!(
        failure.to_string().starts_with("cannot listen on 127.0.0.1:"),
        "{failure}"
    );
}

async fn psql(server: &Server, conninfo: &str, sql: &str) -> Output {
    Command::new("psql")
        .arg(format!(
            "host=localhost hostaddr=127.0.0.1 port={} dbname=shop user=ann password=right {conninfo}",
            server.address.port()
        ))
        .args(["-X", "-A", "-t", "-c", sql])
        .env_remove("PGSSLMODE")
        .output()
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn encrypted_connections() {
    let dir = tempfile::tempdir().unwrap();
    let users = dir.path().join("users");
    std::fs::write(&users, user_line("ann", "right").unwrap()).unwrap();
    for (certificate, key) in [
        ("rsa.crt", "rsa.pkcs8.key"),
        ("rsa.crt", "rsa.pkcs1.key"),
        ("ec.crt", "ec.sec1.key"),
    ] {
        let encrypted = GatewayOptions {
            tls_cert: Some(tls(certificate)),
            tls_key: Some(tls(key)),
            users: Some(users.clone()),
            ..options()
        };
        let server = Server::with(encrypted, vec![]).await;
        let verified = format!(
            "sslmode=verify-full channel_binding=require sslrootcert={}",
            tls(certificate).display()
        );
        let output = psql(&server, &verified, "show ssl").await;
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "on\n",
            "{key}: {output:?}"
        );
        let output = psql(&server, "sslmode=disable", "show ssl").await;
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "off\n",
            "{key}: {output:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_certificate_require_is_refused_by_the_client() {
    let server = Server::start().await;
    let output = psql(&server, "sslmode=require", "select 1").await;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        error.contains("server does not support SSL, but SSL was required"),
        "{error}"
    );
    let output = psql(&server, "sslmode=prefer", "select 1").await;
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_taken_up() {
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = (dir.path().join("tls.crt"), dir.path().join("tls.key"));
    let put = |from: &str, key_from: &str| {
        std::fs::copy(tls(from), &certificate).unwrap();
        std::fs::copy(tls(key_from), &key).unwrap();
    };
    put("rsa.crt", "rsa.pkcs8.key");
    let encrypted = GatewayOptions {
        tls_cert: Some(certificate.clone()),
        tls_key: Some(key.clone()),
        ..options()
    };
    let server = Server::with(encrypted, vec![]).await;
    let trusting = |name: &str| format!("sslmode=verify-full sslrootcert={}", tls(name).display());
    assert!(
        psql(&server, &trusting("rsa.crt"), "select 1")
            .await
            .status
            .success()
    );
    put("ec.crt", "ec.sec1.key");
    assert!(
        psql(&server, &trusting("ec.crt"), "select 1")
            .await
            .status
            .success()
    );
    assert!(
        !psql(&server, &trusting("rsa.crt"), "select 1")
            .await
            .status
            .success()
    );
    // half a replacement keeps the one before
    std::fs::write(&key, "not a key").unwrap();
    assert!(
        psql(&server, &trusting("ec.crt"), "select 1")
            .await
            .status
            .success()
    );
}
