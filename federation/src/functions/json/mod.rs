//! `json` and `jsonb`.

mod build;
mod edit;
mod get;
mod jsonpath;

pub(super) use build::values;

use super::scaffold::Function;

pub(super) fn functions() -> Vec<Function> {
    let mut functions = get::functions();
    functions.extend(build::functions());
    functions.extend(edit::functions());
    functions.extend(jsonpath::functions());
    functions
}
