//! A MariaDB server of the tests' own: a throw-away data directory, a free port,
//! stopped and removed when the last test lets go of it.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tempfile::TempDir;

use crate::loopback::{certificates, free_port, run};

/// Never to be seen in any message: tests search for it.
pub const PASSWORD: &str = "canary-8b1d-password";
/// May read everything.
pub const USER: &str = "lakegate";

/// Settings that an honest server might have, each of which would change an
/// answer if it were inherited.
const HOSTILE: [&str; 4] = [
    "--default-time-zone=+09:00",
    "--sql-mode=ANSI_QUOTES,PAD_CHAR_TO_FULL_LENGTH,HIGH_NOT_PRECEDENCE,PIPES_AS_CONCAT",
    "--character-set-server=latin1",
    "--init-connect=SET sql_select_limit = 3, sql_auto_is_null = 1, net_write_timeout = 2, tx_isolation = 'READ-UNCOMMITTED'",
];

pub struct MariaDbServer {
    directory: TempDir,
    process: Mutex<Option<Child>>,
    options: Vec<String>,
    pub port: u16,
}

/// Alive while any test holds it, so that tests running together share one.
static SHARED: Mutex<Weak<MariaDbServer>> = Mutex::new(Weak::new());

/// A command that has the directory for its temporary files: a server that starts removes what others left, or still
/// use, in a common one.
fn own_temporary(program: impl AsRef<OsStr>, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.env("TMPDIR", directory);
    command
}

impl MariaDbServer {
    /// The server that tests share; each uses a database of its own.
    pub fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Self::start_new());
            *shared = Arc::downgrade(&server);
            server
        })
    }

    /// A server that only this test uses.
    pub fn start_new() -> Self {
        Self::start_with(HOSTILE.map(str::to_owned).to_vec())
    }

    /// A server that writes down its changes and every connection.
    pub fn start_primary() -> Self {
        let server = Self::start_with(
            [
                "--log-bin=binlog",
                "--server-id=1",
                "--general-log",
                "--general-log-file=general",
            ]
            .map(str::to_owned)
            .to_vec(),
        );
        server.sql(
            "",
            &format!(
                "CREATE USER follower IDENTIFIED BY '{PASSWORD}'; GRANT REPLICATION SLAVE ON *.* TO follower"
            ),
        );
        server
    }

    /// A server that follows this one from its present state on, which must hold no data yet.
    pub fn replica(&self) -> Self {
        let server = Self::start_with(
            ["--server-id=2", "--relay-log=relay", "--read-only"]
                .map(str::to_owned)
                .to_vec(),
        );
        let status = self.sql("", "SHOW MASTER STATUS");
        let mut position = status.split_whitespace();
        let (file, offset) = (position.next().unwrap(), position.next().unwrap());
        server.sql(
            "",
            &format!(
                "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {}, MASTER_USER = 'follower', \
                 MASTER_PASSWORD = '{PASSWORD}', MASTER_LOG_FILE = '{file}', MASTER_LOG_POS = {offset}; START SLAVE",
                self.port
            ),
        );
        server
    }

    /// Every connection and statement since the start, of a primary.
    pub fn general_log(&self) -> String {
        let log = std::fs::read(self.directory.path().join("data").join("general")).unwrap();
        String::from_utf8_lossy(&log).into_owned()
    }

    fn start_with(options: Vec<String>) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("lakegate-mariadb-")
            .tempdir()
            .unwrap();
        let data = directory.path().join("data");
        run(own_temporary(program("mariadb-install-db"), directory.path())
            .args([
                "--no-defaults",
                "--skip-test-db",
                "--auth-root-authentication-method=normal",
            ])
            .arg(format!("--datadir={}", data.display()))
            .arg(format!("--user={}", user())));
        let server = Self {
            directory,
            process: Mutex::new(None),
            options,
            port: free_port(),
        };
        server.start();
        server.sql(
            "mysql",
            &format!(
                "CREATE USER {USER} IDENTIFIED BY '{PASSWORD}'; \
                 GRANT SELECT ON *.* TO {USER}"
            ),
        );
        server
    }

    pub fn start(&self) {
        let directory = self.directory.path();
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(directory.join("log"))
            .unwrap();
        let child = own_temporary(program("mariadbd"), directory)
            .arg("--no-defaults")
            .arg(format!("--datadir={}", directory.join("data").display()))
            .arg(format!("--socket={}", directory.join("socket").display()))
            .arg(format!("--pid-file={}", directory.join("pid").display()))
            .arg(format!("--user={}", user()))
            .arg(format!("--port={}", self.port))
            .args(["--bind-address=127.0.0.1", "--skip-name-resolve"])
            .args([
                "--innodb-buffer-pool-size=64M",
                "--innodb-flush-log-at-trx-commit=0",
            ])
            .args(["--max-allowed-packet=256M", "--performance-schema=off"])
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
        for _ in 0..1200 {
            if self.try_sql("", "SELECT 1").is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let log = std::fs::read_to_string(directory.join("log")).unwrap_or_default();
        panic!("MariaDB did not come up: {log}");
    }

    /// Asks the server to end and waits until it has.
    pub fn stop(&self) {
        self.sql("", "SHUTDOWN");
        let child = self.process.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut child) = child {
            child.wait().unwrap();
        }
    }

    /// Restarts with a certificate for `localhost`; returns its authority.
    pub fn enable_tls(&mut self) -> String {
        let authority = certificates(self.directory.path());
        let file = |name: &str| self.directory.path().join(name).display().to_string();
        self.options.push(format!("--ssl-cert={}", file("server.crt")));
        self.options.push(format!("--ssl-key={}", file("server.key")));
        self.stop();
        self.start();
        authority
    }

    /// Runs statements as the administrator, in a session of the server's
    /// defaults but for what the oracle needs; the answer in tab-separated lines.
    pub fn sql(&self, database: &str, statements: &str) -> String {
        self.try_sql(database, statements)
            .unwrap_or_else(|error| panic!("{error}: {}", statements.chars().take(2000).collect::<String>()))
    }

    fn try_sql(&self, database: &str, statements: &str) -> Result<String, String> {
        let mut child = Command::new(program("mariadb"))
            .args(["--no-defaults", "--batch", "--skip-column-names", "--user=root"])
            .args(["--default-character-set=utf8mb4", "--max-allowed-packet=256M"])
            .arg(format!(
                "--socket={}",
                self.directory.path().join("socket").display()
            ))
            .arg(database)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let _ = write!(
            input,
            "SET sql_mode = '', time_zone = '+00:00', sql_auto_is_null = 0;\n{statements};\n"
        );
        drop(input);
        let output = child.wait_with_output().unwrap();
        if output.status.success() {
            Ok(String::from_utf8(output.stdout).unwrap())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// A new database with these tables.
    pub fn database(&self, name: &str, statements: &str) {
        self.sql(
            "",
            &format!(
                "DROP DATABASE IF EXISTS {name}; CREATE DATABASE {name} CHARACTER SET utf8mb4; USE {name};\n{statements}"
            ),
        );
    }

    /// Statements that run for [`USER`] in a database.
    pub fn running(&self, database: &str) -> usize {
        self.count(&format!(
            "SELECT COUNT(*) FROM information_schema.PROCESSLIST \
             WHERE USER = '{USER}' AND DB = '{database}' AND COMMAND <> 'Sleep'"
        ))
    }

    /// Connections of [`USER`] to a database.
    pub fn connections(&self, database: &str) -> usize {
        self.count(&format!(
            "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = '{USER}' AND DB = '{database}'"
        ))
    }

    fn count(&self, sql: &str) -> usize {
        self.sql("", sql).trim().parse().unwrap()
    }
}

impl Drop for MariaDbServer {
    fn drop(&mut self) {
        let process = self.process.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut child) = process.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Debian keeps the server out of an ordinary user's PATH.
fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|directory| directory.join(name))
        .find(|program| program.is_file())
        .unwrap_or_else(|| {
            panic!(
                "these tests need MariaDB ({name} is not in PATH); on Debian: \
                 apt-get install mariadb-server-core mariadb-client-core"
            )
        })
}

fn user() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
