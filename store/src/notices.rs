use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;
use lakegate_crds::Kind;

use crate::{Key, StoreError};

/// How many notices one instance keeps; the least recently seen go first.
pub const NOTICES_KEPT: usize = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NoticeType {
    Normal,

    Warning,
}

impl NoticeType {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

impl fmt::Display for NoticeType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Something that happened to an object, as a Kubernetes Event tells it.
///
/// The same notice (object, type, reason and message) published again raises `count` and moves `last`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub kind: Kind,

    pub key: Key,

    pub uid: String,

    pub notice_type: NoticeType,

    /// One word in PascalCase, from the reasons of `lakegate_crds::conditions`.
    pub reason: String,

    pub message: String,

    /// How often it was published, at least 1.
    pub count: u64,

    pub first: Timestamp,

    pub last: Timestamp,
}

impl Notice {
    pub fn new(
        now: Timestamp,
        notice_type: NoticeType,
        kind: Kind,
        key: Key,
        uid: impl Into<String>,
        reason: impl fmt::Display,
        message: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            key,
            uid: uid.into(),
            notice_type,
            reason: reason.to_string(),
            message: message.into(),
            count: 1,
            first: now,
            last: now,
        }
    }

    /// Whether `other` is the same notice seen at another time.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.key == other.key
            && self.uid == other.uid
            && self.notice_type == other.notice_type
            && self.reason == other.reason
            && self.message == other.message
    }
}

/// The events of an instance.
#[async_trait]
pub trait Notices: Send + Sync {
    /// Records a notice. Notices inform people and never decide anything, so one that cannot be kept (a full
    /// disk) is logged with its text and does not fail the work it tells about.
    async fn publish(&self, notice: Notice);

    /// At most [`NOTICES_KEPT`], the one seen last first.
    async fn list_notices(&self) -> Result<Vec<Notice>, StoreError>;
}
