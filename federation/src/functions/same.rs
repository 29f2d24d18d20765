//! Functions whose value is their argument's, with more known of it.

use std::hash::Hash;
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::error::FederationError;
use crate::types::{self, PgType};

#[derive(Debug, PartialEq, Eq, Hash)]
struct Same {
    /// The type that the argument has though its expression does not say so.
    pg_type: Option<PgType>,
    signature: Signature,
}

/// The argument, which may be NULL: a subquery is that where it returns no row.
pub(crate) fn nullable(expr: Expr) -> Expr {
    same(None, expr)
}

/// The argument as a value of `pg_type`, which its Arrow type has a form of.
pub(crate) fn typed(expr: Expr, pg_type: PgType) -> Expr {
    same(Some(pg_type), expr)
}

/// `lakegate_same jsonb`: the argument as a value of the type.
pub(crate) fn by_name(name: &str) -> Option<Arc<ScalarUDF>> {
    let base = types::base_by_name(name.strip_prefix("lakegate_same ")?)?;
    Some(Arc::new(function(Some(PgType::scalar(base)))))
}

fn same(pg_type: Option<PgType>, expr: Expr) -> Expr {
    function(pg_type).call(vec![expr])
}

fn function(pg_type: Option<PgType>) -> ScalarUDF {
    ScalarUDF::new_from_impl(Same {
        pg_type,
        signature: Signature::any(1, Volatility::Immutable),
    })
}

impl ScalarUDFImpl for Same {
    fn name(&self) -> &'static str {
        "lakegate_same"
    }

    fn display_name(&self, args: &[Expr]) -> DataFusionResult<String> {
        Ok(args.first().map(ToString::to_string).unwrap_or_default())
    }

    fn schema_name(&self, args: &[Expr]) -> DataFusionResult<String> {
        Ok(args
            .first()
            .map(|arg| arg.schema_name().to_string())
            .unwrap_or_default())
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(arguments.first().cloned().unwrap_or(DataType::Null))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        let [field] = args.arg_fields else {
            return Err(FederationError::internal("a value is one").into());
        };
        let field = match self.pg_type {
            Some(pg_type) => types::field(field.name(), pg_type, field.data_type().clone(), true),
            None => field.as_ref().clone().with_nullable(true),
        };
        Ok(Arc::new(field))
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        if args.args.is_empty() {
            return Err(FederationError::internal("a value is one").into());
        }
        Ok(args.args.swap_remove(0))
    }
}
