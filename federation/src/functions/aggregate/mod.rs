//! Aggregates whose results PostgreSQL types, rounds or bounds in its own way.
//!
//! Others are DataFusion's; those that PostgreSQL alone has are functions of `array_agg` (see
//! [`crate::dialect`]).

mod distinct;
mod interval;
mod number;
mod sum;
mod variance;

use std::sync::Arc;

use datafusion::functions_aggregate::array_agg::array_agg_udaf;
use datafusion::functions_aggregate::regr::regr_count_udaf;
use datafusion::logical_expr::AggregateUDF;

/// The aggregates, by name.
pub(crate) fn aggregates() -> Vec<(&'static str, Arc<AggregateUDF>)> {
    let mut all = vec![
        ("sum", Arc::new(AggregateUDF::new_from_impl(sum::Summing::sum()))),
        (
            "avg",
            Arc::new(AggregateUDF::new_from_impl(sum::Summing::average())),
        ),
        // under another name, for its own is a rewritten one
        (
            "regr_count",
            Arc::new(
                regr_count_udaf()
                    .as_ref()
                    .clone()
                    .with_aliases(["lakegate_regr_count"]),
            ),
        ),
    ];
    all.push((
        "array_agg",
        Arc::new(
            array_agg_udaf()
                .as_ref()
                .clone()
                .with_aliases(["lakegate_array_agg"]),
        ),
    ));
    all.extend(variance::aggregates());
    all
}
