//! Where a server is, how it may be used, and what no setting of it may change.

use std::ops::Deref;
use std::time::Duration;

use lakegate_crds::{MysqlSpec, ZeroDates};

use super::wire::Client;
use crate::ConnectContext;
use crate::server::{Server, ServerSpec};

/// One MySQL or MariaDB server, or one database of it.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub server: Server,
    /// None: every database the user sees.
    pub database: Option<String>,
    pub zero_dates: ZeroDates,
}

impl Deref for Settings {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Settings {
    pub(super) fn new(spec: &MysqlSpec, context: &ConnectContext) -> Self {
        let server = ServerSpec {
            primary: &spec.primary,
            default_port: MysqlSpec::DEFAULT_PORT,
            replicas: &spec.replicas,
            max_replica_lag: spec.max_replica_lag.as_ref().map(lakegate_crds::Duration::get),
            on_replica_lag: spec.on_replica_lag,
            credentials: &spec.credentials,
            tls: spec.tls(),
            limits: spec.limits(),
        };
        Self {
            server: Server::new(server, context),
            database: spec.database.clone(),
            zero_dates: spec.zero_dates(),
        }
    }

    /// Sets what a new session must not inherit from the server or the user:
    /// what constants and results mean, how many rows a query may have, how
    /// long a statement and a write to a slow reader may take.
    pub(super) fn pins(&self, flavor: Flavor) -> [String; 3] {
        // 0 would mean no timeout at all; more than a year is refused.
        let timeout = self
            .statement_timeout
            .clamp(Duration::from_millis(1), Duration::from_hours(365 * 24));
        let timeout = match flavor {
            Flavor::MariaDb => format!("max_statement_time = {}", timeout.as_secs_f64()),
            Flavor::MySql => format!(
                "max_execution_time = {}",
                timeout.as_millis().min(u32::MAX.into())
            ),
        };
        let patience = self.patience().as_secs();
        [
            "SET NAMES utf8mb4".to_owned(),
            // NO_BACKSLASH_ESCAPES alone: in text only the quote is special.
            format!(
                "SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES', time_zone = '+00:00', \
                 sql_auto_is_null = 0, sql_select_limit = 18446744073709551615, sql_big_selects = 1, \
                 net_write_timeout = {patience}, {timeout}"
            ),
            "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ".to_owned(),
        ]
    }
}

/// Opens a transaction that sees one state of the data, whenever its statements
/// run, and can change nothing.
pub(super) const BEGIN: &str = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";

/// Whose server it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flavor {
    MySql,
    MariaDb,
}

/// What the server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    pub flavor: Flavor,
    /// Without the packager's words: `8.4.3`, `10.11.19-MariaDB`.
    pub text: String,
    major: u32,
    minor: u32,
}

impl Version {
    pub(super) fn of(client: &Client) -> Self {
        Self::parse(&client.version)
    }

    fn parse(version: &str) -> Self {
        // MariaDB has long put a version that replicas of MySQL accept first.
        let version = version.strip_prefix("5.5.5-").unwrap_or(version);
        let number = version.split('-').next().unwrap_or_default();
        let flavor = if version.to_ascii_lowercase().contains("mariadb") {
            Flavor::MariaDb
        } else {
            Flavor::MySql
        };
        let mut parts = number.split('.').map(|part| part.parse().unwrap_or(0));
        Self {
            flavor,
            text: match flavor {
                Flavor::MariaDb => format!("{number}-MariaDB"),
                Flavor::MySql => number.to_owned(),
            },
            major: parts.next().unwrap_or(0),
            minor: parts.next().unwrap_or(0),
        }
    }

    /// Whether it has what [`Settings::pins`] sets, and read-only transactions.
    pub(super) fn is_supported(&self) -> bool {
        let oldest = match self.flavor {
            Flavor::MariaDb => (10, 2),
            Flavor::MySql => (5, 7),
        };
        (self.major, self.minor) >= oldest
    }

    /// What tells how a replica is. MySQL 8.4 knows only the newer words.
    pub(super) fn replica_status(&self) -> &'static str {
        match self.flavor {
            Flavor::MariaDb => "SHOW ALL SLAVES STATUS",
            Flavor::MySql if (self.major, self.minor) < (8, 1) => "SHOW SLAVE STATUS",
            Flavor::MySql => "SHOW REPLICA STATUS",
        }
    }

    /// Whether coordinates of the earth come latitude first unless asked
    /// otherwise.
    pub(super) fn swaps_axes(&self) -> bool {
        self.flavor == Flavor::MySql && self.major >= 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (printed, text, flavor, supported, swaps) in [
            (
                "5.5.5-10.11.19-MariaDB-0+deb12u1-log",
                "10.11.19-MariaDB",
                Flavor::MariaDb,
                true,
                false,
            ),
            ("11.8.2-MariaDB", "11.8.2-MariaDB", Flavor::MariaDb, true, false),
            (
                "10.1.48-MariaDB",
                "10.1.48-MariaDB",
                Flavor::MariaDb,
                false,
                false,
            ),
            ("8.4.3", "8.4.3", Flavor::MySql, true, true),
            ("8.0.36-0ubuntu0.22.04.1", "8.0.36", Flavor::MySql, true, true),
            ("5.7.44-log", "5.7.44", Flavor::MySql, true, false),
            ("5.6.51", "5.6.51", Flavor::MySql, false, false),
            ("", "", Flavor::MySql, false, false),
        ] {
            let version = Version::parse(printed);
            assert_eq!(version.text, text);
            assert_eq!(version.flavor, flavor, "{printed}");
            assert_eq!(version.is_supported(), supported, "{printed}");
            assert_eq!(version.swaps_axes(), swaps, "{printed}");
        }
    }
}
