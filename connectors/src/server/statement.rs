//! A statement's tables and filters: what the dialects of database servers have in common.

use std::fmt::Write as _;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;

use super::{Spelling, condition};
use crate::scan::{CalendarUnit, Expression, JoinedTable, Predicate, ScanRequest, StoreJoin};

/// A table as SQL names it, or several that the store joins.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tables<C> {
    pub schema: String,
    pub name: String,
    /// In the order of the table's description, then those of the joined tables.
    pub columns: Vec<C>,
    pub joined: Vec<JoinedTable>,
}

impl<C: Clone> Tables<C> {
    pub(crate) fn new(schema: String, name: String, columns: Vec<C>) -> Self {
        Self {
            schema,
            name,
            columns,
            joined: Vec::new(),
        }
    }

    /// These and another one. `refusal` says of a column of these and one of the other, by their indexes, why
    /// the store may call different values equal.
    ///
    /// # Errors
    /// The reason why they are joined here.
    pub(crate) fn with(
        &self,
        other: &Self,
        join: &StoreJoin,
        refusal: impl Fn(usize, usize) -> Option<&'static str>,
    ) -> Result<Self, &'static str> {
        if !other.joined.is_empty() {
            return Err("tables are joined one after the other");
        }
        if let Some(reason) = join.on.iter().find_map(|(left, right)| refusal(*left, *right)) {
            return Err(reason);
        }
        let mut tables = self.clone();
        tables.joined.push(JoinedTable {
            schema: other.schema.clone(),
            name: other.name.clone(),
            first: self.columns.len(),
            join: join.clone(),
        });
        tables.columns.extend(other.columns.iter().cloned());
        Ok(tables)
    }
}

/// A column that statements name.
pub(crate) trait Named {
    fn name(&self) -> &str;
}

/// How a dialect names tables and columns, and computes with them.
pub(crate) trait Naming: Spelling + Sized {
    type Column: Named;

    fn tables(&self) -> &Tables<Self::Column>;

    /// A name, quoted.
    fn identifier(name: &str) -> String;

    /// A column of a join's condition, spelt already, as it is compared with another column.
    fn joined_by(&self, _column: usize, name: String) -> String {
        name
    }

    /// A column as SQL.
    fn name(&self, index: usize, qualified: bool) -> String {
        let tables = self.tables();
        let name = tables
            .columns
            .get(index)
            .map(|column| Self::identifier(column.name()))
            .unwrap_or_default();
        if qualified {
            format!("{}.{name}", JoinedTable::alias_of(&tables.joined, index))
        } else {
            name
        }
    }

    /// Whether columns need their table's name: several tables have some, and in
    /// ORDER BY a bare name means an output column first.
    fn is_qualified(&self, request: &ScanRequest) -> bool {
        !request.order.is_empty() || !self.tables().joined.is_empty()
    }

    /// Appends FROM with the joins, and WHERE.
    fn push_source(&self, request: &ScanRequest, sql: &mut String) {
        let qualified = self.is_qualified(request);
        let tables = self.tables();
        let column = |index: usize| self.name(index, qualified);
        let table =
            |schema: &str, name: &str| format!("{}.{}", Self::identifier(schema), Self::identifier(name));
        let _ = write!(sql, " FROM {}", table(&tables.schema, &tables.name));
        if qualified {
            sql.push_str(" AS t");
        }
        for (position, joined) in tables.joined.iter().enumerate() {
            let _ = write!(
                sql,
                " {}JOIN {} AS t{} ON ",
                if joined.join.outer { "LEFT " } else { "" },
                table(&joined.schema, &joined.name),
                position + 2
            );
            for (position, (left, right)) in joined.join.on.iter().enumerate() {
                let key = |index: usize| self.joined_by(index, column(index));
                let and = if position == 0 { "" } else { " AND " };
                let _ = write!(sql, "{and}({} = {})", key(*left), key(joined.first + right));
            }
            for predicate in &joined.join.conditions {
                sql.push_str(" AND ");
                condition(&predicate.moved(joined.first), self, &column, sql);
            }
        }
        conditions(" WHERE ", &request.predicates, self, &column, sql);
    }

    /// An exact number that is computed with.
    fn number(value: &ScalarValue) -> String;

    /// A computation, spelt already, in a type that holds every value of it.
    fn converted(computation: String, data_type: &DataType) -> String;

    /// A date and time, spelt already, cut to a unit; only where the dialect does not refuse it.
    fn truncated(_unit: CalendarUnit, _time: String) -> String {
        "NULL".to_owned()
    }

    /// An exact computation.
    fn expression(&self, expression: &Expression, qualified: bool) -> String {
        match expression {
            Expression::Column(column) => self.name(*column, qualified),
            Expression::Constant(value) => Self::number(value),
            Expression::Arithmetic {
                operator,
                left,
                right,
            } => format!(
                "({} {} {})",
                self.expression(left, qualified),
                operator.sql(),
                self.expression(right, qualified)
            ),
            Expression::Convert { inner, data_type } => {
                Self::converted(self.expression(inner, qualified), data_type)
            }
            Expression::Truncate { unit, inner } => Self::truncated(*unit, self.expression(inner, qualified)),
        }
    }

    /// Appends GROUP BY.
    fn push_keys(&self, keys: &[Expression], qualified: bool, sql: &mut String) {
        for (position, key) in keys.iter().enumerate() {
            sql.push_str(if position == 0 { " GROUP BY " } else { ", " });
            sql.push_str(&self.expression(key, qualified));
        }
    }
}

/// Appends predicates that must all hold, after a keyword; nothing without any.
pub(crate) fn conditions(
    keyword: &str,
    predicates: &[Predicate],
    spelling: &impl Spelling,
    column: &dyn Fn(usize) -> String,
    sql: &mut String,
) {
    for (position, predicate) in predicates.iter().enumerate() {
        sql.push_str(if position == 0 { keyword } else { " AND " });
        condition(predicate, spelling, column, sql);
    }
}
