//! View: a saved, reusable, parameterised query.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data_source::sql_name;

/// A saved query, in SQL as `views.<name>` in every database of the gateway.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "lakegate.dev",
    version = "v1alpha1",
    kind = "View",
    plural = "views",
    shortname = "view",
    category = "data",
    namespaced,
    status = "ViewStatus",
    derive = "PartialEq",
    doc = "A saved query, in SQL as views.<name> in every database of the gateway.",
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
    printcolumn(name = "View", type_ = "string", json_path = ".status.sqlName"),
    printcolumn(
        name = "Description",
        type_ = "string",
        json_path = ".spec.description",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct ViewSpec {
    /// Name in SQL, as in `views.shop_daily`. Default: the resource's name with `-` as `_`.
    /// Unique over all namespaces that one Lakegate serves: the oldest View keeps it.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z_][a-z0-9_]*$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,

    /// Parameters, used in `sql` as `$name` and given as in `views.shop_daily(day => date '2026-11-01')`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub parameters: Vec<ViewParameter>,

    /// The query: one SELECT over any catalogs and other views.
    #[schemars(
        length(min = 1, max = 16384),
        extend("x-kubernetes-validations" = [{
            "rule": "self.matches('[^ \\t\\r\\n]')",
            "message": "must not be empty",
        }])
    )]
    pub sql: String,

    /// Words about the columns, for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 1000),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub columns: Vec<ViewColumn>,

    /// What the view answers, for people.
    #[schemars(length(max = 4096))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,

    /// Words to find it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 63)))]
    pub tags: Vec<String>,

    /// True takes the view out of service without deleting it. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
}

impl ViewSpec {
    /// Name of the view in SQL: `name`, else the resource's name with `-` as `_`.
    pub fn sql_name(&self, metadata_name: &str) -> String {
        self.name.clone().unwrap_or_else(|| sql_name(metadata_name))
    }

    /// Whether the view is out of service by the user's wish.
    pub fn is_suspended(&self) -> bool {
        self.suspend.unwrap_or(false)
    }
}

/// A parameter of a view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ViewParameter {
    /// Name, used in `sql` as `$name`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z_][a-z0-9_]*$"))]
    pub name: String,

    /// SQL type, such as `date` or `bigint`.
    #[schemars(length(min = 1, max = 64))]
    pub r#type: String,

    /// SQL expression used where the parameter is not given. Absent: it must be given.
    #[schemars(length(min = 1, max = 1024))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,

    /// What it means, for people.
    #[schemars(length(max = 1024))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// Words about a column of a view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ViewColumn {
    /// Name of the column.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,

    /// What it holds, for people.
    #[schemars(length(max = 1024))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// What Lakegate knows about the view.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ViewStatus {
    /// Generation of the spec that this status describes; -1 before the first look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Ready, Reconciling, Stalled, Suspended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,

    /// Last value of the annotation `lakegate.dev/requestedAt` that was acted upon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,

    /// Name in SQL, such as `views.shop_daily`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sql_name: Option<String>,

    /// What the query names: `catalog.schema.table`, `views.name`, `lakegate.table`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<String>,

    /// Columns as planned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<ViewColumnStatus>,

    /// Revision of the catalogs with which it was planned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catalog_revision: Option<String>,
}

/// A planned column of a view.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ViewColumnStatus {
    /// Name of the column.
    pub name: String,

    /// SQL type of the column.
    pub r#type: String,

    /// What it holds, from `spec.columns`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}
