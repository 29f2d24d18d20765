//! What is in the database, from pg_catalog.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use lakegate_crds::{DiscoverySpec, UnconstrainedNumeric};
use tokio_postgres::Client;
use tokio_postgres::error::Error;

use super::blocks;
use super::types::{ColumnFacts, ElementFacts, RemoteColumn, Wire, oid};
use crate::{ColumnDetails, PG_TYPE_METADATA, TableDescription, TableKind};

/// Collations know whether they are deterministic since 12.
pub(super) const OLDEST_VERSION: i32 = 120_000;
/// Since 14 a table never analysed has -1 rows, before it had 0.
const UNKNOWN_ROWS_ARE_NEGATIVE: i32 = 140_000;
/// Since 14 a range of ctid is read without the rest of the table.
const RANGES_OF_BLOCKS: i32 = 140_000;

/// Relations people query; `$1`-less so that it is one constant text.
const VISIBLE: &str = "c.relkind IN ('r', 'p', 'v', 'm', 'f') \
     AND c.relpersistence <> 't' \
     AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') \
     AND has_schema_privilege(n.oid, 'USAGE') \
     AND has_any_column_privilege(c.oid, 'SELECT') IS NOT NULL";

/// Who the server says it is.
#[derive(Debug, Clone)]
pub(super) struct Server {
    /// Without the packager's words: `15.20`.
    pub version: String,
    pub version_number: i32,
    pub utf8: bool,
}

pub(super) async fn server(client: &Client) -> Result<Server, Error> {
    let row = client
        .query_one(
            "SELECT current_setting('server_version'), \
                    current_setting('server_version_num')::int4, \
                    current_setting('server_encoding') = 'UTF8'",
            &[],
        )
        .await?;
    let version: String = row.try_get(0)?;
    Ok(Server {
        version: version.split(' ').next().unwrap_or_default().to_owned(),
        version_number: row.try_get(1)?,
        utf8: row.try_get(2)?,
    })
}

/// The tables that the filter admits, by schema and name. In a transaction of
/// the caller, so that all queries see one catalog.
pub(super) async fn tables(
    client: &Client,
    server: &Server,
    filter: &DiscoverySpec,
    unconstrained: UnconstrainedNumeric,
) -> Result<Vec<TableDescription>, Error> {
    let types = types(client).await?;
    let mut columns = columns(client).await?;
    let mut keys = primary_keys(client).await?;
    let rows = client
        .query(
            &format!(
                "SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text, \
                        c.reltuples::float8, obj_description(c.oid, 'pg_class'), c.relpages, \
                        NOT c.relhassubclass AND coalesce(m.amname = 'heap', false) \
                 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                 LEFT JOIN pg_am m ON m.oid = c.relam \
                 WHERE {VISIBLE} ORDER BY n.nspname, c.relname"
            ),
            &[],
        )
        .await?;
    let mut known_facts = KnownFacts::default();
    let mut tables = Vec::new();
    for row in rows {
        let table: u32 = row.try_get(0)?;
        let schema: String = row.try_get(1)?;
        let name: String = row.try_get(2)?;
        if !filter.offers(&schema, &name) {
            continue;
        }
        let kind = match row.try_get::<_, String>(3)?.as_str() {
            "p" => TableKind::PartitionedTable,
            "v" => TableKind::View,
            "m" => TableKind::MaterializedView,
            "f" => TableKind::Foreign,
            _ => TableKind::Table,
        };
        let estimate: f64 = row.try_get(4)?;
        let known = if server.version_number >= UNKNOWN_ROWS_ARE_NEGATIVE {
            estimate >= 0.0
        } else {
            estimate > 0.0
        };
        let (fields, details) = columns
            .remove(&table)
            .unwrap_or_default()
            .into_iter()
            .map(|column| column.describe(&types, kind, server, unconstrained, &mut known_facts))
            .unzip::<_, _, Vec<_>, Vec<_>>();
        let blocks = u32::try_from(row.try_get::<_, i32>(6)?).unwrap_or_default();
        let heap = kind == TableKind::Table && row.try_get(7)? && server.version_number >= RANGES_OF_BLOCKS;
        tables.push(TableDescription {
            schema,
            name,
            kind,
            columns: Arc::new(Schema::new(fields)),
            details,
            comment: row.try_get(5)?,
            // A float estimate of a count: saturates, and is never negative here.
            rows: (known && kind != TableKind::View).then_some(estimate as u64),
            primary_key: keys.remove(&table).unwrap_or_default(),
            facts: if heap {
                blocks::facts(blocks)
            } else {
                BTreeMap::new()
            },
        });
    }
    Ok(tables)
}

#[derive(Debug)]
struct TypeRow {
    /// pg_type.typtype: `d` domain, `c` composite, `b` base …
    kind: String,
    base: u32,
    modifier: i32,
    /// Of a true array; 0 for everything else, int2vector included.
    element: u32,
    /// PostGIS's `geometry`.
    geometry: bool,
}

/// The types of all visible columns and what they are made of.
async fn types(client: &Client) -> Result<HashMap<u32, TypeRow>, Error> {
    let rows = client
        .query(
            &format!(
                "WITH RECURSIVE used(oid) AS ( \
                   SELECT a.atttypid FROM pg_attribute a \
                   JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
                   WHERE {VISIBLE} AND a.attnum > 0 AND NOT a.attisdropped \
                 UNION \
                   SELECT part.oid FROM used \
                   JOIN pg_type t ON t.oid = used.oid \
                   CROSS JOIN LATERAL (VALUES (t.typbasetype), (t.typelem)) AS part(oid) \
                   WHERE part.oid <> 0 \
                 ) \
                 SELECT t.oid, t.typtype::text, t.typbasetype, t.typtypmod, \
                        CASE WHEN e.typarray = t.oid THEN t.typelem ELSE 0::oid END, \
                        t.typname = 'geometry' AND EXISTS (SELECT FROM pg_cast s \
                          WHERE s.castsource = t.oid AND s.casttarget = {}) \
                 FROM used JOIN pg_type t ON t.oid = used.oid \
                 LEFT JOIN pg_type e ON e.oid = t.typelem",
                oid::BYTEA
            ),
            &[],
        )
        .await?;
    rows.into_iter()
        .map(|row| {
            Ok((
                row.try_get(0)?,
                TypeRow {
                    kind: row.try_get(1)?,
                    base: row.try_get(2)?,
                    modifier: row.try_get(3)?,
                    element: row.try_get(4)?,
                    geometry: row.try_get(5)?,
                },
            ))
        })
        .collect()
}

#[derive(Debug)]
struct ColumnRow {
    name: String,
    type_oid: u32,
    modifier: i32,
    not_null: bool,
    declared_type: String,
    comment: Option<String>,
    deterministic: bool,
}

/// The columns of every visible table, in their order. Where a table's columns
/// are granted one by one, only those; a table of which nothing may be read
/// keeps all, so that the refusal comes from the server and names it.
async fn columns(client: &Client) -> Result<HashMap<u32, Vec<ColumnRow>>, Error> {
    let rows = client
        .query(
            &format!(
                "SELECT a.attrelid, a.attname::text, a.atttypid, a.atttypmod, a.attnotnull, \
                        format_type(a.atttypid, a.atttypmod), col_description(a.attrelid, a.attnum), \
                        coalesce(l.collisdeterministic, true), \
                        has_column_privilege(c.oid, a.attnum, 'SELECT') \
                          OR NOT has_any_column_privilege(c.oid, 'SELECT') \
                 FROM pg_attribute a \
                 JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
                 LEFT JOIN pg_collation l ON l.oid = a.attcollation \
                 WHERE {VISIBLE} AND a.attnum > 0 AND NOT a.attisdropped \
                 ORDER BY a.attrelid, a.attnum"
            ),
            &[],
        )
        .await?;
    let mut tables: HashMap<u32, Vec<ColumnRow>> = HashMap::new();
    for row in rows {
        // Privileges are looked up as of now, and not in the snapshot: NULL of what was dropped meanwhile.
        if !row.try_get::<_, Option<bool>>(8)?.unwrap_or(false) {
            continue;
        }
        tables.entry(row.try_get(0)?).or_default().push(ColumnRow {
            name: row.try_get(1)?,
            type_oid: row.try_get(2)?,
            modifier: row.try_get(3)?,
            not_null: row.try_get(4)?,
            declared_type: row.try_get(5)?,
            comment: row.try_get(6)?,
            deterministic: row.try_get(7)?,
        });
    }
    Ok(tables)
}

async fn primary_keys(client: &Client) -> Result<HashMap<u32, Vec<String>>, Error> {
    let rows = client
        .query(
            "SELECT i.indrelid, a.attname::text \
             FROM pg_index i \
             CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k(attnum, position) \
             JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum \
             WHERE i.indisprimary AND k.position <= i.indnkeyatts \
             ORDER BY i.indrelid, k.position",
            &[],
        )
        .await?;
    let mut keys: HashMap<u32, Vec<String>> = HashMap::new();
    for row in rows {
        keys.entry(row.try_get(0)?).or_default().push(row.try_get(1)?);
    }
    Ok(keys)
}

/// The facts of columns, each held once: a database has many columns and few types.
#[derive(Default)]
struct KnownFacts(HashMap<ColumnFacts, Arc<BTreeMap<String, String>>>);

impl KnownFacts {
    fn facts_of(&mut self, facts: ColumnFacts) -> Arc<BTreeMap<String, String>> {
        let map = facts.to_map();
        Arc::clone(self.0.entry(facts).or_insert_with(|| Arc::new(map)))
    }
}

impl ColumnRow {
    fn describe(
        self,
        types: &HashMap<u32, TypeRow>,
        kind: TableKind,
        server: &Server,
        unconstrained: UnconstrainedNumeric,
        known: &mut KnownFacts,
    ) -> (Field, ColumnDetails) {
        let (type_oid, modifier, _) = below_domains(types, self.type_oid, self.modifier);
        let row = types.get(&type_oid);
        let element = row
            .map(|row| row.element)
            .filter(|element| *element != 0)
            .map(|element| below_domains(types, element, modifier));
        // An array whose elements are a domain over arrays has no Arrow form;
        // as a scalar of an unknown type it is read as text.
        let element =
            element.filter(|(element, _, _)| types.get(element).is_none_or(|element| element.element == 0));
        let facts = ColumnFacts {
            type_oid,
            modifier: element.map_or(modifier, |(_, modifier, _)| modifier),
            element: element.map(|(type_oid, _, domain)| ElementFacts { type_oid, domain }),
            composite: row.is_some_and(|row| row.kind == "c") || type_oid == RECORD,
            geometry: row.is_some_and(|row| row.geometry),
            unconstrained_numeric: unconstrained,
            // A foreign server compares by rules nobody here knows.
            bytewise: [oid::TEXT, oid::VARCHAR, oid::BPCHAR].contains(&type_oid)
                && self.deterministic
                && server.utf8
                && kind != TableKind::Foreign,
        };
        let column = RemoteColumn::new(self.name.clone(), &facts);
        // A foreign table's NOT NULL is a wish.
        let nullable = !self.not_null || kind == TableKind::Foreign;
        let mut field = Field::new(self.name, column.wire.data_type(), nullable);
        let named = match column.wire {
            Wire::Geometry => Some("geometry".to_owned()),
            _ => text_in_name_of(type_oid, modifier).filter(|_| column.wire.data_type() == DataType::Utf8),
        };
        if let Some(named) = named {
            field = field.with_metadata(HashMap::from([(PG_TYPE_METADATA.to_owned(), named)]));
        }
        (
            field,
            ColumnDetails {
                declared_type: self.declared_type,
                comment: self.comment,
                facts: known.facts_of(facts),
            },
        )
    }
}

const RECORD: u32 = 2249;

/// The type of a column that is read as text and whose values mean more than that: how they are compared, what
/// operators they have, what clients make of them.
fn text_in_name_of(type_oid: u32, modifier: i32) -> Option<String> {
    Some(match type_oid {
        oid::JSON => "json".to_owned(),
        oid::JSONB => "jsonb".to_owned(),
        oid::UUID => "uuid".to_owned(),
        oid::BPCHAR if modifier > 4 => format!("bpchar({})", modifier - 4),
        oid::BPCHAR => "bpchar".to_owned(),
        _ => return None,
    })
}

/// The type below all domains, with the modifier in force and whether there was
/// a domain at all.
fn below_domains(types: &HashMap<u32, TypeRow>, type_oid: u32, modifier: i32) -> (u32, i32, bool) {
    let (mut type_oid, mut modifier, mut domain) = (type_oid, modifier, false);
    // Domains cannot form a circle; the bound is for a catalog that lies.
    for _ in 0..types.len() {
        match types.get(&type_oid) {
            Some(row) if row.kind == "d" => {
                if modifier < 0 {
                    modifier = row.modifier;
                }
                type_oid = row.base;
                domain = true;
            }
            _ => break,
        }
    }
    (type_oid, modifier, domain)
}
