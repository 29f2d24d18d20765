//! The names and columns of the system tables.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use crate::metadata::{RelationKind, TableMetadata, columns_of};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    DataSources,
    Replicas,
    Exports,
    ExportRuns,
    RetentionPolicies,
    Views,
    Events,
    Queries,
}

pub(crate) struct Definition {
    pub(crate) which: Which,
    pub(crate) name: &'static str,
    pub(crate) comment: &'static str,
    pub(crate) schema: SchemaRef,
}

/// `name type` pairs, with the types text, bigint, double, boolean, time and array of text.
fn schema_of(columns: &[(&str, char)]) -> SchemaRef {
    let fields = columns.iter().map(|(name, kind)| {
        let data_type = match kind {
            'n' => DataType::Int64,
            'f' => DataType::Float64,
            'b' => DataType::Boolean,
            'a' => DataType::new_list(DataType::Utf8, true),
            't' => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            _ => DataType::Utf8,
        };
        Field::new(*name, data_type, true)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

pub(crate) static TABLES: LazyLock<Vec<Definition>> = LazyLock::new(|| {
    vec![
        Definition {
            which: Which::DataSources,
            name: "data_sources",
            comment: "Every DataSource and whether it is served.",
            schema: schema_of(&[
                ("namespace", 's'),
                ("name", 's'),
                ("ready", 'b'),
                ("reason", 's'),
                ("message", 's'),
                ("type", 's'),
                ("catalog", 's'),
                ("endpoint", 's'),
                ("server_version", 's'),
                ("tables", 'n'),
                ("last_discovery", 't'),
                ("catalog_revision", 's'),
                ("suspended", 'b'),
                ("description", 's'),
                ("created", 't'),
                ("rejected_edit", 's'),
            ]),
        },
        Definition {
            which: Which::Replicas,
            name: "replicas",
            comment: "Every replica of a DataSource, as this process last found it.",
            schema: schema_of(&[
                ("namespace", 's'),
                ("data_source", 's'),
                ("replica", 's'),
                ("readable", 'b'),
                ("lag_seconds", 'f'),
                ("problem", 's'),
            ]),
        },
        Definition {
            which: Which::Exports,
            name: "exports",
            comment: "Every Export, its last and its next run.",
            schema: schema_of(&[
                ("namespace", 's'),
                ("name", 's'),
                ("ready", 'b'),
                ("reason", 's'),
                ("message", 's'),
                ("source", 's'),
                ("destination", 's'),
                ("schedule", 's'),
                ("time_zone", 's'),
                ("suspended", 'b'),
                ("last_run", 's'),
                ("last_run_name", 's'),
                ("rows", 'n'),
                ("bytes", 'n'),
                ("duration", 's'),
                ("last_success", 't'),
                ("next_run", 't'),
                ("active_run", 's'),
                ("consecutive_failures", 'n'),
                ("description", 's'),
                ("created", 't'),
                ("rejected_edit", 's'),
            ]),
        },
        Definition {
            which: Which::ExportRuns,
            name: "export_runs",
            comment: "Every run of an Export that is still kept.",
            schema: schema_of(&[
                ("namespace", 's'),
                ("name", 's'),
                ("export", 's'),
                ("state", 's'),
                ("reason", 's'),
                ("message", 's'),
                ("cause", 's'),
                ("attempts", 'n'),
                ("rows", 'n'),
                ("bytes", 'n'),
                ("files", 'n'),
                ("started", 't'),
                ("ended", 't'),
                ("duration", 's'),
                ("snapshot_id", 's'),
                ("progress_rows", 'n'),
                ("expected_rows", 'n'),
                ("scheduled", 't'),
                ("created", 't'),
            ]),
        },
        Definition {
            which: Which::RetentionPolicies,
            name: "retention_policies",
            comment: "Every RetentionPolicy and its last pass.",
            schema: schema_of(&[
                ("namespace", 's'),
                ("name", 's'),
                ("ready", 'b'),
                ("reason", 's'),
                ("message", 's'),
                ("kind", 's'),
                ("mode", 's'),
                ("schedule", 's'),
                ("suspended", 'b'),
                ("last_run", 's'),
                ("last_pass", 't'),
                ("next_pass", 't'),
                ("marked_rows", 'n'),
                ("deleted_rows", 'n'),
                ("active_run", 's'),
                ("created", 't'),
                ("rejected_edit", 's'),
            ]),
        },
        Definition {
            which: Which::Views,
            name: "views",
            comment: "Every saved query.",
            schema: schema_of(&[
                ("namespace", 's'),
                ("name", 's'),
                ("view", 's'),
                ("ready", 'b'),
                ("reason", 's'),
                ("message", 's'),
                ("sql", 's'),
                ("parameters", 's'),
                ("columns", 'a'),
                ("dependencies", 'a'),
                ("description", 's'),
                ("tags", 'a'),
                ("suspended", 'b'),
                ("created", 't'),
                ("rejected_edit", 's'),
            ]),
        },
        Definition {
            which: Which::Events,
            name: "events",
            comment: "What happened to resources, newest first.",
            schema: schema_of(&[
                ("last", 't'),
                ("first", 't'),
                ("count", 'n'),
                ("type", 's'),
                ("kind", 's'),
                ("namespace", 's'),
                ("name", 's'),
                ("reason", 's'),
                ("message", 's'),
            ]),
        },
        Definition {
            which: Which::Queries,
            name: "queries",
            comment: "Running and recent queries, newest first.",
            schema: schema_of(&[
                ("id", 'n'),
                ("session_id", 'n'),
                ("user", 's'),
                ("database", 's'),
                ("sql", 's'),
                ("state", 's'),
                ("started", 't'),
                ("ended", 't'),
                ("duration_ms", 'f'),
                ("rows", 'n'),
                ("error", 's'),
                ("sqlstate", 's'),
                ("remote_requests", 's'),
                ("remote_rows", 'n'),
                ("remote_bytes", 'n'),
            ]),
        },
    ]
});

/// The system tables as metadata.
pub(crate) fn metadata() -> Arc<Vec<Arc<TableMetadata>>> {
    static METADATA: LazyLock<Arc<Vec<Arc<TableMetadata>>>> = LazyLock::new(|| {
        let mut tables: Vec<Arc<TableMetadata>> = TABLES
            .iter()
            .map(|definition| {
                Arc::new(TableMetadata {
                    name: definition.name.to_owned(),
                    kind: RelationKind::View,
                    comment: Some(definition.comment.to_owned()),
                    rows: None,
                    columns: columns_of(&definition.schema),
                    primary_key: Vec::new(),
                    definition: None,
                })
            })
            .collect();
        tables.sort_by(|a, b| a.name.cmp(&b.name));
        Arc::new(tables)
    });
    Arc::clone(&METADATA)
}
