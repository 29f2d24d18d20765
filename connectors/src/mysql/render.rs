//! The SQL of a scan, and what may be in it.
//!
//! A predicate is sent only where MySQL certainly keeps every row that it would
//! keep here; where it may keep more, the filter is applied here too. Everything
//! else is local. Constants mean one thing under the session's pinned settings.

use std::fmt::Write as _;
use std::ops::Deref;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use lakegate_crds::ZeroDates;

use super::constant::{constant, identifier, literal};
use super::grouped::decimal_type;
use super::types::{RemoteColumn, TextRule, Wire};
use crate::scan::{Comparison, Expression, GroupOutput, Grouping, Predicate, ScanRequest, Verdict};
use crate::server::{Naming, Spelling, Tables, conditions};

/// A table, or several that MySQL joins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RemoteShape {
    pub tables: Tables<RemoteColumn>,
    pub zero_dates: ZeroDates,
}

impl Deref for RemoteShape {
    type Target = Tables<RemoteColumn>;

    fn deref(&self) -> &Self::Target {
        &self.tables
    }
}

/// A column of the server's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub sql: String,
    pub name: String,
    pub wire: Wire,
}

/// Longer lists cost the server more than the rows they keep away.
const MAX_LIST: usize = 1000;

impl Spelling for RemoteShape {
    fn constant(&self, _: usize, value: &ScalarValue) -> String {
        constant(value)
    }

    fn ordered(&self, _: usize, name: String) -> String {
        name
    }

    fn holds(&self, column: &str) -> String {
        format!("({column} = 1)")
    }
}

impl Naming for RemoteShape {
    type Column = RemoteColumn;

    fn tables(&self) -> &Tables<RemoteColumn> {
        &self.tables
    }

    fn identifier(name: &str) -> String {
        identifier(name)
    }

    fn number(value: &ScalarValue) -> String {
        match value {
            ScalarValue::Decimal128(..) | ScalarValue::Decimal256(..) => {
                format!(
                    "CAST({} AS {})",
                    constant(value),
                    decimal_type(&value.data_type())
                )
            }
            _ => format!("({})", constant(value)),
        }
    }

    fn converted(computation: String, data_type: &DataType) -> String {
        match data_type {
            DataType::Decimal128(..) | DataType::Decimal256(..) => {
                format!("CAST({computation} AS {})", decimal_type(data_type))
            }
            // Whole numbers are computed with in 64 bits; a mean's sum is exact before it becomes a float.
            _ => computation,
        }
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
                None => {
                    let column = self.columns.get(index)?;
                    Some(Answer {
                        sql: selected(column, self.name(index, qualified)),
                        name: column.name.clone(),
                        wire: column.wire.clone(),
                    })
                }
                Some(grouping) => {
                    let name = grouping.schema.field(index).name().clone();
                    match grouping.outputs.get(index)? {
                        GroupOutput::Key(Expression::Column(key)) => self.key(*key, qualified, name),
                        GroupOutput::Key(_) => None,
                        GroupOutput::Aggregate(call) => self.aggregate(call, qualified, name),
                    }
                }
            })
            .collect()
    }

    /// The query whose rows a scan reads; without columns, their number.
    pub(super) fn select(&self, request: &ScanRequest) -> String {
        let qualified = self.is_qualified(request);
        let counted = request.projection.is_empty();
        let inside = counted && (request.limit.is_some() || request.grouping.is_some());
        let mut sql = match &request.grouping {
            // Nothing else would say that all rows are one group.
            Some(grouping) if inside && grouping.keys.is_empty() => {
                "SELECT COUNT(*) FROM (SELECT COUNT(*)".to_owned()
            }
            _ if inside => "SELECT COUNT(*) FROM (SELECT 1".to_owned(),
            _ if counted => "SELECT COUNT(*)".to_owned(),
            _ => {
                let columns: Vec<String> = self
                    .answers(request)
                    .into_iter()
                    .map(|answer| answer.sql)
                    .collect();
                format!("SELECT {}", columns.join(", "))
            }
        };
        self.push_source(request, &mut sql);
        if let Some(grouping) = &request.grouping {
            self.push_keys(&grouping.keys, qualified, &mut sql);
            let output = |index: usize| self.output(grouping, index, qualified);
            conditions(" HAVING ", &grouping.having, self, &output, &mut sql);
        }
        for (position, key) in request.order.iter().enumerate() {
            sql.push_str(if position == 0 { " ORDER BY " } else { ", " });
            let name = match &request.grouping {
                None => self.name(key.column, qualified),
                Some(grouping) => self.output(grouping, key.column, qualified),
            };
            // NULL comes first in MySQL, and last when descending.
            let nullable = request.columns().field(key.column).is_nullable();
            if nullable && key.nulls_first == key.descending {
                let _ = write!(
                    sql,
                    "{name} IS NULL{}, ",
                    if key.descending { " DESC" } else { "" }
                );
            }
            sql.push_str(&name);
            sql.push_str(if key.descending { " DESC" } else { "" });
        }
        if let Some(limit) = request.limit {
            let _ = write!(sql, " LIMIT {limit}");
        }
        if inside {
            sql.push_str(") AS t");
        }
        sql
    }

    /// An output of a group where it is compared or sorted.
    fn output(&self, grouping: &Grouping, index: usize, qualified: bool) -> String {
        match grouping.outputs.get(index) {
            Some(GroupOutput::Key(key)) => self.expression(key, qualified),
            Some(GroupOutput::Aggregate(call)) => self
                .aggregate(call, qualified, String::new())
                .map(|answer| answer.sql)
                .unwrap_or_default(),
            None => String::new(),
        }
    }

    /// What the server may be asked.
    pub(super) fn verdict(&self, predicate: &Predicate) -> Verdict {
        let negated = has_not(predicate);
        predicate.verdict_over(&|leaf| self.leaf(leaf, negated))
    }

    /// The verdict on a leaf. `below_not`: somewhere in the whole condition is a
    /// NOT, so that "false" and "unknown" must be told apart.
    fn leaf(&self, leaf: &Predicate, below_not: bool) -> Verdict {
        let column = leaf.columns().first().and_then(|index| self.columns.get(*index));
        let Some(column) = column else {
            return Verdict::unsupported("not a comparison");
        };
        let zero_is_null = column.wire.has_zero_dates() && self.zero_dates == ZeroDates::AsNull;
        let (comparison, values, list_negated): (Comparison, Vec<&ScalarValue>, bool) = match leaf {
            Predicate::And(_) | Predicate::Or(_) | Predicate::Not(_) => {
                return Verdict::unsupported("not a comparison");
            }
            Predicate::IsNull { negated, .. } => {
                return match (zero_is_null, negated) {
                    (false, _) => Verdict::Exact,
                    (true, true) => Verdict::inexact(ZERO_DATE),
                    (true, false) => Verdict::unsupported(ZERO_DATE),
                };
            }
            Predicate::Like { pattern, .. } => {
                return match column.text {
                    TextRule::Exact(repertoire) if column.wire == Wire::Text && repertoire.holds(pattern) => {
                        Verdict::Exact
                    }
                    _ => Verdict::unsupported("the column's collation or type has its own rules for LIKE"),
                };
            }
            Predicate::IsTrue { .. } => {
                return if column.wire == Wire::Bool {
                    Verdict::Exact
                } else {
                    Verdict::unsupported("not a boolean column")
                };
            }
            Predicate::In { values, .. } if values.len() > MAX_LIST => {
                return Verdict::unsupported("the list is too long to be sent");
            }
            Predicate::Compare {
                comparison, value, ..
            } => (*comparison, vec![value], false),
            Predicate::In { values, negated, .. } => (Comparison::Equal, values.iter().collect(), *negated),
            Predicate::Between {
                low, high, negated, ..
            } => (Comparison::GreaterOrEqual, vec![low, high], *negated),
        };
        let mut superset = None;
        for value in values {
            match verdict_of(column, comparison, list_negated, value) {
                Verdict::Exact => {}
                inexact @ Verdict::Inexact(_) => superset = Some(inexact),
                unsupported @ Verdict::Unsupported(_) => return unsupported,
            }
        }
        if let Some(inexact) = superset {
            return inexact;
        }
        if !zero_is_null {
            return Verdict::Exact;
        }
        // A zero date is less than every constant. Where a condition wants no
        // less, the server answers false and here it is unknown: both drop the
        // row, as long as nothing negates them.
        let wants_less = matches!(
            comparison,
            Comparison::Less | Comparison::LessOrEqual | Comparison::NotEqual
        );
        if wants_less || list_negated || below_not {
            Verdict::inexact(ZERO_DATE)
        } else {
            Verdict::Exact
        }
    }
}

pub(super) const ZERO_DATE: &str = "a zero date is NULL here and a value in MySQL";

/// Whether a condition has a NOT of its own.
fn has_not(predicate: &Predicate) -> bool {
    match predicate {
        Predicate::And(parts) | Predicate::Or(parts) => parts.iter().any(has_not),
        Predicate::Not(_) => true,
        _ => false,
    }
}

/// What the server may be asked about this column and this constant, zero dates
/// aside. `negated`: the comparison's negation is meant.
fn verdict_of(column: &RemoteColumn, comparison: Comparison, negated: bool, value: &ScalarValue) -> Verdict {
    let no_form = || Verdict::unsupported("the constant has no certain form in MySQL");
    match (&column.wire, value) {
        (
            Wire::Tiny { .. }
            | Wire::Small { .. }
            | Wire::Medium { .. }
            | Wire::Int { .. }
            | Wire::Big { .. }
            | Wire::Decimal128 { .. }
            | Wire::Decimal256 { .. },
            _,
        ) => {}
        (Wire::Date | Wire::DateTime | Wire::Timestamp, _) => {}
        (Wire::Float | Wire::Double, _) if column.rounded => {
            return Verdict::unsupported("MySQL compares FLOAT(M,D) by its rounded digits");
        }
        // -0.0 and 0.0 are one value there; here that depends on the operator
        // (comparing, hashing, sorting). NaN and infinities it has none.
        (Wire::Float, ScalarValue::Float32(Some(float))) if plain(f64::from(*float)) => {}
        (Wire::Double, ScalarValue::Float64(Some(float))) if plain(*float) => {}
        (Wire::Float | Wire::Double, _) => {
            return Verdict::unsupported("zero has two forms and NaN none in MySQL");
        }
        // A year is compared with 70 as with 1970.
        (Wire::Year, ScalarValue::Int16(Some(1901..=2155))) => {}
        (Wire::Year, _) => return Verdict::unsupported("MySQL completes short years"),
        (Wire::Bits, ScalarValue::Int64(Some(0..))) => {}
        (Wire::Bits | Wire::WideBits, _) => {
            return Verdict::unsupported("MySQL compares this type by its own rules");
        }
        (Wire::Bool | Wire::Binary, _) if comparison.is_equality() => {}
        (Wire::Bool | Wire::Binary, _) => {
            return Verdict::unsupported("only equality of this type is sent");
        }
        (Wire::Text, ScalarValue::Utf8(Some(text))) => {
            return text_verdict(column, comparison, negated, text);
        }
        (Wire::Text | Wire::Cast | Wire::Geometry { .. } | Wire::Time { .. }, _) => {
            return Verdict::unsupported("MySQL compares this type by its own rules");
        }
    }
    match literal(value) {
        Some(_) => Verdict::Exact,
        None => no_form(),
    }
}

fn text_verdict(column: &RemoteColumn, comparison: Comparison, negated: bool, text: &str) -> Verdict {
    match column.text {
        TextRule::Exact(repertoire) | TextRule::Superset(repertoire) if !repertoire.holds(text) => {
            Verdict::unsupported("the constant has characters that the column cannot have")
        }
        TextRule::Exact(_) => Verdict::Exact,
        TextRule::Superset(_) if comparison == Comparison::Equal && !negated => {
            Verdict::inexact("the column's collation may call more texts equal")
        }
        TextRule::Superset(_) => Verdict::unsupported(
            "the column's collation may call different texts equal, or order them otherwise",
        ),
        TextRule::Local => Verdict::unsupported("the column's character set or type has its own rules"),
    }
}

fn plain(float: f64) -> bool {
    float.is_finite() && float != 0.0
}

/// A column in the select list.
fn selected(column: &RemoteColumn, name: String) -> String {
    match column.wire {
        Wire::Cast => format!("CAST({name} AS CHAR)"),
        Wire::Geometry { swapped: false } => format!("ST_AsWKB({name})"),
        Wire::Geometry { swapped: true } => format!("ST_AsWKB({name}, 'axis-order=long-lat')"),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Field;

    use super::*;
    use crate::mysql::types::ColumnFacts;
    use crate::scan::rows_of;

    fn shape(zero_dates: ZeroDates) -> RemoteShape {
        let column = |name: &str, data_type: &str, collation: &str| {
            let facts = ColumnFacts {
                data_type: data_type.to_owned(),
                precision: Some(if data_type == "bit" { 1 } else { 10 }),
                scale: Some(2),
                charset: (!collation.is_empty()).then(|| "utf8mb4".to_owned()),
                collation: (!collation.is_empty()).then(|| collation.to_owned()),
                rounded: name == "rounded",
                ..ColumnFacts::default()
            };
            RemoteColumn::new(name.to_owned(), &facts)
        };
        let columns = vec![
            column("id", "bigint", ""),
            column("name", "varchar", "utf8mb4_general_ci"),
            column("code", "varchar", "utf8mb4_nopad_bin"),
            column("flag", "bit", ""),
            column("day", "date", ""),
            column("place", "point", ""),
            column("ratio", "double", ""),
            column("rounded", "double", ""),
            column("ip", "inet6", ""),
            column("made", "year", ""),
        ];
        RemoteShape {
            tables: Tables::new("shop".to_owned(), "odd`table".to_owned(), columns),
            zero_dates,
        }
    }

    fn request(projection: &[usize], predicates: Vec<Predicate>, limit: Option<usize>) -> ScanRequest {
        let columns = shape(ZeroDates::Fail)
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

    const DAY: ScalarValue = ScalarValue::Date32(Some(0));

    #[test]
    fn statements() {
        let shape = shape(ZeroDates::AsNull);
        insta::assert_snapshot!(shape.select(&request(&[], Vec::new(), None)), @"SELECT COUNT(*) FROM `shop`.`odd``table`");
        insta::assert_snapshot!(
            shape.select(&request(&[], vec![Predicate::IsTrue { column: 3 }], Some(4))),
            @"SELECT COUNT(*) FROM (SELECT 1 FROM `shop`.`odd``table` WHERE (`flag` = 1) LIMIT 4) AS t"
        );
        insta::assert_snapshot!(
            shape.select(&request(
                &[5, 8, 0],
                vec![
                    compare(0, Comparison::GreaterOrEqual, ScalarValue::Int64(Some(-5))),
                    Predicate::Or(vec![
                        Predicate::IsTrue { column: 3 },
                        Predicate::Not(Box::new(Predicate::In {
                            column: 2,
                            values: vec![text("it's"), text("a\\b LIMIT 5"), text("")],
                            negated: true,
                        })),
                    ]),
                    Predicate::IsNull { column: 1, negated: true },
                    Predicate::Between { column: 4, low: DAY, high: DAY, negated: false },
                ],
                Some(7),
            )),
            @"SELECT ST_AsWKB(`place`), CAST(`ip` AS CHAR), `id` FROM `shop`.`odd``table` WHERE (`id` >= -5) AND ((`flag` = 1) OR (NOT (`code` NOT IN ('it''s', 'a\\b LIMIT 5', '')))) AND (`name` IS NOT NULL) AND (`day` BETWEEN DATE'1970-01-01' AND DATE'1970-01-01') LIMIT 7"
        );
    }

    #[test]
    fn verdicts() {
        let shape = shape(ZeroDates::AsNull);
        let null = |column, negated| Predicate::IsNull { column, negated };
        let exact = [
            compare(0, Comparison::Less, ScalarValue::Int64(Some(1))),
            compare(2, Comparison::Less, text("a")),
            compare(2, Comparison::NotEqual, text("a")),
            compare(3, Comparison::Equal, ScalarValue::Boolean(Some(true))),
            compare(4, Comparison::GreaterOrEqual, DAY),
            compare(4, Comparison::Equal, DAY),
            compare(6, Comparison::Less, ScalarValue::Float64(Some(1.5))),
            compare(9, Comparison::Less, ScalarValue::Int16(Some(2026))),
            null(0, false),
            null(8, true),
        ];
        for predicate in exact {
            assert_eq!(shape.verdict(&predicate), Verdict::Exact, "{predicate:?}");
        }
        let inexact = [
            compare(1, Comparison::Equal, text("a")),
            compare(4, Comparison::Less, DAY),
            compare(4, Comparison::NotEqual, DAY),
            null(4, true),
            Predicate::In {
                column: 1,
                values: vec![text("a"), text("b")],
                negated: false,
            },
        ];
        for predicate in inexact {
            assert!(
                matches!(shape.verdict(&predicate), Verdict::Inexact(_)),
                "{predicate:?}"
            );
        }
        let local = [
            compare(1, Comparison::NotEqual, text("a")),
            compare(1, Comparison::Less, text("a")),
            compare(1, Comparison::Equal, text("a\0")),
            compare(6, Comparison::Equal, ScalarValue::Float64(Some(0.0))),
            compare(7, Comparison::Equal, ScalarValue::Float64(Some(1.0))),
            compare(8, Comparison::Equal, text("::1")),
            compare(9, Comparison::Equal, ScalarValue::Int16(Some(70))),
            null(4, false),
            Predicate::Not(Box::new(compare(4, Comparison::Equal, DAY))),
            Predicate::Not(Box::new(compare(1, Comparison::Equal, text("a")))),
            Predicate::In {
                column: 1,
                values: vec![text("a")],
                negated: true,
            },
            Predicate::In {
                column: 1,
                values: vec![text("a"), text("a\0")],
                negated: false,
            },
            Predicate::In {
                column: 0,
                values: vec![ScalarValue::Int64(Some(1)); MAX_LIST + 1],
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

    #[test]
    fn refused_zero_dates_are_no_trap() {
        let shape = shape(ZeroDates::Fail);
        for predicate in [
            compare(4, Comparison::Less, DAY),
            Predicate::Not(Box::new(compare(4, Comparison::Equal, DAY))),
            Predicate::IsNull {
                column: 4,
                negated: false,
            },
        ] {
            assert_eq!(shape.verdict(&predicate), Verdict::Exact, "{predicate:?}");
        }
    }
}
