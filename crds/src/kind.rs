//! The kinds, and what all of them have in common.

use std::{fmt, fmt::Debug, str::FromStr};

use k8s_openapi::{
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta},
};
use kube::CustomResourceExt;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    DataSource, DataSourceStatus, Export, ExportRun, ExportRunStatus, ExportStatus, RetentionPolicy,
    RetentionPolicyStatus, View, ViewStatus,
};

/// API group of every kind.
pub const GROUP: &str = "lakegate.dev";
/// Version of every kind.
pub const VERSION: &str = "v1alpha1";
/// `apiVersion` of every manifest.
pub const API_VERSION: &str = "lakegate.dev/v1alpha1";
/// Namespace of an object that names none.
pub const DEFAULT_NAMESPACE: &str = "default";
/// Annotation that holds the path of the file an object was read from, in memory only; relative
/// paths of the spec are resolved against that file's folder.
pub const MANIFEST_ANNOTATION: &str = "lakegate.dev/manifest";
/// Annotation whose change starts a run or a new look now.
pub const REQUESTED_AT_ANNOTATION: &str = "lakegate.dev/requestedAt";
/// Label of an ExportRun: the name of its Export.
pub const EXPORT_LABEL: &str = "lakegate.dev/export";
/// Finalizer of what has to outlive its deletion until the lake table of an Export with the deletion
/// policy `Delete` is gone: the Export itself, and the DataSource of its lake.
pub const EXPORT_DATA_FINALIZER: &str = "lakegate.dev/export-data";
/// Label of an ExportRun: its cause.
pub const CAUSE_LABEL: &str = "lakegate.dev/cause";

/// The kinds of resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, serde::Deserialize)]
pub enum Kind {
    DataSource,
    Export,
    ExportRun,
    RetentionPolicy,
    View,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::DataSource,
        Self::Export,
        Self::ExportRun,
        Self::RetentionPolicy,
        Self::View,
    ];

    /// The kind as manifests write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DataSource => "DataSource",
            Self::Export => "Export",
            Self::ExportRun => "ExportRun",
            Self::RetentionPolicy => "RetentionPolicy",
            Self::View => "View",
        }
    }

    /// Plural in lower case, as in URLs and on the command line.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::DataSource => "datasources",
            Self::Export => "exports",
            Self::ExportRun => "exportruns",
            Self::RetentionPolicy => "retentionpolicies",
            Self::View => "views",
        }
    }

    /// Short name for the command line.
    pub const fn short_name(self) -> &'static str {
        match self {
            Self::DataSource => "ds",
            Self::Export => "exp",
            Self::ExportRun => "run",
            Self::RetentionPolicy => "ret",
            Self::View => "view",
        }
    }

    /// The definition as the types alone give it; [`crate::crds`] gives the complete one.
    pub(crate) fn derived_crd(self) -> CustomResourceDefinition {
        match self {
            Self::DataSource => DataSource::crd(),
            Self::Export => Export::crd(),
            Self::ExportRun => ExportRun::crd(),
            Self::RetentionPolicy => RetentionPolicy::crd(),
            Self::View => View::crd(),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// A word that names no kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{word}\" is not a kind of resource; the kinds are DataSource, Export, ExportRun, RetentionPolicy and View"
)]
pub struct UnknownKind {
    pub word: String,
}

impl FromStr for Kind {
    type Err = UnknownKind;

    /// Takes the kind, its plural and its short name, in any case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let word = text.to_ascii_lowercase();
        Self::ALL
            .into_iter()
            .find(|kind| {
                word == kind.as_str().to_ascii_lowercase()
                    || word == kind.plural()
                    || word == kind.short_name()
            })
            .ok_or_else(|| UnknownKind {
                word: text.to_owned(),
            })
    }
}

/// What all kinds have in common.
pub trait LakegateResource:
    kube::Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + Debug + Send + Sync + 'static
{
    /// The kind.
    const KIND: Kind;

    /// Type of `status`.
    type Status: Clone + Debug + Default + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static;

    /// The status, where there is one yet.
    fn status(&self) -> Option<&Self::Status>;

    /// Replaces the status.
    fn set_status(&mut self, status: Option<Self::Status>);

    /// The conditions of a status.
    fn conditions(status: &Self::Status) -> &[Condition];

    /// The conditions of a status, to change them.
    fn conditions_mut(status: &mut Self::Status) -> &mut Vec<Condition>;

    /// Sets `status.observedGeneration`.
    fn set_observed_generation(status: &mut Self::Status, generation: i64);

    /// `status.observedGeneration`; None before the first look.
    fn observed_generation(status: &Self::Status) -> Option<i64>;

    /// Wraps the object.
    fn into_any(self) -> AnyResource;

    /// Unwraps an object of this kind.
    fn from_any(any: AnyResource) -> Option<Self>;

    /// The object's name; empty when the manifest gives none (validation refuses that).
    fn object_name(&self) -> &str {
        self.meta().name.as_deref().unwrap_or_default()
    }

    /// The object's namespace, `default` when the manifest gives none.
    fn object_namespace(&self) -> &str {
        self.meta().namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE)
    }
}

/// A resource of any kind.
// Held one at a time while a manifest is read, never in large numbers: a box would only cost.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq)]
pub enum AnyResource {
    DataSource(DataSource),
    Export(Export),
    ExportRun(ExportRun),
    RetentionPolicy(RetentionPolicy),
    View(View),
}

macro_rules! resources {
    ($($kind:ident: $status:ident),*) => {
        $(impl LakegateResource for $kind {
            const KIND: Kind = Kind::$kind;
            type Status = $status;

            fn status(&self) -> Option<&$status> {
                self.status.as_ref()
            }

            fn set_status(&mut self, status: Option<$status>) {
                self.status = status;
            }

            fn conditions(status: &$status) -> &[Condition] {
                &status.conditions
            }

            fn conditions_mut(status: &mut $status) -> &mut Vec<Condition> {
                &mut status.conditions
            }

            fn set_observed_generation(status: &mut $status, generation: i64) {
                status.observed_generation = Some(generation);
            }

            fn observed_generation(status: &$status) -> Option<i64> {
                status.observed_generation
            }

            fn into_any(self) -> AnyResource {
                AnyResource::$kind(self)
            }

            fn from_any(any: AnyResource) -> Option<Self> {
                match any {
                    AnyResource::$kind(object) => Some(object),
                    _ => None,
                }
            }
        }

        impl From<$kind> for AnyResource {
            fn from(object: $kind) -> Self {
                Self::$kind(object)
            }
        })*

        impl AnyResource {
            /// The kind.
            pub fn kind(&self) -> Kind {
                match self { $(Self::$kind(_) => Kind::$kind,)* }
            }

            /// The metadata.
            pub fn meta(&self) -> &ObjectMeta {
                match self { $(Self::$kind(object) => &object.metadata,)* }
            }

            /// The metadata, to change it.
            pub fn meta_mut(&mut self) -> &mut ObjectMeta {
                match self { $(Self::$kind(object) => &mut object.metadata,)* }
            }

            /// The object as JSON.
            pub fn to_value(&self) -> Result<serde_json::Value, serde_json::Error> {
                match self { $(Self::$kind(object) => serde_json::to_value(object),)* }
            }

            /// Reads an object of a kind.
            pub fn from_value(kind: Kind, value: serde_json::Value) -> Result<Self, serde_json::Error> {
                Ok(match kind { $(Kind::$kind => Self::$kind(serde_json::from_value(value)?),)* })
            }
        }
    };
}

resources!(
    DataSource: DataSourceStatus,
    Export: ExportStatus,
    ExportRun: ExportRunStatus,
    RetentionPolicy: RetentionPolicyStatus,
    View: ViewStatus
);

impl AnyResource {
    /// The object's name; empty when the manifest gives none.
    pub fn name(&self) -> &str {
        self.meta().name.as_deref().unwrap_or_default()
    }

    /// The object's namespace, `default` when the manifest gives none.
    pub fn namespace(&self) -> &str {
        self.meta().namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE)
    }
}

impl fmt::Display for AnyResource {
    /// `Export shop/orders`: kind, namespace and name, for messages.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}/{}", self.kind(), self.namespace(), self.name())
    }
}

#[cfg(test)]
mod tests {
    use kube::Resource;

    use super::*;

    #[test]
    fn kinds_answer_to_all_their_names() {
        for kind in Kind::ALL {
            for word in [
                kind.as_str(),
                kind.plural(),
                kind.short_name(),
                &kind.as_str().to_lowercase(),
            ] {
                assert_eq!(word.parse::<Kind>().unwrap(), kind, "{word}");
            }
            let names = kind.derived_crd().spec.names;
            assert_eq!(
                (names.kind.as_str(), names.plural.as_str()),
                (kind.as_str(), kind.plural())
            );
            assert_eq!(names.short_names.unwrap(), [kind.short_name()]);
        }
        assert!("table".parse::<Kind>().is_err());
        assert_eq!(DataSource::api_version(&()), API_VERSION);
    }
}
