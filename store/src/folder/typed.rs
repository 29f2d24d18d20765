//! Between documents and typed objects.

use std::{path::Path, sync::Arc};

use lakegate_crds::{AnyResource, DataSource, Export, ExportRun, Kind, RetentionPolicy, View};
use serde_json::Value;

use crate::{
    Entry, MANIFEST_ANNOTATION,
    object::{canonical_spec, fill, mark},
    shelf::{Shelved, Shelves},
    state::{ObjectRecord, RunRecord},
};

/// Calls `$function::<K>` for the kind at hand.
macro_rules! for_kind {
    ($kind:expr, $function:ident ( $($argument:expr),* )) => {
        match $kind {
            Kind::DataSource => $function::<DataSource>($($argument),*),
            Kind::Export => $function::<Export>($($argument),*),
            Kind::ExportRun => $function::<ExportRun>($($argument),*),
            Kind::RetentionPolicy => $function::<RetentionPolicy>($($argument),*),
            Kind::View => $function::<View>($($argument),*),
        }
    };
}

/// Reads a manifest that was valid once; `None` when this version no longer understands it.
pub(crate) fn decode(kind: Kind, manifest: &Value) -> Option<AnyResource> {
    AnyResource::from_value(kind, manifest.clone()).ok()
}

/// See [`canonical_spec`].
pub(crate) fn spec(resource: &AnyResource) -> Value {
    match resource {
        AnyResource::DataSource(object) => canonical_spec(object),
        AnyResource::Export(object) => canonical_spec(object),
        AnyResource::ExportRun(object) => canonical_spec(object),
        AnyResource::RetentionPolicy(object) => canonical_spec(object),
        AnyResource::View(object) => canonical_spec(object),
    }
}

/// Makes memory show what the record says.
pub(crate) fn show_object(
    shelves: &Shelves,
    folder: &Path,
    record: &ObjectRecord,
    resource: Option<&AnyResource>,
) {
    for_kind!(record.kind, show_object_as(shelves, folder, record, resource));
}

fn show_object_as<K: Shelved>(
    shelves: &Shelves,
    folder: &Path,
    record: &ObjectRecord,
    resource: Option<&AnyResource>,
) {
    let shelf = K::shelf(shelves);
    if !record.is_shown() {
        // Another object of this name may have taken its place already.
        if shelf
            .get(&record.key)
            .is_some_and(|entry| entry.uid == record.uid)
        {
            shelf.remove(&record.key);
        }
        return;
    }
    let status = status_of::<K>(record.kind, &record.key, record.status.as_ref());
    let object = resource.cloned().and_then(K::from_any).map(|mut object| {
        fill(
            &mut object,
            &record.key,
            &record.uid,
            record.generation,
            record.created,
            status.clone(),
        );
        mark(object.meta_mut(), record.held, record.deletion);
        if let Some(place) = &record.good_place {
            let path = folder.join(&place.file).to_string_lossy().into_owned();
            object
                .meta_mut()
                .annotations
                .get_or_insert_default()
                .insert(MANIFEST_ANNOTATION.to_owned(), path);
        }
        Arc::new(object)
    });
    shelf.put(&Entry {
        key: record.key.clone(),
        object,
        status,
        rejected: record.rejected.clone(),
        uid: record.uid.clone(),
        generation: record.generation,
        is_held: record.held,
        deletion: record.deletion,
    });
}

/// Shows an object that was created through the store. Whether this version understands it.
pub(crate) fn show_run(shelves: &Shelves, record: &RunRecord) -> bool {
    for_kind!(record.kind, show_run_as(shelves, record))
}

fn show_run_as<K: Shelved>(shelves: &Shelves, record: &RunRecord) -> bool {
    let status = status_of::<K>(record.kind, &record.key, record.status.as_ref());
    let Ok(mut object) = serde_json::from_value::<K>(record.object.clone()) else {
        return false;
    };
    fill(
        &mut object,
        &record.key,
        &record.uid,
        record.generation,
        record.created,
        status.clone(),
    );
    K::shelf(shelves).put(&Entry {
        key: record.key.clone(),
        object: Some(Arc::new(object)),
        status,
        rejected: None,
        uid: record.uid.clone(),
        generation: record.generation,
        is_held: false,
        deletion: None,
    });
    true
}

fn status_of<K: Shelved>(kind: Kind, key: &crate::Key, status: Option<&Value>) -> Option<K::Status> {
    serde_json::from_value(status?.clone())
        .inspect_err(|error| {
            // Statuses are observations: the next reconcile writes it anew.
            tracing::warn!(%kind, %key, %error, "a stored status is not understood by this version and is left out");
        })
        .ok()
}
