//! The time a statement starts.

use std::hash::Hash;
use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{Result as DataFusionResult, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use jiff::Timestamp;

use crate::cast::{Context, to_local};
use crate::values::datetime::{DAY_MICROS, ZoneCache};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Clock {
    Instant,
    LocalTimestamp,
    LocalTime,
    Date,
}

/// A name of the time the statement started: equal wherever it stands in it.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Now {
    name: &'static str,
    clock: Clock,
    signature: Signature,
}

impl Now {
    fn at(&self, micros: i64, context: &Context) -> ScalarValue {
        let local = || to_local(micros, &ZoneCache::new(context.zone.clone()));
        match self.clock {
            Clock::Instant => ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into())),
            Clock::LocalTimestamp => ScalarValue::TimestampMicrosecond(Some(local()), None),
            Clock::LocalTime => ScalarValue::Time64Microsecond(Some(local().rem_euclid(DAY_MICROS))),
            Clock::Date => ScalarValue::Date32(i32::try_from(local().div_euclid(DAY_MICROS)).ok()),
        }
    }
}

impl ScalarUDFImpl for Now {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(match self.clock {
            Clock::Instant => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Clock::LocalTimestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Clock::LocalTime => DataType::Time64(TimeUnit::Microsecond),
            Clock::Date => DataType::Date32,
        })
    }

    /// Only `clock_timestamp` is computed as it runs: of the others [`at_start`] makes constants.
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let context = Context::of(&args.config_options);
        let now = Timestamp::now().as_microsecond();
        Ok(ColumnarValue::Scalar(self.at(now, &context)))
    }
}

/// The constant that a call is in a statement that started at `micros`.
pub(crate) fn at_start(expr: &Expr, micros: i64, context: &Context) -> Option<Expr> {
    let Expr::ScalarFunction(call) = expr else {
        return None;
    };
    let now = call.func.inner().downcast_ref::<Now>()?;
    (now.signature.volatility != Volatility::Volatile).then(|| Expr::Literal(now.at(micros, context), None))
}

/// The functions that tell the time.
pub(crate) fn clocks() -> Vec<Arc<ScalarUDF>> {
    [
        ("now", Clock::Instant, Volatility::Stable),
        ("current_timestamp", Clock::Instant, Volatility::Stable),
        ("transaction_timestamp", Clock::Instant, Volatility::Stable),
        ("statement_timestamp", Clock::Instant, Volatility::Stable),
        ("clock_timestamp", Clock::Instant, Volatility::Volatile),
        ("localtimestamp", Clock::LocalTimestamp, Volatility::Stable),
        ("localtime", Clock::LocalTime, Volatility::Stable),
        ("current_time", Clock::LocalTime, Volatility::Stable),
        ("current_date", Clock::Date, Volatility::Stable),
    ]
    .into_iter()
    .map(|(name, clock, volatility)| {
        Arc::new(ScalarUDF::new_from_impl(Now {
            name,
            clock,
            signature: Signature::nullary(volatility),
        }))
    })
    .collect()
}
