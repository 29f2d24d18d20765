//! Objects as the API server sends them, as entries.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::DynamicObject;
use lakegate_crds::validation::{Problem, validate};
use lakegate_crds::{API_VERSION, LakegateResource, MANIFEST_ANNOTATION};
use serde_json::{Value, json};

use crate::{Entry, Key, Rejected};

/// One version of an object, of which nothing but the metadata has been understood yet: that always can be, so one
/// object that cannot be read never ends a list or a watch.
#[derive(Debug)]
pub(super) struct Seen {
    pub key: Key,

    pub uid: String,

    /// Place among all versions of all objects; 0 when the API server's word for it is no number.
    pub version: u64,

    generation: i64,

    metadata: ObjectMeta,

    spec: Option<Value>,

    status: Option<Value>,
}

impl Seen {
    /// `None` for an object without name, namespace or uid, which no API server sends.
    pub fn of(object: DynamicObject) -> Option<Self> {
        let DynamicObject {
            mut metadata,
            mut data,
            ..
        } = object;
        let key = Key::new(metadata.namespace.clone()?, metadata.name.clone()?);
        let uid = metadata.uid.clone()?;
        let version = metadata
            .resource_version
            .take()
            .and_then(|version| version.parse().ok())
            .unwrap_or(0);
        // Of no use here, and different at each write.
        metadata.managed_fields = None;
        // Whose path this names is on a machine of the cluster's users, not on this one.
        if let Some(annotations) = &mut metadata.annotations {
            annotations.remove(MANIFEST_ANNOTATION);
        }
        let mut take = |member: &str| {
            data.get_mut(member)
                .map(Value::take)
                .filter(|value| !value.is_null())
        };
        Some(Self {
            key,
            uid,
            version,
            generation: metadata.generation.unwrap_or(0),
            spec: take("spec"),
            status: take("status"),
            metadata,
        })
    }

    /// The entry of this version. `known` is the entry that it replaces: while this version is not valid, the good one
    /// that `known` holds stays in force.
    pub fn into_entry<K: LakegateResource>(self, known: Option<&Entry<K>>) -> Entry<K> {
        let known = known.filter(|known| known.uid == self.uid);
        let status = self
            .status
            .as_ref()
            .and_then(|status| self.read_status::<K>(status));
        let (object, rejected) = match known {
            // Most changes are of the status alone: what was judged of this generation holds.
            Some(known) if known.generation == self.generation => match (&known.object, &known.rejected) {
                (Some(object), None) => (Some(with_metadata(object, self.metadata)), None),
                (object, rejected) => (object.clone(), rejected.clone()),
            },
            _ => match judge::<K>(&self.metadata, self.spec) {
                Ok(object) => (Some(Arc::new(object)), None),
                Err(problems) => {
                    let rejected = Rejected {
                        problems,
                        origin: format!("generation {}", self.generation),
                    };
                    (known.and_then(|known| known.object.clone()), Some(rejected))
                }
            },
        };
        let object = object.map(|object| crate::object::with_status(&object, status.as_ref()));
        Entry {
            key: self.key,
            object,
            status,
            rejected,
            uid: self.uid,
            generation: self.generation,
        }
    }

    /// The status, unless it is the one that every new object has by default: then nobody looked at the object yet.
    fn read_status<K: LakegateResource>(&self, status: &Value) -> Option<K::Status> {
        let mut members = status.as_object()?.clone();
        // A status without the member keeps the default, for want of a writer who removes it.
        if members.get("observedGeneration").and_then(Value::as_i64) == Some(-1) {
            members.remove("observedGeneration");
        }
        if members.is_empty() {
            return None;
        }
        serde_json::from_value(Value::Object(members))
            .inspect_err(|error| {
                // Statuses are observations: the next reconcile writes it anew.
                tracing::warn!(
                    kind = %K::KIND, key = %self.key, %error,
                    "a stored status is not understood by this version and is left out"
                );
            })
            .ok()
    }
}

/// An object that is good, or everything that is wrong with it: what the API server cannot check, and what it would
/// refuse were its definition the one of this version.
fn judge<K: LakegateResource>(metadata: &ObjectMeta, spec: Option<Value>) -> Result<K, Vec<Problem>> {
    let mut value = json!({
        "apiVersion": API_VERSION,
        "kind": K::KIND.as_str(),
        "metadata": metadata,
    });
    if let (Some(spec), Value::Object(members)) = (spec, &mut value) {
        members.insert("spec".to_owned(), spec);
    }
    let resource = validate(&value, None)?;
    K::from_any(resource).ok_or_else(|| vec![Problem::invalid("kind", "is not the kind that was asked for")])
}

fn with_metadata<K: LakegateResource>(object: &Arc<K>, metadata: ObjectMeta) -> Arc<K> {
    let mut object = K::clone(object);
    *object.meta_mut() = metadata;
    Arc::new(object)
}

#[cfg(test)]
mod tests {
    use lakegate_crds::Export;

    use super::*;

    pub(crate) fn export(generation: i64, cron: &str) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": API_VERSION, "kind": "Export",
            "metadata": {
                "name": "orders", "namespace": "shop", "uid": "u", "generation": generation,
                "resourceVersion": "7", "managedFields": [{"manager": "kubectl"}],
                "annotations": {MANIFEST_ANNOTATION: "/etc/passwd", "team": "data"},
            },
            "spec": {
                "from": {"sourceRef": {"name": "shop"}, "table": {"name": "orders"}}, "allColumns": {},
                "schedule": {"cron": cron},
                "destination": {"lakeRef": {"name": "lake"}, "schema": "shop", "table": "orders"},
            },
            "status": {"observedGeneration": -1},
        }))
        .unwrap()
    }

    fn entry(object: DynamicObject, known: Option<&Entry<Export>>) -> Entry<Export> {
        Seen::of(object).unwrap().into_entry(known)
    }

    #[test]
    fn a_new_object_has_no_status_and_nothing_of_the_servers() {
        let entry = entry(export(1, "0 3 * * *"), None);
        let object = entry.object.unwrap();
        assert!(entry.status.is_none() && object.status.is_none() && entry.rejected.is_none());
        let metadata = &object.metadata;
        assert!(metadata.managed_fields.is_none() && metadata.resource_version.is_none());
        let annotations: Vec<_> = metadata.annotations.as_ref().unwrap().keys().collect();
        assert_eq!(annotations, ["team"]);
    }

    #[test]
    fn an_invalid_edit_leaves_the_good_version_in_force() {
        let good = entry(export(2, "0 3 * * *"), None);
        let bad = entry(export(3, "61 3 * * *"), Some(&good));
        let rejected = bad.rejected.as_ref().unwrap();
        assert!(
            rejected
                .to_string()
                .starts_with("generation 3: spec.schedule.cron: "),
            "{rejected}"
        );
        assert_eq!(bad.object.as_ref().unwrap().metadata.generation, Some(2));
        // The status that is written names the generation that was looked at, whatever came of it.
        assert_eq!(bad.generation, 3);
        let mut touched = export(3, "61 3 * * *");
        touched.data["status"] = json!({"observedGeneration": 3});
        let again = entry(touched, Some(&bad));
        assert_eq!(again.rejected, bad.rejected);
        assert_eq!(again.status.as_ref().unwrap().observed_generation, Some(3));
        assert_eq!(again.object.unwrap().status, again.status);
        let other = entry(export(3, "61 3 * * *"), None);
        assert!(other.object.is_none() && other.rejected.is_some());
    }

    #[test]
    fn what_cannot_be_read_at_all_is_an_entry() {
        let mut object = export(1, "0 3 * * *");
        object.data["spec"] = json!("text");
        object.data["status"] = json!({"conditions": 7});
        let entry = entry(object, None);
        assert!(entry.object.is_none() && entry.status.is_none());
        assert_eq!(entry.rejected.unwrap().problems[0].field, "spec");
    }

    #[test]
    fn a_change_of_metadata_is_seen_without_a_new_generation() {
        let known = entry(export(1, "0 3 * * *"), None);
        let mut labelled = export(1, "0 3 * * *");
        labelled.metadata.labels = Some([("team".to_owned(), "data".to_owned())].into());
        let object = entry(labelled, Some(&known)).object.unwrap();
        assert!(object.metadata.labels.is_some());
        assert_eq!(object.spec, known.object.unwrap().spec);
    }
}
