//! Which predicates may be decided by the least and the greatest value of a column.
//!
//! DataFusion's pruning casts both bounds and compares them with the constant, whatever the cast
//! (`verify_support_type_for_prune` in `datafusion-pruning`). Where the cast does not keep the order of values, what lies
//! between the bounds is not between what they become: between 23:00 and 01:00 of the next day there is a midnight.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{CastExpr, TryCastExpr};

/// Whether every cast in a predicate keeps the order of values.
pub(crate) fn keeps_order(predicate: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Result<bool> {
    let mut ordered = true;
    predicate.apply(|expr| {
        let cast = if let Some(cast) = expr.downcast_ref::<CastExpr>() {
            Some((cast.expr(), cast.cast_type()))
        } else {
            let cast = expr.downcast_ref::<TryCastExpr>();
            cast.map(|cast| (cast.expr(), cast.cast_type()))
        };
        if let Some((inner, to)) = cast
            && !cast_keeps_order(&inner.data_type(schema)?, to)
        {
            ordered = false;
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(ordered)
}

/// A lesser value never becomes a greater one. What does not fit is NULL or an error, of which neither excludes a row.
fn cast_keeps_order(from: &DataType, to: &DataType) -> bool {
    use DataType::{Boolean, Date32, Date64, Dictionary, Timestamp};
    match (from, to) {
        (Dictionary(_, from), to) => cast_keeps_order(from, to),
        (from, Dictionary(_, to)) => cast_keeps_order(from, to),
        _ if from == to => true,
        (Boolean, to) => to.is_numeric(),
        // a clock that is put back has an hour twice
        (Timestamp(_, from), Timestamp(_, to)) => from.is_some() == to.is_some(),
        (Date32 | Date64 | Timestamp(_, None), Date32 | Date64 | Timestamp(_, None)) => true,
        _ => from.is_numeric() && to.is_numeric() || from.is_string() && to.is_string(),
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::TimeUnit::{Microsecond, Second};

    use super::*;

    #[test]
    fn casts_that_keep_the_order_of_values() {
        use DataType::*;
        let zoned = Timestamp(Microsecond, Some("Europe/Berlin".into()));
        for (from, to, expected) in [
            (Int32, Int64, true),
            (Int64, Decimal128(20, 4), true),
            (Float64, Int32, true),
            (Boolean, Int32, true),
            (Int32, Boolean, false),
            (Utf8, Utf8View, true),
            (Utf8, Int32, false),
            (Int32, Utf8, false),
            (Date32, Timestamp(Microsecond, None), true),
            (Timestamp(Microsecond, None), Date32, true),
            (Timestamp(Microsecond, None), Timestamp(Second, None), true),
            (Timestamp(Microsecond, None), Time64(Microsecond), false),
            (zoned.clone(), Timestamp(Microsecond, Some("UTC".into())), true),
            (zoned.clone(), Timestamp(Microsecond, None), false),
            (zoned, Date32, false),
            (Dictionary(Box::new(Int32), Box::new(Utf8)), Utf8, true),
        ] {
            assert_eq!(cast_keeps_order(&from, &to), expected, "{from} to {to}");
        }
    }
}
