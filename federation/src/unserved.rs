//! The first reason why this version does not serve a resource.

use lakegate_crds::LakegateResource;
use lakegate_crds::validation::{Problem, unserved};

/// Fields or kinds that the API accepts and no code serves yet.
pub(crate) fn first_problem<K: LakegateResource>(object: &K) -> Option<Problem> {
    unserved(&object.clone().into_any()).into_iter().next()
}
