//! An S3 server of the tests' own (`versitygw.sh` beside this file), shared by the tests of one process: it ends and
//! removes what it holds when the process does.

#![allow(dead_code)] // each test binary uses a part

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Beside this file, whichever crate takes it in.
fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|directory| directory.join("tests/services/versitygw.sh"))
        .find(|script| script.exists())
        .unwrap()
}

/// Never to be seen in any message: tests search for `canary`.
pub const KEY: &str = "canarykey7f3a";
pub const SECRET: &str = "canary-7f3a-secret";

pub struct S3Server {
    pub port: u16,
    /// Its buckets are the directories here, the objects the files below.
    pub directory: PathBuf,
    child: Mutex<Child>,
    /// Ends the server when closed.
    input: Mutex<Option<ChildStdin>>,
}

impl S3Server {
    /// The server that the tests of this process share; each uses a bucket of its own.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<S3Server> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&[]))
    }

    /// A server with options of its own.
    pub fn start(options: &[&str]) -> Self {
        let mut child = Command::new("bash")
            .arg(script())
            .arg("serve")
            .args(options)
            .env("ROOT_ACCESS_KEY_ID", KEY)
            .env("ROOT_SECRET_ACCESS_KEY", SECRET)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let (port, directory) = line.trim().split_once(' ').unwrap_or_else(|| {
            panic!("the S3 server did not start; see above, and run tests/prepare.sh once")
        });
        Self {
            port: port.parse().unwrap(),
            directory: directory.into(),
            child: Mutex::new(child),
            input: Mutex::new(input),
        }
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A new bucket.
    pub fn bucket(&self) -> String {
        static NUMBER: AtomicUsize = AtomicUsize::new(1);
        let name = format!("lake-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        std::fs::create_dir(self.directory.join(&name)).unwrap();
        name
    }

    pub fn path(&self, bucket: &str) -> PathBuf {
        self.directory.join(bucket)
    }

    /// Adds somebody who may do nothing.
    pub fn add_user(&self, key: &str, secret: &str) {
        let output = Command::new("bash")
            .arg(script())
            .args(["user", &self.port.to_string(), key, secret])
            .env("ROOT_ACCESS_KEY_ID", KEY)
            .env("ROOT_SECRET_ACCESS_KEY", SECRET)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// Uploads that were begun and neither completed nor aborted.
    pub fn open_uploads(&self, bucket: &str) -> usize {
        fn files(directory: &Path) -> usize {
            std::fs::read_dir(directory).map_or(0, |entries| {
                entries
                    .map(|entry| {
                        let path = entry.unwrap().path();
                        if path.is_dir() { files(&path) } else { 1 }
                    })
                    .sum()
            })
        }
        files(&self.path(bucket).join(".sgwtmp/multipart"))
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        drop(self.input.lock().unwrap_or_else(PoisonError::into_inner).take());
        let _ = self.child.lock().unwrap_or_else(PoisonError::into_inner).wait();
    }
}
