//! The first reason why this version does not serve a resource.

use lakegate_crds::LakegateResource;
use lakegate_store::Problem;

/// Fields or kinds that the API accepts and no code serves yet.
pub(crate) fn first_problem<K: LakegateResource>(_object: &K) -> Option<Problem> {
    None
}
