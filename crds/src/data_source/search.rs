//! Redis and Elasticsearch.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Endpoint, S3Credentials};
use crate::{ConnectionLimits, Credentials, DeclaredColumn, SecretKeyReference, TlsSpec};

/// A Redis or Valkey server or cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedisSpec {
    /// Servers; of a cluster, some of its nodes are enough.
    #[schemars(length(min = 1, max = 64))]
    pub nodes: Vec<Endpoint>,

    /// Whether the nodes form a Redis Cluster. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<bool>,

    /// Number of the database; its schema in SQL is `db<N>`. Default: 0.
    #[schemars(range(min = 0, max = 65535))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<u16>,

    /// Password, and user name where access lists are in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<RedisCredentials>,

    /// Encryption of the connection. Default: mode VerifyFull.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSpec>,

    /// What Lakegate may cost the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<ConnectionLimits>,

    /// Groups of keys that are read as tables.
    #[schemars(length(min = 1, max = 256))]
    pub keyspaces: Vec<Keyspace>,
}

/// Password of a Redis server, always by reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedisCredentials {
    /// Secret in the same namespace with the key `password` and, where access lists are in use,
    /// `username`.
    pub secret_ref: RedisPasswordReference,
}

/// A Secret that holds a password and perhaps a user name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedisPasswordReference {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// Key of the user name. Default: none, the server's default user.
    #[schemars(length(min = 1, max = 253))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username_key: Option<String>,

    /// Key of the password. Default: `password`.
    #[schemars(length(min = 1, max = 253))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_key: Option<String>,
}

/// Keys that match one pattern, read as one table with the column `key` first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Keyspace {
    /// Name of the table.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z_][a-z0-9_]*$"))]
    pub name: String,

    /// Pattern of the keys, as SCAN takes it, such as `session:*`.
    #[schemars(length(min = 1, max = 512))]
    pub r#match: String,

    /// Type of the values: String, Hash, List, Set, SortedSet, Stream or Json.
    pub r#type: KeyspaceType,

    /// Columns of the table: fields of a Hash, Stream or Json value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 512))]
    pub columns: Vec<DeclaredColumn>,
}

/// Types of Redis values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = crate::text::plain_enum)]
pub enum KeyspaceType {
    String,
    Hash,
    List,
    Set,
    SortedSet,
    Stream,
    Json,
}

/// An Elasticsearch or OpenSearch cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ElasticsearchSpec {
    /// URLs of the cluster's nodes or of a balancer in front.
    #[schemars(
        length(min = 1, max = 64),
        inner(length(min = 1, max = 2048), regex(pattern = r"^https?://"))
    )]
    pub urls: Vec<String>,

    /// Indices and aliases to offer as tables, with `*` for any text.
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 255)))]
    pub indices: Vec<String>,

    /// How Lakegate signs in. Default: not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<ElasticsearchCredentials>,

    /// Encryption of the connection; used with https URLs. Default: mode VerifyFull.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSpec>,

    /// What Lakegate may cost the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<ConnectionLimits>,
}

/// How Lakegate signs in to Elasticsearch or OpenSearch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "[has(self.basic), has(self.apiKey), has(self.awsSigV4)].filter(it, it).size() == 1",
    "message": "set exactly one of basic, apiKey and awsSigV4",
}]))]
pub struct ElasticsearchCredentials {
    /// User name and password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic: Option<Credentials>,

    /// Secret key that holds an encoded API key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key: Option<SecretKeyReference>,

    /// Requests signed for Amazon OpenSearch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aws_sig_v4: Option<AwsSigV4Credentials>,
}

/// Requests signed for Amazon OpenSearch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AwsSigV4Credentials {
    /// Region of the domain.
    #[schemars(length(min = 1, max = 64))]
    pub region: String,

    /// Name of the service that signatures are for. Default: `es`.
    #[schemars(length(min = 1, max = 32))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,

    /// Where the signing keys come from. Default: the environment (ambient).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<S3Credentials>,
}
