//! Views with parameters: functions of pg_proc, and no relations.

use std::collections::HashMap;

use lakegate_federation::{SchemaMetadata, TableMetadata};

use super::{Builder, Cell, OWNER_OID};

/// `pg_proc` in pg_class, as in every PostgreSQL.
const PG_PROC_OID: i64 = 1255;
/// The language `sql`.
const SQL_OID: i64 = 14;
/// The type `record`.
const RECORD_OID: i64 = 2249;

impl Builder<'_> {
    pub(super) fn view_function(&mut self, schema: &SchemaMetadata, namespace: i64, view: &TableMetadata) {
        let Some(function) = self.metadata.function(&view.name) else {
            return;
        };
        let oid = self
            .oids
            .get(&["relation", self.database, &schema.name, &view.name]);
        let types: Vec<i64> = function
            .parameters
            .iter()
            .map(|parameter| i64::from(parameter.pg_type.oid()))
            .collect();
        let defaults = function
            .parameters
            .iter()
            .filter(|parameter| parameter.default.is_some())
            .count();
        self.catalog("pg_proc", row! {
            "oid": oid, "proname": view.name.as_str(), "pronamespace": namespace, "proowner": OWNER_OID,
            "prolang": SQL_OID, "procost": 100, "prorows": 1000, "provariadic": 0, "prokind": "f",
            "prosecdef": false, "proleakproof": false, "proisstrict": false, "proretset": true, "provolatile": "s",
            "proparallel": "s", "pronargs": types.len() as i64, "pronargdefaults": defaults as i64,
            "prorettype": RECORD_OID, "proargtypes": Cell::Ints(types),
            "prosrc": view.definition.clone().unwrap_or_default(),
        });
        if let Some(comment) = &view.comment {
            self.catalog(
                "pg_description",
                row! {
                    "objoid": oid, "classoid": PG_PROC_OID, "objsubid": 0, "description": comment.as_str(),
                },
            );
            self.snapshot.comments.insert(oid, comment.clone());
        }
    }
}
