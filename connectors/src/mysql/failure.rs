//! What a failed exchange with the server means.

use super::settings::Settings;
use super::wire::WireError;
use crate::ConnectorError;

/// Error numbers of the server (MySQL's and MariaDB's error references).
pub(super) mod code {
    pub const DB_ACCESS_DENIED: u16 = 1044;
    pub const ACCESS_DENIED: u16 = 1045;
    pub const UNKNOWN_DATABASE: u16 = 1049;
    pub const UNKNOWN_COLUMN: u16 = 1054;
    pub const TABLE_ACCESS_DENIED: u16 = 1142;
    pub const COLUMN_ACCESS_DENIED: u16 = 1143;
    pub const NO_SUCH_TABLE: u16 = 1146;
    /// The statement needs a privilege that is not one of tables.
    pub const PRIVILEGE_MISSING: u16 = 1227;
    pub const QUERY_INTERRUPTED: u16 = 1317;
    pub const VIEW_INVALID: u16 = 1356;
    /// The table was altered after the transaction's snapshot.
    pub const TABLE_CHANGED: u16 = 1412;
    pub const STATEMENT_TIMEOUT_MARIADB: u16 = 1969;
    pub const STATEMENT_TIMEOUT_MYSQL: u16 = 3024;
}

/// The user may not come in: wrong password, unknown host, expired, locked.
const ACCESS: [u16; 9] = [
    code::DB_ACCESS_DENIED,
    code::ACCESS_DENIED,
    1130,
    code::PRIVILEGE_MISSING,
    1698,
    1820,
    1862,
    3118,
    4151,
];

/// The server is going, coming, full, or has closed this connection.
const UNAVAILABLE: [u16; 10] = [1040, 1053, 1079, 1129, 1158, 1159, 1160, 1203, 1927, 4031];

/// Names the cause of a failure while connecting or working, without a table.
pub(super) fn failure(settings: &Settings, error: &WireError) -> ConnectorError {
    let catalog = settings.catalog.clone();
    let endpoint = settings.address();
    let message = error.to_string();
    match error {
        WireError::Server { code, .. } if ACCESS.contains(code) => ConnectorError::AccessDenied {
            catalog,
            endpoint,
            message,
        },
        WireError::Server { code, .. } if *code == code::UNKNOWN_DATABASE || UNAVAILABLE.contains(code) => {
            ConnectorError::Unreachable {
                catalog,
                endpoint,
                message,
                source: None,
            }
        }
        WireError::Server { .. } | WireError::TooLarge { .. } => ConnectorError::Store {
            catalog,
            message,
            source: None,
        },
        WireError::Authentication(_) => ConnectorError::AccessDenied {
            catalog,
            endpoint,
            message,
        },
        WireError::Tls(_) => ConnectorError::TlsFailed {
            catalog,
            endpoint,
            message,
            source: None,
        },
        WireError::Silent(patience) => ConnectorError::TimedOut {
            catalog,
            endpoint,
            seconds: patience.as_secs(),
        },
        WireError::Closed | WireError::Io(_) | WireError::Protocol(_) => ConnectorError::Unreachable {
            catalog,
            endpoint,
            message,
            source: None,
        },
    }
}

/// Whether the connection is of no more use; the statement may succeed on
/// another one.
pub(super) fn is_connection_lost(error: &WireError) -> bool {
    match error {
        WireError::Server { code, .. } => UNAVAILABLE.contains(code),
        WireError::Closed | WireError::Io(_) => true,
        _ => false,
    }
}
