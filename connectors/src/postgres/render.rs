//! The SQL of a scan, and what may be in it.
//!
//! A predicate is sent only where PostgreSQL certainly keeps the same rows as
//! Arrow would; everything else is local. Constants are typed, so that no
//! setting of the server and no search path decides what they mean.

use std::fmt::Write as _;
use std::ops::Deref;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;

use super::blocks::Blocks;
use super::constant::{any_of, constant, identifier, literal, quoted};
use super::grouped::wire_of;
use super::types::{RemoteColumn, TextForm, Wire, oid};
use crate::scan::{
    CalendarUnit, Comparison, Expression, GroupOutput, Grouping, Predicate, ScanRequest, Verdict,
};
use crate::server::{Naming, Spelling, Tables, conditions};

/// A table, or several that PostgreSQL joins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RemoteShape(pub Tables<RemoteColumn>);

impl Deref for RemoteShape {
    type Target = Tables<RemoteColumn>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// A column of the server's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub sql: String,
    pub name: String,
    pub wire: Wire,
}

impl Spelling for RemoteShape {
    fn constant(&self, column: usize, value: &ScalarValue) -> String {
        match (self.columns.get(column).map(|column| &column.wire), value) {
            // As text it would be compared with the column's text, which has lost its blanks.
            (Some(Wire::Text(TextForm::Native(oid::BPCHAR))), ScalarValue::Utf8(Some(text))) => {
                format!("{}::pg_catalog.bpchar", quoted(text))
            }
            (Some(Wire::Text(TextForm::Uuid)), ScalarValue::Utf8(Some(text))) => {
                format!("{}::pg_catalog.uuid", quoted(text))
            }
            _ => constant(value),
        }
    }

    fn ordered(&self, column: usize, name: String) -> String {
        match self.columns.get(column).map(|column| &column.wire) {
            Some(Wire::Text(_)) => format!("{name} COLLATE pg_catalog.\"C\""),
            _ => name,
        }
    }

    fn holds(&self, column: &str) -> String {
        column.to_owned()
    }

    fn any_of(&self, column: &str, values: &[ScalarValue]) -> Option<String> {
        any_of(column, values)
    }
}

impl Naming for RemoteShape {
    type Column = RemoteColumn;

    fn tables(&self) -> &Tables<RemoteColumn> {
        self
    }

    fn identifier(name: &str) -> String {
        identifier(name)
    }

    fn number(value: &ScalarValue) -> String {
        constant(value)
    }

    /// Numeric has room for every digit.
    fn converted(computation: String, data_type: &DataType) -> String {
        let name = match data_type {
            DataType::Int16 => "int2",
            DataType::Int32 => "int4",
            DataType::Int64 => "int8",
            DataType::Decimal128(..) | DataType::Decimal256(..) => "numeric",
            // Of a mean, whose sum is exact before it becomes a float.
            _ => return computation,
        };
        format!("{computation}::pg_catalog.{name}")
    }

    fn truncated(unit: CalendarUnit, time: String) -> String {
        format!(
            "pg_catalog.date_trunc('{}'::pg_catalog.text, {time})",
            unit.name()
        )
    }

    /// Two columns may have two collations, of which none would win.
    fn joined_by(&self, column: usize, name: String) -> String {
        self.ordered(column, name)
    }
}

/// The columns of groups, in conditions on them.
struct Outputs<'a> {
    shape: &'a RemoteShape,
    grouping: &'a Grouping,
}

impl Spelling for Outputs<'_> {
    fn constant(&self, column: usize, value: &ScalarValue) -> String {
        match self.grouping.outputs.get(column) {
            Some(GroupOutput::Key(Expression::Column(key))) => self.shape.constant(*key, value),
            _ => constant(value),
        }
    }

    fn ordered(&self, column: usize, name: String) -> String {
        match self.grouping.outputs.get(column) {
            Some(GroupOutput::Key(Expression::Column(key))) => self.shape.ordered(*key, name),
            Some(GroupOutput::Aggregate(call)) => match self.shape.aggregate_wire(call) {
                Some(Wire::Text(_)) => format!("{name} COLLATE pg_catalog.\"C\""),
                _ => name,
            },
            Some(GroupOutput::Key(_)) | None => name,
        }
    }

    fn holds(&self, column: &str) -> String {
        self.shape.holds(column)
    }

    fn any_of(&self, column: &str, values: &[ScalarValue]) -> Option<String> {
        any_of(column, values)
    }
}

impl RemoteShape {
    /// What the server answers, by position.
    pub(super) fn answers(&self, request: &ScanRequest) -> Vec<Answer> {
        let qualified = self.is_qualified(request);
        request
            .projection
            .iter()
            .filter_map(|&index| match &request.grouping {
                None => self.answer(index, qualified),
                Some(grouping) => match grouping.outputs.get(index)? {
                    GroupOutput::Key(Expression::Column(key)) => self.answer(*key, qualified),
                    GroupOutput::Key(key) => {
                        let field = grouping.schema.field(index);
                        Some(Answer {
                            sql: self.expression(key, qualified),
                            name: field.name().clone(),
                            wire: wire_of(field.data_type())?,
                        })
                    }
                    GroupOutput::Aggregate(call) => Some(Answer {
                        sql: self.aggregate(call, qualified),
                        name: grouping.schema.field(index).name().clone(),
                        wire: self.aggregate_wire(call)?,
                    }),
                },
            })
            .collect()
    }

    fn answer(&self, index: usize, qualified: bool) -> Option<Answer> {
        let column = self.columns.get(index)?;
        Some(Answer {
            sql: format!("{}{}", self.name(index, qualified), column.cast),
            name: column.name.clone(),
            wire: column.wire.clone(),
        })
    }

    /// The query whose rows a scan reads.
    pub(super) fn select(&self, request: &ScanRequest) -> String {
        self.select_of(request, None)
    }

    /// The query for those of the rows that are in some blocks of the table.
    pub(super) fn select_blocks(&self, request: &ScanRequest, blocks: &Blocks) -> String {
        self.select_of(request, Some(blocks))
    }

    fn select_of(&self, request: &ScanRequest, blocks: Option<&Blocks>) -> String {
        let qualified = self.is_qualified(request);
        let answers = self.answers(request);
        let mut sql = "SELECT".to_owned();
        for (position, answer) in answers.iter().enumerate() {
            sql.push_str(if position == 0 { " " } else { ", " });
            sql.push_str(&answer.sql);
        }
        self.push_source(request, &mut sql);
        if let Some(blocks) = blocks {
            sql.push_str(if request.predicates.is_empty() {
                " WHERE "
            } else {
                " AND "
            });
            let _ = write!(sql, "{blocks}");
        }
        if let Some(grouping) = &request.grouping {
            self.push_keys(&grouping.keys, qualified, &mut sql);
            let output = |index: usize| match grouping.outputs.get(index) {
                Some(GroupOutput::Aggregate(call)) => self.aggregate(call, qualified),
                Some(GroupOutput::Key(key)) => self.expression(key, qualified),
                None => String::new(),
            };
            let outputs = Outputs {
                shape: self,
                grouping,
            };
            conditions(" HAVING ", &grouping.having, &outputs, &output, &mut sql);
            // Nothing else would say that all rows are one group.
            if grouping.keys.is_empty() && grouping.having.is_empty() && answers.is_empty() {
                sql.push_str(" HAVING true");
            }
        }
        for (position, key) in request.order.iter().enumerate() {
            sql.push_str(if position == 0 { " ORDER BY " } else { ", " });
            sql.push_str(&self.sorted(request, key.column));
            sql.push_str(if key.descending { " DESC" } else { " ASC" });
            sql.push_str(if key.nulls_first {
                " NULLS FIRST"
            } else {
                " NULLS LAST"
            });
        }
        if let Some(limit) = request.limit {
            let _ = write!(sql, " LIMIT {limit}");
        }
        sql
    }

    /// A column of the request as it is sorted: text by its bytes, as here.
    fn sorted(&self, request: &ScanRequest, column: usize) -> String {
        let index = match &request.grouping {
            None => column,
            Some(grouping) => match grouping.outputs.get(column) {
                Some(GroupOutput::Key(Expression::Column(key))) => *key,
                Some(GroupOutput::Key(key)) => return self.expression(key, true),
                // Its own text has that order already.
                Some(GroupOutput::Aggregate(call)) => {
                    let sql = self.aggregate(call, true);
                    return match self.aggregate_wire(call) {
                        Some(Wire::Text(_)) => format!("({sql}) COLLATE pg_catalog.\"C\""),
                        _ => sql,
                    };
                }
                None => return String::new(),
            },
        };
        let name = self.name(index, true);
        match self.columns.get(index).map(|column| &column.wire) {
            Some(Wire::Text(_)) => format!("{name} COLLATE pg_catalog.\"C\""),
            _ => name,
        }
    }

    /// The statement that streams those rows.
    pub(super) fn copy(select: &str) -> String {
        format!("COPY ({select}) TO STDOUT (FORMAT binary)")
    }

    /// What the server may be asked.
    pub(super) fn verdict(&self, predicate: &Predicate) -> Verdict {
        predicate.verdict_over(&|leaf| match self.refusal(leaf) {
            None => Verdict::Exact,
            Some(reason) => Verdict::unsupported(reason),
        })
    }

    /// Why a leaf predicate stays here; none if the server decides it alike.
    fn refusal(&self, leaf: &Predicate) -> Option<&'static str> {
        let column = |index: &usize| self.columns.get(*index);
        match leaf {
            Predicate::And(_) | Predicate::Or(_) | Predicate::Not(_) => Some("not a comparison"),
            Predicate::IsNull { column: index, .. } => match column(index) {
                Some(column) if !column.composite => None,
                _ => Some("a row of NULLs is itself NULL in PostgreSQL"),
            },
            Predicate::Like {
                column: index,
                pattern,
                ..
            } => {
                let column = column(index)?;
                match &column.wire {
                    Wire::Text(TextForm::Native(oid::TEXT | oid::VARCHAR)) if column.bytewise => {
                        literal(&ScalarValue::Utf8(Some(pattern.clone())))
                            .is_none()
                            .then_some(NO_FORM)
                    }
                    _ => Some("PostgreSQL has its own rules for LIKE on this type or collation"),
                }
            }
            Predicate::IsTrue { column: index } => match column(index)?.wire {
                Wire::Bool => None,
                _ => Some("not a boolean column"),
            },
            Predicate::Compare {
                column: index,
                comparison,
                value,
            } => refusal_of(column(index)?, *comparison, value),
            Predicate::In {
                column: index,
                values,
                ..
            } => values
                .iter()
                .find_map(|value| refusal_of(column(index)?, Comparison::Equal, value)),
            Predicate::Between {
                column: index,
                low,
                high,
                ..
            } => [low, high]
                .into_iter()
                .find_map(|value| refusal_of(column(index)?, Comparison::Less, value)),
        }
    }
}

const NO_FORM: &str = "the constant has no certain form in PostgreSQL";

/// Why a comparison of this column with this constant stays local.
fn refusal_of(column: &RemoteColumn, comparison: Comparison, value: &ScalarValue) -> Option<&'static str> {
    let allowed = match &column.wire {
        Wire::Int2
        | Wire::Int4
        | Wire::Int8
        | Wire::Numeric128 { .. }
        | Wire::Numeric256 { .. }
        | Wire::Date
        | Wire::Timestamp
        | Wire::TimestampTz
        | Wire::Time
        | Wire::Float4
        | Wire::Float8 => Ok(()),
        Wire::Bool | Wire::Bytea if comparison.is_equality() => Ok(()),
        Wire::Bool | Wire::Bytea => Err("only equality of this type is sent"),
        Wire::Text(TextForm::Native(oid::TEXT | oid::VARCHAR)) => {
            if column.bytewise {
                Ok(())
            } else {
                Err("the column's collation, encoding or origin may call different texts equal")
            }
        }
        // Sent as a uuid, which has one form as text.
        Wire::Text(TextForm::Uuid) if comparison.is_equality() && is_uuid(value) => Ok(()),
        Wire::Text(TextForm::Native(oid::BPCHAR)) => match (column.characters, value) {
            // Every value has as many characters, so that no blanks but the same are ignored.
            (Some(characters), ScalarValue::Utf8(Some(text)))
                if comparison.is_equality() && column.bytewise && text.chars().count() == characters =>
            {
                Ok(())
            }
            _ => Err("PostgreSQL ignores trailing blanks of character(n)"),
        },
        Wire::Text(_) | Wire::Interval | Wire::Geometry | Wire::Oid | Wire::List(_) => {
            Err("PostgreSQL compares this type by its own rules")
        }
    };
    match allowed {
        Err(reason) => Some(reason),
        Ok(()) => match (&column.wire, value) {
            // -0.0 and 0.0 are one value there; here that depends on the operator
            // (comparing, hashing, sorting). NaN likewise.
            (Wire::Float4, ScalarValue::Float32(Some(float))) if !plain(f64::from(*float)) => {
                Some("zero and NaN have several forms, which PostgreSQL takes for one")
            }
            (Wire::Float8, ScalarValue::Float64(Some(float))) if !plain(*float) => {
                Some("zero and NaN have several forms, which PostgreSQL takes for one")
            }
            _ => match literal(value) {
                Some(_) => None,
                None => Some(NO_FORM),
            },
        },
    }
}

/// Whether the constant is a uuid as the column's text has it.
fn is_uuid(value: &ScalarValue) -> bool {
    let ScalarValue::Utf8(Some(text)) = value else {
        return false;
    };
    text.len() == 36
        && text.bytes().enumerate().all(|(position, byte)| match position {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

fn plain(float: f64) -> bool {
    float.is_finite() && float != 0.0
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Field;

    use super::*;
    use crate::postgres::types::ColumnFacts;
    use crate::scan::rows_of;

    fn shape() -> RemoteShape {
        let column = |name: &str, type_oid, modifier, bytewise| {
            RemoteColumn::new(
                name.to_owned(),
                &ColumnFacts {
                    type_oid,
                    modifier,
                    element: None,
                    composite: name == "row",
                    geometry: false,
                    unconstrained_numeric: lakegate_crds::UnconstrainedNumeric::Decimal,
                    bytewise,
                },
            )
        };
        let columns = vec![
            column("id", oid::INT8, -1, false),
            column("name", oid::TEXT, -1, true),
            column("ci", oid::TEXT, -1, false),
            column("flag", oid::BOOL, -1, false),
            column("uuid", 2950, -1, false),
            column("row", 2249, -1, false),
            column("ratio", oid::FLOAT8, -1, false),
            column("padded", oid::BPCHAR, 9, true),
        ];
        RemoteShape(Tables::new("public".to_owned(), "odd\"table".to_owned(), columns))
    }

    fn request(projection: &[usize], predicates: Vec<Predicate>, limit: Option<usize>) -> ScanRequest {
        let columns = shape()
            .columns
            .iter()
            .map(|column| Field::new(&column.name, column.wire.data_type(), true))
            .collect();
        rows_of(columns, projection, predicates, limit)
    }

    fn compare(column: usize, comparison: Comparison, value: ScalarValue) -> Predicate {
        Predicate::Compare {
            column,
            comparison,
            value,
        }
    }

    fn text(value: &str) -> ScalarValue {
        ScalarValue::Utf8(Some(value.to_owned()))
    }

    #[test]
    fn statements() {
        let shape = shape();
        insta::assert_snapshot!(shape.select(&request(&[], Vec::new(), None)), @r#"SELECT FROM "public"."odd""table""#);
        insta::assert_snapshot!(
            RemoteShape::copy(&shape.select(&request(
                &[4, 0],
                vec![
                    compare(0, Comparison::GreaterOrEqual, ScalarValue::Int64(Some(-5))),
                    Predicate::Or(vec![
                        Predicate::IsTrue { column: 3 },
                        Predicate::Not(Box::new(Predicate::In {
                            column: 1,
                            values: vec![text("it's"), text("a\\b LIMIT 5"), text("")],
                            negated: true,
                        })),
                    ]),
                    Predicate::IsNull { column: 2, negated: true },
                    Predicate::Between {
                        column: 0,
                        low: ScalarValue::Int64(Some(1)),
                        high: ScalarValue::Int64(Some(2)),
                        negated: false,
                    },
                ],
                Some(7),
            ))),
            @r#"COPY (SELECT "uuid"::pg_catalog.text, "id" FROM "public"."odd""table" WHERE ("id" >= '-5'::pg_catalog.int8) AND ("flag" OR (NOT ("name" NOT IN ('it''s'::pg_catalog.text, 'a\b LIMIT 5'::pg_catalog.text, ''::pg_catalog.text)))) AND ("ci" IS NOT NULL) AND ("id" BETWEEN '1'::pg_catalog.int8 AND '2'::pg_catalog.int8) LIMIT 7) TO STDOUT (FORMAT binary)"#
        );
    }

    #[test]
    fn verdicts() {
        let shape = shape();
        let exact = [
            compare(0, Comparison::Less, ScalarValue::Int64(Some(1))),
            compare(1, Comparison::NotEqual, text("a")),
            compare(6, Comparison::Less, ScalarValue::Float64(Some(1.5))),
            Predicate::IsTrue { column: 3 },
            Predicate::IsNull {
                column: 4,
                negated: false,
            },
        ];
        for predicate in exact {
            assert_eq!(shape.verdict(&predicate), Verdict::Exact, "{predicate:?}");
        }
        let local = [
            compare(1, Comparison::Less, text("a\0")),
            compare(1, Comparison::Equal, text("a\0")),
            compare(2, Comparison::Less, text("a")),
            compare(2, Comparison::Equal, text("a")),
            compare(4, Comparison::Equal, text("a")),
            compare(7, Comparison::Equal, text("a")),
            compare(6, Comparison::Equal, ScalarValue::Float64(Some(0.0))),
            compare(6, Comparison::Equal, ScalarValue::Float64(Some(f64::NAN))),
            Predicate::IsNull {
                column: 5,
                negated: false,
            },
        ];
        for predicate in local {
            assert!(
                matches!(shape.verdict(&predicate), Verdict::Unsupported(_)),
                "{predicate:?}"
            );
        }
    }
}
