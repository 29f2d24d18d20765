//! A PostgreSQL server of the tests' own: a throw-away data directory, a free
//! port, stopped and removed when the last test lets go of it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

use crate::loopback::{certificates, free_port, run};

/// Never to be seen in any message: tests search for it.
pub const PASSWORD: &str = "canary-3f9c-password";
pub const USER: &str = "postgres";

pub struct PostgresServer {
    directory: TempDir,
    binaries: PathBuf,
    pub port: u16,
}

/// Alive while any test holds it, so that tests running together share one.
static SHARED: Mutex<Weak<PostgresServer>> = Mutex::new(Weak::new());

impl PostgresServer {
    /// The server that tests share; each uses a database of its own.
    pub fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Self::start_new(""));
            *shared = Arc::downgrade(&server);
            server
        })
    }

    /// A server that only this test uses, with lines for postgresql.conf.
    pub fn start_new(configuration: &str) -> Self {
        let binaries = binaries();
        let directory = tempfile::Builder::new()
            .prefix("lakegate-postgres-")
            .tempdir()
            .unwrap();
        let data = directory.path().join("data");
        let password_file = directory.path().join("password");
        std::fs::write(&password_file, PASSWORD).unwrap();
        if is_root() {
            run(Command::new("chown")
                .arg("-R")
                .arg("postgres")
                .arg(directory.path()));
        }
        let port = free_port();
        run(as_postgres(&binaries.join("initdb"))
            .args(["--username", USER, "--auth", "scram-sha-256"])
            .args(["--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"])
            .arg("--pwfile")
            .arg(&password_file)
            .arg("--pgdata")
            .arg(&data));
        let mut file = std::fs::read_to_string(data.join("postgresql.conf")).unwrap();
        let _ = write!(
            file,
            "\nport={port}\nlisten_addresses='127.0.0.1'\nunix_socket_directories=''\nfsync=off\n\
             timezone='Asia/Seoul'\ndatestyle='SQL, DMY'\nintervalstyle='postgres_verbose'\n\
             extra_float_digits=0\nbytea_output='escape'\n{configuration}\n"
        );
        std::fs::write(data.join("postgresql.conf"), file).unwrap();
        let server = Self {
            directory,
            binaries,
            port,
        };
        server.start();
        server
    }

    /// A hot standby of this server that follows it, with lines for its postgresql.conf.
    pub fn standby(&self, configuration: &str) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("lakegate-standby-")
            .tempdir()
            .unwrap();
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(directory.path()));
        }
        let data = directory.path().join("data");
        run(as_postgres(&self.binaries.join("pg_basebackup"))
            .env("PGPASSWORD", PASSWORD)
            .args(["--host=127.0.0.1", "--checkpoint=fast", "--wal-method=stream"])
            .args(["--write-recovery-conf", "--no-sync"])
            .arg(format!("--port={}", self.port))
            .arg(format!("--username={USER}"))
            .arg("--pgdata")
            .arg(&data));
        let port = free_port();
        let mut file = std::fs::read_to_string(data.join("postgresql.conf")).unwrap();
        let _ = write!(file, "\nport={port}\n{configuration}\n");
        std::fs::write(data.join("postgresql.conf"), file).unwrap();
        let server = Self {
            directory,
            binaries: self.binaries.clone(),
            port,
        };
        server.start();
        server
    }

    /// What the server has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    /// Ends without a word to anybody.
    pub fn kill(&self) {
        run(self
            .control()
            .args(["--wait", "--timeout=60", "--silent", "--mode=immediate", "stop"]));
    }

    pub fn start(&self) {
        run(self
            .control()
            .args(["--wait", "--timeout=60", "--silent", "start"])
            .arg("--log")
            .arg(self.directory.path().join("log")));
    }

    pub fn stop(&self) {
        run(self
            .control()
            .args(["--wait", "--timeout=60", "--silent", "--mode=fast", "stop"]));
    }

    fn control(&self) -> Command {
        let mut command = as_postgres(&self.binaries.join("pg_ctl"));
        command
            .arg("--pgdata")
            .arg(self.directory.path().join("data"))
            // The server must not hold the test's own streams open.
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        command
    }

    /// Self-signed for `localhost` by its own authority; returns the authority.
    pub fn enable_tls(&self) -> String {
        let data = self.directory.path().join("data");
        let authority = certificates(&data);
        let mut file = std::fs::read_to_string(data.join("postgresql.conf")).unwrap();
        file.push_str("\nssl=on\nssl_cert_file='server.crt'\nssl_key_file='server.key'\n");
        std::fs::write(data.join("postgresql.conf"), file).unwrap();
        if is_root() {
            run(Command::new("chown").arg("-R").arg("postgres").arg(&data));
        }
        self.stop();
        self.start();
        authority
    }

    /// A session that pins nothing but what the oracle needs.
    pub async fn admin(&self, database: &str) -> Client {
        let (client, connection) = tokio_postgres::Config::new()
            .host("127.0.0.1")
            .port(self.port)
            .user(USER)
            .password(PASSWORD)
            .dbname(database)
            .connect(NoTls)
            .await
            .unwrap();
        tokio::spawn(async move {
            let _ = connection.await;
        });
        client
            .batch_execute(
                "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'iso_8601'; \
                 SET extra_float_digits = 3; SET bytea_output = 'hex'",
            )
            .await
            .unwrap();
        client
    }

    /// A new database, and a session in it.
    pub async fn database(&self, name: &str) -> Client {
        let admin = self.admin("postgres").await;
        admin
            .batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
            .await
            .unwrap();
        admin
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .await
            .unwrap();
        self.admin(name).await
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        let _ = self
            .control()
            .args(["--wait", "--timeout=20", "--silent", "--mode=immediate", "stop"])
            .status();
    }
}

fn binaries() -> PathBuf {
    let complete = |directory: &Path| {
        ["initdb", "pg_basebackup", "pg_ctl", "postgres"]
            .iter()
            .all(|name| directory.join(name).is_file())
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let debian = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin"));
    std::env::split_paths(&path)
        .chain(debian)
        .find(|directory| complete(directory))
        .unwrap_or_else(|| {
            panic!(
                "these tests need PostgreSQL's server (initdb, pg_basebackup, pg_ctl, postgres) in PATH or in \
                 /usr/lib/postgresql/*/bin; on Debian: apt-get install postgresql-15"
            )
        })
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim() == "0"
}

/// The server refuses to run as root.
fn as_postgres(program: &Path) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups"])
            .arg(program);
        command
    } else {
        Command::new(program)
    };
    command.env("HOME", "/tmp").current_dir("/tmp");
    command
}
