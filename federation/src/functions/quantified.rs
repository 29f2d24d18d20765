//! `x = ANY(array)`, `x <> ALL(array)`, and the same over the rows of a subquery, gathered in an array.

use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Datum, Scalar, new_null_array};
use arrow::compute::kernels::{boolean, cmp};
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::error::ArrowError;
use datafusion::common::{Result as DataFusionResult, ScalarValue};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::type_coercion::binary::comparison_coercion;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, TypeSignature, Volatility,
};

use crate::cast::{self, Context, Target};
use crate::error::{Cause, FederationError};
use crate::types::{self, PgType};

#[derive(Debug, PartialEq, Eq, Hash)]
struct Quantified {
    name: String,
    operator: String,
    /// ANY rather than ALL.
    any: bool,
    /// The array is what a subquery returned: NULL is no rows.
    rows: bool,
    signature: Signature,
}

/// The function of `x op ANY(array)`: `lakegate_any =`.
pub(super) fn by_name(name: &str) -> Option<Arc<ScalarUDF>> {
    let (function, operator) = name.split_once(' ')?;
    let (any, rows) = match function {
        "lakegate_any" => (true, false),
        "lakegate_all" => (false, false),
        "lakegate_some" => (true, true),
        "lakegate_every" => (false, true),
        _ => return None,
    };
    kernel(operator)?;
    Some(Arc::new(ScalarUDF::new_from_impl(Quantified {
        name: name.to_owned(),
        operator: operator.to_owned(),
        any,
        rows,
        signature: Signature::new(TypeSignature::UserDefined, Volatility::Stable),
    })))
}

type Kernel = fn(&dyn Datum, &dyn Datum) -> Result<BooleanArray, ArrowError>;

fn kernel(operator: &str) -> Option<Kernel> {
    use arrow::compute::kernels::comparison;
    Some(match operator {
        "=" => cmp::eq,
        "<>" | "!=" => cmp::neq,
        "<" => cmp::lt,
        "<=" => cmp::lt_eq,
        ">" => cmp::gt,
        ">=" => cmp::gt_eq,
        "~~" => comparison::like,
        "!~~" => comparison::nlike,
        "~~*" => comparison::ilike,
        "!~~*" => comparison::nilike,
        _ => return None,
    })
}

/// The type in which the value and the elements are compared.
fn common(value: &DataType, item: &DataType) -> Option<DataType> {
    if value.is_null() {
        return Some(item.clone());
    }
    if item.is_null() || value == item {
        return Some(value.clone());
    }
    comparison_coercion(value, item)
}

fn item_of(field: &Field) -> Option<&FieldRef> {
    match field.data_type() {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => Some(item),
        _ => None,
    }
}

impl Quantified {
    /// The array: of a literal its elements in the type of the value.
    fn array(
        array: &ArrayRef,
        field: &FieldRef,
        value: &Field,
        context: &Context,
    ) -> Result<ArrayRef, FederationError> {
        if item_of(field).is_some() {
            return cast::normalize(array);
        }
        let pg_type = types::of_field(value);
        let target = Target::of(PgType {
            array: true,
            typmod: -1,
            ..pg_type
        });
        cast::cast(array, field, &target, context)
    }

    fn combine(&self, all: Option<BooleanArray>, next: BooleanArray) -> Result<BooleanArray, ArrowError> {
        match (all, self.any) {
            (None, _) => Ok(next),
            (Some(all), true) => boolean::or_kleene(&all, &next),
            (Some(all), false) => boolean::and_kleene(&all, &next),
        }
    }
}

impl ScalarUDFImpl for Quantified {
    fn name(&self) -> &str {
        &self.name
    }

    fn display_name(&self, args: &[Expr]) -> DataFusionResult<String> {
        let quantifier = if self.any { "ANY" } else { "ALL" };
        Ok(match args {
            [value, array] => format!("{value} {} {quantifier}({array})", self.operator),
            _ => quantifier.to_owned(),
        })
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        Ok(arguments.to_vec())
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Boolean)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        if let [value, array] = args.arg_fields
            && let Some(item) = item_of(array)
            && common(value.data_type(), item.data_type()).is_none()
        {
            let name = |field: &Field| types::of_field(field).sql_name();
            return Err(FederationError::from(Cause::NoSuchOverload {
                message: format!(
                    "operator does not exist: {} {} {}",
                    name(value),
                    self.operator,
                    name(item)
                ),
            })
            .into());
        }
        Ok(Arc::new(Field::new(&self.name, DataType::Boolean, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let kernel = kernel(&self.operator)
            .ok_or_else(|| FederationError::internal(format!("no operator {}", self.operator)))?;
        let context = Context::of(&args.config_options);
        let (value_field, array_field) = (&args.arg_fields[0], &args.arg_fields[1]);
        let constant = matches!(args.args[0], ColumnarValue::Scalar(_));
        let value = args.args[0]
            .clone()
            .into_array(if constant { 1 } else { args.number_rows })?;
        let value = cast::normalize(&value)?;
        if let ColumnarValue::Scalar(array) = &args.args[1] {
            // one array for all rows: each of its elements is compared with all of them
            let array = Self::array(&array.to_array()?, array_field, value_field, &context)?;
            let rows = if constant { 1 } else { args.number_rows };
            if array.is_null(0) {
                let none = if self.rows {
                    BooleanArray::from(vec![!self.any; rows])
                } else {
                    BooleanArray::new_null(rows)
                };
                return result(none, constant);
            }
            let elements = array.as_list::<i32>().value(0);
            let Some(common) = common(value.data_type(), elements.data_type()) else {
                return Err(FederationError::internal("an array of another type").into());
            };
            let value = to(&value, &common)?;
            let elements = to(&elements, &common)?;
            let mut all = None;
            for index in 0..elements.len() {
                let element = Scalar::new(elements.slice(index, 1));
                let matched = kernel(&value, &element)?;
                all = Some(self.combine(all, matched)?);
            }
            let all = all.unwrap_or_else(|| BooleanArray::from(vec![!self.any; rows]));
            return result(all, constant);
        }
        let array = args.args[1].clone().into_array(args.number_rows)?;
        let array = Self::array(&array, array_field, value_field, &context)?;
        let lists = array.as_list::<i32>();
        let mut out = Vec::with_capacity(args.number_rows);
        for row in 0..args.number_rows {
            if lists.is_null(row) {
                out.push(self.rows.then_some(!self.any));
                continue;
            }
            let elements = lists.value(row);
            if elements.is_empty() {
                out.push(Some(!self.any));
                continue;
            }
            let Some(common) = common(value.data_type(), elements.data_type()) else {
                return Err(FederationError::internal("an array of another type").into());
            };
            let one = Scalar::new(to(&value.slice(if constant { 0 } else { row }, 1), &common)?);
            let matched = kernel(&to(&elements, &common)?, &one);
            // the kernel has the elements on the left
            let matched = match (matched, self.operator.as_str()) {
                (_, "<" | "<=" | ">" | ">=" | "~~" | "!~~" | "~~*" | "!~~*") => {
                    let repeated = new_repeated(one.get().0, elements.len())?;
                    kernel(&repeated, &to(&elements, &common)?)?
                }
                (matched, _) => matched?,
            };
            let decided = matched.iter().any(|value| value == Some(self.any));
            out.push(if decided {
                Some(self.any)
            } else if matched.null_count() > 0 {
                None
            } else {
                Some(!self.any)
            });
        }
        result(BooleanArray::from(out), false)
    }

    /// `x = ANY('{1,2}')` is `x IN (1, 2)`, which stores understand.
    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> DataFusionResult<ExprSimplifyResult> {
        let negated = match (self.operator.as_str(), self.any) {
            ("=", true) => false,
            ("<>", false) => true,
            _ => return Ok(ExprSimplifyResult::Original(args)),
        };
        let [value, Expr::Literal(ScalarValue::List(list), _)] = args.as_slice() else {
            return Ok(ExprSimplifyResult::Original(args));
        };
        let (_, field) = value.to_field(info.schema().as_ref())?;
        if list.is_null(0)
            || !matches!(value, Expr::Column(_))
            || field.is_nullable() && list.value(0).is_empty()
        {
            return Ok(ExprSimplifyResult::Original(args));
        }
        let elements = list.value(0);
        let same = elements.data_type() == field.data_type()
            || cast::is_plain(elements.data_type(), field.data_type());
        if elements.is_empty() || !same {
            return Ok(ExprSimplifyResult::Original(args));
        }
        let items = (0..elements.len())
            .map(|index| {
                let element = ScalarValue::try_from_array(&elements, index)?.cast_to(field.data_type())?;
                Ok(Expr::Literal(element, None))
            })
            .collect::<DataFusionResult<Vec<_>>>()?;
        let expr = Expr::InList(InList::new(Box::new(value.clone()), items, negated));
        // the function may be NULL whatever its arguments; the list's nullability must not be less
        if expr.nullable(info.schema().as_ref())? {
            Ok(ExprSimplifyResult::Simplified(expr))
        } else {
            Ok(ExprSimplifyResult::Original(args))
        }
    }
}

fn to(array: &ArrayRef, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == data_type {
        Ok(Arc::clone(array))
    } else if array.data_type().is_null() {
        Ok(new_null_array(data_type, array.len()))
    } else {
        arrow::compute::cast(array, data_type)
    }
}

fn new_repeated(one: &dyn Array, length: usize) -> Result<ArrayRef, ArrowError> {
    let places = arrow::array::UInt32Array::from_value(0, length);
    arrow::compute::take(one, &places, None)
}

fn result(values: BooleanArray, constant: bool) -> DataFusionResult<ColumnarValue> {
    if constant {
        return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?));
    }
    Ok(ColumnarValue::Array(Arc::new(values)))
}
