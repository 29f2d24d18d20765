//! What is known of each source and view, for whoever writes their status.

use jiff::Timestamp;

/// The last word about one source.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SourceHealth {
    /// None until the first attempt ends.
    pub reachable: Option<bool>,
    /// Why not, as a condition's reason; None while reachable.
    pub reason: Option<String>,
    /// Why not, in words; names the source, holds no secret.
    pub message: Option<String>,
    /// No retry will help until the spec changes.
    pub terminal: bool,
    pub server_version: Option<String>,
    /// The tables served now; the last good ones while the source is down.
    pub tables: u64,
    /// Grows when the set of tables or their columns changes.
    pub catalog_revision: u64,
    /// The last discovery that succeeded.
    pub last_discovery: Option<Timestamp>,
    /// Where the source is; no secret.
    pub endpoint: String,
    /// The kind of store, as the spec's field names it.
    pub kind: String,
    /// The catalog name it is served under.
    pub catalog: String,
    /// The generation of the spec this is about.
    pub generation: i64,
}

/// The last word about one view.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ViewHealth {
    /// None: it plans. Some: why it does not.
    pub problem: Option<String>,
    /// The condition's reason when it does not plan: PlanFailed or InvalidSpec.
    pub reason: Option<String>,
    /// The columns it returns.
    pub columns: Vec<(String, String)>,
    pub generation: i64,
}
