//! Casts as functions: `lakegate_cast …` of one argument.
//!
//! The name says the target, so that the type of a cast is known wherever its argument's is.

use std::hash::Hash;
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result as DataFusionResult, ScalarValue};
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, TypeSignature, Volatility,
};

use crate::cast::{self, Context, Target};
use crate::error::FederationError;
use crate::types::{self, PgType};
use crate::values::read::interval::{Range, Unit};

/// What the names of casts begin with.
const PREFIX: &str = "lakegate_cast ";

/// The function that casts to `target`.
pub(crate) fn name(target: &Target) -> String {
    let number = |value: Option<i32>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    let unit = |unit: Option<Unit>| unit.map_or_else(|| "-".to_owned(), |unit| (unit as u8).to_string());
    format!(
        "{PREFIX}{} {} {} {} {} {} {} {}",
        target.pg_type.base.oid,
        u8::from(target.pg_type.array),
        target.pg_type.typmod,
        number(target.digits.map(|(precision, _)| i32::from(precision))),
        number(target.digits.map(|(_, scale)| i32::from(scale))),
        number(target.seconds.map(i32::from)),
        unit(target.range.leading),
        unit(target.range.last),
    )
}

/// What the cast of that name casts to.
pub(crate) fn target_of(name: &str) -> Option<Target> {
    const UNITS: [Unit; 13] = [
        Unit::Microsecond,
        Unit::Millisecond,
        Unit::Second,
        Unit::Minute,
        Unit::Hour,
        Unit::Day,
        Unit::Week,
        Unit::Month,
        Unit::Quarter,
        Unit::Year,
        Unit::Decade,
        Unit::Century,
        Unit::Millennium,
    ];
    let mut parts = name.strip_prefix(PREFIX)?.split(' ');
    let base = types::by_oid(parts.next()?.parse().ok()?)?.base;
    let array = parts.next()? == "1";
    let typmod = parts.next()?.parse().ok()?;
    let mut number = || Some(parts.next()?.parse::<i16>().ok());
    let (precision, scale, seconds) = (number()?, number()?, number()?);
    let mut unit = || {
        Some(match number()? {
            Some(index) => UNITS.get(usize::try_from(index).ok()?).copied(),
            None => None,
        })
    };
    let (leading, last) = (unit()?, unit()?);
    Some(Target {
        pg_type: PgType { base, array, typmod },
        digits: match (precision, scale) {
            (Some(precision), Some(scale)) => {
                Some((u8::try_from(precision).ok()?, i8::try_from(scale).ok()?))
            }
            _ => None,
        },
        seconds: match seconds {
            Some(seconds) => Some(u8::try_from(seconds).ok()?),
            None => None,
        },
        range: Range { leading, last },
    })
}

/// The cast of that name.
pub(crate) fn by_name(name: &str) -> Option<Arc<ScalarUDF>> {
    target_of(name).map(function)
}

pub(crate) fn function(target: Target) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(CastFunction {
        name: name(&target),
        target,
        // text and dates become timestamps in the session's zone
        signature: Signature::new(TypeSignature::UserDefined, Volatility::Stable),
    }))
}

/// `expr::target`.
pub(crate) fn call(expr: Expr, target: Target) -> Expr {
    function(target).call(vec![expr])
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct CastFunction {
    name: String,
    pub(crate) target: Target,
    signature: Signature,
}

impl ScalarUDFImpl for CastFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn display_name(&self, args: &[Expr]) -> DataFusionResult<String> {
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        Ok(format!("CAST({} AS {})", args.join(", "), self.target.sql()))
    }

    fn schema_name(&self, args: &[Expr]) -> DataFusionResult<String> {
        let args: Vec<String> = args.iter().map(|arg| arg.schema_name().to_string()).collect();
        Ok(format!("CAST({} AS {})", args.join(", "), self.target.sql()))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        Ok(arguments.to_vec())
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
        if let Some(refusal) = cast::refusal(from, &self.target) {
            return Err(refusal.into());
        }
        Ok(Arc::new(self.target.field(&self.name, from)?))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let context = Context::of(&args.config_options);
        let from = &args.arg_fields[0];
        match &args.args[0] {
            ColumnarValue::Array(array) => Ok(ColumnarValue::Array(cast::cast(
                array,
                from,
                &self.target,
                &context,
            )?)),
            ColumnarValue::Scalar(value) => {
                let array = cast::cast(&value.to_array()?, from, &self.target, &context)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?))
            }
        }
    }

    /// A cast that means the same to DataFusion becomes its own, which the optimizer moves and undoes.
    fn simplify(&self, mut args: Vec<Expr>, info: &SimplifyContext) -> DataFusionResult<ExprSimplifyResult> {
        let [argument] = args.as_slice() else {
            return Ok(ExprSimplifyResult::Original(args));
        };
        let (_, from) = argument.to_field(info.schema().as_ref())?;
        let to = self.target.field(from.name(), &from)?;
        let plain = cast::is_plain(from.data_type(), to.data_type())
            && to.metadata().is_empty()
            && from.metadata().is_empty()
            && self.target.seconds.is_none()
            && !(self.target.pg_type.base.oid == types::NUMERIC.oid
                && self.target.pg_type.typmod >= 4
                && types::numeric_typmod(self.target.pg_type.typmod).1 < 0);
        if !plain {
            return Ok(ExprSimplifyResult::Original(args));
        }
        let argument = args.remove(0);
        Ok(ExprSimplifyResult::Simplified(
            if from.data_type() == to.data_type() {
                argument
            } else {
                Expr::Cast(Cast::new(Box::new(argument), to.data_type().clone()))
            },
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_the_target() {
        let targets = [
            Target::of(PgType::scalar(&types::INT4)),
            Target {
                digits: Some((5, 2)),
                ..Target::of(PgType::scalar(&types::NUMERIC))
            },
            Target {
                seconds: Some(0),
                ..Target::of(PgType {
                    array: true,
                    ..PgType::scalar(&types::TIMESTAMPTZ)
                })
            },
            Target {
                range: Range {
                    leading: Some(Unit::Day),
                    last: Some(Unit::Minute),
                },
                ..Target::of(PgType {
                    typmod: 9,
                    ..PgType::scalar(&types::INTERVAL)
                })
            },
        ];
        for target in targets {
            assert_eq!(target_of(&name(&target)), Some(target));
        }
    }
}
