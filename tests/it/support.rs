//! A running `lakegate serve`, and a client of it.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// Longest wait for something that should happen within a second or two; tests are not timings.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// The binary under test: the one cargo built, or another profile's by `LAKEGATE_BINARY`.
pub fn binary() -> PathBuf {
    std::env::var_os("LAKEGATE_BINARY")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_lakegate")), PathBuf::from)
}

pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Ask again until `probe` answers; panics with `what` when it never does.
pub fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(
            start.elapsed() < PATIENCE,
            "{what} did not happen within {PATIENCE:?}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A folder of manifests and a state directory, gone when dropped.
pub struct Site {
    root: TempDir,
}

impl Site {
    pub fn empty() -> Self {
        let root = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(root.path().join("manifests")).expect("the folder of manifests");
        Self { root }
    }

    /// A copy of `examples/flights`.
    pub fn flights() -> Self {
        let site = Self::empty();
        copy(&repository().join("examples/flights"), &site.manifests());
        site
    }

    pub fn manifests(&self) -> PathBuf {
        self.root.path().join("manifests")
    }

    pub fn state(&self) -> PathBuf {
        self.root.path().join("state")
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.manifests().join(name), text).expect("a manifest");
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.manifests().join(name)).expect("a manifest")
    }

    pub fn serve(&self) -> Serve {
        Serve::start(self, &[])
    }

    /// `lakegate ARGUMENTS --state-dir …`.
    pub fn cli(&self, arguments: &[&str]) -> Output {
        Command::new(binary())
            .args(arguments)
            .arg("--state-dir")
            .arg(self.state())
            .output()
            .expect("lakegate runs")
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a file");
        }
    }
}

/// A running `lakegate serve`. When dropped it is stopped, and fails the test if it logged a warning or an error
/// that the test did not announce with [`Serve::expect_log`].
pub struct Serve {
    child: Child,
    pub port: u16,
    pub http: u16,
    log: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
    expected: Vec<String>,
}

fn address(line: &str, after: &str) -> Option<u16> {
    let rest = line.split_once(after)?.1;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

impl Serve {
    pub fn start(site: &Site, more: &[&str]) -> Self {
        Self::start_with(site, more, &[])
    }

    /// With more arguments and variables.
    pub fn start_with(site: &Site, more: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut child = Command::new(binary())
            .arg("serve")
            .arg(site.manifests())
            .args(["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--state-dir"])
            .arg(site.state())
            .args(more)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("lakegate starts");
        let log = Arc::new(Mutex::new(Vec::new()));
        let stderr = child.stderr.take().expect("standard error");
        let lines = Arc::clone(&log);
        let errors = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.lock().expect("the log").push(line);
            }
        });
        let stdout = child.stdout.take().expect("standard output");
        let banner = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&banner);
        let output = std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                lines.lock().expect("the banner").push(line);
            }
        });
        let mut serve = Self {
            child,
            port: 0,
            http: 0,
            log,
            readers: vec![errors, output],
            expected: Vec::new(),
        };
        let (port, http) = eventually("the start banner", || {
            if let Some(status) = serve.child.try_wait().expect("a status") {
                panic!(
                    "lakegate ended at its start: {status}\n{}",
                    serve.log().join("\n")
                );
            }
            let lines = banner.lock().expect("the banner");
            let port = lines.iter().find_map(|line| address(line, " -p "))?;
            let http = lines.iter().find_map(|line| address(line, "http://127.0.0.1:"))?;
            Some((port, http))
        });
        serve.port = port;
        serve.http = http;
        serve
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> Vec<String> {
        self.log.lock().expect("the log").clone()
    }

    /// Announce a warning or an error that contains `text`.
    pub fn expect_log(&mut self, text: &str) {
        self.expected.push(text.into());
    }

    /// kill -9.
    pub fn kill(mut self) {
        self.child.kill().expect("a kill");
        self.child.wait().expect("an end");
    }

    /// Ask it to stop, as a service manager does, and wait.
    pub fn stop(mut self) {
        self.terminate();
    }

    fn terminate(&mut self) {
        if self.child.try_wait().expect("a status").is_some() {
            return;
        }
        signal("TERM", self.child.id());
        let child = &mut self.child;
        eventually("the end of lakegate after SIGTERM", || {
            child.try_wait().expect("a status")
        });
    }

    /// Rows of a query as psql prints them: unaligned, one row a line, columns split by `|`.
    pub fn sql(&self, database: &str, sql: &str) -> Result<String, String> {
        let output = self.psql(
            database,
            &["-A", "-t", "-q", "-v", "VERBOSITY=verbose", "-c", sql],
        );
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    pub fn psql(&self, database: &str, arguments: &[&str]) -> Output {
        Command::new("psql")
            .args([
                "-X",
                "-h",
                "127.0.0.1",
                "-p",
                &self.port.to_string(),
                "-U",
                "analyst",
                "-d",
                database,
            ])
            .args(arguments)
            .output()
            .expect("psql runs: apt-get install postgresql-client")
    }

    /// Ask until the query answers `expected`.
    pub fn sql_becomes(&self, database: &str, sql: &str, expected: &str) {
        let mut last = None;
        let start = Instant::now();
        loop {
            let answer = self.sql(database, sql);
            if answer.as_deref() == Ok(expected) {
                return;
            }
            last.replace(answer);
            assert!(
                start.elapsed() < PATIENCE,
                "{sql} did not become {expected:?}; last {last:?}\n{}",
                self.log().join("\n")
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Send a signal to a process of ours.
pub fn signal(name: &str, process: u32) {
    let status = Command::new("kill")
        .args([&format!("-{name}"), &process.to_string()])
        .status()
        .expect("kill runs");
    assert!(status.success(), "signal {name} to {process}");
}

/// Worker processes of a serve.
pub fn workers(serve: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let Some(process) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        // After the command in parentheses: state, then the parent's process id.
        let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let state = fields.next();
        let parent = fields.next().and_then(|field| field.parse::<u32>().ok());
        if parent == Some(serve) && state != Some("Z") {
            found.push(process);
        }
    }
    found
}

impl Drop for Serve {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.child.kill();
            let _ = self.child.wait();
            eprintln!("the log of lakegate:\n{}", self.log().join("\n"));
            return;
        }
        self.terminate();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        let surprises: Vec<String> = self
            .log()
            .into_iter()
            .filter(|line| line.contains(" WARN ") || line.contains(" ERROR ") || line.contains("panicked"))
            .filter(|line| !self.expected.iter().any(|text| line.contains(text)))
            .collect();
        assert!(
            surprises.is_empty(),
            "unexpected log lines:\n{}",
            surprises.join("\n")
        );
    }
}
