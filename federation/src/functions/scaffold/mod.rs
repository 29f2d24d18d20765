//! Scalar functions by their PostgreSQL signatures.
//!
//! A function is a list of overloads. Which one a call means follows from the types of its arguments as in
//! PostgreSQL: an exact match, else implicit promotions, and text counts as a literal whose type is still open.
//! Arguments arrive in the Arrow type of their parameter; the planner inserts no casts of its own.

mod call;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result as DataFusionResult, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};

pub(crate) use self::call::{Argument, Call};
use crate::cast::{self, Context, Target};
use crate::error::{Cause, FederationError};
use crate::types::{self, BaseType, PgType};

/// What a parameter takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Anything, as it is.
    Any,
    /// Any array.
    Array,
    /// A value of the type.
    Type(&'static BaseType),
    /// An array of the type.
    ArrayOf(&'static BaseType),
}

pub(crate) const BOOL: Kind = Kind::Type(&types::BOOL);
pub(crate) const BYTEA: Kind = Kind::Type(&types::BYTEA);
pub(crate) const DATE: Kind = Kind::Type(&types::DATE);
pub(crate) const FLOAT8: Kind = Kind::Type(&types::FLOAT8);
pub(crate) const GEOMETRY: Kind = Kind::Type(&types::GEOMETRY);
pub(crate) const INT2: Kind = Kind::Type(&types::INT2);
pub(crate) const INT4: Kind = Kind::Type(&types::INT4);
pub(crate) const INT8: Kind = Kind::Type(&types::INT8);
pub(crate) const INTERVAL: Kind = Kind::Type(&types::INTERVAL);
pub(crate) const JSON: Kind = Kind::Type(&types::JSON);
pub(crate) const JSONB: Kind = Kind::Type(&types::JSONB);
pub(crate) const NUMERIC: Kind = Kind::Type(&types::NUMERIC);
pub(crate) const TEXT: Kind = Kind::Type(&types::TEXT);
pub(crate) const TEXTS: Kind = Kind::ArrayOf(&types::TEXT);
pub(crate) const TIME: Kind = Kind::Type(&types::TIME);
pub(crate) const TIMESTAMP: Kind = Kind::Type(&types::TIMESTAMP);
pub(crate) const TIMESTAMPTZ: Kind = Kind::Type(&types::TIMESTAMPTZ);

/// What an overload returns.
#[derive(Clone, Copy)]
pub(crate) enum Returns {
    /// A value of the type.
    Type(&'static BaseType),
    /// An array of the type.
    ArrayOf(&'static BaseType),
    /// The type of an argument, after its conversion.
    Same(usize),
    /// What follows from the arguments' fields, after their conversion.
    From(fn(&[FieldRef]) -> Result<Field, FederationError>),
    /// As [`Returns::From`], and from the number in the function's name.
    With(fn(&[FieldRef], i32) -> Result<Field, FederationError>),
}

pub(crate) type Outcome = Result<ArrayRef, FederationError>;

/// One signature of a function.
#[derive(Clone, Copy)]
pub(crate) struct Overload {
    params: &'static [Kind],
    /// How many of the last parameters may be absent.
    optional: usize,
    /// Whether the last parameter may be repeated.
    variadic: bool,
    /// Whether NULL in any argument is NULL; the body then sees rows without one.
    strict: bool,
    returns: Returns,
    body: fn(&Call<'_>) -> Outcome,
}

/// A strict signature.
pub(crate) const fn overload(
    params: &'static [Kind],
    returns: Returns,
    body: fn(&Call<'_>) -> Outcome,
) -> Overload {
    Overload {
        params,
        optional: 0,
        variadic: false,
        strict: true,
        returns,
        body,
    }
}

impl Overload {
    pub(crate) const fn optional(mut self, count: usize) -> Self {
        self.optional = count;
        self
    }

    pub(crate) const fn variadic(mut self) -> Self {
        self.variadic = true;
        self
    }

    /// The body sees NULLs.
    pub(crate) const fn nullable(mut self) -> Self {
        self.strict = false;
        self
    }

    fn param(&self, index: usize) -> Kind {
        self.params
            .get(index)
            .or(self.params.last())
            .copied()
            .unwrap_or(Kind::Any)
    }

    /// How far the arguments are from the parameters; None when they do not fit.
    fn distance(&self, arguments: &[PgType], nulls: &[bool]) -> Option<u32> {
        let least = self.params.len() - self.optional - usize::from(self.variadic);
        if arguments.len() < least || (!self.variadic && arguments.len() > self.params.len()) {
            return None;
        }
        let mut total = 0;
        for (index, argument) in arguments.iter().enumerate() {
            total += distance(*argument, nulls[index], self.param(index))?;
        }
        Some(total)
    }
}

/// The steps of an implicit conversion.
fn distance(from: PgType, null: bool, to: Kind) -> Option<u32> {
    let to = match to {
        Kind::Any => return Some(0),
        Kind::Array => {
            return match (from.array, from.base.oid) {
                (true, _) => Some(0),
                // nested lists, and literals
                (false, 114) => Some(1),
                (false, 25) if null => Some(1),
                _ => None,
            };
        }
        Kind::Type(base) => PgType::scalar(base),
        Kind::ArrayOf(base) => PgType {
            array: true,
            ..PgType::scalar(base)
        },
    };
    let text = |oid: u32| matches!(oid, 18 | 19 | 25 | 705 | 1042 | 1043);
    if null {
        return Some(5);
    }
    if from.array != to.array {
        return (!from.array && text(from.base.oid)).then_some(20);
    }
    let (from, to) = (from.base.oid, to.base.oid);
    if from == to {
        return Some(0);
    }
    if text(from) && text(to) {
        return Some(1);
    }
    // numbers promote in this order; of two that fit PostgreSQL prefers double precision
    let number = |oid: u32| match oid {
        21 => Some(0_u32),
        23 => Some(1),
        20 => Some(2),
        701 => Some(4),
        700 => Some(3),
        1700 => Some(5),
        _ => None,
    };
    match (from, to) {
        // a numeric is no real, and a float is no numeric
        (1700, 700) | (700 | 701, 1700) => None,
        (1700, 701) => Some(6),
        (1082, 1114) => Some(2),
        (1082, 1184) => Some(1),
        (1114, 1184) => Some(3),
        (1083, 1186) => Some(3),
        // a literal, preferred as text
        _ if text(from) => Some(if matches!(to, 114 | 3802) { 9 } else { 10 }),
        // PostGIS casts EWKB implicitly
        (17, 16380) => Some(4),
        // json and uuid columns may be text in all but name
        (114 | 3802 | 2950, 25) => Some(8),
        (114, 3802) | (3802, 114) => Some(4),
        _ => {
            let (from, to) = (number(from)?, number(to)?);
            (from < to).then(|| to - from)
        }
    }
}

/// A function of PostgreSQL.
pub(crate) struct Function {
    name: String,
    overloads: Vec<Overload>,
    signature: Signature,
    /// How EXPLAIN and column names show the function, where that differs.
    shown: Option<String>,
    /// A number that is part of the name: `round(x, 2)` is a function of its own.
    number: i32,
}

/// An immutable function.
pub(crate) fn function(name: impl Into<String>, overloads: impl Into<Vec<Overload>>) -> Function {
    Function {
        name: name.into(),
        overloads: overloads.into(),
        signature: Signature::new(TypeSignature::UserDefined, Volatility::Immutable),
        shown: None,
        number: 0,
    }
}

impl Function {
    pub(crate) fn number(mut self, number: i32) -> Self {
        self.number = number;
        self
    }

    /// Its result depends on the session's zone or the statement's start.
    pub(crate) fn stable(mut self) -> Self {
        self.signature.volatility = Volatility::Stable;
        self
    }

    pub(crate) fn shown(mut self, name: impl Into<String>) -> Self {
        self.shown = Some(name.into());
        self
    }

    /// The parameters of each overload.
    #[cfg(test)]
    pub(crate) fn parameters(&self) -> impl Iterator<Item = &'static [Kind]> {
        self.overloads.iter().map(|overload| overload.params)
    }

    pub(crate) fn build(self) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::new_from_impl(self))
    }

    fn resolve(&self, fields: &[FieldRef]) -> Result<&Overload, FederationError> {
        let arguments: Vec<PgType> = fields.iter().map(|field| types::of_field(field)).collect();
        let nulls: Vec<bool> = fields.iter().map(|field| field.data_type().is_null()).collect();
        let mut best: Option<(u32, &Overload)> = None;
        for overload in &self.overloads {
            if let Some(distance) = overload.distance(&arguments, &nulls)
                && best.is_none_or(|(least, _)| distance < least)
            {
                best = Some((distance, overload));
            }
        }
        best.map(|(_, overload)| overload)
            .ok_or_else(|| no_such_overload(self.shown.as_deref().unwrap_or(&self.name), fields))
    }
}

/// `function upper(integer) does not exist`.
pub(crate) fn no_such_overload(name: &str, fields: &[FieldRef]) -> FederationError {
    let types: Vec<String> = fields
        .iter()
        .map(|field| {
            if field.data_type().is_null() {
                return "unknown".to_owned();
            }
            let pg_type = types::of_field(field);
            PgType {
                typmod: -1,
                ..pg_type
            }
            .sql_name()
        })
        .collect();
    FederationError::from(Cause::NoSuchOverload {
        message: format!("function {name}({}) does not exist", types.join(", ")),
    })
    .with_hint(
        "No function matches the given name and argument types. You might need to add explicit type casts.",
    )
}

/// The parameter's field for an argument.
fn converted(argument: &FieldRef, kind: Kind) -> Result<FieldRef, FederationError> {
    let target = match kind {
        Kind::Any | Kind::Array => {
            let canonical = cast::canonical(argument.data_type());
            if canonical == *argument.data_type() {
                return Ok(Arc::clone(argument));
            }
            return Ok(Arc::new(argument.as_ref().clone().with_data_type(canonical)));
        }
        Kind::Type(base) => Target::of(PgType::scalar(base)),
        Kind::ArrayOf(base) => Target::of(PgType {
            array: true,
            ..PgType::scalar(base)
        }),
    };
    // a json is known as such by its field alone
    let own = types::of_field(argument);
    if own.base.oid == target.pg_type.base.oid && own.array == target.pg_type.array {
        let canonical = cast::canonical(argument.data_type());
        return Ok(Arc::new(argument.as_ref().clone().with_data_type(canonical)));
    }
    Ok(Arc::new(target.field(argument.name(), argument)?))
}

fn convert(array: &ArrayRef, argument: &FieldRef, kind: Kind, context: &Context) -> Outcome {
    let target = match kind {
        Kind::Any | Kind::Array => return cast::normalize(array),
        Kind::Type(base) => Target::of(PgType::scalar(base)),
        Kind::ArrayOf(base) => Target::of(PgType {
            array: true,
            ..PgType::scalar(base)
        }),
    };
    let own = types::of_field(argument);
    if own.base.oid == target.pg_type.base.oid
        && own.array == target.pg_type.array
        && !array.data_type().is_null()
    {
        return cast::normalize(array);
    }
    cast::cast(array, argument, &target, context)
}

impl fmt::Debug for Function {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Function")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

// A name is one function.
impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        &self.name
    }

    fn display_name(&self, args: &[datafusion::logical_expr::Expr]) -> DataFusionResult<String> {
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        let name = self.shown.as_deref().unwrap_or(&self.name);
        Ok(format!("{name}({})", args.join(",")))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        let fields: Vec<FieldRef> = arguments
            .iter()
            .map(|data_type| Arc::new(Field::new("", data_type.clone(), true)))
            .collect();
        self.resolve(&fields)?;
        Ok(arguments.to_vec())
    }

    fn return_type(&self, arguments: &[DataType]) -> DataFusionResult<DataType> {
        let fields: Vec<FieldRef> = arguments
            .iter()
            .map(|data_type| Arc::new(Field::new("", data_type.clone(), true)))
            .collect();
        let scalars = vec![None; fields.len()];
        let field = self.return_field_from_args(ReturnFieldArgs {
            arg_fields: &fields,
            scalar_arguments: &scalars,
        })?;
        Ok(field.data_type().clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        let overload = self.resolve(args.arg_fields)?;
        let fields = args
            .arg_fields
            .iter()
            .enumerate()
            .map(|(index, field)| converted(field, overload.param(index)))
            .collect::<Result<Vec<_>, _>>()?;
        let of = |base: &'static BaseType, array: bool| {
            let pg_type = PgType {
                array,
                ..PgType::scalar(base)
            };
            Target::of(pg_type)
                .data_type(&DataType::Null)
                .map(|data_type| types::field(&self.name, pg_type, data_type, true))
        };
        let field = match overload.returns {
            Returns::Type(base) => of(base, false)?,
            Returns::ArrayOf(base) => of(base, true)?,
            Returns::Same(index) => fields[index.min(fields.len().saturating_sub(1))].as_ref().clone(),
            Returns::From(field) => field(&fields)?,
            Returns::With(field) => field(&fields, self.number)?,
        };
        Ok(Arc::new(field.with_name(&self.name).with_nullable(true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let overload = self.resolve(&args.arg_fields)?;
        let context = Context::of(&args.config_options);
        let constant = args
            .args
            .iter()
            .all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let mut arguments = Vec::with_capacity(args.args.len());
        for (index, value) in args.args.iter().enumerate() {
            let (array, scalar) = match value {
                ColumnarValue::Array(array) => (Arc::clone(array), false),
                ColumnarValue::Scalar(value) => (value.to_array()?, true),
            };
            let field = &args.arg_fields[index];
            let array = convert(&array, field, overload.param(index), &context)?;
            arguments.push(Argument {
                field: converted(field, overload.param(index))?,
                array,
                scalar,
            });
        }
        let call = Call {
            arguments,
            rows,
            strict: overload.strict,
            returns: &args.return_field,
            context: &context,
            number: self.number,
        };
        let result = (overload.body)(&call)?;
        if constant {
            // a list keeps what its elements are known to be
            let scalar = match result.as_list_opt::<i32>() {
                Some(list) if list.len() == 1 => ScalarValue::List(Arc::new(list.clone())),
                _ => ScalarValue::try_from_array(&result, 0)?,
            };
            Ok(ColumnarValue::Scalar(scalar))
        } else {
            Ok(ColumnarValue::Array(result))
        }
    }
}
