//! The rows of pg_catalog and information_schema of one database, from the federation's metadata.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, LazyLock},
};

use arrow::{array::RecordBatch, datatypes::Field, error::ArrowError};
use lakegate_federation::{
    ColumnMetadata, DatabaseMetadata, Metadata, RelationKind, SERVER_VERSION, SchemaMetadata, TableMetadata,
};

use super::{
    layout::{self, Cell, LAYOUT, Relation},
    oid::{Oids, Path},
};
use crate::types;

/// `pg_catalog` in pg_namespace.
pub const PG_CATALOG_OID: i64 = 11;
/// The role that owns everything: `lakegate`.
pub const OWNER_OID: i64 = 10;
/// The name of the role that owns everything.
pub const OWNER: &str = "lakegate";
/// `pg_class` in pg_class, as in every PostgreSQL.
pub const PG_CLASS_OID: i64 = 1259;
const PG_DATABASE_OID: i64 = 1262;
const PG_NAMESPACE_OID: i64 = 2615;
/// The access method of tables.
const HEAP_OID: i64 = 2;
/// The access method of keys.
const BTREE_OID: i64 = 403;
/// The collation of text columns.
const DEFAULT_COLLATION_OID: i64 = 100;
const UTF8: i64 = 6;

type Row = HashMap<&'static str, Cell>;

macro_rules! row {
    ($($name:literal : $value:expr),* $(,)?) => {
        HashMap::from([$(($name, Cell::from($value))),*])
    };
}

/// One relation of the database, as functions such as `pg_get_viewdef` and casts to regclass need it.
#[derive(Debug, Clone)]
pub struct Described {
    pub schema: String,
    pub name: String,
    pub comment: Option<String>,
    /// By attnum, from 1.
    pub column_comments: Vec<Option<String>>,
    /// The SQL of a view.
    pub definition: Option<String>,
    /// The statement or clause that defines an index or a constraint.
    pub clause: Option<String>,
    /// The columns of an index, in order.
    pub key: Vec<String>,
}

/// The catalog of one database at one revision of the metadata.
#[derive(Debug)]
pub struct Snapshot {
    pub database: String,
    rows: BTreeMap<&'static str, BTreeMap<&'static str, Vec<Row>>>,
    /// Relations, indexes and constraints by OID.
    pub described: HashMap<i64, Described>,
    /// Schema names by OID.
    pub namespaces: HashMap<i64, String>,
    /// Database names by OID.
    pub databases: HashMap<i64, String>,
    /// Comments on databases and schemas by OID.
    pub comments: HashMap<i64, String>,
    /// Relations by schema and name.
    pub relations: HashMap<(String, String), i64>,
}

/// Static rows, dumped from PostgreSQL 15.
static TYPES: LazyLock<Vec<Row>> = LazyLock::new(|| dumped("pg_type", include_str!("data/pg_type.tsv")));
static ACCESS_METHODS: LazyLock<Vec<Row>> = LazyLock::new(|| dumped("pg_am", include_str!("data/pg_am.tsv")));
static RANGES: LazyLock<Vec<Row>> = LazyLock::new(|| dumped("pg_range", include_str!("data/pg_range.tsv")));

fn dumped(relation: &'static str, text: &str) -> Vec<Row> {
    LAYOUT
        .get("pg_catalog")
        .and_then(|relations| relations.get(relation))
        .map(|relation| layout::parse_rows(relation, text))
        .unwrap_or_default()
}

fn relkind(kind: RelationKind) -> &'static str {
    match kind {
        RelationKind::Table => "r",
        RelationKind::View => "v",
        RelationKind::MaterializedView => "m",
        RelationKind::ForeignTable => "f",
        RelationKind::PartitionedTable => "p",
        // none of pg_class: see `view_function`
        RelationKind::TableFunction => "",
    }
}

fn table_type(kind: RelationKind) -> &'static str {
    match kind {
        RelationKind::Table | RelationKind::PartitionedTable => "BASE TABLE",
        RelationKind::View | RelationKind::MaterializedView => "VIEW",
        RelationKind::ForeignTable => "FOREIGN",
        RelationKind::TableFunction => "",
    }
}

fn field(column: &ColumnMetadata) -> Field {
    Field::new(&column.name, column.data_type.clone(), column.nullable)
        .with_metadata(column.properties.iter().cloned().collect())
}

/// Every object that needs an OID, over all databases: so that equal names have equal OIDs everywhere.
fn paths(metadata: &Metadata) -> impl Iterator<Item = Path> + '_ {
    let path = |parts: &[&str]| parts.iter().map(|part| (*part).to_owned()).collect::<Path>();
    let system = LAYOUT.iter().flat_map(move |(schema, relations)| {
        let schema_path = path(&["namespace", "", schema]);
        std::iter::once(schema_path).chain(
            relations
                .keys()
                .map(move |name| path(&["relation", "", schema, name])),
        )
    });
    let users = metadata.databases.iter().flat_map(move |database| {
        let schemas = database.schemas.iter().flat_map(move |schema| {
            let tables = schema.tables.iter().flat_map(move |table| {
                ["relation", "index", "constraint"]
                    .map(|kind| path(&[kind, &database.name, &schema.name, &table.name]))
            });
            std::iter::once(path(&["namespace", &database.name, &schema.name])).chain(tables)
        });
        std::iter::once(path(&["database", &database.name])).chain(schemas)
    });
    system.chain(users)
}

impl Snapshot {
    /// The catalog of `database`.
    pub fn of(metadata: &Metadata, database: &DatabaseMetadata) -> Self {
        let oids = Oids::assign(paths(metadata));
        let mut builder = Builder {
            metadata,
            database: &database.name,
            oids: &oids,
            snapshot: Self {
                database: database.name.clone(),
                rows: BTreeMap::new(),
                described: HashMap::new(),
                namespaces: HashMap::new(),
                databases: HashMap::new(),
                comments: HashMap::new(),
                relations: HashMap::new(),
            },
        };
        builder.system_relations();
        builder.databases(metadata);
        for schema in &database.schemas {
            builder.schema(schema);
        }
        builder.constants();
        builder.snapshot
    }

    /// The rows of one relation; `None` for one that PostgreSQL does not have.
    ///
    /// # Errors
    /// If a row does not fit its relation, which is a mistake of ours.
    pub fn batch(
        &self,
        schema: &str,
        relation: &str,
        more: &[Row],
    ) -> Option<Result<RecordBatch, ArrowError>> {
        let layout: &Relation = LAYOUT.get(schema)?.get(relation)?;
        let mut rows: Vec<Row> = self
            .rows
            .get(schema)
            .and_then(|relations| relations.get(relation))
            .cloned()
            .unwrap_or_default();
        rows.extend_from_slice(more);
        Some(layout::batch(layout, &rows))
    }
}

mod view_functions;

struct Builder<'a> {
    metadata: &'a Metadata,
    database: &'a str,
    oids: &'a Oids,
    snapshot: Snapshot,
}

impl Builder<'_> {
    fn push(&mut self, schema: &'static str, relation: &'static str, row: Row) {
        self.snapshot
            .rows
            .entry(schema)
            .or_default()
            .entry(relation)
            .or_default()
            .push(row);
    }

    fn catalog(&mut self, relation: &'static str, row: Row) {
        self.push("pg_catalog", relation, row);
    }

    fn namespace(&mut self, oid: i64, name: &str) {
        self.snapshot.namespaces.insert(oid, name.to_owned());
        self.catalog(
            "pg_namespace",
            row! {"oid": oid, "nspname": name, "nspowner": OWNER_OID},
        );
        self.push(
            "information_schema",
            "schemata",
            row! {
                "catalog_name": self.database, "schema_name": name, "schema_owner": OWNER,
            },
        );
    }

    fn constants(&mut self) {
        for row in TYPES.iter() {
            self.catalog("pg_type", row.clone());
        }
        for row in ACCESS_METHODS.iter() {
            self.catalog("pg_am", row.clone());
        }
        for row in RANGES.iter() {
            self.catalog("pg_range", row.clone());
        }
        for (oid, name) in [(DEFAULT_COLLATION_OID, "default"), (950, "C"), (951, "POSIX")] {
            self.catalog("pg_collation", row! {
                "oid": oid, "collname": name, "collnamespace": PG_CATALOG_OID, "collowner": OWNER_OID,
                "collprovider": if name == "default" { "d" } else { "c" }, "collisdeterministic": true, "collencoding": -1,
            });
        }
        self.catalog(
            "pg_language",
            row! {"oid": 14, "lanname": "sql", "lanowner": OWNER_OID, "lanispl": false, "lanpltrusted": true},
        );
        for (oid, name) in [(1663, "pg_default"), (1664, "pg_global")] {
            self.catalog(
                "pg_tablespace",
                row! {"oid": oid, "spcname": name, "spcowner": OWNER_OID},
            );
        }
        self.push(
            "information_schema",
            "information_schema_catalog_name",
            row! {"catalog_name": self.database},
        );
        for (feature, value) in [("DBMS NAME", "PostgreSQL"), ("DBMS VERSION", SERVER_VERSION)] {
            self.push(
                "information_schema",
                "sql_implementation_info",
                row! {
                    "implementation_info_name": feature, "character_value": value,
                },
            );
        }
    }

    fn databases(&mut self, metadata: &Metadata) {
        for database in &metadata.databases {
            let oid = self.oids.get(&["database", &database.name]);
            self.snapshot.databases.insert(oid, database.name.clone());
            self.catalog("pg_database", row! {
                "oid": oid, "datname": database.name.as_str(), "datdba": OWNER_OID, "encoding": UTF8,
                "datlocprovider": "c", "datistemplate": false, "datallowconn": true, "datconnlimit": -1,
                "datfrozenxid": 0, "datminmxid": 0, "dattablespace": 1663, "datcollate": "C.UTF-8", "datctype": "C.UTF-8",
            });
            self.catalog(
                "pg_stat_database",
                row! {"datid": oid, "datname": database.name.as_str()},
            );
            if let Some(comment) = &database.comment {
                self.snapshot.comments.insert(oid, comment.clone());
                self.catalog(
                    "pg_shdescription",
                    row! {
                        "objoid": oid, "classoid": PG_DATABASE_OID, "description": comment.as_str(),
                    },
                );
            }
        }
    }

    /// The catalogs describe themselves, as in PostgreSQL.
    fn system_relations(&mut self) {
        for (schema, relations) in LAYOUT.iter() {
            let namespace = if *schema == "pg_catalog" {
                PG_CATALOG_OID
            } else {
                self.oids.get(&["namespace", "", schema])
            };
            self.namespace(namespace, schema);
            for relation in relations.values() {
                let oid = match relation.name {
                    "pg_class" => PG_CLASS_OID,
                    "pg_database" => PG_DATABASE_OID,
                    "pg_namespace" => PG_NAMESPACE_OID,
                    name => self.oids.get(&["relation", "", schema, name]),
                };
                let columns: Vec<(Field, bool)> = relation
                    .schema
                    .fields()
                    .iter()
                    .zip(&relation.columns)
                    .map(|(field, column)| (field.as_ref().clone(), column.not_null))
                    .collect();
                self.class(
                    oid,
                    namespace,
                    schema,
                    relation.name,
                    relation.kind,
                    None,
                    columns.len(),
                    false,
                );
                for (index, (field, not_null)) in columns.iter().enumerate() {
                    self.attribute(oid, index, field, *not_null);
                }
            }
        }
    }

    fn schema(&mut self, schema: &SchemaMetadata) {
        let namespace = self.oids.get(&["namespace", self.database, &schema.name]);
        self.namespace(namespace, &schema.name);
        if let Some((catalog, origin)) = &schema.origin
            && catalog != self.database
        {
            let comment = format!("schema {origin} of {catalog}");
            self.catalog("pg_description", row! {
                "objoid": namespace, "classoid": PG_NAMESPACE_OID, "objsubid": 0, "description": comment.as_str(),
            });
            self.snapshot.comments.insert(namespace, comment);
        }
        for table in schema.tables.iter() {
            if table.kind == RelationKind::TableFunction {
                self.view_function(schema, namespace, table);
            } else {
                self.table(schema, namespace, table);
            }
        }
    }

    fn table(&mut self, schema: &SchemaMetadata, namespace: i64, table: &TableMetadata) {
        let oid = self
            .oids
            .get(&["relation", self.database, &schema.name, &table.name]);
        let kind = relkind(table.kind);
        let key: Vec<i64> = table
            .primary_key
            .iter()
            .filter_map(|name| table.columns.iter().position(|column| column.name == *name))
            .map(|position| position as i64 + 1)
            .collect();
        let has_key = !key.is_empty() && key.len() == table.primary_key.len();
        self.class(
            oid,
            namespace,
            &schema.name,
            &table.name,
            kind,
            table.rows,
            table.columns.len(),
            has_key,
        );
        if let Some(described) = self.snapshot.described.get_mut(&oid) {
            described.comment.clone_from(&table.comment);
            described.column_comments = table
                .columns
                .iter()
                .map(|column| column.comment.clone())
                .collect();
            described.definition.clone_from(&table.definition);
        }
        for (index, column) in table.columns.iter().enumerate() {
            self.attribute(oid, index, &field(column), !column.nullable);
            self.information_schema_column(schema, table, index, column);
            if let Some(comment) = &column.comment {
                self.catalog("pg_description", row! {
                    "objoid": oid, "classoid": PG_CLASS_OID, "objsubid": index as i64 + 1, "description": comment.as_str(),
                });
            }
        }
        if let Some(comment) = &table.comment {
            self.catalog(
                "pg_description",
                row! {
                    "objoid": oid, "classoid": PG_CLASS_OID, "objsubid": 0, "description": comment.as_str(),
                },
            );
        }
        if has_key {
            self.primary_key(schema, namespace, table, oid, &key);
        }
        self.push("information_schema", "tables", row! {
            "table_catalog": self.database, "table_schema": schema.name.as_str(), "table_name": table.name.as_str(),
            "table_type": table_type(table.kind), "is_insertable_into": "NO", "is_typed": "NO",
        });
        match kind {
            "v" => {
                self.catalog("pg_views", row! {
                    "schemaname": schema.name.as_str(), "viewname": table.name.as_str(), "viewowner": OWNER,
                    "definition": table.definition.clone(),
                });
                self.push("information_schema", "views", row! {
                    "table_catalog": self.database, "table_schema": schema.name.as_str(), "table_name": table.name.as_str(),
                    "view_definition": table.definition.clone(), "check_option": "NONE", "is_updatable": "NO",
                    "is_insertable_into": "NO", "is_trigger_updatable": "NO", "is_trigger_deletable": "NO",
                    "is_trigger_insertable_into": "NO",
                });
            }
            "m" => self.catalog("pg_matviews", row! {
                "schemaname": schema.name.as_str(), "matviewname": table.name.as_str(), "matviewowner": OWNER,
                "hasindexes": false, "ispopulated": true, "definition": table.definition.clone(),
            }),
            _ => {
                self.catalog("pg_tables", row! {
                    "schemaname": schema.name.as_str(), "tablename": table.name.as_str(), "tableowner": OWNER,
                    "hasindexes": has_key, "hasrules": false, "hastriggers": false, "rowsecurity": false,
                });
                for relation in ["pg_stat_user_tables", "pg_stat_all_tables"] {
                    self.catalog(relation, row! {
                        "relid": oid, "schemaname": schema.name.as_str(), "relname": table.name.as_str(),
                        "n_live_tup": table.rows.map(|rows| rows as i64),
                    });
                }
            }
        }
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "one argument a column of pg_class that differs between relations"
    )]
    fn class(
        &mut self,
        oid: i64,
        namespace: i64,
        schema: &str,
        name: &str,
        kind: &'static str,
        rows: Option<u64>,
        columns: usize,
        has_index: bool,
    ) {
        let stored = matches!(kind, "r" | "m");
        self.catalog("pg_class", row! {
            "oid": oid, "relname": name, "relnamespace": namespace, "reltype": 0, "reloftype": 0, "relowner": OWNER_OID,
            "relam": match kind { "i" => BTREE_OID, _ if stored => HEAP_OID, _ => 0 }, "relfilenode": 0, "reltablespace": 0,
            "relpages": 0, "reltuples": rows.map_or(-1.0, |rows| rows as f64), "relallvisible": 0, "reltoastrelid": 0,
            "relhasindex": has_index, "relisshared": false, "relpersistence": "p", "relkind": kind,
            "relnatts": columns as i64, "relchecks": 0, "relhasrules": kind == "v", "relhastriggers": false,
            "relhassubclass": false, "relrowsecurity": false, "relforcerowsecurity": false, "relispopulated": true,
            "relreplident": "d", "relispartition": false, "relrewrite": 0, "relfrozenxid": 0, "relminmxid": 0,
        });
        self.snapshot
            .relations
            .insert((schema.to_owned(), name.to_owned()), oid);
        self.snapshot.described.insert(
            oid,
            Described {
                schema: schema.to_owned(),
                name: name.to_owned(),
                comment: None,
                column_comments: Vec::new(),
                definition: None,
                clause: None,
                key: Vec::new(),
            },
        );
    }

    fn attribute(&mut self, relation: i64, index: usize, field: &Field, not_null: bool) {
        let pg_type = types::of_field(field);
        let collated = matches!(pg_type.base.oid, 25 | 1042 | 1043);
        self.catalog("pg_attribute", row! {
            "attrelid": relation, "attname": field.name().as_str(), "atttypid": i64::from(pg_type.oid()),
            "attstattarget": -1, "attlen": i64::from(pg_type.length()), "attnum": index as i64 + 1,
            "attndims": i64::from(pg_type.array), "attcacheoff": -1, "atttypmod": i64::from(pg_type.typmod),
            "attbyval": matches!(pg_type.length(), 1 | 2 | 4 | 8), "attalign": "i", "attstorage": "p", "attcompression": "",
            "attnotnull": not_null, "atthasdef": false, "atthasmissing": false, "attidentity": "", "attgenerated": "",
            "attisdropped": false, "attislocal": true, "attinhcount": 0,
            "attcollation": if collated { DEFAULT_COLLATION_OID } else { 0 },
        });
    }

    fn information_schema_column(
        &mut self,
        schema: &SchemaMetadata,
        table: &TableMetadata,
        index: usize,
        column: &ColumnMetadata,
    ) {
        let pg_type = types::of_field(&field(column));
        // Precision as information_schema defines it: bits for binary numbers, digits for decimals.
        let (precision, radix, scale) = match pg_type.base.oid {
            _ if pg_type.array => (None, None, None),
            21 => (Some(16), Some(2), Some(0)),
            23 => (Some(32), Some(2), Some(0)),
            20 => (Some(64), Some(2), Some(0)),
            700 => (Some(24), Some(2), None),
            701 => (Some(53), Some(2), None),
            1700 if pg_type.typmod >= 4 => {
                let (precision, scale) = types::numeric_typmod(pg_type.typmod);
                (Some(i64::from(precision)), Some(10), Some(i64::from(scale)))
            }
            1700 => (None, Some(10), None),
            _ => (None, None, None),
        };
        let datetime_precision = match pg_type.base.oid {
            _ if pg_type.array => None,
            1082 => Some(0_i64),
            1083 | 1114 | 1184 | 1186 => Some(6),
            _ => None,
        };
        let length = (matches!(pg_type.base.oid, 1042 | 1043) && pg_type.typmod >= 4)
            .then(|| i64::from(pg_type.typmod - 4));
        let position = index as i64 + 1;
        self.push("information_schema", "columns", row! {
            "table_catalog": self.database, "table_schema": schema.name.as_str(), "table_name": table.name.as_str(),
            "column_name": column.name.as_str(), "ordinal_position": position,
            "is_nullable": if column.nullable { "YES" } else { "NO" }, "data_type": pg_type.information_schema_name(),
            "character_maximum_length": length,
            "numeric_precision": precision.map_or(Cell::Null, Cell::Int),
            "numeric_precision_radix": radix.map_or(Cell::Null, Cell::Int),
            "numeric_scale": scale.map_or(Cell::Null, Cell::Int),
            "datetime_precision": datetime_precision, "udt_catalog": self.database, "udt_schema": "pg_catalog",
            "udt_name": pg_type.name(), "dtd_identifier": position.to_string(), "is_self_referencing": "NO",
            "is_identity": "NO", "identity_cycle": "NO", "is_generated": "NEVER", "is_updatable": "NO",
        });
    }

    fn primary_key(
        &mut self,
        schema: &SchemaMetadata,
        namespace: i64,
        table: &TableMetadata,
        oid: i64,
        key: &[i64],
    ) {
        let name = format!("{}_pkey", table.name);
        let index = self
            .oids
            .get(&["index", self.database, &schema.name, &table.name]);
        let constraint = self
            .oids
            .get(&["constraint", self.database, &schema.name, &table.name]);
        let columns: Vec<String> = table
            .primary_key
            .iter()
            .map(|column| lakegate_federation::quote_identifier(column))
            .collect();
        let columns = columns.join(", ");
        self.class(
            index,
            namespace,
            &schema.name,
            &name,
            "i",
            table.rows,
            key.len(),
            false,
        );
        if let Some(described) = self.snapshot.described.get_mut(&index) {
            described.clause = Some(format!(
                "CREATE UNIQUE INDEX {} ON {}.{} USING btree ({columns})",
                lakegate_federation::quote_identifier(&name),
                lakegate_federation::quote_identifier(&schema.name),
                lakegate_federation::quote_identifier(&table.name),
            ));
            described.key.clone_from(&table.primary_key);
        }
        for (index_position, position) in key.iter().enumerate() {
            if let Some(column) = table.columns.get(*position as usize - 1) {
                self.attribute(index, index_position, &field(column), false);
            }
        }
        self.snapshot.described.insert(
            constraint,
            Described {
                schema: schema.name.clone(),
                name: name.clone(),
                comment: None,
                column_comments: Vec::new(),
                definition: None,
                clause: Some(format!("PRIMARY KEY ({columns})")),
                key: Vec::new(),
            },
        );
        let zeros = vec![0; key.len()];
        self.catalog("pg_index", row! {
            "indexrelid": index, "indrelid": oid, "indnatts": key.len() as i64, "indnkeyatts": key.len() as i64,
            "indisunique": true, "indnullsnotdistinct": false, "indisprimary": true, "indisexclusion": false,
            "indimmediate": true, "indisclustered": false, "indisvalid": true, "indcheckxmin": false, "indisready": true,
            "indislive": true, "indisreplident": false, "indkey": Cell::Ints(key.to_vec()),
            "indcollation": Cell::Ints(zeros.clone()), "indclass": Cell::Ints(zeros.clone()), "indoption": Cell::Ints(zeros),
        });
        self.catalog("pg_constraint", row! {
            "oid": constraint, "conname": name.as_str(), "connamespace": namespace, "contype": "p", "condeferrable": false,
            "condeferred": false, "convalidated": true, "conrelid": oid, "contypid": 0, "conindid": index, "conparentid": 0,
            "confrelid": 0, "confupdtype": " ", "confdeltype": " ", "confmatchtype": " ", "conislocal": true,
            "coninhcount": 0, "connoinherit": true, "conkey": Cell::Ints(key.to_vec()),
        });
        self.push("information_schema", "table_constraints", row! {
            "constraint_catalog": self.database, "constraint_schema": schema.name.as_str(), "constraint_name": name.as_str(),
            "table_catalog": self.database, "table_schema": schema.name.as_str(), "table_name": table.name.as_str(),
            "constraint_type": "PRIMARY KEY", "is_deferrable": "NO", "initially_deferred": "NO", "enforced": "YES",
        });
        for (position, column) in table.primary_key.iter().enumerate() {
            self.push("information_schema", "key_column_usage", row! {
                "constraint_catalog": self.database, "constraint_schema": schema.name.as_str(),
                "constraint_name": name.as_str(), "table_catalog": self.database, "table_schema": schema.name.as_str(),
                "table_name": table.name.as_str(), "column_name": column.as_str(), "ordinal_position": position as i64 + 1,
            });
        }
    }
}

/// Snapshots by database, for the newest metadata only.
#[derive(Debug, Default)]
pub struct Snapshots {
    cached: std::sync::Mutex<(u64, HashMap<String, Arc<Snapshot>>)>,
}

impl Snapshots {
    /// The catalog of `database`; `None` for a database that is gone.
    pub fn get(&self, metadata: &Metadata, database: &str) -> Option<Arc<Snapshot>> {
        let mut cached = self
            .cached
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if cached.0 != metadata.revision {
            *cached = (metadata.revision, HashMap::new());
        }
        if let Some(snapshot) = cached.1.get(database) {
            return Some(Arc::clone(snapshot));
        }
        let snapshot = Arc::new(Snapshot::of(metadata, metadata.database(database)?));
        cached.1.insert(database.to_owned(), Arc::clone(&snapshot));
        Some(snapshot)
    }
}
