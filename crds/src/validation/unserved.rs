//! Fields and kinds that the API accepts but no code serves yet.
//!
//! A resource that uses one is refused with the reason NotImplemented and starts nothing. Each line
//! goes when its capability comes.

use super::Problem;
use crate::{
    AnyResource, DataSourceSpec, ExportRunSpec, ExportSpec, FileFormat, SourceKind, TableFormat,
    conditions::Reason,
};

/// Every field (or the kind) of a resource that is not served yet.
pub fn unserved(resource: &AnyResource) -> Vec<Problem> {
    let mut found = Unserved(Vec::new());
    match resource {
        AnyResource::DataSource(object) => found.data_source(&object.spec),
        AnyResource::Export(object) => found.export(&object.spec),
        AnyResource::ExportRun(object) => found.export_run(&object.spec),
        AnyResource::RetentionPolicy(_) => found.add("", "RetentionPolicy is not served by this version yet"),
        AnyResource::View(_) => {}
    }
    found.0
}

struct Unserved(Vec<Problem>);

impl Unserved {
    fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem::new(field, Reason::NotImplemented, message));
    }

    /// Reports a field, by its last name, where it is set.
    fn field(&mut self, set: bool, field: impl Into<String>) {
        if set {
            let field = field.into();
            let name = field.rsplit('.').next().unwrap_or_default().to_owned();
            self.add(
                field,
                format!("{name} is not served by this version yet; remove it"),
            );
        }
    }

    fn data_source(&mut self, spec: &DataSourceSpec) {
        if let Some(kind) = spec.source_kind()
            && matches!(
                kind,
                SourceKind::Redis | SourceKind::Elasticsearch | SourceKind::Spreadsheet
            )
        {
            let field = kind.field();
            self.add(
                format!("spec.{field}"),
                format!("{field} is not served by this version yet"),
            );
        }
        if let Some(postgres) = &spec.postgres {
            self.field(
                postgres.primary.write_credentials.is_some(),
                "spec.postgres.primary.writeCredentials",
            );
        }
        if let Some(mysql) = &spec.mysql {
            self.field(
                mysql.primary.write_credentials.is_some(),
                "spec.mysql.primary.writeCredentials",
            );
        }
        if let Some(store) = &spec.object_store {
            if store.s3.as_ref().is_some_and(|s3| s3.kms_key_id.is_some()) {
                self.add(
                    "spec.objectStore.s3.kmsKeyId",
                    "kmsKeyId is for what is written, and files are only read: the bucket decrypts them by itself; remove it",
                );
            }
            for (index, table) in store.tables.iter().enumerate() {
                if table.format == Some(FileFormat::AlbLog) {
                    self.add(
                        format!("spec.objectStore.tables[{index}].format"),
                        "format AlbLog is not served by this version yet; use Parquet, Csv or JsonLines",
                    );
                }
            }
        }
        if let Some(access) = &spec.access {
            self.field(access.query == Some(false), "spec.access.query");
            self.field(access.export == Some(false), "spec.access.export");
        }
    }

    fn export(&mut self, spec: &ExportSpec) {
        self.field(spec.from.index.is_some(), "spec.from.index");
        self.field(spec.from.keyspace.is_some(), "spec.from.keyspace");
        let assertion = spec.assert.as_ref().and_then(|it| it.k_anonymity.as_ref());
        if spec.incremental.is_some() && assertion.is_some() {
            self.add(
                "spec.assert.kAnonymity",
                "kAnonymity of an incremental export is not served by this version yet: a run reads changed rows only; \
                 remove one of both",
            );
        }
        if spec.incremental.is_some() && spec.destination.format() == TableFormat::Parquet {
            self.add(
                "spec.incremental",
                "is not served with format Parquet, whose runs are plain directories; use format Iceberg",
            );
        }
    }

    fn export_run(&mut self, spec: &ExportRunSpec) {
        self.field(spec.retention_policy_ref.is_some(), "spec.retentionPolicyRef");
        self.field(spec.window.is_some(), "spec.window");
        if let Some(resolved) = &spec.resolved {
            // A run carries its Export's spec: the same refusals hold, so that no worker ever
            // gets a spec that it would serve only in part.
            let mut inner = Self(Vec::new());
            inner.export(resolved);
            self.0.extend(inner.0.into_iter().map(|problem| Problem {
                field: problem.field.replacen("spec", "spec.resolved", 1),
                ..problem
            }));
        }
    }
}
