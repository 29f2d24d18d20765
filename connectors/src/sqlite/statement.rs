//! The request as SQL.

use std::fmt::Write as _;

use datafusion::common::ScalarValue;

use super::dialect::SqliteLayout;
use super::types::ColumnKind;
use crate::scan::{Comparison, Expression, Function, GroupOutput, JoinedTable, Predicate, ScanRequest};

/// A constant, bound as a parameter: SQLite's own reading of a decimal literal is
/// not always the nearest float.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Parameter {
    Integer(i64),
    Real(f64),
    Text(String),
}

impl SqliteLayout {
    /// The request as SQL with `?` for its constants.
    pub fn statement(&self, request: &ScanRequest) -> (String, Vec<Parameter>) {
        let mut writer = Writer::new(self, request, true);
        writer.select();
        (writer.sql, writer.parameters)
    }

    /// The same request with its constants in place, for people.
    pub fn display(&self, request: &ScanRequest) -> String {
        let mut writer = Writer::new(self, request, false);
        writer.select();
        writer.sql
    }
}

struct Writer<'a> {
    layout: &'a SqliteLayout,
    request: &'a ScanRequest,
    sql: String,
    bind: bool,
    /// Columns are outputs of the groups, not of the table.
    of_groups: bool,
    parameters: Vec<Parameter>,
}

impl<'a> Writer<'a> {
    fn new(layout: &'a SqliteLayout, request: &'a ScanRequest, bind: bool) -> Self {
        Self {
            layout,
            request,
            sql: String::new(),
            bind,
            of_groups: false,
            parameters: Vec::new(),
        }
    }

    fn select(&mut self) {
        let (request, layout) = (self.request, self.layout);
        let unread = layout.unread(request);
        let counted = request.projection.is_empty();
        if counted {
            let check = if unread.is_empty() { "" } else { ", max(unread)" };
            let _ = write!(self.sql, "SELECT count(*){check} FROM (SELECT ");
            // Nothing else would say that all rows are one group.
            let one_group = request
                .grouping
                .as_ref()
                .is_some_and(|grouping| grouping.keys.is_empty());
            self.sql.push_str(if one_group { "count(*)" } else { "1" });
        } else {
            self.sql.push_str("SELECT ");
            for (position, &column) in request.projection.iter().enumerate() {
                self.separate(position, ", ");
                self.output(column);
            }
            if let Some(rowid) = &self.layout.rowid
                && request.grouping.is_none()
            {
                let _ = write!(self.sql, ", t.{rowid}");
            }
        }
        self.check(&unread);
        let _ = write!(self.sql, " FROM main.{} AS t", identifier(&layout.name));
        for (position, table) in layout.joined.iter().enumerate() {
            let _ = write!(
                self.sql,
                " {}JOIN main.{} AS t{} ON ",
                if table.join.outer { "LEFT " } else { "" },
                identifier(&table.name),
                position + 2
            );
            for (position, (left, right)) in table.join.on.iter().enumerate() {
                self.separate(position, " AND ");
                self.compared(*left);
                self.sql.push_str(" = ");
                self.compared(table.first + right);
            }
            for predicate in &table.join.conditions {
                self.sql.push_str(" AND ");
                self.predicate(&predicate.moved(table.first), false);
            }
        }
        for (position, predicate) in request.predicates.iter().enumerate() {
            self.sql.push_str(if position == 0 { " WHERE " } else { " AND " });
            self.predicate(predicate, false);
        }
        let keys = request.grouping.iter().flat_map(|grouping| &grouping.keys);
        for (position, key) in keys.enumerate() {
            self.sql.push_str(if position == 0 { " GROUP BY " } else { ", " });
            if let Expression::Column(key) = key {
                self.compared(*key);
            }
        }
        self.of_groups = true;
        let having = request.grouping.iter().flat_map(|grouping| &grouping.having);
        for (position, predicate) in having.enumerate() {
            self.sql
                .push_str(if position == 0 { " HAVING " } else { " AND " });
            self.predicate(predicate, false);
        }
        self.of_groups = false;
        for (position, key) in request.order.iter().enumerate() {
            self.sql.push_str(if position == 0 { " ORDER BY " } else { ", " });
            self.output(key.column);
            if self.is_text(key.column) {
                self.sql.push_str(" COLLATE BINARY");
            }
            self.sql.push_str(if key.descending { " DESC" } else { " ASC" });
            self.sql.push_str(if key.nulls_first {
                " NULLS FIRST"
            } else {
                " NULLS LAST"
            });
        }
        if let Some(limit) = request.limit {
            let _ = write!(self.sql, " LIMIT {limit}");
        }
        if counted {
            self.sql.push(')');
        }
    }

    /// Which of these columns holds a value that is not of its class.
    fn check(&mut self, unread: &[usize]) {
        if unread.is_empty() {
            return;
        }
        let grouped = self.request.grouping.is_some();
        self.sql.push_str(if grouped { ", max(CASE" } else { ", CASE" });
        for &column in unread {
            self.sql.push_str(" WHEN typeof(");
            self.column(column);
            let classes = classes(self.layout.kind(column));
            let _ = write!(self.sql, ") NOT IN ({classes}, 'null') THEN {column}");
        }
        self.sql.push_str(if grouped {
            " END) AS unread"
        } else {
            " END AS unread"
        });
    }

    /// A column of the request: of the table, or of its groups.
    fn output(&mut self, index: usize) {
        let request = self.request;
        let Some(grouping) = &request.grouping else {
            return self.column(index);
        };
        match grouping.outputs.get(index) {
            Some(GroupOutput::Key(Expression::Column(key))) => self.column(*key),
            Some(GroupOutput::Aggregate(call)) => {
                let name = match call.function {
                    Function::Sum => "sum",
                    Function::Minimum => "min",
                    Function::Maximum => "max",
                    _ => "count",
                };
                let _ = write!(
                    self.sql,
                    "{name}({}",
                    if call.distinct { "DISTINCT " } else { "" }
                );
                match call.argument {
                    Some(Expression::Column(column))
                        if call.function == Function::Count && !call.distinct =>
                    {
                        self.column(column);
                    }
                    Some(Expression::Column(column)) => self.compared(column),
                    _ => self.sql.push('*'),
                }
                self.sql.push(')');
                if let Some(filter) = &call.filter {
                    self.sql.push_str(" FILTER (WHERE ");
                    self.predicate(filter, false);
                    self.sql.push(')');
                }
            }
            Some(GroupOutput::Key(_)) | None => {}
        }
    }

    fn is_text(&self, index: usize) -> bool {
        let kind = match &self.request.grouping {
            None => self.layout.kind(index),
            Some(grouping) => match grouping.outputs.get(index) {
                Some(GroupOutput::Key(Expression::Column(key))) => self.layout.kind(*key),
                _ => return false,
            },
        };
        matches!(kind, Some(ColumnKind::Text { .. }))
    }

    fn separate(&mut self, position: usize, separator: &str) {
        if position > 0 {
            self.sql.push_str(separator);
        }
    }

    /// Always qualified: a bare `"name"` that is no column is a text constant to SQLite.
    fn column(&mut self, column: usize) {
        if self.of_groups {
            self.of_groups = false;
            self.output(column);
            self.of_groups = true;
            return;
        }
        let tables = &self.layout.tables;
        let alias = JoinedTable::alias_of(&tables.joined, column);
        let _ = write!(self.sql, "{alias}.{}", identifier(&tables.columns[column].name));
    }

    /// Negation is pushed to the leaves, where the guard has to stay outermost.
    fn predicate(&mut self, predicate: &Predicate, negated: bool) {
        match predicate {
            Predicate::And(parts) => self.joined(parts, if negated { " OR " } else { " AND " }, negated),
            Predicate::Or(parts) => self.joined(parts, if negated { " AND " } else { " OR " }, negated),
            Predicate::Not(inner) => self.predicate(inner, !negated),
            Predicate::IsNull {
                column,
                negated: is_not,
            } => {
                self.column(*column);
                self.sql.push_str(if *is_not == negated {
                    " IS NULL"
                } else {
                    " IS NOT NULL"
                });
            }
            Predicate::Compare { column, .. }
            | Predicate::In { column, .. }
            | Predicate::Between { column, .. }
            | Predicate::Like { column, .. }
            | Predicate::IsTrue { column } => self.guarded(*column, predicate, negated),
        }
    }

    fn joined(&mut self, parts: &[Predicate], separator: &str, negated: bool) {
        self.sql.push('(');
        for (position, part) in parts.iter().enumerate() {
            self.separate(position, separator);
            self.predicate(part, negated);
        }
        self.sql.push(')');
    }

    fn guarded(&mut self, column: usize, leaf: &Predicate, negated: bool) {
        // An aggregate has one class.
        if self.of_groups {
            return self.leaf(leaf, negated);
        }
        let facts = &self.layout.columns[column];
        if facts.enforced {
            self.leaf(leaf, negated);
            return;
        }
        let classes = classes(Some(facts.kind));
        self.sql.push_str("CASE WHEN typeof(");
        self.column(column);
        let _ = write!(self.sql, ") IN ({classes}, 'null') THEN ");
        self.leaf(leaf, negated);
        self.sql.push_str(" ELSE 1 END");
    }

    fn leaf(&mut self, leaf: &Predicate, negated: bool) {
        if negated {
            self.sql.push_str("NOT (");
        }
        match leaf {
            Predicate::Compare {
                column,
                comparison,
                value,
            } => {
                self.compared(*column);
                let _ = write!(self.sql, " {} ", Comparison::sql(*comparison));
                self.constant(value);
            }
            Predicate::In {
                column,
                values,
                negated: is_not,
            } => {
                self.compared(*column);
                self.sql.push_str(if *is_not { " NOT IN (" } else { " IN (" });
                for (position, value) in values.iter().enumerate() {
                    self.separate(position, ", ");
                    self.constant(value);
                }
                self.sql.push(')');
            }
            Predicate::Between {
                column,
                low,
                high,
                negated: is_not,
            } => {
                self.compared(*column);
                self.sql
                    .push_str(if *is_not { " NOT BETWEEN " } else { " BETWEEN " });
                self.constant(low);
                self.sql.push_str(" AND ");
                self.constant(high);
            }
            Predicate::IsTrue { column } => self.column(*column),
            other => self.predicate(other, false),
        }
        if negated {
            self.sql.push(')');
        }
    }

    /// The column as it is compared: text byte by byte, whatever collation the
    /// table declares.
    fn compared(&mut self, column: usize) {
        self.column(column);
        if !self.of_groups && matches!(self.layout.columns[column].kind, ColumnKind::Text { .. }) {
            self.sql.push_str(" COLLATE BINARY");
        }
    }

    fn constant(&mut self, value: &ScalarValue) {
        let parameter = match value {
            ScalarValue::Int64(Some(value)) => Parameter::Integer(*value),
            ScalarValue::Float64(Some(value)) => Parameter::Real(*value),
            ScalarValue::Utf8(Some(text)) => Parameter::Text(text.clone()),
            // No other type is judged Exact above. NULL keeps no row, so a mistake
            // there shows as missing rows in the differential tests.
            _ => {
                self.sql.push_str("NULL");
                return;
            }
        };
        if self.bind {
            self.parameters.push(parameter);
            self.sql.push('?');
            return;
        }
        let _ = match parameter {
            Parameter::Integer(value) => write!(self.sql, "{value}"),
            Parameter::Real(value) => write!(self.sql, "{value:?}"),
            Parameter::Text(text) => write!(self.sql, "'{}'", text.replace('\'', "''")),
        };
    }
}

/// The classes of a compared column's values. NUMERIC, which is read as a float, keeps
/// whole numbers as integers.
fn classes(kind: Option<ColumnKind>) -> &'static str {
    match kind {
        Some(ColumnKind::Integer) => "'integer'",
        Some(ColumnKind::Real) => "'real', 'integer'",
        _ => "'text'",
    }
}

/// A quoted identifier.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
