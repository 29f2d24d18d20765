//! Proof that a store refuses to create an object twice: every commit rests on it.

use bytes::Bytes;
use lakegate_store::s3::S3Error;
use object_store::path::Path;

use crate::error::LakeError;
use crate::objects::Objects;

/// Created again by whoever is about to write; its name keeps it out of the tables.
const OBJECT: &str = "_lakegate/created-once";
const CONTENT: &str = "Lakegate creates this object again before it writes into the lake. The store has to refuse that: \
                       it is what keeps one run from overwriting another's commit. It may be deleted.\n";

/// Creates an object that is there, or is now. A store that does not know the condition overwrites it, and would
/// overwrite commits likewise.
pub(crate) async fn creates_once(objects: &Objects) -> Result<(), LakeError> {
    let path = Path::from(OBJECT);
    let overwrites = |source: Option<object_store::Error>| LakeError::NoConditionalCreate {
        location: objects.base.to_string(),
        source: source.map(Into::into),
    };
    // absent at first: then the second time tells
    for _ in 0..2 {
        match objects
            .create(&path, Bytes::from_static(CONTENT.as_bytes()))
            .await
        {
            Ok(()) => {}
            Err(object_store::Error::AlreadyExists { .. }) => return Ok(()),
            Err(error) if matches!(S3Error::of(&error), Some(S3Error::NotSupported { .. })) => {
                return Err(overwrites(Some(error)));
            }
            Err(error) => return Err(objects.error("write", &path, error)),
        }
    }
    Err(overwrites(None))
}
