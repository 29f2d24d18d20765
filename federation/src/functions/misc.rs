//! What is about values in general.

use arrow::datatypes::Int32Type;

use super::scaffold::{Call, Function, Kind, Outcome, Returns, function, overload};
use crate::types::{self, PgType};

const ANY: Kind = Kind::Any;

fn count_nulls(call: &Call<'_>, row: usize) -> usize {
    call.arguments
        .iter()
        .filter(|argument| argument.is_null(row))
        .count()
}

fn num_nulls(call: &Call<'_>) -> Outcome {
    call.each::<Int32Type>(|row| Ok(Some(count_nulls(call, row) as i32)))
}

fn num_nonnulls(call: &Call<'_>) -> Outcome {
    call.each::<Int32Type>(|row| Ok(Some((call.count() - count_nulls(call, row)) as i32)))
}

fn pg_typeof(call: &Call<'_>) -> Outcome {
    let field = &call.arguments[0].field;
    let name = if field.data_type().is_null() {
        "unknown".to_owned()
    } else {
        PgType {
            typmod: -1,
            ..types::of_field(field)
        }
        .sql_name()
    };
    call.text(|_, out| {
        out.push_str(&name);
        Ok(true)
    })
}

pub(super) fn functions() -> Vec<Function> {
    const INT4_RESULT: Returns = Returns::Type(&types::INT4);
    vec![
        function(
            "num_nulls",
            [overload(&[ANY], INT4_RESULT, num_nulls).variadic().nullable()],
        ),
        function(
            "num_nonnulls",
            [overload(&[ANY], INT4_RESULT, num_nonnulls).variadic().nullable()],
        ),
        function(
            "pg_typeof",
            [overload(&[ANY], Returns::Type(&types::TEXT), pg_typeof).nullable()],
        ),
    ]
}
