//! The rows of an Export: which columns, under which names, types and masks, of which rows.

mod casts;
mod combinations;
mod cursor;
mod incremental;
mod masks;
mod new_columns;
mod newest;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, ObjectName, ObjectNamePart, Query, SelectItem, SetExpr, Statement, TableFactor,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;
use lakegate_crds::{ColumnSpec, Export, ExportSpec, OnCastError, TableReference};

use crate::Session;
use crate::dialect;
use crate::error::{Cause, FederationError};
use crate::mask::MaskKeys;
use crate::metadata::{DatabaseMetadata, SchemaKind, VIRTUAL_DATABASE};
use crate::session::SessionIdentity;
use crate::stream::QueryStream;
use crate::unserved::first_problem;
use crate::{Federation, statement};

use self::casts::{Casted, Nulled, casted};
pub use self::combinations::{Anonymity, Combinations};
pub use self::incremental::{ChangedRows, Changes, ChangesPlan, CursorKind, Incremental, Seen};
use self::masks::Masked;
pub use self::masks::{ColumnMask, ColumnMaskKey};

/// The name under which a query's rows are read.
const SOURCE_ALIAS: &str = "source";

/// A planned export.
#[derive(Debug, Clone)]
pub struct ExportPlan {
    session: Session,
    plan: LogicalPlan,
    schema: SchemaRef,
    description: String,
    expected_rows: Option<u64>,
    sources: Vec<Option<String>>,
    masks: Vec<Option<ColumnMask>>,
    left_out: Vec<String>,
    nulled: Vec<Nulled>,
    /// What masks that have no domain of their own keep columns apart by, up to the column's name.
    domain: String,
    incremental: Option<Incremental>,
}

/// What an export's rows are planned from.
struct ExportRows<'a> {
    session: Session,
    from: TableFactor,
    /// The source's columns.
    available: SchemaRef,
    shaped: Vec<Shaped<'a>>,
    left_out: Vec<String>,
}

impl ExportPlan {
    /// The columns of the exported rows, in order.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The source's own estimate of its rows; None for a query, or with a condition.
    pub fn expected_rows(&self) -> Option<u64> {
        self.expected_rows
    }

    /// For each exported column the source column it is, None of an expression.
    pub fn source_columns(&self) -> &[Option<String>] {
        &self.sources
    }

    /// For each exported column how it is masked, None of a clear one.
    pub fn masks(&self) -> &[Option<ColumnMask>] {
        &self.masks
    }

    /// New columns of the source that are left out, as `onNewColumn: Drop` has it.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// For each exported column with `onCastError: Null` how many values have become NULL so far.
    pub fn nulled(&self) -> impl Iterator<Item = (String, u64)> {
        self.nulled.iter().map(Nulled::read)
    }

    /// Counts the values that have become NULL anew.
    pub fn forget_nulled(&self) {
        self.nulled.iter().for_each(Nulled::forget);
    }

    /// What an incremental export is continued by.
    pub fn incremental(&self) -> Option<&Incremental> {
        self.incremental.as_ref()
    }

    /// Starts reading.
    ///
    /// # Errors
    /// Only what shows before any work.
    pub fn execute(&self) -> Result<QueryStream, FederationError> {
        self.session
            .execute_with_positions(self.plan.clone(), &self.description)
    }
}

impl Federation {
    /// Plans the rows of an Export whose sources are served by this federation.
    /// `source_catalog` is the catalog name of `from.sourceRef`, needed with
    /// `from.table`; `keys` are those of its masks; `published` are the columns of its lake
    /// table, None while there is none.
    ///
    /// # Errors
    /// `InvalidExport` naming the field, for unknown or colliding columns, for casts and masks
    /// that cannot take their columns, and for what is not served; `NewColumns` with
    /// `onNewColumn: Fail`; the planner's own errors for wrong SQL.
    pub async fn plan_export(
        self: &Arc<Self>,
        spec: &ExportSpec,
        source_catalog: Option<&str>,
        keys: &MaskKeys,
        published: Option<&BTreeSet<String>>,
    ) -> Result<ExportPlan, FederationError> {
        let ExportRows {
            session,
            from,
            available,
            shaped,
            left_out,
        } = self.export_rows(spec, source_catalog, published).await?;
        let incremental = spec.incremental.as_ref();
        let incremental = incremental
            .map(|it| Incremental::new(spec, it, &available, &shaped))
            .transpose()?;
        let condition = match &spec.r#where {
            Some(text) => Some(expression(text, "spec.where")?),
            None => None,
        };
        let has_condition = condition.is_some();
        let entities = masks::entities(&shaped, &names_of(&available))?;
        let items = shaped.iter().map(|column| column.item.clone());
        let items = items.chain(entities).collect();
        let statement = select(items, from, condition)?;
        let description = statement.to_string();
        let plan = session.plan(statement, &[]).await?;
        check_rowwise(&plan)?;
        let mut domain = format!("query.{}.{}", spec.destination.schema, spec.destination.table);
        let mut expected_rows = None;
        if let (Some(table), Some(catalog)) = (&spec.from.table, source_catalog)
            && let Some(database) = self.metadata().database(catalog)
        {
            let schema = schema_of(database, table)?;
            let found = database
                .schema(&schema)
                .and_then(|schema| schema.table(&table.name));
            expected_rows = found.filter(|_| !has_condition).and_then(|table| table.rows);
            domain = format!("{catalog}.{schema}.{}", table.name);
        }
        let (plan, nulled) = casted(plan, &shaped, None)?;
        let (plan, masks) = masks::masked(plan, &shaped, keys, &domain, 0)?;
        let schema = Session::result_schema(&plan);
        let sources = shaped.into_iter().map(|column| column.source).collect();
        Ok(ExportPlan {
            session,
            plan,
            schema,
            description,
            expected_rows,
            sources,
            masks,
            left_out,
            nulled,
            domain,
            incremental,
        })
    }

    async fn export_rows<'a>(
        self: &Arc<Self>,
        spec: &'a ExportSpec,
        source_catalog: Option<&str>,
        published: Option<&BTreeSet<String>>,
    ) -> Result<ExportRows<'a>, FederationError> {
        refuse_unserved(spec)?;
        let identity = SessionIdentity {
            user: "lakegate".into(),
            database: VIRTUAL_DATABASE.into(),
        };
        let session = self.session(identity)?;
        let from = self.source(spec, source_catalog)?;
        let all = select(vec![all_items()], from.clone(), None)?;
        let available = Session::result_schema(&session.plan(all, &[]).await?);
        let (shaped, left_out) = shape(spec, &available, published)?;
        Ok(ExportRows {
            session,
            from,
            available,
            shaped,
            left_out,
        })
    }
}

impl Federation {
    /// The rows to read, as a relation of a FROM.
    fn source(&self, spec: &ExportSpec, catalog: Option<&str>) -> Result<TableFactor, FederationError> {
        if let Some(query) = &spec.from.query {
            let mut statements =
                statement::parse(query).map_err(|error| in_field(&error, "spec.from.query"))?;
            let (Some(Statement::Query(query)), true) = (statements.pop(), statements.is_empty()) else {
                return Err(invalid("spec.from.query", "it must be one SELECT"));
            };
            let template = relation(&format!("SELECT 1 FROM (SELECT 1) AS {SOURCE_ALIAS}"));
            return template.map(|mut factor| {
                if let TableFactor::Derived { subquery, .. } = &mut factor {
                    *subquery = query;
                }
                factor
            });
        }
        let (Some(table), Some(catalog)) = (&spec.from.table, catalog) else {
            return Err(invalid("spec.from", "it names neither a table nor a query"));
        };
        let metadata = self.metadata();
        let Some(database) = metadata.database(catalog) else {
            return Err(Cause::UnknownDatabase {
                database: catalog.to_owned(),
            }
            .into());
        };
        let schema = schema_of(database, table)?;
        let parts = [catalog, &schema, &table.name];
        let name = ObjectName(
            parts
                .map(|part| ObjectNamePart::Identifier(quoted(part)))
                .to_vec(),
        );
        relation("SELECT 1 FROM source").map(|mut factor| {
            if let TableFactor::Table {
                name: placeholder, ..
            } = &mut factor
            {
                *placeholder = name;
            }
            factor
        })
    }
}

fn invalid(field: &str, message: &str) -> FederationError {
    Cause::InvalidExport {
        message: format!("{field}: {message}"),
    }
    .into()
}

/// What the manifest's validation refuses is refused here too: a run may have been
/// created from a spec that nobody validated, and what is not served must not export.
fn refuse_unserved(spec: &ExportSpec) -> Result<(), FederationError> {
    match first_problem(&Export::new("export", spec.clone())) {
        Some(problem) => Err(invalid(&problem.field, &problem.message)),
        None => Ok(()),
    }
}

fn quoted(name: &str) -> Ident {
    Ident::with_quote('"', name)
}

/// The schema of a table: as given, else `public`, else the one schema that has such a table.
fn schema_of(database: &DatabaseMetadata, table: &TableReference) -> Result<String, FederationError> {
    if let Some(schema) = &table.schema {
        return Ok(schema.clone());
    }
    let schemas = database
        .schemas
        .iter()
        .filter(|schema| schema.kind == SchemaKind::Source);
    let with: Vec<&str> = schemas
        .filter(|schema| schema.table(&table.name).is_some())
        .map(|schema| schema.name.as_str())
        .collect();
    match with.as_slice() {
        several if several.contains(&"public") => Ok("public".to_owned()),
        [only] => Ok((*only).to_owned()),
        [] => Err(Cause::UnknownTable {
            relation: format!("{}.{}", database.name, table.name),
        }
        .into()),
        several => Err(invalid(
            "spec.from.table.schema",
            &format!(
                "more than one schema has a table {}: say which of {}",
                table.name,
                several.join(", ")
            ),
        )),
    }
}

/// The only relation of a fixed SELECT: a node to fill in, with every field the parser
/// would give it.
fn relation(template: &str) -> Result<TableFactor, FederationError> {
    let mut query = query(template)?;
    let SetExpr::Select(select) = query.body.as_mut() else {
        return Err(FederationError::internal("the template is no SELECT"));
    };
    let from = select.from.pop();
    from.map(|table| table.relation)
        .ok_or_else(|| FederationError::internal("the template has no FROM"))
}

fn query(template: &str) -> Result<Box<Query>, FederationError> {
    match statement::parse(template)?.pop() {
        Some(Statement::Query(query)) => Ok(query),
        _ => Err(FederationError::internal("the template is no query")),
    }
}

fn all_items() -> SelectItem {
    SelectItem::Wildcard(datafusion::sql::sqlparser::ast::WildcardAdditionalOptions::default())
}

/// `SELECT items FROM from WHERE condition`, built as a tree: no text is ever pasted.
fn select(
    items: Vec<SelectItem>,
    from: TableFactor,
    condition: Option<Expr>,
) -> Result<Statement, FederationError> {
    let mut query = query("SELECT 1 FROM source")?;
    let SetExpr::Select(select) = query.body.as_mut() else {
        return Err(FederationError::internal("the template is no SELECT"));
    };
    select.projection = items;
    select.selection = condition;
    if let Some(table) = select.from.first_mut() {
        table.relation = from;
    }
    Ok(Statement::Query(query))
}

fn in_field(error: &FederationError, field: &str) -> FederationError {
    match error.location() {
        Some(location) => invalid(
            field,
            &format!("{error} (line {}, column {})", location.line, location.column),
        ),
        None => invalid(field, &error.to_string()),
    }
}

/// One SQL expression and nothing after it.
fn expression(text: &str, field: &str) -> Result<Expr, FederationError> {
    // the nesting is checked by the same bounds as any statement's
    statement::check_bounds(text).map_err(|error| in_field(&error, field))?;
    let parsed = Parser::new(&PostgreSqlDialect {})
        .with_recursion_limit(statement::NESTING)
        .try_with_sql(text);
    let parsed = parsed.and_then(|mut parser| {
        let expression = parser.parse_expr()?;
        match parser.peek_token().token {
            Token::EOF => Ok(expression),
            _ => parser.expected("the end of the expression", parser.peek_token()),
        }
    });
    parsed.map_err(|error| in_field(&error.into(), field))
}

fn data_type(text: &str, field: &str) -> Result<datafusion::sql::sqlparser::ast::DataType, FederationError> {
    let parsed = Parser::new(&PostgreSqlDialect {})
        .try_with_sql(text)
        .and_then(|mut parser| {
            let data_type = parser.parse_data_type()?;
            match parser.peek_token().token {
                Token::EOF => Ok(data_type),
                _ => parser.expected("the end of the type", parser.peek_token()),
            }
        });
    parsed.map_err(|error| in_field(&error.into(), field))
}

/// One column of the result.
struct Shaped<'a> {
    item: SelectItem,
    source: Option<String>,
    cast: Option<Casted>,
    mask: Option<Masked<'a>>,
}

fn names_of(available: &SchemaRef) -> Vec<&str> {
    available
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect()
}

/// The source has no such column.
fn unknown(names: &[&str], field: &str, name: &str) -> FederationError {
    let near = names
        .iter()
        .find(|known| known.to_lowercase() == name.to_lowercase());
    let near = near
        .map(|near| format!(" (it is spelt \"{near}\")"))
        .unwrap_or_default();
    invalid(
        field,
        &format!(
            "the source has no column \"{name}\"{near}; its columns are {}",
            names.join(", ")
        ),
    )
}

/// The columns to export, and the new ones of the source that are left out.
fn shape<'a>(
    spec: &'a ExportSpec,
    available: &SchemaRef,
    published: Option<&BTreeSet<String>>,
) -> Result<(Vec<Shaped<'a>>, Vec<String>), FederationError> {
    let names = names_of(available);
    let mut shaped = Vec::new();
    let mut outputs: BTreeSet<String> = BTreeSet::new();
    let mut left_out = Vec::new();
    let mut add = |field: &str, output: &str, item, source, cast, mask| {
        // a lake matches names whatever their case, so two that differ in case alone collide
        if !outputs.insert(output.to_lowercase()) {
            return Err(invalid(
                field,
                &format!("two exported columns are named \"{output}\"; rename one with as"),
            ));
        }
        shaped.push(Shaped {
            item,
            source,
            cast,
            mask,
        });
        Ok(())
    };
    let column_item = |name: &str, output: &str| SelectItem::ExprWithAlias {
        expr: Expr::Identifier(quoted(name)),
        alias: quoted(output),
    };
    match (&spec.columns, &spec.all_columns) {
        (Some(columns), None) => {
            for (index, column) in columns.iter().enumerate() {
                let field = format!("spec.columns[{index}]");
                let (expr, source) = column_expression(column, &field, &names)?;
                let mask = column.mask.as_deref();
                if mask.is_some_and(|mask| mask.drop.is_some()) {
                    continue;
                }
                let output = column
                    .output_name()
                    .ok_or_else(|| invalid(&field, "a column needs name, or expression and as"))?;
                let cast = match &column.cast {
                    Some(text) => Some(cast_to(text, column.on_cast_error, format!("{field}.cast"))?),
                    None => None,
                };
                add(
                    &field,
                    output,
                    SelectItem::ExprWithAlias {
                        expr,
                        alias: quoted(output),
                    },
                    source,
                    cast,
                    mask.map(|spec| Masked {
                        field: format!("{field}.mask"),
                        spec,
                    }),
                )?;
            }
        }
        (None, Some(all)) => {
            for (index, name) in all.except.iter().enumerate() {
                if !names.contains(&name.as_str()) {
                    return Err(unknown(&names, &format!("spec.allColumns.except[{index}]"), name));
                }
            }
            let chosen = names
                .iter()
                .copied()
                .filter(|name| !all.except.iter().any(|except| except == name));
            let (kept, new) = new_columns::settle(spec.effective_on_new_column(), chosen, published)?;
            left_out = new;
            for name in kept {
                add(
                    "spec.allColumns",
                    name,
                    column_item(name, name),
                    Some(name.to_owned()),
                    None,
                    None,
                )?;
            }
        }
        (None, None) if spec.from.query.is_some() => {
            for name in &names {
                add(
                    "spec.from.query",
                    name,
                    column_item(name, name),
                    Some((*name).to_owned()),
                    None,
                    None,
                )?;
            }
        }
        _ => return Err(invalid("spec", "set exactly one of columns and allColumns")),
    }
    if shaped.is_empty() {
        let (field, problem) = if spec.columns.is_some() {
            (
                "spec.columns",
                "every column is dropped; nothing is left to export",
            )
        } else {
            (
                "spec.allColumns",
                "every column is excepted; nothing is left to export",
            )
        };
        return Err(invalid(field, problem));
    }
    Ok((shaped, left_out))
}

/// The cast that a column's spec asks for.
fn cast_to(text: &str, on_error: Option<OnCastError>, field: String) -> Result<Casted, FederationError> {
    let parsed = data_type(text, &field)?;
    let Some(target) = dialect::target(&parsed) else {
        return Err(invalid(&field, &format!("there is no type {parsed} here")));
    };
    Ok(Casted {
        field,
        target,
        lenient: on_error == Some(OnCastError::Null),
    })
}

fn column_expression(
    column: &ColumnSpec,
    field: &str,
    names: &[&str],
) -> Result<(Expr, Option<String>), FederationError> {
    match (&column.name, &column.expression) {
        (Some(name), None) => {
            if !names.contains(&name.as_str()) {
                return Err(unknown(names, &format!("{field}.name"), name));
            }
            Ok((Expr::Identifier(quoted(name)), Some(name.clone())))
        }
        (None, Some(text)) => Ok((expression(text, &format!("{field}.expression"))?, None)),
        _ => Err(invalid(field, "set exactly one of name and expression")),
    }
}

/// An expression is computed from one row: an aggregate would fold the table into one.
fn check_rowwise(plan: &LogicalPlan) -> Result<(), FederationError> {
    let mut node = plan;
    loop {
        node = match node {
            LogicalPlan::Projection(projection) => &projection.input,
            LogicalPlan::Filter(filter) => &filter.input,
            LogicalPlan::Aggregate(_) | LogicalPlan::Window(_) => {
                return Err(invalid(
                    "spec.columns",
                    "an expression is computed from one row: use from.query for aggregates and windows",
                ));
            }
            // below is the source, which may be any query
            _ => return Ok(()),
        };
    }
}
