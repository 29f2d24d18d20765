//! What a store can be asked beyond the rows that pass a filter: groups and
//! their aggregates, and the first rows of an order.
//!
//! Like [`super::Predicate`] this is an allow-list with one meaning, that of the
//! engine: a dialect spells it, or refuses it.

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::ScalarValue;

use super::Predicate;

/// An exact computation over the columns of one row.
#[derive(Debug, Clone, PartialEq)]
pub enum Expression {
    /// An index into the table's columns.
    Column(usize),
    /// A whole number or decimal, never NULL.
    Constant(ScalarValue),
    /// Of two whole numbers of one type, or two decimals. It cannot overflow where
    /// the same operation would succeed here, nor round.
    Arithmetic {
        operator: Arithmetic,
        left: Box<Expression>,
        right: Box<Expression>,
    },
    /// To a type that holds every value of the inner one.
    Convert {
        inner: Box<Expression>,
        data_type: DataType,
    },
    /// When the unit of time began that a date and time without a zone is in.
    Truncate {
        unit: CalendarUnit,
        inner: Box<Expression>,
    },
}

/// A unit of time as the calendar has it; weeks begin on Monday.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CalendarUnit {
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

impl CalendarUnit {
    const ALL: [Self; 8] = [
        Self::Second,
        Self::Minute,
        Self::Hour,
        Self::Day,
        Self::Week,
        Self::Month,
        Self::Quarter,
        Self::Year,
    ];

    /// As `date_trunc` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Quarter => "quarter",
            Self::Year => "year",
        }
    }

    pub(super) fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|unit| unit.name() == name)
    }
}

/// The operators that are exact on whole numbers and decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    Add,
    Subtract,
    Multiply,
}

impl Arithmetic {
    /// The operator as every SQL dialect spells it.
    pub fn sql(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
        }
    }
}

impl Expression {
    /// The columns this reads, each possibly more than once.
    pub fn columns(&self) -> Vec<usize> {
        match self {
            Self::Column(column) => vec![*column],
            Self::Constant(_) => Vec::new(),
            Self::Arithmetic { left, right, .. } => {
                let mut columns = left.columns();
                columns.extend(right.columns());
                columns
            }
            Self::Convert { inner, .. } | Self::Truncate { inner, .. } => inner.columns(),
        }
    }
}

/// An aggregate by its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// Of the values that are not NULL, or of the rows where there is no argument.
    Count,
    /// Exact; an error where it does not fit the result's type.
    Sum,
    /// The exact sum divided by the count, in the scale of the result's type.
    Average(Rounding),
    /// The exact sum of whole numbers and their count as floats, one divided by the
    /// other.
    Mean,
    /// How far exact numbers lie from their mean: `(N Σx² − (Σx)²) / (N (N − 1))`, rounded half away from zero in the
    /// scale of the result's type; NULL where the divisor is zero.
    Variance(Sampling),
    /// The root of the variance, which is taken with [`ROOT_PLACES`] places; its whole part, with one digit more than the
    /// result's scale has, is rounded half away from zero.
    Deviation(Sampling),
    Minimum,
    Maximum,
    /// Whether all values are true.
    Every,
    /// Whether one value is true.
    Any,
}

/// Digits behind the point of a variance whose root has 16, and one by which they are rounded.
pub const ROOT_PLACES: u32 = 34;

/// What the values are of the numbers that are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampling {
    /// Some of them: divided by `N (N − 1)`.
    Sample,
    /// All of them: divided by `N²`.
    Population,
}

/// What becomes of the digits that a scale has no place for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    Truncate,
    HalfAwayFromZero,
}

/// One aggregate of a group.
#[derive(Debug, Clone, PartialEq)]
pub struct AggregateCall {
    pub function: Function,
    /// None counts rows.
    pub argument: Option<Expression>,
    /// Only different values count; the argument is then a column.
    pub distinct: bool,
    /// Only rows that it keeps count: a condition on the table's columns whose verdict was Exact.
    pub filter: Option<Predicate>,
    /// The type of the answer, whatever the store's own would be.
    pub result: DataType,
}

/// One column of a grouped answer.
#[derive(Debug, Clone, PartialEq)]
pub enum GroupOutput {
    /// What is grouped by.
    Key(Expression),
    Aggregate(AggregateCall),
}

/// Rows put together into groups. Without keys there is one group, even of no rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Grouping {
    /// Columns of the table, or computations over them.
    pub keys: Vec<Expression>,
    pub outputs: Vec<GroupOutput>,
    /// The fields of `outputs`.
    pub schema: SchemaRef,
    /// Which groups to keep: conditions whose columns are indexes into `outputs`.
    pub having: Vec<Predicate>,
}

/// One key of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SortKey {
    /// An index into [`super::ScanRequest::columns`].
    pub column: usize,
    pub descending: bool,
    pub nulls_first: bool,
}

/// How a store joins another of its tables to one.
#[derive(Debug, Clone, PartialEq)]
pub struct StoreJoin {
    /// Rows without a partner stay, with NULLs for the other table's columns.
    pub outer: bool,
    /// Equal columns: of this table, and of the other by its own indexes.
    pub on: Vec<(usize, usize)>,
    /// What rows of the other table must meet to be partners, by its own indexes.
    pub conditions: Vec<Predicate>,
}

/// A table joined to those before it, as a dialect renders it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct JoinedTable {
    pub schema: String,
    pub name: String,
    /// The index of its first column among those of all tables.
    pub first: usize,
    pub join: StoreJoin,
}

impl JoinedTable {
    /// `t2` for the first one joined: the table itself is `t`.
    pub(crate) fn alias_of(joined: &[Self], column: usize) -> String {
        match joined.iter().rposition(|table| table.first <= column) {
            Some(position) => format!("t{}", position + 2),
            None => "t".to_owned(),
        }
    }
}

impl Predicate {
    /// The same condition where the table's columns begin at `first`.
    pub(crate) fn moved(&self, first: usize) -> Self {
        match self.clone() {
            Self::And(parts) => Self::And(parts.iter().map(|part| part.moved(first)).collect()),
            Self::Or(parts) => Self::Or(parts.iter().map(|part| part.moved(first)).collect()),
            Self::Not(inner) => Self::Not(Box::new(inner.moved(first))),
            Self::Compare {
                column,
                comparison,
                value,
            } => Self::Compare {
                column: column + first,
                comparison,
                value,
            },
            Self::In {
                column,
                values,
                negated,
            } => Self::In {
                column: column + first,
                values,
                negated,
            },
            Self::Between {
                column,
                low,
                high,
                negated,
            } => Self::Between {
                column: column + first,
                low,
                high,
                negated,
            },
            Self::IsNull { column, negated } => Self::IsNull {
                column: column + first,
                negated,
            },
            Self::Like {
                column,
                pattern,
                negated,
            } => Self::Like {
                column: column + first,
                pattern,
                negated,
            },
            Self::IsTrue { column } => Self::IsTrue {
                column: column + first,
            },
        }
    }
}

/// A question about what a store may be asked, beside predicates.
#[derive(Debug, Clone, Copy)]
pub enum Asked<'a> {
    /// To put rows in order of this column.
    Order(usize),
    /// To tell the different values of this column: GROUP BY and DISTINCT.
    Distinct(usize),
    /// To tell the different values of this computation over columns.
    Computed(&'a Expression),
    Aggregate(&'a AggregateCall),
}
