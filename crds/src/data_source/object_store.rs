//! Buckets and directories: files read as tables, and lakes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::DeclaredColumn;

/// Files in a bucket or a directory, read as tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.s3) != has(self.directory)",
    "message": "set exactly one of s3 and directory",
}]))]
pub struct ObjectStoreSpec {
    /// A bucket of S3 or of a compatible store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Spec>,

    /// A directory of this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<DirectorySpec>,

    /// The tables, each a set of files.
    #[schemars(
        length(min = 1, max = 256),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub tables: Vec<ObjectStoreTable>,
}

/// A directory of this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DirectorySpec {
    /// Path of the directory; a relative one is resolved against the manifest's folder.
    #[schemars(length(min = 1, max = 4096))]
    pub path: String,
}

/// A bucket of S3 or of a compatible store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct S3Spec {
    /// Name of the bucket.
    #[schemars(length(min = 3, max = 63))]
    pub bucket: String,

    /// Keys below this prefix are used, without `/` at either end. Default: the whole bucket.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^[^/](.*[^/])?$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,

    /// Region of the bucket. Default: `us-east-1`.
    #[schemars(length(min = 1, max = 64))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,

    /// URL of a compatible store. Default: Amazon S3 of the region.
    #[schemars(length(min = 1, max = 2048), regex(pattern = r"^https?://"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,

    /// Whether the bucket is part of the path rather than of the host name; most compatible
    /// stores need true. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_style: Option<bool>,

    /// Where the keys come from. Default: the environment (ambient).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<S3Credentials>,

    /// Key of the key service with which new objects are encrypted. Default: the bucket's own
    /// encryption.
    #[schemars(length(min = 1, max = 2048))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_key_id: Option<String>,
}

impl S3Spec {
    /// Region of the bucket, or its default.
    pub fn region(&self) -> &str {
        self.region.as_deref().unwrap_or("us-east-1")
    }

    /// The Secret that holds the keys; none when they come from the environment.
    pub fn secret_ref(&self) -> Option<&S3SecretReference> {
        self.credentials.as_ref()?.secret_ref.as_ref()
    }
}

/// Where the keys for S3 come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.secretRef) != has(self.ambient)",
    "message": "set exactly one of secretRef and ambient",
}]))]
pub struct S3Credentials {
    /// Secret in the same namespace that holds the keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<S3SecretReference>,

    /// The environment: variables, a service account's role, the instance's role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ambient: Option<AmbientCredentials>,
}

/// The environment: variables, a service account's role, the instance's role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AmbientCredentials {}

/// A Secret that holds keys for S3.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct S3SecretReference {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// Key of the access key id. Default: `accessKeyId`.
    #[schemars(length(min = 1, max = 253))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key_id_key: Option<String>,

    /// Key of the secret access key. Default: `secretAccessKey`.
    #[schemars(length(min = 1, max = 253))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_access_key_key: Option<String>,

    /// Key of the session token. Default: none.
    #[schemars(length(min = 1, max = 253))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_token_key: Option<String>,
}

impl S3SecretReference {
    /// Key of the access key id, or its default.
    pub fn access_key_id_key(&self) -> &str {
        self.access_key_id_key.as_deref().unwrap_or("accessKeyId")
    }

    /// Key of the secret access key, or its default.
    pub fn secret_access_key_key(&self) -> &str {
        self.secret_access_key_key.as_deref().unwrap_or("secretAccessKey")
    }

    /// Every key of the Secret that is read.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        [self.access_key_id_key(), self.secret_access_key_key()]
            .into_iter()
            .chain(self.session_token_key.as_deref())
    }
}

/// A set of files that form one table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!has(self.csv) || !has(self.format) || self.format == 'Csv'",
        "message": "belongs to format Csv; remove it or set format: Csv",
        "fieldPath": ".csv",
    },
    {
        "rule": "!has(self.compression) || !has(self.format) || self.format != 'Parquet'",
        "message": "belongs to text files; Parquet files are compressed inside",
        "fieldPath": ".compression",
    },
]))]
pub struct ObjectStoreTable {
    /// Name of the table; its schema in SQL is `default`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z_][a-z0-9_]*$"))]
    pub name: String,

    /// Files of the table below the bucket's prefix or the directory: a file, a directory (every
    /// file below it), or a pattern with `*`, `**`, `?` and `[...]`.
    #[schemars(
        length(min = 1, max = 1024),
        extend("x-kubernetes-validations" = [{
            "rule": "!self.startsWith('/') && !self.matches('(^|/)[.][.](/|$)')",
            "message": "path stays below the bucket's prefix or the directory: no leading / and no ..",
        }])
    )]
    pub path: String,

    /// Format of the files: Parquet, Csv, JsonLines or AlbLog. Default: by the file name's ending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<FileFormat>,

    /// Compression around text files: None, Gzip, Zstd, Bzip2 or Xz. Default: by the file name's
    /// ending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression: Option<FileCompression>,

    /// How CSV files are read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub csv: Option<CsvOptions>,

    /// Columns of the table with their types. Default: those found in the files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2000))]
    pub columns: Vec<DeclaredColumn>,

    /// Columns whose values stand in the paths, as in `day=2026-11-01/`, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub partition_columns: Vec<DeclaredColumn>,

    /// What this table holds, for people.
    #[schemars(length(max = 4096))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// Formats of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = crate::text::plain_enum)]
pub enum FileFormat {
    /// Apache Parquet.
    Parquet,
    /// Comma-separated values.
    Csv,
    /// One JSON object per line.
    JsonLines,
    /// Access log of an AWS application load balancer.
    AlbLog,
}

/// Compression around text files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = crate::text::plain_enum)]
pub enum FileCompression {
    None,
    Gzip,
    Zstd,
    Bzip2,
    Xz,
}

/// How CSV files are read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CsvOptions {
    /// Whether the first line names the columns. Default: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<bool>,

    /// Character between values. Default: `,`.
    #[schemars(length(min = 1, max = 1))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<String>,

    /// Character around values. Default: `"`.
    #[schemars(length(min = 1, max = 1))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quote: Option<String>,

    /// Character before a quote within a value. Default: the quote doubled.
    #[schemars(length(min = 1, max = 1))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub escape: Option<String>,

    /// Text that stands for no value. Default: the empty text.
    #[schemars(length(max = 64))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub null_value: Option<String>,
}

/// A lake: where exports go, and a catalog of the Iceberg tables there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.s3) != has(self.directory)",
    "message": "set exactly one of s3 and directory",
}]))]
pub struct LakeSpec {
    /// A bucket of S3 or of a compatible store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Spec>,

    /// A directory of this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<LakeDirectorySpec>,
}

/// A lake in a directory of this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LakeDirectorySpec {
    /// Path of the directory; a relative one is resolved against the manifest's folder.
    /// Default: `lake` in the state directory.
    #[schemars(length(min = 1, max = 4096))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}
