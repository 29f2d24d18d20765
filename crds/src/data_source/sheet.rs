//! Spreadsheets.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::CsvOptions;
use crate::{DeclaredColumn, Duration, SecretKeyReference};

/// A spreadsheet: Google Sheets, or CSV behind a URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.google) != has(self.csv)",
    "message": "set exactly one of google and csv",
}]))]
pub struct SpreadsheetSpec {
    /// A Google spreadsheet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub google: Option<GoogleSheetSpec>,

    /// CSV behind a URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub csv: Option<CsvUrlSpec>,

    /// How old a copy may be before it is read anew. Default: 10m.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh: Option<Duration>,
}

/// A Google spreadsheet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GoogleSheetSpec {
    /// Id of the spreadsheet: the part of its URL between `/d/` and `/edit`.
    #[schemars(length(min = 1, max = 128))]
    pub spreadsheet_id: String,

    /// Ranges that are read as tables.
    #[schemars(length(min = 1, max = 64))]
    pub ranges: Vec<SheetRange>,

    /// How Lakegate signs in. Default: not at all, which reads public sheets only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<GoogleCredentials>,
}

/// How Lakegate signs in to Google.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.serviceAccountRef) != has(self.apiKeyRef)",
    "message": "set exactly one of serviceAccountRef and apiKeyRef",
}]))]
pub struct GoogleCredentials {
    /// Secret key that holds a service account's JSON key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account_ref: Option<SecretKeyReference>,

    /// Secret key that holds an API key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key_ref: Option<SecretKeyReference>,
}

/// A range of a spreadsheet that is read as a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SheetRange {
    /// Name of the table; its schema in SQL is `default`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z_][a-z0-9_]*$"))]
    pub name: String,

    /// Cells in A1 notation, such as `Campaigns!A:F`; the first row names the columns.
    #[schemars(length(min = 1, max = 256))]
    pub range: String,

    /// Columns of the table with their types. Default: those found in the cells.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 512))]
    pub columns: Vec<DeclaredColumn>,
}

/// CSV behind a URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CsvUrlSpec {
    /// URL that answers with the CSV text.
    #[schemars(length(min = 1, max = 2048), regex(pattern = r"^https?://"))]
    pub url: String,

    /// Name of the table; its schema in SQL is `default`. Default: `sheet`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z_][a-z0-9_]*$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,

    /// How the text is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<CsvOptions>,

    /// Columns of the table with their types. Default: those found in the text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 512))]
    pub columns: Vec<DeclaredColumn>,
}
