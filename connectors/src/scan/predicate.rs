//! The predicates a store can be asked to evaluate.
//!
//! This is an allow-list: what has no variant here is never sent to a store.
//! Every variant has SQL's three-valued meaning, so that `NOT` keeps it.

use arrow::datatypes::{DataType, Schema};
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::expr::{Between, BinaryExpr, InList, Like};
use datafusion::logical_expr::{Expr, Operator};

use super::Verdict;

/// A comparison of a column with a constant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    /// The operator as every SQL dialect spells it.
    pub fn sql(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "<>",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }

    /// Whether the operator needs only equality, not an order of the values.
    pub fn is_equality(self) -> bool {
        matches!(self, Self::Equal | Self::NotEqual)
    }

    /// The operator with its sides exchanged: `1 < a` is `a > 1`.
    fn flipped(self) -> Self {
        match self {
            Self::Equal => Self::Equal,
            Self::NotEqual => Self::NotEqual,
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
        }
    }

    fn of(operator: Operator) -> Option<Self> {
        Some(match operator {
            Operator::Eq => Self::Equal,
            Operator::NotEq => Self::NotEqual,
            Operator::Lt => Self::Less,
            Operator::LtEq => Self::LessOrEqual,
            Operator::Gt => Self::Greater,
            Operator::GtEq => Self::GreaterOrEqual,
            _ => return None,
        })
    }
}

/// A condition over the columns of one table. Columns are indexes into the
/// table's full schema; values are never NULL and have the column's own Arrow
/// type (all string encodings appear as `ScalarValue::Utf8`, all binary ones as
/// `ScalarValue::Binary`).
#[derive(Debug, Clone, PartialEq)]
pub enum Predicate {
    Compare {
        column: usize,
        comparison: Comparison,
        value: ScalarValue,
    },
    /// `column IN (…)`, or `NOT IN`; at least one value.
    In {
        column: usize,
        values: Vec<ScalarValue>,
        negated: bool,
    },
    /// `low <= column AND column <= high`, or its negation.
    Between {
        column: usize,
        low: ScalarValue,
        high: ScalarValue,
        negated: bool,
    },
    IsNull {
        column: usize,
        negated: bool,
    },
    /// `column LIKE 'a%_'`, where `%` and `_` are all that is special: a pattern with a backslash stays local.
    Like {
        column: usize,
        pattern: String,
        negated: bool,
    },
    /// A boolean column that is itself the condition.
    IsTrue {
        column: usize,
    },
    And(Vec<Predicate>),
    Or(Vec<Predicate>),
    Not(Box<Predicate>),
}

impl Predicate {
    /// Converts an expression of the planner over the columns of `schema`.
    ///
    /// # Errors
    /// The reason why the expression has no equivalent here, as `EXPLAIN`
    /// shows it.
    pub fn from_expr(expr: &Expr, schema: &Schema) -> Result<Self, String> {
        Self::resolved(expr, &|column| {
            let (index, data_type) = resolve(&column.name, schema)?;
            Ok((index, data_type.clone()))
        })
    }

    /// As [`Self::from_expr`], with the index and type of each column from `resolve`.
    ///
    /// # Errors
    /// As there.
    pub(super) fn resolved(expr: &Expr, resolve: &ResolveColumn<'_>) -> Result<Self, String> {
        match expr {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
                Operator::And => Ok(Self::And(Self::both(left, right, resolve)?)),
                Operator::Or => Ok(Self::Or(Self::both(left, right, resolve)?)),
                op => {
                    let comparison = Comparison::of(*op).ok_or_else(|| format!("operator {op} is local"))?;
                    let (column, value, comparison) = match (as_column(left), as_column(right)) {
                        (Some(name), None) => (name, right, comparison),
                        (None, Some(name)) => (name, left, comparison.flipped()),
                        _ => return Err(not_simple()),
                    };
                    let (column, data_type) = resolve(column)?;
                    Ok(Self::Compare {
                        column,
                        comparison,
                        value: literal(value, &data_type)?,
                    })
                }
            },
            Expr::Not(inner) => Ok(Self::Not(Box::new(Self::resolved(inner, resolve)?))),
            Expr::IsNull(inner) | Expr::IsNotNull(inner) => {
                let name = as_column(inner).ok_or_else(not_simple)?;
                Ok(Self::IsNull {
                    column: resolve(name)?.0,
                    negated: matches!(expr, Expr::IsNotNull(_)),
                })
            }
            Expr::Between(Between {
                expr,
                negated,
                low,
                high,
            }) => {
                let name = as_column(expr).ok_or_else(not_simple)?;
                let (column, data_type) = resolve(name)?;
                Ok(Self::Between {
                    column,
                    low: literal(low, &data_type)?,
                    high: literal(high, &data_type)?,
                    negated: *negated,
                })
            }
            Expr::InList(InList { expr, list, negated }) => {
                let name = as_column(expr).ok_or_else(not_simple)?;
                let (column, data_type) = resolve(name)?;
                if list.is_empty() {
                    return Err("an empty list is local".to_owned());
                }
                Ok(Self::In {
                    column,
                    values: list
                        .iter()
                        .map(|value| literal(value, &data_type))
                        .collect::<Result<_, _>>()?,
                    negated: *negated,
                })
            }
            Expr::Like(Like {
                negated,
                expr,
                pattern,
                escape_char: None,
                case_insensitive: false,
            }) => {
                let name = as_column(expr).ok_or_else(not_simple)?;
                let (column, data_type) = resolve(name)?;
                match literal(pattern, &data_type)? {
                    // The escape character is another in each store.
                    ScalarValue::Utf8(Some(pattern)) if !pattern.contains('\\') => Ok(Self::Like {
                        column,
                        pattern,
                        negated: *negated,
                    }),
                    _ => Err("a pattern with a backslash is local".to_owned()),
                }
            }
            Expr::Column(column) => {
                let (column, data_type) = resolve(column)?;
                if data_type == DataType::Boolean {
                    Ok(Self::IsTrue { column })
                } else {
                    Err(not_simple())
                }
            }
            _ => Err(not_simple()),
        }
    }

    fn both(left: &Expr, right: &Expr, resolve: &ResolveColumn<'_>) -> Result<Vec<Self>, String> {
        Ok(vec![
            Self::resolved(left, resolve)?,
            Self::resolved(right, resolve)?,
        ])
    }

    /// The verdict over a whole condition, from the verdicts of its leaves
    /// (every variant but `And`, `Or` and `Not`).
    ///
    /// A leaf that is only a superset stays one under AND and OR; below NOT it
    /// would become a subset, so that is unsupported.
    pub fn verdict_over(&self, leaf: &impl Fn(&Predicate) -> Verdict) -> Verdict {
        match self {
            Self::And(parts) | Self::Or(parts) => {
                let mut worst = Verdict::Exact;
                for part in parts {
                    match part.verdict_over(leaf) {
                        Verdict::Exact => {}
                        Verdict::Inexact(reason) => worst = Verdict::Inexact(reason),
                        unsupported @ Verdict::Unsupported(_) => return unsupported,
                    }
                }
                worst
            }
            Self::Not(inner) => match inner.verdict_over(leaf) {
                Verdict::Inexact(reason) => Verdict::Unsupported(reason),
                other => other,
            },
            leaf_predicate => leaf(leaf_predicate),
        }
    }

    /// The columns this condition reads, each possibly more than once.
    pub fn columns(&self) -> Vec<usize> {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter().flat_map(Self::columns).collect(),
            Self::Not(inner) => inner.columns(),
            Self::Compare { column, .. }
            | Self::In { column, .. }
            | Self::Between { column, .. }
            | Self::IsNull { column, .. }
            | Self::Like { column, .. }
            | Self::IsTrue { column } => vec![*column],
        }
    }
}

/// The index and type of a column of the planner, or why it has none.
pub(super) type ResolveColumn<'a> = dyn Fn(&Column) -> Result<(usize, DataType), String> + 'a;

fn not_simple() -> String {
    "not a comparison of a column with a constant".to_owned()
}

fn as_column(expr: &Expr) -> Option<&Column> {
    match expr {
        Expr::Column(column) => Some(column),
        _ => None,
    }
}

fn resolve<'a>(name: &str, schema: &'a Schema) -> Result<(usize, &'a DataType), String> {
    schema
        .column_with_name(name)
        .map(|(index, field)| (index, field.data_type()))
        .ok_or_else(|| format!("column \"{name}\" is not of this table"))
}

/// The literal with the column's own type: a conversion here could change the
/// answer, so any other type stays local.
fn literal(expr: &Expr, column_type: &DataType) -> Result<ScalarValue, String> {
    let Expr::Literal(value, _) = expr else {
        return Err(not_simple());
    };
    constant(value, column_type)
}

/// As [`literal`], of a value.
pub(super) fn constant(value: &ScalarValue, column_type: &DataType) -> Result<ScalarValue, String> {
    if value.is_null() {
        return Err("a comparison with NULL is local".to_owned());
    }
    let value = match value {
        ScalarValue::Utf8(text) | ScalarValue::LargeUtf8(text) | ScalarValue::Utf8View(text)
            if is_text(column_type) =>
        {
            return Ok(ScalarValue::Utf8(text.clone()));
        }
        ScalarValue::Binary(bytes) | ScalarValue::LargeBinary(bytes) | ScalarValue::BinaryView(bytes)
            if is_binary(column_type) =>
        {
            return Ok(ScalarValue::Binary(bytes.clone()));
        }
        other => other,
    };
    if value.data_type() == *column_type {
        Ok(value.clone())
    } else {
        Err(format!(
            "a {} column is compared with a {} constant",
            column_type,
            value.data_type()
        ))
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

fn is_binary(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::Field;
    use datafusion::prelude::{col, lit};

    fn schema() -> Schema {
        Schema::new(vec![
            Field::new("id", DataType::Int64, true),
            Field::new("name", DataType::Utf8, true),
            Field::new("flag", DataType::Boolean, true),
        ])
    }

    #[test]
    fn allow_list() {
        let schema = schema();
        let yes = [
            col("id").eq(lit(1_i64)),
            lit(1_i64).lt(col("id")),
            col("name").in_list(vec![lit("a"), lit("b")], true),
            col("id").between(lit(1_i64), lit(2_i64)),
            col("name").is_null().or(col("flag")),
            col("name").not_like(lit("a%")),
            !(col("flag").and(col("id").not_eq(lit(3_i64)))),
        ];
        for expr in yes {
            Predicate::from_expr(&expr, &schema).unwrap_or_else(|reason| panic!("{expr}: {reason}"));
        }
        let no = [
            col("id").eq(lit(1_i32)),
            col("id").eq(col("id")),
            col("id").eq(lit(ScalarValue::Int64(None))),
            col("name").in_list(vec![lit("a"), lit(ScalarValue::Utf8(None))], true),
            col("name").in_list(vec![], false),
            (col("id") + lit(1_i64)).eq(lit(1_i64)),
            col("name").ilike(lit("a%")),
            col("name").like(lit("a\\_%")),
            col("id").like(lit("1%")),
            col("nothing").is_null(),
            col("name"),
        ];
        for expr in no {
            assert!(Predicate::from_expr(&expr, &schema).is_err(), "{expr}");
        }
    }

    #[test]
    fn flips_sides() {
        let predicate = Predicate::from_expr(&lit(1_i64).lt_eq(col("id")), &schema()).unwrap();
        assert_eq!(
            predicate,
            Predicate::Compare {
                column: 0,
                comparison: Comparison::GreaterOrEqual,
                value: ScalarValue::Int64(Some(1)),
            }
        );
    }

    #[test]
    fn a_superset_is_lost_below_not() {
        let superset = |_: &Predicate| Verdict::inexact("why");
        let leaf = Predicate::IsTrue { column: 2 };
        let and = Predicate::And(vec![leaf.clone(), leaf.clone()]);
        assert!(matches!(and.verdict_over(&superset), Verdict::Inexact(_)));
        let not = Predicate::Not(Box::new(and));
        assert!(matches!(not.verdict_over(&superset), Verdict::Unsupported(_)));
        let nothing = |_: &Predicate| Verdict::unsupported("why");
        let or = Predicate::Or(vec![leaf.clone(), leaf]);
        assert!(matches!(or.verdict_over(&nothing), Verdict::Unsupported(_)));
    }
}
