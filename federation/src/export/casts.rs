//! The casts of an Export's columns: a projection over its rows, below the masks.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};

use super::{Shaped, invalid};
use crate::cast::{self, Context, Target};
use crate::error::{Cause, FederationError};

/// A column's cast in the spec.
#[derive(Debug)]
pub(super) struct Casted {
    /// `spec.columns[2].cast`.
    pub field: String,
    pub target: Target,
    /// A value that does not fit becomes NULL and is counted.
    pub lenient: bool,
}

/// How many values of a column did not fit its cast and became NULL.
#[derive(Debug, Clone)]
pub(super) struct Nulled {
    column: String,
    count: Arc<AtomicU64>,
}

impl Nulled {
    pub(super) fn read(&self) -> (String, u64) {
        (self.column.clone(), self.count.load(Ordering::Relaxed))
    }

    pub(super) fn forget(&self) {
        self.count.store(0, Ordering::Relaxed);
    }
}

/// The plan with its columns cast; beside it the counters of those whose values may become NULL, which are `counters` of
/// another plan of the same columns where there are some.
pub(super) fn casted(
    plan: LogicalPlan,
    shaped: &[Shaped<'_>],
    counters: Option<&[Nulled]>,
) -> Result<(LogicalPlan, Vec<Nulled>), FederationError> {
    let mut nulled = Vec::new();
    if shaped.iter().all(|column| column.cast.is_none()) {
        return Ok((plan, nulled));
    }
    let schema = plan.schema();
    let mut items = Vec::with_capacity(schema.fields().len());
    for (index, column) in schema.columns().into_iter().enumerate() {
        let Some(casted) = shaped.get(index).and_then(|shape| shape.cast.as_ref()) else {
            items.push(Expr::Column(column));
            continue;
        };
        let field = schema.field(index);
        if let Some(refusal) = cast::refusal(field, &casted.target) {
            return Err(invalid(&casted.field, &refusal.to_string()));
        }
        let counter = casted.lenient.then(|| Nulled {
            column: field.name().clone(),
            count: counters
                .and_then(|counters| counters.get(nulled.len()))
                .map_or_else(Arc::default, |counter| Arc::clone(&counter.count)),
        });
        let function = ColumnCast {
            column: field.name().clone(),
            field: casted.field.clone(),
            target: casted.target,
            nulled: counter.as_ref().map(|counter| Arc::clone(&counter.count)),
            signature: Signature::any(
                1,
                // what is counted is evaluated once a row, a constant too
                if casted.lenient {
                    Volatility::Volatile
                } else {
                    Volatility::Stable
                },
            ),
        };
        nulled.extend(counter);
        let cast = ScalarUDF::new_from_impl(function).call(vec![Expr::Column(column)]);
        items.push(cast.alias(field.name()));
    }
    Ok((LogicalPlanBuilder::from(plan).project(items)?.build()?, nulled))
}

/// The cast of one exported column. Its errors name the column and show no value: they end in a status.
#[derive(Debug)]
struct ColumnCast {
    column: String,
    field: String,
    target: Target,
    nulled: Option<Arc<AtomicU64>>,
    signature: Signature,
}

// Two columns may be cast alike and are counted apart: each is equal to itself alone.
impl PartialEq for ColumnCast {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for ColumnCast {}

impl Hash for ColumnCast {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::ptr::from_ref(self).addr().hash(state);
    }
}

impl ColumnCast {
    fn refused(&self, error: &FederationError) -> FederationError {
        let to = self.target.sql();
        let why = match error.sqlstate() {
            "22003" => format!("it is out of the range of {to}"),
            "22001" => format!("it is longer than {to}"),
            "22008" => "it is out of the range of dates and times".to_owned(),
            _ => format!("it is not spelt as a {to}"),
        };
        Cause::ColumnCast {
            message: format!(
                "{}: a value of column {} cannot be cast: {why}; cast to a type that holds every value, or set \
                 onCastError: Null",
                self.field, self.column
            ),
        }
        .into()
    }

    /// Halves what does not fit until single values are left.
    fn leniently(
        &self,
        array: &ArrayRef,
        from: &FieldRef,
        context: &Context,
    ) -> Result<(ArrayRef, u64), FederationError> {
        match cast::cast(array, from, &self.target, context) {
            Ok(cast) => Ok((cast, 0)),
            Err(error) if !is_of_value(&error) => Err(error),
            Err(_) if array.len() <= 1 => {
                let wanted = self.target.data_type(from.data_type())?;
                Ok((new_null_array(&wanted, array.len()), array.len() as u64))
            }
            Err(_) => {
                let half = array.len() / 2;
                let (left, left_nulled) = self.leniently(&array.slice(0, half), from, context)?;
                let rest = array.slice(half, array.len() - half);
                let (right, right_nulled) = self.leniently(&rest, from, context)?;
                let both = arrow::compute::concat(&[left.as_ref(), right.as_ref()])?;
                Ok((both, left_nulled + right_nulled))
            }
        }
    }
}

/// Whether a value is to blame, not the machine.
fn is_of_value(error: &FederationError) -> bool {
    error.sqlstate().starts_with("22")
}

impl ScalarUDFImpl for ColumnCast {
    fn name(&self) -> &'static str {
        "cast_column"
    }

    fn display_name(&self, args: &[Expr]) -> DataFusionResult<String> {
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        Ok(format!("CAST({} AS {})", args.join(", "), self.target.sql()))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self
            .target
            .data_type(arguments.first().unwrap_or(&DataType::Null))?)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        let [from] = args.arg_fields else {
            return Err(FederationError::internal("a cast has one argument").into());
        };
        let field = self.target.field(&self.column, from)?;
        let nullable = field.is_nullable() || self.nulled.is_some();
        Ok(Arc::new(field.with_nullable(nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let context = Context::of(&args.config_options);
        let (Some(from), Some(value)) = (args.arg_fields.first(), args.args.first()) else {
            return Err(FederationError::internal("a cast has one argument").into());
        };
        let array = value.to_array(args.number_rows)?;
        let cast = match (cast::cast(&array, from, &self.target, &context), &self.nulled) {
            (Err(error), Some(nulled)) if is_of_value(&error) => {
                let (cast, count) = self.leniently(&array, from, &context)?;
                nulled.fetch_add(count, Ordering::Relaxed);
                cast
            }
            (Err(error), None) if is_of_value(&error) => return Err(self.refused(&error).into()),
            (cast, _) => cast?,
        };
        Ok(ColumnarValue::Array(cast))
    }
}
