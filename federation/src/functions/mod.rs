//! PostgreSQL's functions, where DataFusion has none or means something else. One file a family.
//!
//! Functions that no statement names begin with `lakegate_`: operators, casts, and what set-returning functions
//! and ordered aggregates are made of. Some carry a constant in their name (`lakegate_round 2`), for it decides the
//! type of the result and types never follow from values.

// Functions stand in tables by one signature, and most of their types can be refused.
#![allow(clippy::unnecessary_wraps)]

pub(crate) mod aggregate;
pub(crate) mod arithmetic;
mod array;
pub(crate) mod cast;
pub(crate) mod checked;
#[cfg(test)]
mod hostile;
mod json;
mod math;
mod misc;
mod number_format;
mod ordered;
mod pattern;
mod pattern_syntax;
mod quantified;
mod quote;
mod rounding;
pub(crate) mod same;
mod scaffold;
mod series;
mod spatial;
mod text;
mod time;
mod window;

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::functions_nested::concat::{array_append_udf, array_concat_udf, array_prepend_udf};
use datafusion::functions_nested::remove::array_remove_all_udf;
use datafusion::functions_nested::replace::array_replace_all_udf;
use datafusion::logical_expr::ScalarUDF;

pub(crate) use pattern_syntax::like_pattern;
pub(crate) use time::{at_start, extract, interval_key};
pub(crate) use window::windows;

/// The scalar functions by name.
#[derive(Debug)]
pub(crate) struct Library {
    functions: HashMap<String, Arc<ScalarUDF>>,
}

impl Library {
    pub(crate) fn new() -> Arc<Self> {
        let families = [
            arithmetic::functions(),
            array::functions(),
            json::functions(),
            math::functions(),
            misc::functions(),
            number_format::functions(),
            ordered::functions(),
            pattern::functions(),
            rounding::functions(),
            series::functions(),
            spatial::functions(),
            text::functions(),
            time::functions(),
        ];
        let mut functions: HashMap<String, Arc<ScalarUDF>> = families
            .into_iter()
            .flatten()
            .map(scaffold::Function::build)
            .chain(time::clocks())
            .map(|function| (function.name().to_owned(), function))
            .collect();
        for (name, function) in [
            ("array_append", array_append_udf()),
            ("array_prepend", array_prepend_udf()),
            ("array_cat", array_concat_udf()),
            // PostgreSQL's take all of them
            ("array_remove", known_as(&array_remove_all_udf(), "array_remove")),
            (
                "array_replace",
                known_as(&array_replace_all_udf(), "array_replace"),
            ),
        ] {
            functions.insert(name.to_owned(), function);
        }
        Arc::new(Self { functions })
    }

    /// The function of that name, of those with a constant in it too.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        if let Some(function) = self.functions.get(name) {
            return Some(Arc::clone(function));
        }
        if !name.starts_with("lakegate_") {
            return None;
        }
        cast::by_name(name)
            .or_else(|| quantified::by_name(name))
            .or_else(|| same::by_name(name))
            .or_else(|| rounding::rounding(name).map(scaffold::Function::build))
            .or_else(|| {
                name.starts_with("lakegate_extract ")
                    .then(|| time::extract(name).ok())
                    .flatten()
            })
    }

    /// The functions to register.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<ScalarUDF>> {
        self.functions.values()
    }
}

fn known_as(function: &ScalarUDF, name: &'static str) -> Arc<ScalarUDF> {
    Arc::new(function.clone().with_aliases([name]))
}
