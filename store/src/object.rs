//! What every home does with an object: metadata that the store owns, generations, checks before a create.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use lakegate_crds::conditions::Reason;
use lakegate_crds::validation::{Problem, validate};
use lakegate_crds::{EXPORT_DATA_FINALIZER, LakegateResource};
use serde_json::Value;

use crate::{Key, Redactor, StoreError};

/// Kubernetes times have whole seconds; a finer one would change when it is written and read back.
pub(crate) fn creation_time(now: Timestamp) -> Timestamp {
    lakegate_crds::conditions::time(now).0
}

/// Fills the metadata that the store owns.
pub(crate) fn fill<K: LakegateResource>(
    object: &mut K,
    key: &Key,
    uid: &str,
    generation: i64,
    created: Timestamp,
    status: Option<K::Status>,
) {
    let meta = object.meta_mut();
    meta.namespace = Some(key.namespace.clone());
    meta.name = Some(key.name.clone());
    meta.uid = Some(uid.to_owned());
    meta.generation = Some(generation);
    meta.creation_timestamp = Some(Time(created));
    // A manifest printed by kubectl carries what another home filled in.
    meta.resource_version = None;
    meta.managed_fields = None;
    mark(meta, false, None);
    object.set_status(status);
}

/// Makes the metadata say whether we hold the object, and whether it is to go. Finalizers of others stay.
pub(crate) fn mark(meta: &mut ObjectMeta, is_held: bool, deletion: Option<Timestamp>) {
    let mut finalizers = meta.finalizers.take().unwrap_or_default();
    finalizers.retain(|finalizer| finalizer != EXPORT_DATA_FINALIZER);
    if is_held {
        finalizers.push(EXPORT_DATA_FINALIZER.to_owned());
    }
    meta.finalizers = Some(finalizers).filter(|finalizers| !finalizers.is_empty());
    meta.deletion_timestamp = deletion.map(lakegate_crds::conditions::time);
    meta.deletion_grace_period_seconds = None;
}

pub(crate) fn with_status<K: LakegateResource>(object: &Arc<K>, status: Option<&K::Status>) -> Arc<K> {
    let mut object = K::clone(object);
    object.set_status(status.cloned());
    Arc::new(object)
}

/// The spec in the form that generations compare: as this version reads it, without absent members.
///
/// So neither the order of members nor a default written out makes a new generation.
pub(crate) fn canonical_spec<K: LakegateResource>(object: &K) -> Value {
    let mut spec = serde_json::to_value(object)
        .ok()
        .and_then(|mut value| value.get_mut("spec").map(Value::take))
        .unwrap_or_default();
    strip_nulls(&mut spec);
    spec
}

fn strip_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(strip_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_nulls),
        _ => {}
    }
}

/// Checks an object that is to be created, as the API server would, and drops what the store owns.
pub(crate) fn prepare_create<K: LakegateResource>(mut object: K) -> Result<(Key, K), StoreError> {
    let key = Key::of(&object);
    object.set_status(None);
    let meta = object.meta_mut();
    meta.namespace = Some(key.namespace.clone());
    meta.uid = None;
    meta.generation = None;
    meta.creation_timestamp = None;
    meta.resource_version = None;
    let invalid = |problems| StoreError::Invalid {
        kind: K::KIND,
        key: key.clone(),
        problems,
    };
    let value = serde_json::to_value(&object)
        .map_err(|error| invalid(vec![Problem::invalid("", error.to_string())]))?;
    validate(&value, None).map_err(invalid)?;
    Ok((key, object))
}

/// A status, and its JSON, with secret values cleaned out of its messages.
///
/// Who writes a message cleans it already; this is the second net under it.
pub(crate) fn clean_status<K: LakegateResource>(
    redactor: &Redactor,
    key: &Key,
    status: &K::Status,
) -> Result<(K::Status, Value), StoreError> {
    let unfit = |error: serde_json::Error| StoreError::Invalid {
        kind: K::KIND,
        key: key.clone(),
        problems: vec![Problem::new("status", Reason::InternalError, error.to_string())],
    };
    let mut value = serde_json::to_value(status).map_err(unfit)?;
    redactor.redact_messages(&mut value);
    // Back again even when nothing was cleaned: JSON times have whole seconds, and a status must compare equal to
    // itself after a restart.
    let status = serde_json::from_value(value.clone()).map_err(unfit)?;
    Ok((status, value))
}

pub(crate) fn new_uid() -> String {
    uuid::Uuid::new_v4().to_string()
}
