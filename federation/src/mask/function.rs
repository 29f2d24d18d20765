//! A mask as a function of a plan.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::Result as DataFusionResult;
use datafusion::common::metadata::FieldMetadata;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use super::Mask;
use crate::error::FederationError;

/// `mask_hmac(email)`: what EXPLAIN shows, and no more.
struct MaskFunction {
    name: String,
    mask: Mask,
    signature: Signature,
}

/// The masked column; `entity` is that of [`Mask::entity`].
pub(crate) fn mask(mask: Mask, column: Expr, entity: Option<Expr>) -> Expr {
    let arguments: Vec<Expr> = std::iter::once(column).chain(entity).collect();
    let function = MaskFunction {
        name: format!("mask_{}", mask.name()),
        mask,
        signature: Signature::any(arguments.len(), Volatility::Immutable),
    };
    ScalarUDF::new_from_impl(function).call(arguments)
}

/// NULL of the type of a field, which nothing has to be read for; None where the type has no such literal.
pub(crate) fn null_of(field: &Field) -> Option<Expr> {
    let null = ScalarValue::try_from(field.data_type()).ok()?;
    Some(Expr::Literal(null, Some(FieldMetadata::from(field.metadata()))))
}

impl fmt::Debug for MaskFunction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("MaskFunction")
            .field("mask", &self.mask)
            .finish_non_exhaustive()
    }
}

// Two masks of one name may have two keys: each is equal to itself alone.
impl PartialEq for MaskFunction {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for MaskFunction {}

impl Hash for MaskFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::ptr::from_ref(self).addr().hash(state);
    }
}

impl ScalarUDFImpl for MaskFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.mask.output.clone())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        Ok(Arc::new(self.mask.output().with_name(&self.name)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let rows = args.number_rows;
        let columns: Vec<ArrayRef> = args
            .args
            .iter()
            .map(|value| value.to_array(rows))
            .collect::<DataFusionResult<_>>()?;
        let column = columns
            .first()
            .ok_or_else(|| FederationError::internal("a mask without a column"))?;
        let entity = columns
            .get(1)
            .zip(args.arg_fields.get(1))
            .map(|(values, field)| (field.as_ref(), values));
        let masked = self.mask.apply(column, entity)?;
        Ok(ColumnarValue::Array(masked))
    }
}
