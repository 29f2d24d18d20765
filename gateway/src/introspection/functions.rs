//! The functions of pg_catalog that describe the database and the session.
//!
//! They answer from the catalog snapshot that [`Current`] holds: the gateway renews it before each statement.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::{Arc, PoisonError, RwLock},
};

use arrow::datatypes::DataType;
use datafusion::{
    common::{Result as DataFusionResult, ScalarValue, exec_datafusion_err},
    execution::session_state::SessionState,
    logical_expr::{
        ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
    },
};
use lakegate_federation::{SERVER_VERSION, SchemaContext, quote_identifier};

use super::snapshot::{Described, OWNER, OWNER_OID, Snapshot};
use crate::types;

/// What the functions of one session answer from.
#[derive(Debug, Clone)]
pub struct Current {
    pub context: SchemaContext,
    pub snapshot: Arc<Snapshot>,
    /// The connection's process id, as `pg_backend_pid()` shows it.
    pub backend: i32,
}

/// The catalog's side of one session.
#[derive(Debug)]
pub struct SessionCatalog {
    /// What `pg_backend_pid()` shows.
    pub backend: i32,
    /// As of the statement that runs.
    pub current: RwLock<Option<Current>>,
}

impl Current {
    /// The relation that a name means: qualified, else by pg_catalog and the search path.
    pub fn relation(&self, name: &str) -> Option<i64> {
        let parts = identifiers(name)?;
        let find = |schema: &str, table: &str| {
            self.snapshot
                .relations
                .get(&(schema.to_owned(), table.to_owned()))
                .copied()
        };
        match parts.as_slice() {
            [table] => std::iter::once("pg_catalog")
                .chain(self.context.search_path.iter().map(String::as_str))
                .find_map(|schema| find(schema, table)),
            [schema, table] => find(schema, table),
            [database, schema, table] if *database == self.snapshot.database => find(schema, table),
            _ => None,
        }
    }

    /// Whether an unqualified name finds this relation.
    fn visible(&self, oid: i64) -> Option<bool> {
        let described = self.snapshot.described.get(&oid)?;
        Some(self.relation(&quote_identifier(&described.name)) == Some(oid))
    }

    /// A relation as regclass prints it: qualified unless visible.
    fn display(&self, oid: i64) -> String {
        match self.snapshot.described.get(&oid) {
            None if oid == 0 => "-".to_owned(),
            None => oid.to_string(),
            Some(described) if self.visible(oid) == Some(true) => quote_identifier(&described.name),
            Some(described) => {
                format!(
                    "{}.{}",
                    quote_identifier(&described.schema),
                    quote_identifier(&described.name)
                )
            }
        }
    }
}

/// The parts of a possibly quoted and qualified name, folded as PostgreSQL folds them.
fn identifiers(name: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut characters = name.trim().chars().peekable();
    loop {
        match characters.next() {
            None => break,
            Some('"') => loop {
                match characters.next()? {
                    '"' if characters.peek() == Some(&'"') => {
                        characters.next();
                        part.push('"');
                    }
                    '"' => break,
                    other => part.push(other),
                }
            },
            Some('.') => parts.push(std::mem::take(&mut part)),
            Some(other) => part.extend(other.to_lowercase()),
        }
    }
    parts.push(part);
    parts.iter().all(|part| !part.is_empty()).then_some(parts)
}

/// The arguments of one row.
struct Row<'a>(&'a [ScalarValue]);

impl Row<'_> {
    fn text(&self, index: usize) -> Option<String> {
        match self.0.get(index)? {
            ScalarValue::Utf8(text) | ScalarValue::LargeUtf8(text) | ScalarValue::Utf8View(text) => {
                text.clone()
            }
            other if other.is_null() => None,
            other => Some(other.to_string()),
        }
    }

    /// An integer; an untyped literal such as `'16384'` counts, as in PostgreSQL.
    fn integer(&self, index: usize) -> Option<i64> {
        self.text(index)?.trim().parse().ok()
    }
}

type Body = fn(&Current, &Row<'_>) -> ScalarValue;

fn text(value: impl Into<String>) -> ScalarValue {
    ScalarValue::Utf8(Some(value.into()))
}

fn optional(value: Option<String>) -> ScalarValue {
    ScalarValue::Utf8(value)
}

fn boolean(value: Option<bool>) -> ScalarValue {
    ScalarValue::Boolean(value)
}

fn texts(values: Vec<String>) -> ScalarValue {
    let values: Vec<ScalarValue> = values
        .into_iter()
        .map(|value| ScalarValue::Utf8(Some(value)))
        .collect();
    ScalarValue::List(ScalarValue::new_list_nullable(&values, &DataType::Utf8))
}

fn text_list() -> DataType {
    DataType::new_list(DataType::Utf8, true)
}

fn described<'a>(current: &'a Current, row: &Row<'_>) -> Option<&'a Described> {
    current.snapshot.described.get(&row.integer(0)?)
}

fn index_definition(current: &Current, row: &Row<'_>) -> ScalarValue {
    let Some(described) = described(current, row) else {
        return ScalarValue::Utf8(None);
    };
    match row.integer(1) {
        Some(column) if column > 0 => optional(
            usize::try_from(column - 1)
                .ok()
                .and_then(|index| described.key.get(index))
                .map(|name| quote_identifier(name)),
        ),
        _ => optional(described.clause.clone()),
    }
}

fn pretty_size(current: &Current, row: &Row<'_>) -> ScalarValue {
    let _ = current;
    let Some(bytes) = row.integer(0) else {
        return ScalarValue::Utf8(None);
    };
    let mut size = bytes;
    for unit in ["bytes", "kB", "MB", "GB", "TB"] {
        if size.abs() < 10_240 || unit == "TB" {
            return text(format!("{size} {unit}"));
        }
        size = (size + 512) / 1024;
    }
    text(format!("{size} PB"))
}

fn type_name(_: &Current, row: &Row<'_>) -> ScalarValue {
    let Some(oid) = row.integer(0) else {
        return ScalarValue::Utf8(None);
    };
    let typmod = row
        .integer(1)
        .and_then(|typmod| i32::try_from(typmod).ok())
        .unwrap_or(-1);
    let known = u32::try_from(oid).ok().and_then(types::by_oid);
    optional(Some(match known {
        Some(pg_type) => types::PgType { typmod, ..pg_type }.sql_name(),
        None if oid == 0 => "-".to_owned(),
        None => "???".to_owned(),
    }))
}

fn user_name(current: &Current, row: &Row<'_>) -> ScalarValue {
    optional(row.integer(0).map(|oid| {
        if oid == OWNER_OID {
            OWNER.to_owned()
        } else if oid == user_oid(current) {
            current.context.user.clone()
        } else {
            format!("unknown (OID={oid})")
        }
    }))
}

/// The OID of the session's own role.
pub fn user_oid(current: &Current) -> i64 {
    if current.context.user == OWNER {
        OWNER_OID
    } else {
        OWNER_OID + 1
    }
}

fn column_comment(current: &Current, row: &Row<'_>) -> ScalarValue {
    let column = row.integer(1).and_then(|number| usize::try_from(number - 1).ok());
    optional(column.and_then(|column| {
        described(current, row)?
            .column_comments
            .get(column)
            .cloned()
            .flatten()
    }))
}

fn comment(current: &Current, row: &Row<'_>) -> ScalarValue {
    optional(row.integer(0).and_then(|oid| {
        let described = current
            .snapshot
            .described
            .get(&oid)
            .and_then(|described| described.comment.clone());
        described.or_else(|| current.snapshot.comments.get(&oid).cloned())
    }))
}

fn setting(current: &Current, row: &Row<'_>) -> ScalarValue {
    optional(
        row.text(0)
            .and_then(|name| current.context.settings.get(&name).map(str::to_owned)),
    )
}

fn search_path(current: &Current, implicit: bool) -> Vec<String> {
    let path = current.context.search_path.iter().cloned();
    if implicit {
        std::iter::once("pg_catalog".to_owned()).chain(path).collect()
    } else {
        path.collect()
    }
}

fn regclass_in(current: &Current, row: &Row<'_>) -> ScalarValue {
    ScalarValue::Int64(
        row.text(0)
            .and_then(|name| name.parse().ok().or_else(|| current.relation(&name))),
    )
}

fn regtype_in(_: &Current, row: &Row<'_>) -> ScalarValue {
    let Some(name) = row.text(0) else {
        return ScalarValue::Int64(None);
    };
    let name = name.trim().to_lowercase();
    let name = name.strip_prefix("pg_catalog.").unwrap_or(&name);
    let (element, array) = name
        .strip_suffix("[]")
        .map_or((name, false), |element| (element, true));
    let found = types::BASE_TYPES
        .iter()
        .find(|base| base.name == element || base.sql_name == element);
    ScalarValue::Int64(found.map(|base| i64::from(if array { base.array_oid } else { base.oid })))
}

fn namespace_in(current: &Current, row: &Row<'_>) -> ScalarValue {
    let name = row
        .text(0)
        .and_then(|name| identifiers(&name))
        .and_then(|mut parts| parts.pop());
    ScalarValue::Int64(name.and_then(|name| {
        current
            .snapshot
            .namespaces
            .iter()
            .find(|(_, found)| **found == name)
            .map(|(oid, _)| *oid)
    }))
}

fn namespace_out(current: &Current, row: &Row<'_>) -> ScalarValue {
    optional(row.integer(0).map(|oid| {
        current
            .snapshot
            .namespaces
            .get(&oid)
            .map_or_else(|| oid.to_string(), |name| quote_identifier(name))
    }))
}

fn yes(_: &Current, _: &Row<'_>) -> ScalarValue {
    boolean(Some(true))
}

fn no(_: &Current, _: &Row<'_>) -> ScalarValue {
    boolean(Some(false))
}

fn nothing(_: &Current, _: &Row<'_>) -> ScalarValue {
    ScalarValue::Utf8(None)
}

/// `name, result type, body`. Everything is readable to whoever is connected: what a user may not see is not in
/// the metadata, so the privilege functions answer true for reading; nothing may be written.
fn all() -> Vec<(&'static str, DataType, Body)> {
    use DataType::{Boolean, Int32, Int64, Utf8};
    let privilege: Body = |_, row| {
        let privilege = row
            .text(row.0.len().saturating_sub(1))
            .unwrap_or_default()
            .to_uppercase();
        boolean(Some(privilege.split(',').any(|one| {
            matches!(one.trim(), "SELECT" | "USAGE" | "CONNECT" | "EXECUTE" | "MEMBER")
        })))
    };
    vec![
        ("version", Utf8, |_, _| {
            text(format!(
                "PostgreSQL {SERVER_VERSION} (Lakegate {}) on {}",
                env!("CARGO_PKG_VERSION"),
                std::env::consts::ARCH
            ))
        }),
        ("current_database", Utf8, |current, _| {
            text(&current.context.current_database)
        }),
        ("current_catalog", Utf8, |current, _| {
            text(&current.context.current_database)
        }),
        ("current_schema", Utf8, |current, _| {
            optional(current.context.search_path.first().cloned())
        }),
        ("current_schemas", text_list(), |current, row| {
            texts(search_path(
                current,
                row.text(0).is_some_and(|implicit| implicit == "true"),
            ))
        }),
        ("current_user", Utf8, |current, _| text(&current.context.user)),
        ("session_user", Utf8, |current, _| text(&current.context.user)),
        ("user", Utf8, |current, _| text(&current.context.user)),
        ("pg_backend_pid", Int32, |current, _| {
            ScalarValue::Int32(Some(current.backend))
        }),
        ("current_setting", Utf8, setting),
        ("pg_is_in_recovery", Boolean, no),
        ("pg_get_userbyid", Utf8, user_name),
        ("pg_encoding_to_char", Utf8, |_, row| {
            optional(row.integer(0).map(|encoding| {
                if encoding == 6 {
                    "UTF8".into()
                } else {
                    String::new()
                }
            }))
        }),
        ("pg_char_to_encoding", Int32, |_, row| {
            ScalarValue::Int32(
                row.text(0)
                    .map(|name| if name.eq_ignore_ascii_case("utf8") { 6 } else { -1 }),
            )
        }),
        ("pg_client_encoding", Utf8, |_, _| text("UTF8")),
        ("pg_table_is_visible", Boolean, |current, row| {
            boolean(row.integer(0).and_then(|oid| current.visible(oid)))
        }),
        ("pg_type_is_visible", Boolean, yes),
        ("pg_function_is_visible", Boolean, yes),
        ("pg_operator_is_visible", Boolean, yes),
        ("pg_collation_is_visible", Boolean, yes),
        ("pg_relation_is_publishable", Boolean, no),
        ("pg_get_expr", Utf8, nothing),
        ("pg_get_partkeydef", Utf8, nothing),
        ("pg_get_statisticsobjdef_columns", Utf8, nothing),
        ("pg_get_triggerdef", Utf8, nothing),
        ("pg_get_ruledef", Utf8, nothing),
        ("pg_get_serial_sequence", Utf8, nothing),
        ("pg_get_function_result", Utf8, nothing),
        ("pg_get_function_arguments", Utf8, nothing),
        ("pg_get_function_identity_arguments", Utf8, nothing),
        ("pg_get_indexdef", Utf8, index_definition),
        ("pg_get_constraintdef", Utf8, |current, row| {
            optional(described(current, row).and_then(|described| described.clause.clone()))
        }),
        ("pg_get_viewdef", Utf8, |current, row| {
            let oid = row.integer(0).or_else(|| current.relation(&row.text(0)?));
            optional(oid.and_then(|oid| current.snapshot.described.get(&oid)?.definition.clone()))
        }),
        ("pg_table_size", Int64, |_, _| ScalarValue::Int64(Some(0))),
        ("pg_relation_size", Int64, |_, _| ScalarValue::Int64(Some(0))),
        ("pg_total_relation_size", Int64, |_, _| {
            ScalarValue::Int64(Some(0))
        }),
        ("pg_indexes_size", Int64, |_, _| ScalarValue::Int64(Some(0))),
        ("pg_database_size", Int64, |_, _| ScalarValue::Int64(Some(0))),
        ("pg_size_pretty", Utf8, pretty_size),
        ("format_type", Utf8, type_name),
        ("obj_description", Utf8, comment),
        ("shobj_description", Utf8, comment),
        ("col_description", Utf8, column_comment),
        ("has_table_privilege", Boolean, privilege),
        ("has_column_privilege", Boolean, privilege),
        ("has_any_column_privilege", Boolean, privilege),
        ("has_schema_privilege", Boolean, privilege),
        ("has_database_privilege", Boolean, privilege),
        ("has_function_privilege", Boolean, privilege),
        ("pg_has_role", Boolean, yes),
        ("quote_ident", Utf8, |_, row| {
            optional(row.text(0).map(|name| quote_identifier(&name)))
        }),
        ("quote_literal", Utf8, |_, row| {
            optional(
                row.text(0)
                    .map(|value| format!("'{}'", value.replace('\'', "''"))),
            )
        }),
        ("to_regclass", Int64, regclass_in),
        ("to_regtype", Int64, regtype_in),
        ("to_regnamespace", Int64, namespace_in),
        ("lakegate_regclass_in", Int64, regclass_in),
        ("lakegate_regclass_out", Utf8, |current, row| {
            optional(row.integer(0).map(|oid| current.display(oid)))
        }),
        ("lakegate_regtype_in", Int64, regtype_in),
        ("lakegate_regtype_out", Utf8, |current, row| {
            type_name(current, &Row(&row.0[..row.0.len().min(1)]))
        }),
        ("lakegate_regnamespace_in", Int64, namespace_in),
        ("lakegate_regnamespace_out", Utf8, namespace_out),
        ("lakegate_regrole_out", Utf8, user_name),
        ("txid_current", Int64, |_, _| ScalarValue::Int64(Some(1))),
        ("pg_postmaster_start_time", Utf8, nothing),
        ("inet_server_addr", Utf8, nothing),
        ("pg_my_temp_schema", Int64, |_, _| ScalarValue::Int64(Some(0))),
        ("pg_is_other_temp_schema", Boolean, no),
    ]
}

/// One function over the session's [`Current`].
struct CatalogFunction {
    name: &'static str,
    returns: DataType,
    body: Body,
    signature: Signature,
    session: Arc<SessionCatalog>,
}

impl fmt::Debug for CatalogFunction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CatalogFunction")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

// Within a session a name is one function.
impl PartialEq for CatalogFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.session, &other.session)
    }
}

impl Eq for CatalogFunction {}

impl Hash for CatalogFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for CatalogFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.returns.clone())
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let guard = self
            .session
            .current
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let current = guard
            .as_ref()
            .ok_or_else(|| exec_datafusion_err!("{} outside of a session", self.name))?;
        let scalars: Option<Vec<ScalarValue>> = arguments
            .args
            .iter()
            .map(|argument| match argument {
                ColumnarValue::Scalar(value) => Some(value.clone()),
                ColumnarValue::Array(_) => None,
            })
            .collect();
        if let Some(scalars) = scalars {
            return Ok(ColumnarValue::Scalar((self.body)(current, &Row(&scalars))));
        }
        let arrays = arguments
            .args
            .iter()
            .map(|argument| argument.clone().into_array(arguments.number_rows))
            .collect::<DataFusionResult<Vec<_>>>()?;
        let mut results = Vec::with_capacity(arguments.number_rows);
        for index in 0..arguments.number_rows {
            let row = arrays
                .iter()
                .map(|array| ScalarValue::try_from_array(array, index))
                .collect::<DataFusionResult<Vec<_>>>()?;
            results.push((self.body)(current, &Row(&row)));
        }
        if results.is_empty() {
            return Ok(ColumnarValue::Array(arrow::array::new_empty_array(&self.returns)));
        }
        Ok(ColumnarValue::Array(ScalarValue::iter_to_array(results)?))
    }
}

/// Make the functions known to a session.
pub fn register(state: &mut SessionState, session: &Arc<SessionCatalog>) -> DataFusionResult<()> {
    use datafusion::execution::FunctionRegistry as _;
    for (name, returns, body) in all() {
        let function = CatalogFunction {
            name,
            returns,
            body,
            // Stable: equal within a statement, since `current` changes only between statements.
            signature: Signature::new(
                TypeSignature::OneOf(vec![TypeSignature::Nullary, TypeSignature::VariadicAny]),
                Volatility::Stable,
            ),
            session: Arc::clone(session),
        };
        state.register_udf(Arc::new(ScalarUDF::new_from_impl(function)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_and_folded() {
        for (name, expected) in [
            ("Orders", Some(vec!["orders"])),
            ("public.\"Or.d\"\"ers\"", Some(vec!["public", "Or.d\"ers"])),
            ("shop.public.orders", Some(vec!["shop", "public", "orders"])),
            ("\"open", None),
            ("a..b", None),
        ] {
            let expected = expected.map(|parts| parts.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(identifiers(name), expected, "{name}");
        }
    }
}
