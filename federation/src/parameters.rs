//! The settings that exist, in PostgreSQL's names.

/// What a setting accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterKind {
    /// `on` or `off`.
    Bool,
    /// A whole number between the bounds, both included.
    Integer(i64, i64),
    /// A length of time kept in milliseconds; units ms, s, min, h, d.
    Milliseconds,
    /// One of these words.
    Enum(&'static [&'static str]),
    /// An IANA zone or a fixed offset.
    TimeZone,
    /// A comma-separated list of identifiers.
    IdentifierList,
    /// Any text.
    Text,
    /// The output style of dates; only `ISO` output exists, the field order is kept.
    DateStyle,
    /// Only UTF-8.
    Encoding,
}

/// One known setting.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// As `SHOW ALL` prints it.
    pub name: &'static str,
    /// The value of a new session.
    pub default: &'static str,
    pub kind: ParameterKind,
    /// False: `SET` is refused (55P02).
    pub settable: bool,
    /// True: each change is told to the client (ParameterStatus).
    pub reported: bool,
    pub description: &'static str,
}

const fn parameter(
    name: &'static str,
    default: &'static str,
    kind: ParameterKind,
    description: &'static str,
) -> Parameter {
    Parameter {
        name,
        default,
        kind,
        settable: true,
        reported: false,
        description,
    }
}

const fn reported(mut parameter: Parameter) -> Parameter {
    parameter.reported = true;
    parameter
}

const fn fixed(name: &'static str, default: &'static str, description: &'static str) -> Parameter {
    Parameter {
        name,
        default,
        kind: ParameterKind::Text,
        settable: false,
        reported: false,
        description,
    }
}

/// The PostgreSQL version that every answer about a version agrees on.
pub const SERVER_VERSION: &str = "15.4";
/// `SERVER_VERSION` as a number.
pub const SERVER_VERSION_NUM: &str = "150004";

const ISOLATION: ParameterKind = ParameterKind::Enum(&[
    "serializable",
    "repeatable read",
    "read committed",
    "read uncommitted",
]);
const MESSAGE_LEVEL: ParameterKind = ParameterKind::Enum(&[
    "debug5", "debug4", "debug3", "debug2", "debug1", "debug", "log", "info", "notice", "warning", "error",
    "fatal", "panic",
]);
use ParameterKind::{Bool, DateStyle, Encoding, IdentifierList, Integer, Milliseconds, Text, TimeZone};

/// Every setting a session knows, by name.
pub static PARAMETERS: &[Parameter] = &[
    reported(parameter(
        "application_name",
        "",
        Text,
        "Name of the client application.",
    )),
    parameter("array_nulls", "on", Bool, "Accepted for compatibility."),
    parameter(
        "backend_flush_after",
        "0",
        Integer(0, 256),
        "Accepted for compatibility.",
    ),
    parameter(
        "backslash_quote",
        "safe_encoding",
        ParameterKind::Enum(&["safe_encoding", "on", "off"]),
        "Accepted for compatibility.",
    ),
    fixed("block_size", "8192", "Size of a disk block of PostgreSQL."),
    parameter(
        "bytea_output",
        "hex",
        ParameterKind::Enum(&["hex", "escape"]),
        "Output format of bytea.",
    ),
    parameter("check_function_bodies", "on", Bool, "Accepted for compatibility."),
    reported(parameter(
        "client_encoding",
        "UTF8",
        Encoding,
        "Character set of the client.",
    )),
    parameter(
        "client_min_messages",
        "notice",
        MESSAGE_LEVEL,
        "Least severity sent to the client.",
    ),
    parameter(
        "cursor_tuple_fraction",
        "0.1",
        Text,
        "Accepted for compatibility.",
    ),
    fixed("data_checksums", "off", "Lakegate has no data pages."),
    reported(parameter(
        "DateStyle",
        "ISO, MDY",
        DateStyle,
        "Display format of dates.",
    )),
    parameter(
        "default_statistics_target",
        "100",
        Integer(1, 10_000),
        "Accepted for compatibility.",
    ),
    parameter(
        "default_table_access_method",
        "heap",
        Text,
        "Accepted for compatibility.",
    ),
    parameter("default_tablespace", "", Text, "Accepted for compatibility."),
    parameter(
        "default_text_search_config",
        "pg_catalog.simple",
        Text,
        "Accepted for compatibility.",
    ),
    parameter(
        "default_transaction_deferrable",
        "off",
        Bool,
        "Accepted for compatibility.",
    ),
    parameter(
        "default_transaction_isolation",
        "read committed",
        ISOLATION,
        "Accepted for compatibility.",
    ),
    reported(parameter(
        "default_transaction_read_only",
        "on",
        Bool,
        "Lakegate only reads.",
    )),
    parameter("enable_bitmapscan", "on", Bool, "Accepted for compatibility."),
    parameter("enable_hashjoin", "on", Bool, "Accepted for compatibility."),
    parameter("enable_indexscan", "on", Bool, "Accepted for compatibility."),
    parameter("enable_mergejoin", "on", Bool, "Accepted for compatibility."),
    parameter("enable_nestloop", "on", Bool, "Accepted for compatibility."),
    parameter("enable_seqscan", "on", Bool, "Accepted for compatibility."),
    parameter("enable_sort", "on", Bool, "Accepted for compatibility."),
    parameter("escape_string_warning", "on", Bool, "Accepted for compatibility."),
    parameter(
        "extra_float_digits",
        "1",
        Integer(-15, 3),
        "Digits of floating-point output.",
    ),
    parameter(
        "force_parallel_mode",
        "off",
        ParameterKind::Enum(&["off", "on", "regress"]),
        "Accepted for compatibility.",
    ),
    parameter("geqo", "on", Bool, "Accepted for compatibility."),
    parameter(
        "idle_in_transaction_session_timeout",
        "0",
        Milliseconds,
        "Longest idle time in a transaction.",
    ),
    parameter(
        "idle_session_timeout",
        "0",
        Milliseconds,
        "Longest idle time outside a transaction.",
    ),
    reported(fixed("in_hot_standby", "off", "Lakegate is no standby.")),
    reported(fixed("integer_datetimes", "on", "Times are 64-bit integers.")),
    reported(parameter(
        "IntervalStyle",
        "postgres",
        ParameterKind::Enum(&["postgres", "postgres_verbose", "sql_standard", "iso_8601"]),
        "Display format of intervals.",
    )),
    reported(fixed(
        "is_superuser",
        "off",
        "No user of Lakegate is a superuser.",
    )),
    parameter("jit", "off", Bool, "Accepted for compatibility."),
    parameter(
        "lakegate.pushdown",
        "on",
        Bool,
        "Off: sources send raw rows; every filter and limit is local.",
    ),
    fixed("lc_collate", "C", "Text sorts by its bytes."),
    fixed("lc_ctype", "C.UTF-8", "Character classes are those of Unicode."),
    parameter("lc_messages", "C", Text, "Language of messages."),
    parameter("lc_monetary", "C", Text, "Accepted for compatibility."),
    parameter("lc_numeric", "C", Text, "Accepted for compatibility."),
    parameter("lc_time", "C", Text, "Accepted for compatibility."),
    parameter(
        "lock_timeout",
        "0",
        Milliseconds,
        "Accepted for compatibility: nothing is locked.",
    ),
    parameter(
        "maintenance_work_mem",
        "64MB",
        Text,
        "Accepted for compatibility.",
    ),
    fixed("max_identifier_length", "63", "Longest identifier shown."),
    fixed("max_index_keys", "32", "Most columns of an index of PostgreSQL."),
    parameter(
        "max_parallel_workers_per_gather",
        "2",
        Integer(0, 1024),
        "Accepted for compatibility.",
    ),
    parameter(
        "quote_all_identifiers",
        "off",
        Bool,
        "Accepted for compatibility.",
    ),
    parameter("random_page_cost", "4", Text, "Accepted for compatibility."),
    parameter("role", "none", Text, "Accepted for compatibility."),
    parameter("row_security", "on", Bool, "Accepted for compatibility."),
    parameter(
        "search_path",
        "\"$user\", public",
        IdentifierList,
        "Schemas of names without one.",
    ),
    reported(fixed("server_encoding", "UTF8", "Text is UTF-8.")),
    reported(fixed(
        "server_version",
        SERVER_VERSION,
        "The PostgreSQL whose dialect is spoken.",
    )),
    fixed(
        "server_version_num",
        SERVER_VERSION_NUM,
        "server_version as a number.",
    ),
    reported(fixed("session_authorization", "", "The user of the session.")),
    parameter(
        "session_replication_role",
        "origin",
        ParameterKind::Enum(&["origin", "replica", "local"]),
        "Accepted for compatibility.",
    ),
    fixed("ssl", "off", "Whether this connection is encrypted."),
    reported(parameter(
        "standard_conforming_strings",
        "on",
        ParameterKind::Enum(&["on"]),
        "Backslashes in strings are plain.",
    )),
    parameter(
        "statement_timeout",
        "0",
        Milliseconds,
        "Longest time of a statement; 0 is without bound.",
    ),
    parameter(
        "synchronous_commit",
        "on",
        ParameterKind::Enum(&["on", "off", "local", "remote_write", "remote_apply"]),
        "Accepted for compatibility.",
    ),
    parameter("synchronize_seqscans", "on", Bool, "Accepted for compatibility."),
    reported(parameter(
        "TimeZone",
        "UTC",
        TimeZone,
        "Zone in which times are shown and read.",
    )),
    parameter(
        "transaction_deferrable",
        "off",
        Bool,
        "Accepted for compatibility.",
    ),
    parameter(
        "transaction_isolation",
        "read committed",
        ISOLATION,
        "Accepted for compatibility.",
    ),
    parameter("transaction_read_only", "on", Bool, "Lakegate only reads."),
    parameter(
        "transform_null_equals",
        "off",
        Bool,
        "Accepted for compatibility.",
    ),
    fixed("wal_level", "replica", "Lakegate has no log of writes."),
    parameter(
        "work_mem",
        "4MB",
        Text,
        "Accepted for compatibility: memory is pooled over queries.",
    ),
    parameter(
        "xmloption",
        "content",
        ParameterKind::Enum(&["content", "document"]),
        "Accepted for compatibility.",
    ),
];

/// The known setting of that name; names match whatever their case, as in PostgreSQL.
pub fn find_parameter(name: &str) -> Option<&'static Parameter> {
    PARAMETERS
        .iter()
        .find(|parameter| parameter.name.eq_ignore_ascii_case(name))
}
