//! DataSource: where data lives. Each one is a catalog of the gateway.

mod object_store;
mod relational;
mod search;
mod sheet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use object_store::{
    AmbientCredentials, CsvOptions, DirectorySpec, FileCompression, FileFormat, LakeDirectorySpec, LakeSpec,
    ObjectStoreSpec, ObjectStoreTable, S3Credentials, S3SecretReference, S3Spec,
};
pub use relational::{
    Endpoint, MysqlSpec, OnReplicaLag, PostgresSpec, PrimaryEndpoint, SqliteSpec, UnconstrainedNumeric,
    ZeroDates,
};
pub use search::{
    AwsSigV4Credentials, ElasticsearchCredentials, ElasticsearchSpec, Keyspace, KeyspaceType,
    RedisCredentials, RedisPasswordReference, RedisSpec,
};
pub use sheet::{CsvUrlSpec, GoogleCredentials, GoogleSheetSpec, SheetRange, SpreadsheetSpec};

use crate::Duration;

/// A store that Lakegate reads: a database, cache, search engine, bucket or spreadsheet, or the
/// lake that exports are written to. Its catalog name is the first part of
/// `catalog.schema.table` in SQL.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "lakegate.dev",
    version = "v1alpha1",
    kind = "DataSource",
    plural = "datasources",
    shortname = "ds",
    category = "data",
    namespaced,
    status = "DataSourceStatus",
    derive = "PartialEq",
    doc = "A store that Lakegate reads, or the lake that exports are written to. Each DataSource is one catalog in SQL.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = 1
    ),
    printcolumn(name = "Type", type_ = "string", json_path = ".status.type"),
    printcolumn(name = "Catalog", type_ = "string", json_path = ".status.catalogName"),
    printcolumn(
        name = "Endpoint",
        type_ = "string",
        json_path = ".status.endpoint",
        priority = 1
    ),
    printcolumn(name = "Tables", type_ = "integer", json_path = ".status.tables"),
    printcolumn(name = "Changed", type_ = "date", json_path = ".status.lastDiscoveryTime"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "[has(self.postgres), has(self.mysql), has(self.sqlite), has(self.redis), has(self.elasticsearch), has(self.objectStore), has(self.spreadsheet), has(self.lake)].filter(it, it).size() == 1",
        "message": "set exactly one of postgres, mysql, sqlite, redis, elasticsearch, objectStore, spreadsheet and lake",
    },
    {
        "rule": "has(self.postgres) == has(oldSelf.postgres) && has(self.mysql) == has(oldSelf.mysql) && has(self.sqlite) == has(oldSelf.sqlite) && has(self.redis) == has(oldSelf.redis) && has(self.elasticsearch) == has(oldSelf.elasticsearch) && has(self.objectStore) == has(oldSelf.objectStore) && has(self.spreadsheet) == has(oldSelf.spreadsheet) && has(self.lake) == has(oldSelf.lake)",
        "message": "the kind of store is immutable; create another DataSource",
    },
    {
        "rule": "has(self.catalogName) == has(oldSelf.catalogName) && (!has(self.catalogName) || self.catalogName == oldSelf.catalogName)",
        "message": "catalogName is immutable, because queries and views name it; create another DataSource",
        "fieldPath": ".catalogName",
    },
]))]
pub struct DataSourceSpec {
    /// First part of `catalog.schema.table` in SQL. Default: the resource's name with `-` as `_`.
    /// Unique over all namespaces that one Lakegate serves: the oldest DataSource keeps it.
    /// Immutable.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z_][a-z0-9_]*$"),
        extend("x-kubernetes-validations" = [{
            "rule": "!(self in ['lakegate', 'views', 'information_schema']) && !self.startsWith('pg_')",
            "message": "catalogName lakegate, views, information_schema and names that begin with pg_ are reserved",
        }])
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catalog_name: Option<String>,

    /// A PostgreSQL database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postgres: Option<PostgresSpec>,

    /// A MySQL or MariaDB server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mysql: Option<MysqlSpec>,

    /// A SQLite file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sqlite: Option<SqliteSpec>,

    /// A Redis or Valkey server or cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis: Option<RedisSpec>,

    /// An Elasticsearch or OpenSearch cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elasticsearch: Option<ElasticsearchSpec>,

    /// Files in a bucket or a directory, read as tables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_store: Option<ObjectStoreSpec>,

    /// A spreadsheet: Google Sheets, or CSV behind a URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spreadsheet: Option<SpreadsheetSpec>,

    /// A lake: where exports go, and a catalog of the Iceberg tables there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lake: Option<LakeSpec>,

    /// Which tables are looked for in the store, and how often.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discovery: Option<DiscoverySpec>,

    /// What the store may be used for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<AccessSpec>,

    /// True takes the catalog out of service without deleting it. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,

    /// What this store is, for people.
    #[schemars(length(max = 4096))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// Which tables are looked for in the store, and how often.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DiscoverySpec {
    /// Time between two looks at the store's tables and columns, at least 1m. Default: 10m.
    #[schemars(extend("x-kubernetes-validations" = [{
        "rule": "!self.matches('^[0-9]{1,4}ms$') && !self.matches('^[0-5]?[0-9]s$')",
        "message": "must be at least 1m",
    }]))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,

    /// Tables to offer, as `schema.table` with `*` for any text. Default: every table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 128)))]
    pub include: Vec<String>,

    /// Tables to leave out, as `schema.table` with `*` for any text; wins over `include`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 128)))]
    pub exclude: Vec<String>,
}

impl DiscoverySpec {
    /// Default of `interval`, in seconds.
    pub const INTERVAL_SECONDS: u64 = 600;

    /// Interval in force.
    pub fn interval(&self) -> std::time::Duration {
        self.interval.as_ref().map_or(
            std::time::Duration::from_secs(Self::INTERVAL_SECONDS),
            Duration::get,
        )
    }

    /// Whether a table is offered: it matches `include` (or that is empty) and not `exclude`.
    pub fn offers(&self, schema: &str, table: &str) -> bool {
        let name = format!("{schema}.{table}");
        let matches = |patterns: &[String]| {
            patterns
                .iter()
                .any(|pattern| glob(pattern.as_bytes(), name.as_bytes()))
        };
        (self.include.is_empty() || matches(&self.include)) && !matches(&self.exclude)
    }
}

/// Matches `*` against any text; everything else is literal. Linear in time: on a mismatch only
/// the last `*` can usefully take more.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at_pattern, mut at_text) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while at_text < text.len() {
        if pattern.get(at_pattern) == Some(&b'*') {
            retry = Some((at_pattern, at_text));
            at_pattern += 1;
        } else if pattern.get(at_pattern) == Some(&text[at_text]) {
            at_pattern += 1;
            at_text += 1;
        } else if let Some((star, taken)) = retry {
            at_pattern = star + 1;
            at_text = taken + 1;
            retry = Some((star, taken + 1));
        } else {
            return false;
        }
    }
    pattern[at_pattern..].iter().all(|byte| *byte == b'*')
}

/// What a store may be used for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccessSpec {
    /// Whether SQL sessions may query it. Default: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<bool>,

    /// Whether exports may read it. Default: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub export: Option<bool>,
}

/// The kinds of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = crate::text::plain_enum)]
pub enum SourceKind {
    Postgres,
    Mysql,
    Sqlite,
    Redis,
    Elasticsearch,
    ObjectStore,
    Spreadsheet,
    Lake,
}

impl SourceKind {
    /// The field of `spec` that configures this kind.
    pub fn field(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
            Self::Sqlite => "sqlite",
            Self::Redis => "redis",
            Self::Elasticsearch => "elasticsearch",
            Self::ObjectStore => "objectStore",
            Self::Spreadsheet => "spreadsheet",
            Self::Lake => "lake",
        }
    }
}

impl std::fmt::Display for SourceKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Postgres => "Postgres",
            Self::Mysql => "Mysql",
            Self::Sqlite => "Sqlite",
            Self::Redis => "Redis",
            Self::Elasticsearch => "Elasticsearch",
            Self::ObjectStore => "ObjectStore",
            Self::Spreadsheet => "Spreadsheet",
            Self::Lake => "Lake",
        })
    }
}

impl DataSourceSpec {
    /// Name of the catalog: `catalogName`, else the resource's name with `-` as `_`.
    pub fn catalog_name(&self, metadata_name: &str) -> String {
        self.catalog_name
            .clone()
            .unwrap_or_else(|| sql_name(metadata_name))
    }

    /// The kind of store; None when the manifest names none (validation refuses that).
    pub fn source_kind(&self) -> Option<SourceKind> {
        [
            (self.postgres.is_some(), SourceKind::Postgres),
            (self.mysql.is_some(), SourceKind::Mysql),
            (self.sqlite.is_some(), SourceKind::Sqlite),
            (self.redis.is_some(), SourceKind::Redis),
            (self.elasticsearch.is_some(), SourceKind::Elasticsearch),
            (self.object_store.is_some(), SourceKind::ObjectStore),
            (self.spreadsheet.is_some(), SourceKind::Spreadsheet),
            (self.lake.is_some(), SourceKind::Lake),
        ]
        .into_iter()
        .find_map(|(set, kind)| set.then_some(kind))
    }

    /// Discovery in force, with its defaults.
    pub fn discovery(&self) -> DiscoverySpec {
        self.discovery.clone().unwrap_or_default()
    }

    /// Whether the catalog is out of service by the user's wish.
    pub fn is_suspended(&self) -> bool {
        self.suspend.unwrap_or(false)
    }
}

/// The SQL name that a resource's name stands for: `-` becomes `_`.
pub(crate) fn sql_name(metadata_name: &str) -> String {
    metadata_name.replace('-', "_")
}

/// What Lakegate knows about the store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DataSourceStatus {
    /// Generation of the spec that this status describes; -1 before the first look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Ready, Reachable, CatalogSynced, Reconciling, Stalled, Suspended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,

    /// Last value of the annotation `lakegate.dev/requestedAt` that was acted upon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,

    /// Kind of store: Postgres, Mysql, Sqlite, Redis, Elasticsearch, ObjectStore, Spreadsheet, Lake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#type: Option<SourceKind>,

    /// Name of the catalog in SQL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catalog_name: Option<String>,

    /// Where the store answers, without credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,

    /// Version that the store reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_version: Option<String>,

    /// Tables found at the last discovery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tables: Option<i64>,

    /// Changes whenever a table or column appears, changes or goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catalog_revision: Option<String>,

    /// End of the discovery that found what this status tells; one that finds the same again does
    /// not change it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_discovery_time: Option<Time>,

    /// Fingerprint of the credentials in use; it changes when a Secret is rotated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_version: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discovery_patterns_match_whole_names() {
        let spec = DiscoverySpec {
            include: vec!["public.*".into(), "*.audit".into()],
            exclude: vec!["public.tmp_*".into()],
            ..DiscoverySpec::default()
        };
        for (schema, table, offered) in [
            ("public", "orders", true),
            ("sales", "audit", true),
            ("sales", "audits", false),
            ("public", "tmp_1", false),
            ("publicx", "orders", false),
        ] {
            assert_eq!(spec.offers(schema, table), offered, "{schema}.{table}");
        }
        assert!(DiscoverySpec::default().offers("any", "thing"));
        assert!(glob(b"*a*b*c", b"xxaxxbxxbxxc"));
        assert!(!glob(b"*a*b*c", b"xxaxxcxxbxx"));
    }

    #[test]
    fn catalog_name_defaults_to_the_name() {
        let spec: DataSourceSpec =
            serde_json::from_value(serde_json::json!({"sqlite": {"path": "a.db"}})).unwrap();
        assert_eq!(spec.catalog_name("shop-db"), "shop_db");
        assert_eq!(spec.source_kind(), Some(SourceKind::Sqlite));
    }
}
