//! What crosses the control socket, and how it is made from a store.

use jiff::Timestamp;
use lakegate_crds::{DataSource, Export, ExportRun, Kind, LakegateResource, RetentionPolicy, View};
use lakegate_store::{Entry, FolderStore, Key, Notice, ResourceStore, Store, StoreError, StoreOf};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// One resource as the operator sees it: the version in force with its status, and what is wrong with a newer edit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ObjectView {
    /// apiVersion, kind, metadata, spec (absent while there never was a good version) and status.
    pub object: Value,

    /// Set while the newest edit is refused: `orders.yaml:12: spec.schedule.cron: …`.
    pub rejected: Option<String>,
}

impl ObjectView {
    pub fn name(&self) -> &str {
        self.object
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }
}

/// An event as it crosses the control socket.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NoticeView {
    pub kind: Kind,
    pub namespace: String,
    pub name: String,
    #[serde(rename = "type")]
    pub notice_type: String,
    pub reason: String,
    pub message: String,
    pub count: u64,
    pub first: Timestamp,
    pub last: Timestamp,
}

impl From<Notice> for NoticeView {
    fn from(notice: Notice) -> Self {
        Self {
            kind: notice.kind,
            namespace: notice.key.namespace,
            name: notice.key.name,
            notice_type: notice.notice_type.to_string(),
            reason: notice.reason,
            message: notice.message,
            count: notice.count,
            first: notice.first,
            last: notice.last,
        }
    }
}

/// A request to run an export now.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StartRun {
    pub namespace: String,
    pub export: String,
}

/// What is to become of the table of an export whose manifest is gone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Deletion {
    pub namespace: String,
    pub export: String,

    /// The export is forgotten, and its table stays.
    pub keep_data: bool,
}

/// Why nothing was decided about a deletion.
#[derive(Debug, thiserror::Error)]
pub enum DeletionRefusal {
    #[error("the manifest of export/{0} is still there: remove it, and then decide about its table")]
    Living(Key),

    #[error(
        "export/{0} is not being deleted: either there is none of this name, or its table stays because its deletionPolicy is Retain"
    )]
    NotDeleting(Key),

    #[error("what was decided about export/{export} cannot be kept")]
    Store { export: Key, source: StoreError },
}

/// Decides about the table of an export whose manifest is gone.
pub async fn decide_deletion(store: &FolderStore, deletion: &Deletion) -> Result<(), DeletionRefusal> {
    let key = Key::new(&deletion.namespace, &deletion.export);
    let failed = |source| DeletionRefusal::Store {
        export: key.clone(),
        source,
    };
    let exports: &dyn Store<Export> = store;
    let entry = exports.get(&key).await.map_err(failed)?;
    let entry = entry.ok_or_else(|| DeletionRefusal::NotDeleting(key.clone()))?;
    if entry.deletion.is_none() {
        return Err(DeletionRefusal::Living(key));
    }
    if deletion.keep_data {
        exports.release(&key, &entry.uid).await.map_err(failed)?;
        // Should the manifest come back, it is another Export: this one's table is nobody's to remove.
        return store.forget(&entry.uid).await.map_err(failed);
    }
    if store.delete_now::<Export>(&key).await.map_err(failed)? {
        Ok(())
    } else {
        Err(DeletionRefusal::NotDeleting(key))
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StartedRun {
    /// Name of the ExportRun.
    pub run: String,
}

/// `export/orders` as a kind and a key; `namespace` as `export/shop/orders`.
pub fn parse_resource(text: &str) -> Result<(Kind, Key), String> {
    let (kind, name) = text
        .split_once('/')
        .ok_or_else(|| format!("`{text}` names no kind: write KIND/NAME, such as export/orders"))?;
    let kind = kind.parse::<Kind>().map_err(|error| error.to_string())?;
    let Ok(key) = name.parse::<Key>();
    Ok((kind, key))
}

fn view<K: LakegateResource>(entry: Entry<K>) -> ObjectView {
    let mut object = entry
        .object
        .as_deref()
        .and_then(|object| serde_json::to_value(object).ok())
        .unwrap_or_else(|| {
            json!({
                "apiVersion": K::api_version(&()),
                "kind": K::kind(&()),
                "metadata": {"name": entry.key.name, "namespace": entry.key.namespace, "uid": entry.uid},
            })
        });
    if let (Some(status), Value::Object(fields)) = (&entry.status, &mut object)
        && let Ok(status) = serde_json::to_value(status)
    {
        fields.insert("status".into(), status);
    }
    ObjectView {
        object,
        rejected: entry.rejected.map(|rejected| rejected.to_string()),
    }
}

async fn list_kind<K: LakegateResource>(store: &dyn Store<K>) -> Result<Vec<ObjectView>, StoreError> {
    Ok(store.list().await?.into_iter().map(view).collect())
}

/// All objects of a kind, by namespace and name.
pub async fn list_objects(store: &dyn ResourceStore, kind: Kind) -> Result<Vec<ObjectView>, StoreError> {
    match kind {
        Kind::DataSource => list_kind(StoreOf::<DataSource>::of(store)).await,
        Kind::Export => list_kind(StoreOf::<Export>::of(store)).await,
        Kind::ExportRun => list_kind(StoreOf::<ExportRun>::of(store)).await,
        Kind::RetentionPolicy => list_kind(StoreOf::<RetentionPolicy>::of(store)).await,
        Kind::View => list_kind(StoreOf::<View>::of(store)).await,
    }
}
